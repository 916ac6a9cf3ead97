//! Asks a machine for its run state, after each event that may have changed it.
//!
//! ```text
//!            an event                       sent                        the answer
//!   Idle ───────────────► Due, 100 ms after ──────► Asked ──────────────────────────────► Idle
//!     ▲                   the last question          │  ▲                │
//!     │                        ▲   │                 └──┘ an event:      │ it is old, or QEMU leaves this state
//!     │                        │   └ an event: as well    it is old      │ without an event: ask again
//!     └ no answer in 10 s      └─────────────────────────────────────────┘
//! ```
//!
//! One question is under way at most, and nobody waits for its answer: events are received meanwhile. A machine that does not
//! answer is asked again after the next event.

use qev_link::Client;
use qev_qmp::{Json, RunState};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What is asked.
pub(crate) const COMMAND: &str = "query-status";

/// How long a machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it is at least from one question to the next. A guest that is reset in a loop causes no more than these.
const PAUSE: Duration = Duration::from_millis(100);

/// How soon it is asked again in a state that it leaves without an event: at first, and at last.
const SOON: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(30);

/// What `query-status` returned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    pub(super) state: RunState,
    /// The answer as it came.
    pub(super) answer: Json,
}

type Answer = Pin<Box<dyn Future<Output = Option<Status>> + Send>>;

/// The question about one machine's run state.
pub(super) struct StatusQuery {
    ask: Box<dyn FnMut() -> Answer + Send>,
    step: Step,
    /// When the last question was sent.
    asked_at: Option<Instant>,
    /// How soon it is asked again in a transient state.
    again: Duration,
}

enum Step {
    Idle,
    Due(Instant),
    Asked {
        answer: Answer,
        /// An event came meanwhile, so the answer may be from before it.
        is_old: bool,
    },
}

impl StatusQuery {
    /// A question to this machine, which was found in this state.
    pub(super) fn new(client: &Client, found: Option<&RunState>) -> StatusQuery {
        let client = client.clone();
        let ask = move || {
            let client = client.clone();
            let answer: Answer = Box::pin(async move {
                let answer = client.execute_with_timeout(COMMAND, None, PATIENCE).await.ok()?;
                Some(Status { state: RunState::from(&*answer.get("status")?.string()?), answer })
            });
            answer
        };
        StatusQuery::asking(Box::new(ask), found)
    }

    fn asking(ask: Box<dyn FnMut() -> Answer + Send>, found: Option<&RunState>) -> StatusQuery {
        let mut query = StatusQuery { ask, step: Step::Idle, asked_at: None, again: SOON };
        query.ask_again_if_transient(found);
        query
    }

    /// An event came after which the run state may be another.
    pub(super) fn ask(&mut self) {
        self.again = SOON;
        match &mut self.step {
            Step::Asked { is_old, .. } => *is_old = true,
            Step::Idle | Step::Due(_) => self.step = Step::Due(self.earliest()),
        }
    }

    /// Waits for an answer that is newer than every event after which it was asked; for ever when nothing is asked. Nothing is
    /// lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Status {
        loop {
            match &mut self.step {
                Step::Idle => std::future::pending().await,
                Step::Due(at) => {
                    sleep_until(*at).await;
                    self.asked_at = Some(Instant::now());
                    self.step = Step::Asked { answer: (self.ask)(), is_old: false };
                }
                Step::Asked { answer, is_old } => {
                    let status = answer.await;
                    let is_old = *is_old;
                    self.step = if is_old { Step::Due(self.earliest()) } else { Step::Idle };
                    if let Some(status) = status.filter(|_| !is_old) {
                        self.ask_again_if_transient(Some(&status.state));
                        return status;
                    }
                }
            }
        }
    }

    /// When the next question may be sent.
    fn earliest(&self) -> Instant {
        self.asked_at.map_or_else(Instant::now, |asked| asked + PAUSE)
    }

    fn ask_again_if_transient(&mut self, state: Option<&RunState>) {
        if state.is_some_and(RunState::is_transient) {
            self.step = Step::Due(Instant::now() + self.again);
            self.again = (self.again * 2).min(SELDOM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    /// A machine that answers when the test says so.
    #[derive(Clone, Default)]
    struct Asked(Arc<Mutex<VecDeque<oneshot::Sender<Option<Status>>>>>);

    impl Asked {
        fn query(&self, found: &str) -> StatusQuery {
            let asked = self.clone();
            let ask = move || {
                let (send, receive) = oneshot::channel();
                asked.0.lock().unwrap().push_back(send);
                let answer: Answer = Box::pin(async move { receive.await.ok().flatten() });
                answer
            };
            StatusQuery::asking(Box::new(ask), Some(&RunState::from(found)))
        }

        fn count(&self) -> usize {
            self.0.lock().unwrap().len()
        }

        fn answer(&self, state: Option<&str>) {
            let asked = self.0.lock().unwrap().pop_front().expect("nothing is asked");
            let _ = asked.send(state.map(status));
        }
    }

    fn status(state: &str) -> Status {
        let answer = Json::parse(&format!(r#"{{"status": "{state}"}}"#)).unwrap();
        Status { state: RunState::from(state), answer }
    }

    /// What is answered within this many milliseconds.
    async fn within(query: &mut StatusQuery, millis: u64) -> Option<String> {
        timeout(Duration::from_millis(millis), query.next()).await.ok().map(|status| status.state.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_is_under_way_and_events_meanwhile_ask_once_more() {
        let machine = Asked::default();
        let mut query = machine.query("running");
        assert_eq!((within(&mut query, 1000).await, machine.count()), (None, 0), "no event came");
        query.ask();
        query.ask();
        assert_eq!((within(&mut query, 1000).await, machine.count()), (None, 1));
        query.ask();
        query.ask();
        assert_eq!((within(&mut query, 1000).await, machine.count()), (None, 1));
        machine.answer(Some("paused"));
        assert_eq!((within(&mut query, 1000).await, machine.count()), (None, 1), "the answer is from before the event");
        machine.answer(Some("prelaunch"));
        assert_eq!(within(&mut query, 1000).await.as_deref(), Some("prelaunch"));
        assert_eq!((within(&mut query, 60_000).await, machine.count()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn questions_have_a_pause_between_them() {
        let machine = Asked::default();
        let mut query = machine.query("running");
        query.ask();
        assert_eq!((within(&mut query, 1).await, machine.count()), (None, 1));
        machine.answer(Some("running"));
        assert_eq!(within(&mut query, 1).await.as_deref(), Some("running"));
        query.ask();
        assert_eq!((within(&mut query, 50).await, machine.count()), (None, 0));
        assert_eq!((within(&mut query, 60).await, machine.count()), (None, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_does_not_answer_is_asked_after_the_next_event() {
        let machine = Asked::default();
        let mut query = machine.query("running");
        query.ask();
        assert_eq!((within(&mut query, 1000).await, machine.count()), (None, 1));
        machine.answer(None);
        assert_eq!((within(&mut query, 60_000).await, machine.count()), (None, 0));
        query.ask();
        assert_eq!((within(&mut query, 1000).await, machine.count()), (None, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_ends_without_an_event_is_asked_for_until_it_has_ended() {
        let machine = Asked::default();
        let mut query = machine.query("running");
        query.ask();
        assert_eq!(within(&mut query, 1).await, None);
        machine.answer(Some("finish-migrate"));
        assert_eq!(within(&mut query, 1).await.as_deref(), Some("finish-migrate"));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!((within(&mut query, seconds * 1000 - 10).await, machine.count()), (None, 0), "{seconds}");
            assert_eq!((within(&mut query, 20).await, machine.count()), (None, 1), "{seconds}");
            machine.answer(Some("finish-migrate"));
            assert_eq!(within(&mut query, 0).await.as_deref(), Some("finish-migrate"));
        }
        assert_eq!((within(&mut query, 30_010).await, machine.count()), (None, 1));
        machine.answer(Some("postmigrate"));
        assert_eq!(within(&mut query, 1).await.as_deref(), Some("postmigrate"));
        assert_eq!((within(&mut query, 120_000).await, machine.count()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_found_in_such_a_state_is_asked_too() {
        let machine = Asked::default();
        let mut query = machine.query("inmigrate");
        assert_eq!((within(&mut query, 1010).await, machine.count()), (None, 1));
    }
}
