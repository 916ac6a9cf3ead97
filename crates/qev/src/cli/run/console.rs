//! The guest's console, when `--fail-on-console` looks for something on it: QEMU's standard output, which passes through
//! here on its way to ours.
//!
//! ```text
//!   QEMU ── pipe ──► a thread ──► our standard output
//!                        └──► a line that has the text: the verdict
//! ```
//!
//! Standard input stays QEMU's own, so a terminal there is still set as QEMU wants it, and what is typed reaches the guest.
//! When nobody reads our standard output any more, the console is read on: only the guest's text is lost.

use qev_record::filter::TextSearch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How much is read at once, in bytes.
const PIECE: usize = 16 << 10;

/// How much of a line is looked at, in bytes. Of a longer one the end counts, half as long at least.
const LINE: usize = 4 << 10;

/// How long the rest of a line may take once a text was found in it.
const REST_OF_LINE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What a Linux guest says on its console when it panics, whether its panic device has a driver by then or not.
const PANIC: &str = "Kernel panic - not syncing";

/// What was found. Each text is told once, and there are as many places in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One of the texts, and the line that it is in. A line that does not end in time is cut where it was.
    Text { text: String, line: String },
    /// The guest's kernel panicked.
    Panic,
}

/// The console of a running QEMU.
pub(super) struct Console {
    found: mpsc::Receiver<Found>,
    ended: oneshot::Receiver<()>,
    last_output: watch::Receiver<Option<Instant>>,
}

impl Console {
    /// Makes the pipe that is to be QEMU's standard output, and starts the thread.
    pub(super) fn start(texts: Vec<TextSearch>) -> io::Result<(Console, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let (tell, found) = mpsc::channel(texts.len().saturating_add(1));
        let (end, ended) = oneshot::channel();
        let (output, last_output) = watch::channel(None);
        std::thread::spawn(move || {
            let on_output = || {
                output.send_replace(Some(Instant::now()));
            };
            pass_on(reader, Watcher::new(texts), on_output, |found| {
                // When nobody wants to know, the run is over.
                let _ = tell.try_send(found);
            });
            let _ = end.send(());
        });
        Ok((Console { found, ended, last_output }, writer))
    }

    /// The next text that is found; for ever when nothing more is. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Found {
        match self.found.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    /// When something was written to it last.
    pub(super) fn last_output(&self) -> Option<Instant> {
        *self.last_output.borrow()
    }

    /// Waits until all of it has passed.
    pub(super) async fn ended(&mut self) {
        // The thread has ended, too, when there is nobody to say so.
        let _ = (&mut self.ended).await;
    }

    /// What was found meanwhile.
    pub(super) fn rest(&mut self) -> Vec<Found> {
        std::iter::from_fn(|| self.found.try_recv().ok()).collect()
    }
}

/// Copies to standard output, to its end, and reports what the watcher finds.
fn pass_on(mut console: PipeReader, mut watcher: Watcher, on_output: impl Fn(), mut report: impl FnMut(Found)) {
    let mut piece = vec![0; PIECE];
    let mut is_read = true;
    loop {
        if watcher.has_unfinished_line() && !is_more_to_read(&console) {
            watcher.end_line().into_iter().for_each(&mut report);
        }
        let read = match console.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(read) if read > 0 => read,
            _ => break,
        };
        let piece = piece.get(..read).unwrap_or_default();
        on_output();
        watcher.look_at(piece).into_iter().for_each(&mut report);
        is_read = is_read && write_all(&io::stdout(), piece).is_ok();
    }
    watcher.end_line().into_iter().for_each(report);
}

/// Returns whether the console has something to read, or ends, within [`REST_OF_LINE`].
fn is_more_to_read(console: &impl AsFd) -> bool {
    !matches!(poll(&mut [PollFd::new(console, PollFlags::IN)], Some(&REST_OF_LINE)), Ok(0))
}

/// Writes all of it, also to a terminal that QEMU has made non-blocking.
fn write_all(out: &impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(out, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Interrupted, it is as if there were room.
                let _ = poll(&mut [PollFd::new(out, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Looks for texts in lines, however they are cut into pieces.
struct Watcher {
    texts: Vec<TextSearch>,
    panic: Option<TextSearch>,
    line: Vec<u8>,
    /// The texts that are in this line. They are reported when it ends, with all of it.
    in_line: Vec<TextSearch>,
}

impl Watcher {
    fn new(texts: Vec<TextSearch>) -> Watcher {
        Watcher { texts, panic: PANIC.parse().ok(), line: Vec::new(), in_line: Vec::new() }
    }

    fn look_at(&mut self, piece: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(LINE / 2) {
                if self.line.len() + part.len() > LINE {
                    found.extend(self.end_line());
                    self.line.drain(..self.line.len().saturating_sub(LINE / 2));
                }
                self.line.extend_from_slice(part);
                found.extend(self.look());
            }
            if part.ends_with(b"\n") {
                found.extend(self.end_line());
                self.line.clear();
            }
        }
        found
    }

    /// Looks at the line as it is now. A text that is found is not looked for again.
    fn look(&mut self) -> Option<Found> {
        let text = self.text();
        let is_in_line = |wanted: &mut TextSearch| wanted.is_in(&text);
        self.in_line.extend(self.texts.extract_if(.., is_in_line));
        self.panic.take_if(is_in_line).map(|_| Found::Panic)
    }

    /// Returns whether a text was found in a line that goes on.
    fn has_unfinished_line(&self) -> bool {
        !self.in_line.is_empty()
    }

    /// Returns what was found in the line, which has ended or is not waited for any longer.
    fn end_line(&mut self) -> Vec<Found> {
        if self.in_line.is_empty() {
            return Vec::new();
        }
        let line = self.text().trim().to_owned();
        self.in_line.drain(..).map(|text| Found::Text { text: text.to_string(), line: line.clone() }).collect()
    }

    /// The line without colours, which may stand within a word.
    fn text(&self) -> String {
        anstream::adapter::strip_str(&String::from_utf8_lossy(&self.line)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(texts: &[&str], pieces: &[&[u8]]) -> Vec<Found> {
        let mut watcher = Watcher::new(texts.iter().map(|text| text.parse().unwrap()).collect());
        let mut found: Vec<Found> = pieces.iter().flat_map(|piece| watcher.look_at(piece)).collect();
        found.extend(watcher.end_line());
        found
    }

    fn text(text: &str, line: &str) -> Found {
        Found::Text { text: text.to_owned(), line: line.to_owned() }
    }

    #[test]
    fn finds_a_text_however_it_is_cut_into_pieces() {
        let whole = b"one\r\n[    1.0] BUG: soft lockup\r\nthree";
        let expected = [text("BUG: soft", "[    1.0] BUG: soft lockup")];
        assert_eq!(watch(&["BUG: soft"], &[whole]), expected);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(watch(&["BUG: soft"], &bytes), expected);
        assert_eq!(watch(&["BUG"], &[b"[    1.0] BUG: so"]), [text("BUG", "[    1.0] BUG: so")]);
        assert_eq!(watch(&["one\nthree"], &[b"one\nthree"]), []);
    }

    #[test]
    fn tells_of_a_text_once_and_of_a_panic_beside_it() {
        let line = b"Kernel panic - not syncing: VFS\nKernel panic - not syncing: VFS\n";
        let expected = [Found::Panic, text("Kernel panic", "Kernel panic - not syncing: VFS")];
        assert_eq!(watch(&["Kernel panic", "nothing"], &[line]), expected);
    }

    #[test]
    fn colours_do_not_hide_a_text() {
        assert_eq!(
            watch(&["FAILED to"], &[b"\x1b[31mFAILED\x1b[0m to start\n"]),
            [text("FAILED to", "FAILED to start")]
        );
    }

    #[test]
    fn a_line_without_an_end_is_bounded_and_found_in() {
        let mut watcher = Watcher::new(vec!["needle".parse().unwrap()]);
        for _ in 0..100 {
            assert_eq!(watcher.look_at(&[b'x'; 1000]), []);
            assert!(watcher.line.len() <= LINE);
        }
        assert_eq!(watcher.look_at(b"needle"), []);
        assert!(watcher.has_unfinished_line());
        assert_eq!(watcher.end_line().len(), 1);
        assert!(!watcher.has_unfinished_line());
    }
}
