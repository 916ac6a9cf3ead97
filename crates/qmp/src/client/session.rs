//! A session that another process goes on with: taken apart where the first one stops, or found by the second one after
//! the first was cut off.
//!
//! ```text
//!                suspend                            resume
//!   Client ────────────────► Session ─────────────────────────────► Client: no byte is lost, none is said twice
//!                            (what was read, what is unsaid)
//!
//!   Client ─────► killed                            recover
//!                            (nothing is known) ──────────────────► Client: "\xFF" ends what was half-said,
//!                                                                   what begins in the middle is garbage
//! ```

use super::{Client, Phase};
use crate::frame::{FrameReader, MAX_FRAME};
use crate::message::Message;

/// What goes from one process to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Whether out-of-band execution was negotiated.
    pub oob: bool,
    /// The id of the next command. Replies to earlier ones may still come; nobody waits for them any more.
    pub next_id: u64,
    /// What was read and is no message yet.
    pub unread: Vec<u8>,
    /// The place is lost: what was read, and what follows it, is the rest of a message that was given up.
    pub given_up: bool,
    /// What is still to be written.
    pub unsent: Vec<u8>,
}

impl Client {
    /// Takes the session out, if capabilities are negotiated; a client that negotiates is of no use to anybody else. This
    /// one is over afterwards.
    pub fn suspend(&mut self) -> Option<Session> {
        if !self.is_ready() {
            return None;
        }
        self.phase = Phase::Refused;
        self.pending.clear();
        let (mut unread, mut given_up) = self.frames.take_rest();
        if let Some(first) = self.recovering.take().filter(|first| !first.is_over()) {
            (unread, given_up) = (first.bytes, true);
        }
        Some(Session { oob: self.oob, next_id: self.next_id, unread, given_up, unsent: self.take_output() })
    }

    /// Goes on with a session where another client stopped.
    pub fn resume(session: Session) -> Client {
        let Session { oob, next_id, unread, given_up, unsent } = session;
        let mut frames = if given_up { FrameReader::in_the_middle(MAX_FRAME) } else { FrameReader::new() };
        frames.feed(&unread);
        Client { frames, phase: Phase::Ready, oob, next_id, output: unsent, ..Client::new(oob) }
    }

    /// Goes on with a session in which another client was cut off, perhaps in the middle of a message of either side.
    ///
    /// What it left half-said is ended with the byte 0xFF, and the error that this gives is taken out. The peer's first
    /// line counts if it is a message as a whole; if not, it is garbage. `next_id` must be one that the other client did
    /// not come to.
    pub fn recover(oob: bool, next_id: u64) -> Client {
        let client = Client::resume(Session { oob, next_id, unsent: vec![0xFF], ..Session::default() });
        Client { recovering: Some(Box::default()), ..client }
    }
}

/// The first line after a process was cut off, until it is clear whether it is whole.
#[derive(Debug, Default)]
pub(super) struct FirstLine {
    bytes: Vec<u8>,
    over: bool,
}

impl FirstLine {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn feed(&mut self, bytes: &[u8], frames: &mut FrameReader) {
        self.bytes.extend_from_slice(bytes);
        let is_there = bytes.contains(&b'\n');
        if is_there || self.bytes.len() > frames.limit() {
            self.end(frames);
        }
    }

    /// No more of it will come, or need to.
    pub(super) fn end(&mut self, frames: &mut FrameReader) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !is_whole(line.trim_ascii_end()) {
            *frames = FrameReader::in_the_middle(frames.limit());
        }
        frames.feed(&bytes);
    }
}

/// Whether a line is a message and nothing else. The rest of a message never is: it closes a bracket that it did not open,
/// or begins in a string, whose end then opens one that has no end on the line.
fn is_whole(line: &[u8]) -> bool {
    line.starts_with(b"{")
        && matches!(Message::decode(line), Ok(Message::Event(_) | Message::Reply(_) | Message::Greeting(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Incoming;
    use proptest::prelude::*;

    const GREETING: &[u8] = br#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

    /// What a guest could have written is in a string of the second.
    const STREAM: &str = concat!(
        "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"STOP\"}\r\n",
        "{\"event\": \"X\", \"data\": {\"message\": \"{\\\"event\\\": \\\"FORGED\\\"}\", \"more\": {\"event\": 1}}}\r\n",
        "{\"event\": \"RESUME\"}\r\n",
        "{\"return\": {}, \"id\": 2}\r\n",
        "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\r\n",
    );

    fn ready() -> Client {
        let mut client = Client::new(true);
        client.feed(GREETING);
        client.feed(b"\r\n{\"return\": {}, \"id\": 1}\r\n");
        while client.next_incoming().is_some() {}
        assert!(client.is_ready());
        client.take_output();
        client
    }

    fn events(client: &mut Client) -> Vec<String> {
        std::iter::from_fn(|| client.next_incoming())
            .filter_map(|incoming| match incoming {
                Incoming::Event(event) => Some(event.name.to_string()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_client_that_negotiates_is_not_taken_apart() {
        assert_eq!(Client::new(true).suspend(), None);
    }

    #[test]
    fn what_was_asked_and_not_written_yet_is_written_by_the_next() {
        let mut client = ready();
        let id = client.execute("query-status", None).unwrap();
        let session = client.suspend().unwrap();
        assert_eq!((session.next_id, session.oob), (id + 1, true));
        let mut next = Client::resume(session);
        assert_eq!(next.take_output(), b"{\"execute\": \"query-status\", \"id\": 2}\r\n");
        // Who asked is gone: the answer is nobody's, and the next command has an id of its own.
        next.feed(b"{\"return\": {}, \"id\": 2}\r\n");
        assert!(matches!(next.next_incoming(), Some(Incoming::Stray(_))));
        assert_eq!(next.execute("stop", None), Ok(3));
    }

    #[test]
    fn after_a_cut_the_error_about_what_was_half_said_is_nobodys() {
        let mut client = Client::recover(true, 1 << 32);
        assert_eq!(client.take_output(), [0xFF]);
        let id = client.execute("query-status", None).unwrap();
        client.feed(b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray\"}}\r\n");
        assert!(matches!(client.next_incoming(), Some(Incoming::Stray(_))));
        client.feed(b"{\"return\": {}, \"id\": 4294967296}\r\n");
        assert!(
            matches!(client.next_incoming(), Some(Incoming::Reply { id: answered, result: Ok(_) }) if answered == id)
        );
    }

    #[test]
    fn a_client_that_recovers_can_be_taken_apart_as_well() {
        let mut client = Client::recover(false, 9);
        client.feed(b"\"guest\": true}}\r");
        let session = client.suspend().unwrap();
        assert!(session.given_up);
        let mut next = Client::resume(session);
        next.feed(b"\n{\"event\": \"STOP\"}\r\n");
        assert_eq!(events(&mut next), ["STOP"]);
    }

    proptest! {
        #[test]
        fn wherever_a_session_is_taken_apart_nothing_is_lost(cut in 0..STREAM.len(), noise in any::<bool>()) {
            // A message that is given up, before, must not change that.
            let noise: &[u8] = if noise { b"{\"a\": ]\r\n" } else { b"" };
            let stream = [noise, STREAM.as_bytes()].concat();
            let (before, after) = stream.split_at(cut);
            let mut first = ready();
            first.feed(before);
            let mut all = events(&mut first);
            let mut second = Client::resume(first.suspend().unwrap());
            all.extend(events(&mut second));
            second.feed(after);
            all.extend(events(&mut second));
            prop_assert_eq!(all, ["STOP", "X", "RESUME", "SHUTDOWN"]);
        }

        #[test]
        fn wherever_a_process_is_cut_off_the_next_one_finds_the_following_line(cut in 0..STREAM.len(), split in 0..STREAM.len()) {
            let mut client = Client::recover(false, 100);
            let rest = &STREAM.as_bytes()[cut..];
            let (one, two) = rest.split_at(split.min(rest.len()));
            client.feed(one);
            let mut all = events(&mut client);
            client.feed(two);
            all.extend(events(&mut client));
            // A message that is there whole counts; one that was begun is lost, and the rest of it is no message.
            let whole = STREAM[..cut].ends_with('\n') || cut == 0;
            let from = if whole { cut } else { cut + STREAM[cut..].find('\n').unwrap() };
            let expected: Vec<&str> = ["STOP", "X", "RESUME", "SHUTDOWN"]
                .into_iter()
                .filter(|name| STREAM[from..].contains(&format!("\"event\": \"{name}\"")))
                .collect();
            prop_assert_eq!(all, expected);
        }
    }
}
