//! What is behind the monitors: a [`Service`] with a state of its own, or [`Commands`] made of closures.
//!
//! One task owns the service, so nothing in it needs a lock. It is asked in four ways, and each may emit events through
//! its [`Context`]:
//!
//! ```text
//!   a request of a client ──► execute ──► its result goes to that client, behind the events that it emitted
//!   a client has negotiated ► negotiated
//!   the time has come ──────► wake
//!   the embedder ───────────► Server::call
//! ```

use super::hub::Hub;
use qev_qmp::server::Request;
use qev_qmp::{ErrorClass, Event, Greeting, Object, QmpError, Timestamp, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What executes commands, and lives in time.
///
/// Times are durations since the server's start, by tokio's clock. Nothing here may block: every client waits for it.
pub trait Service: Send + 'static {
    /// Executes one command. Events emitted meanwhile go out before the reply, as QEMU's do.
    ///
    /// # Errors
    ///
    /// What the client is to be told: [`unknown_command`] for a command that is not known.
    fn execute(&mut self, context: &mut Context<'_>, request: Request) -> Result<Value, QmpError>;

    /// A client of the monitor that the context names has negotiated: from now on it gets events.
    fn negotiated(&mut self, _context: &mut Context<'_>) {}

    /// When [`Service::wake`] is to be called next; asked again after every call of anything here.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// The time of the deadline has come. The next deadline is to lie behind it.
    fn wake(&mut self, _context: &mut Context<'_>) {}

    /// Once this is there, the service has ended: what was said is written out, then all connections are closed.
    fn exit_status(&self) -> Option<i32> {
        None
    }
}

/// The server, as a service sees it during one call.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) hub: &'a mut Hub,
    pub(super) now: Duration,
    pub(super) monitor: Option<&'a str>,
}

impl Context<'_> {
    /// The time since the server's start. It stands still during a call.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What the server's clock shows: for an event that happens now.
    pub fn timestamp(&self) -> Timestamp {
        self.hub.timestamp(self.now)
    }

    /// The name of the monitor whose client asks; nothing when no client does.
    pub fn monitor(&self) -> Option<&str> {
        self.monitor
    }

    /// What clients are greeted with.
    pub fn greeting(&self) -> &Greeting {
        self.hub.greeting()
    }

    /// Emits an event, with the timestamp that it has or without one, to every client of every monitor that has
    /// negotiated: at once, or when the throttle lets it.
    pub fn emit(&mut self, event: Event) {
        self.hub.emit(event, self.now);
    }
}

/// QEMU's error for a command that it does not know.
pub fn unknown_command(command: &str) -> QmpError {
    QmpError::new(ErrorClass::CommandNotFound, format!("The command {command} has not been found"))
}

type Handler = Box<dyn FnMut(&mut Context<'_>, &Object) -> Result<Value, QmpError> + Send>;

/// A service made of closures, one a command. It answers `query-commands` by itself.
#[derive(Default)]
pub struct Commands {
    handlers: BTreeMap<String, Registered>,
}

struct Registered {
    handler: Handler,
    oob: bool,
}

impl Commands {
    /// No commands yet.
    pub fn new() -> Commands {
        Commands::default()
    }

    /// Adds a command, or replaces the one of that name. With `oob` it may be executed out of band too.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        oob: bool,
        handler: impl FnMut(&mut Context<'_>, &Object) -> Result<Value, QmpError> + Send + 'static,
    ) {
        self.handlers.insert(name.into(), Registered { handler: Box::new(handler), oob });
    }

    /// What `query-commands` returns: these, and the two that are always there.
    fn names(&self) -> Value {
        let always = ["qmp_capabilities", "query-commands"];
        let mut names: Vec<&str> = self.handlers.keys().map(String::as_str).chain(always).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| Object::new().with("name", name).into()).collect::<Vec<Value>>().into()
    }
}

impl Service for Commands {
    fn execute(&mut self, context: &mut Context<'_>, request: Request) -> Result<Value, QmpError> {
        let Request { command, arguments, oob, .. } = request;
        match self.handlers.get_mut(&command) {
            Some(registered) if oob && !registered.oob => Err(no_oob(&command)),
            Some(registered) => (registered.handler)(context, &arguments),
            None if command != "query-commands" => Err(unknown_command(&command)),
            None if oob => Err(no_oob(&command)),
            None => Ok(self.names()),
        }
    }
}

fn no_oob(command: &str) -> QmpError {
    QmpError::generic(format!("The command {command} does not support OOB"))
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::QemuVersion;

    fn hub() -> Hub {
        let greeting =
            Greeting { version: QemuVersion::new(7, 2, 22), package: String::new(), capabilities: Vec::new() };
        Hub::new(greeting, crate::Clock::starting_at(Timestamp::from_micros(0)), 1 << 20, Box::new(|_| {}))
    }

    fn execute(commands: &mut Commands, command: &str, oob: bool) -> Result<Value, QmpError> {
        let mut hub = hub();
        let mut context = Context { hub: &mut hub, now: Duration::from_millis(1500), monitor: Some("m") };
        let request = Request { command: command.to_owned(), arguments: Object::new(), id: None, oob };
        commands.execute(&mut context, request)
    }

    #[test]
    fn closures_are_found_by_name_and_see_their_context() {
        let mut commands = Commands::new();
        commands.register("when", false, |context, _| {
            assert_eq!(context.now(), Duration::from_millis(1500));
            assert_eq!(context.timestamp(), Timestamp { seconds: 1, microseconds: 500_000 });
            assert_eq!(context.greeting().version.minor, 2);
            Ok(context.monitor().unwrap_or("nobody").into())
        });
        assert_eq!(execute(&mut commands, "when", false), Ok("m".into()));
        let error = execute(&mut commands, "what", false).unwrap_err();
        assert_eq!(error.to_string(), "CommandNotFound: The command what has not been found");
        let error = execute(&mut commands, "when", true).unwrap_err();
        assert_eq!(error.to_string(), "GenericError: The command when does not support OOB");
    }

    #[test]
    fn the_names_are_those_that_are_registered() {
        let mut commands = Commands::new();
        commands.register("stop", false, |_, _| Ok(Object::new().into()));
        let names = execute(&mut commands, "query-commands", false).unwrap().to_string();
        assert_eq!(names, r#"[{"name": "qmp_capabilities"}, {"name": "query-commands"}, {"name": "stop"}]"#);
    }
}
