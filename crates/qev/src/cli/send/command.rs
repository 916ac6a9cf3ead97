//! The command of `qev send`: a name, or a whole request as QMP has it.

use qev_qmp::Json;
use qev_qmp::json::NotJson;
use qev_record::plain;
use std::fmt;

/// What is to be executed.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) name: String,
    /// Those of a whole request.
    pub(super) arguments: Option<Json>,
    pub(super) band: Band,
}

/// Whether a command waits for those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Band {
    /// `execute`
    In,
    /// `exec-oob`
    Out,
}

/// How a request is written.
const WRITE: &str = r#"'{"execute": "device_del", "arguments": {"id": "d1"}}', or the name and the arguments: device_del '{"id": "d1"}'"#;

/// The text is not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommandError {
    /// It begins as an object and is none.
    NotJson(NotJson),
    /// There is no command in it.
    NoExecute,
    /// QMP has no such member in a request.
    Member(String),
    /// The arguments are not an object.
    Arguments,
    /// The name of a command has no spaces, and no `=`.
    Name(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::NotJson(error) => write!(f, "{error}; write {WRITE}"),
            CommandError::NoExecute => {
                write!(f, "the member 'execute', the name of the command, is missing; write {WRITE}")
            }
            CommandError::Member(name) => {
                let name = plain::name(name);
                write!(f, "a request has no member '{name}', only execute or exec-oob, arguments and id; write {WRITE}")
            }
            CommandError::Arguments => write!(f, "the member 'arguments' is not an object; write {WRITE}"),
            CommandError::Name(name) => {
                write!(f, "'{}' is not the name of a command; write {WRITE}", plain::name(name))
            }
        }
    }
}

impl std::error::Error for CommandError {}

/// Reads a name, or a whole request.
pub(super) fn parse(text: &str) -> Result<Command, CommandError> {
    let text = text.trim();
    if !text.starts_with(['{', '[', '"']) {
        return match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '=') {
            true => Err(CommandError::Name(text.to_owned())),
            false => Ok(Command { name: text.to_owned(), arguments: None, band: Band::In }),
        };
    }
    let json = Json::parse(text).map_err(CommandError::NotJson)?;
    let mut unknown = None;
    let known = ["execute", "exec-oob", "arguments", "id"];
    json.members(|name, _| {
        if !known.contains(&name) {
            unknown = unknown.take().or(Some(name.to_owned()));
        }
    });
    if let Some(name) = unknown {
        return Err(CommandError::Member(name));
    }
    let (name, band) = match (json.get("execute"), json.get("exec-oob")) {
        (Some(name), None) => (name, Band::In),
        (None, Some(name)) => (name, Band::Out),
        _ => return Err(CommandError::NoExecute),
    };
    let name = name.string().ok_or(CommandError::NoExecute)?;
    let arguments = json.get("arguments");
    if arguments.as_ref().is_some_and(|arguments| !arguments.as_text().starts_with('{')) {
        return Err(CommandError::Arguments);
    }
    Ok(Command { name, arguments, band })
}

/// The arguments are not what a command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArgumentsError {
    NotJson(NotJson),
    NotAnObject,
}

impl fmt::Display for ArgumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgumentsError::NotJson(error) => {
                write!(f, "{error}; expected an object in single quotes, such as '{{\"id\": \"d1\"}}'")
            }
            ArgumentsError::NotAnObject => f.write_str("expected an object: {\"name\": value, …}"),
        }
    }
}

impl std::error::Error for ArgumentsError {}

/// Reads the arguments of a command.
pub(super) fn arguments(text: &str) -> Result<Json, ArgumentsError> {
    let json = Json::parse(text).map_err(ArgumentsError::NotJson)?;
    if json.value().as_object().is_none() {
        return Err(ArgumentsError::NotAnObject);
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: &str, arguments: Option<&str>) {
        let command = parse(text).unwrap();
        assert_eq!(command.name, name, "{text}");
        assert_eq!(command.arguments.map(|arguments| arguments.as_text().to_owned()).as_deref(), arguments, "{text}");
    }

    fn check_wrong(text: &str, expected: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
        assert!(error.ends_with(WRITE), "{error}");
    }

    #[test]
    fn a_command_is_a_name_or_a_request() {
        check("query-status", "query-status", None);
        check(r#"{"execute": "query-status"}"#, "query-status", None);
        let recover = parse(r#"{"exec-oob": "migrate-recover", "arguments": {"uri": "u"}}"#).unwrap();
        assert_eq!((&*recover.name, recover.band), ("migrate-recover", Band::Out));
        check(r#" {"execute":"device_del","arguments":{"id":"d1"},"id":7}"#, "device_del", Some(r#"{"id":"d1"}"#));
    }

    #[test]
    fn what_is_no_command_is_told_how_to_write_one() {
        check_wrong(r#"{"execute": "stop""#, "not JSON at byte ");
        check_wrong("{execute: stop}", "not JSON at byte ");
        check_wrong(r#"{"id": 1}"#, "the member 'execute', the name of the command, is missing");
        check_wrong(r#"["stop"]"#, "the member 'execute', the name of the command, is missing");
        check_wrong(r#"{"execute": "stop", "args": {}}"#, "a request has no member 'args'");
        check_wrong(r#"{"execute": "stop", "arguments": [1]}"#, "the member 'arguments' is not an object");
        check_wrong("device_del id=d1", "'device_del id=d1' is not the name of a command");
        check_wrong("", "'' is not the name of a command");
        check_wrong(r#"{"execute": "a", "exec-oob": "b"}"#, "the member 'execute'");
    }
}
