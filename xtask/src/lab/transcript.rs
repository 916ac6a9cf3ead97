//! Text that a thread keeps reading to its end, so that the writer never stands still, and that others wait for.
//!
//! Two things in the lab must always be read: the guest's console (a guest whose console is full stops, in the middle
//! of its panic too) and the output of `qev watch`.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// All that was read so far, shared between the thread that reads and those who wait.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    ended: bool,
}

/// Why what was waited for did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The writer is gone.
    Ended,
    /// The time is up.
    TimedOut,
}

impl Transcript {
    /// Reads `source` to its end in a thread of its own.
    pub fn of(mut source: impl Read + Send + 'static) -> Self {
        let transcript = Self::default();
        let writer = transcript.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut bytes = Vec::new();
            // A socket whose other end was killed may end with an error in place of an end of file: an end, too.
            while let Ok(count) = source.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let text = take_whole_characters(&mut bytes);
                writer.change(|state| state.text.push_str(&text));
            }
            writer.change(|state| state.ended = true);
        });
        transcript
    }

    /// Everything up to now.
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// Waits until `look` finds something in all the text up to then.
    pub fn wait_for<T>(&self, within: Duration, mut look: impl FnMut(&str) -> Option<T>) -> Result<T, Missing> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state.text) {
                return Ok(found);
            }
            if state.ended {
                return Err(Missing::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missing::TimedOut);
            }
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Waits until the writer is gone, so that [`Transcript::text`] is complete.
    pub fn wait_for_end(&self, within: Duration) -> Result<(), Missing> {
        match self.wait_for(within, |_| None::<()>) {
            Err(Missing::TimedOut) => Err(Missing::TimedOut),
            Ok(()) | Err(Missing::Ended) => Ok(()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes all but a character that is cut at the end; bytes that are no text become U+FFFD.
fn take_whole_characters(bytes: &mut Vec<u8>) -> String {
    let cut = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    };
    let rest = bytes.split_off(cut);
    let text = String::from_utf8_lossy(bytes).into_owned();
    *bytes = rest;
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn finds_what_comes_in_pieces() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let transcript = Transcript::of(reader);
        for piece in ["guest is", " up", "\n"] {
            writer.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(transcript.wait_for(SOON, |text| text.find("is up\n")), Ok(6));
    }

    #[test]
    fn an_end_and_a_silence_are_told_apart() {
        let (writer, reader) = UnixStream::pair().unwrap();
        let transcript = Transcript::of(reader);
        let never = |_: &str| None::<()>;
        assert_eq!(transcript.wait_for(Duration::from_millis(10), never), Err(Missing::TimedOut));
        assert_eq!(transcript.wait_for_end(Duration::from_millis(10)), Err(Missing::TimedOut));
        drop(writer);
        assert_eq!(transcript.wait_for(SOON, never), Err(Missing::Ended));
        assert_eq!(transcript.wait_for_end(SOON), Ok(()));
    }

    #[test]
    fn a_character_cut_in_two_is_put_together_and_rubbish_is_marked() {
        let mut bytes = "aé".as_bytes()[..2].to_vec();
        assert_eq!(take_whole_characters(&mut bytes), "a");
        bytes.push(0xA9);
        assert_eq!(take_whole_characters(&mut bytes), "é");
        let mut bytes = b"\xFFb".to_vec();
        assert_eq!(take_whole_characters(&mut bytes), "\u{FFFD}b");
    }
}
