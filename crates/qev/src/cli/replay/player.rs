//! The service behind a replay: it emits what was recorded when it is due, and answers what was answered.
//!
//! ```text
//!            first client has negotiated        the recording's end is over
//!   Waiting ────────────────────────────► Playing ─────────────────────────► Over: the server ends
//!                                            ▲ └── --loop, after a second ──┐
//!                                            └────────────────────────────┘
//! ```

use super::recording::Recording;
use qev_link::{Context, Service};
use qev_qmp::server::Request;
use qev_qmp::{QmpError, Value};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long after its end a recording begins again. So even one of no length does not fill a client's memory.
const AGAIN: Duration = Duration::from_secs(1);

/// So many events are emitted before clients are looked after again.
const AT_ONCE: usize = 256;

/// How many times as fast as it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speed(f64);

/// The text is no speed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotASpeed(String);

impl fmt::Display for NotASpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.0.escape_debug();
        write!(f, "'{given}' is not a speed: expected a number from 0.001 to 1000000, such as 10 or 0.5")
    }
}

impl std::error::Error for NotASpeed {}

impl FromStr for Speed {
    type Err = NotASpeed;

    fn from_str(text: &str) -> Result<Speed, NotASpeed> {
        let number = text.strip_suffix('x').unwrap_or(text).parse().ok();
        number.filter(|n| (0.001..=1e6).contains(n)).map(Speed).ok_or_else(|| NotASpeed(text.to_owned()))
    }
}

impl Speed {
    /// How long it takes to play this much.
    fn played_in(self, recorded: Duration) -> Duration {
        Duration::try_from_secs_f64(recorded.as_secs_f64() / self.0).unwrap_or(Duration::MAX)
    }

    /// How much is played in this time.
    fn recorded_in(self, played: Duration) -> Duration {
        Duration::try_from_secs_f64(played.as_secs_f64() * self.0).unwrap_or(Duration::MAX)
    }
}

/// A recording, and how far it is played.
#[derive(Debug)]
pub(super) struct Player {
    recording: Recording,
    speed: Speed,
    looping: bool,
    begun: Option<Duration>,
    next: usize,
    over: bool,
}

impl Player {
    pub(super) fn new(recording: Recording, speed: Speed, looping: bool) -> Player {
        Player { recording, speed, looping, begun: None, next: 0, over: false }
    }

    /// When the next event is to be emitted, or all of it is over.
    fn due(&self) -> Option<Duration> {
        let at = self.recording.events.get(self.next).map_or(self.recording.length, |(at, _)| *at);
        Some(self.begun?.saturating_add(self.speed.played_in(at)))
    }

    /// How far it is, in the recording's time.
    fn position(&self, now: Duration) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| self.speed.recorded_in(now.saturating_sub(begun)))
    }
}

impl Service for Player {
    fn execute(&mut self, context: &mut Context<'_>, request: Request) -> Result<Value, QmpError> {
        let position = self.position(context.now());
        self.recording.replies.answer(&request.command, &request.arguments, position)
    }

    fn negotiated(&mut self, context: &mut Context<'_>) {
        self.begun.get_or_insert(context.now());
    }

    fn deadline(&self) -> Option<Duration> {
        self.due().filter(|_| !self.over)
    }

    fn wake(&mut self, context: &mut Context<'_>) {
        for _ in 0..AT_ONCE {
            if self.due().is_none_or(|due| due > context.now()) {
                return;
            }
            let Some((_, event)) = self.recording.events.get(self.next) else {
                self.over = !self.looping;
                self.next = 0;
                self.begun = Some(context.now().saturating_add(AGAIN));
                return;
            };
            self.next += 1;
            context.emit(event.clone());
        }
    }

    fn exit_status(&self) -> Option<i32> {
        self.over.then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_link::{Client, ConnectOptions, EventItem, MonitorOptions, Server};
    use tokio::time::Instant;

    const LINES: &str = r#"{"t": 10, "dir": ">", "msg": {"execute": "query-status"}}
{"t": 10, "dir": "<", "msg": {"return": {"running": true}}}
{"t": 12, "dir": "<", "msg": {"timestamp": {"seconds": 7, "microseconds": 1}, "event": "BALLOON_CHANGE", "data": {"actual":  1}}}
{"t": 12.5, "dir": "<", "msg": {"timestamp": {"seconds": 7, "microseconds": 1}, "event": "BALLOON_CHANGE", "data": {"actual":  2}}}
{"t": 13, "dir": ">", "msg": {"execute": "query-status"}}
{"t": 13, "dir": "<", "msg": {"return": {"running": false}}}
{"t": 15, "dir": ">", "msg": {"execute": "quit"}}
"#;

    async fn play(speed: &str, looping: bool) -> (Server<Player>, Client, qev_link::Events) {
        let recording = Recording::parse("r", LINES).unwrap();
        let player = Player::new(recording, speed.parse().unwrap(), looping);
        let greeting = crate::cli::simulate::greeting("7.2.22".parse().unwrap());
        let server = Server::with_service(greeting, player).unthrottled().start().await.unwrap();
        // Nobody is there yet, so nothing is played.
        tokio::time::sleep(Duration::from_secs(100)).await;
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        server.over(theirs, MonitorOptions::default()).await.unwrap();
        let (client, events) = Client::over(ours, ConnectOptions::default()).await.unwrap();
        (server, client, events)
    }

    async fn heard(events: &mut qev_link::Events) -> String {
        match events.next().await {
            EventItem::Event(event) => event.to_line(),
            EventItem::Ended(_) => "ended".to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn balloon(actual: i64) -> String {
        format!(
            r#"{{"timestamp": {{"seconds": 7, "microseconds": 1}}, "event": "BALLOON_CHANGE", "data": {{"actual":  {actual}}}}}"#
        )
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_unchanged_and_at_the_recordings_pace() {
        for (speed, first, second, end) in
            [("1", 2000, 2500, 5000), ("2x", 1000, 1250, 2500), ("0.5", 4000, 5000, 10_000)]
        {
            let (mut server, _client, mut events) = play(speed, false).await;
            let start = Instant::now();
            let elapsed = || (start.elapsed() + Duration::from_micros(1)).as_millis();
            assert_eq!((heard(&mut events).await, elapsed()), (balloon(1), first));
            assert_eq!((heard(&mut events).await, elapsed()), (balloon(2), second));
            assert_eq!((heard(&mut events).await, elapsed()), ("ended".to_owned(), end));
            assert_eq!(server.ended().await, qev_link::server::Ended::Exited(0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_is_answered_as_it_was_at_that_time() {
        let (_server, client, mut events) = play("1", false).await;
        let status = async || client.execute("query-status", None).await.unwrap().to_string();
        assert_eq!(status().await, r#"{"running": true}"#);
        heard(&mut events).await;
        heard(&mut events).await;
        assert_eq!(status().await, r#"{"running": true}"#);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(status().await, r#"{"running": false}"#);
        let error = client.execute("query-name", None).await.unwrap_err().to_string();
        assert!(error.contains("CommandNotFound"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_begins_again_a_second_after_its_end() {
        let (_server, _client, mut events) = play("1", true).await;
        let start = Instant::now();
        for round in 0..3 {
            assert_eq!(heard(&mut events).await, balloon(1));
            assert_eq!(start.elapsed().as_secs(), 2 + 6 * round);
            assert_eq!(heard(&mut events).await, balloon(2));
        }
    }

    #[test]
    fn a_speed_is_a_number_that_makes_sense() {
        assert_eq!("10".parse(), Ok(Speed(10.0)));
        assert_eq!("0.5x".parse(), Ok(Speed(0.5)));
        for text in ["", "fast", "0", "-1", "inf", "1e9"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
        assert_eq!(Speed(0.001).played_in(Duration::MAX), Duration::MAX);
    }
}
