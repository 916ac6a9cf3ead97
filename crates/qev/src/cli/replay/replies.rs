//! What a recording answers to commands: what was answered then.

use qev_link::server::unknown_command;
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::message::Reply;
use qev_qmp::{Json, Object, QmpError, Value};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many commands may wait for their replies in a recording; QEMU queues fewer. Older ones had none.
const MAX_WAITING: usize = 64;

/// The replies of a recording, by their commands.
#[derive(Debug, Default)]
pub(super) struct Replies {
    commands: BTreeMap<String, Vec<Answered>>,
    /// Commands whose reply is still to come, while the recording is read.
    waiting: VecDeque<Command>,
}

#[derive(Debug)]
struct Command {
    id: Option<Value>,
    name: String,
    arguments: Object,
}

#[derive(Debug)]
struct Answered {
    at: Duration,
    arguments: Object,
    result: Result<Value, QmpError>,
}

impl Replies {
    /// A client sent this.
    pub(super) fn sent(&mut self, message: &Value) {
        let Some(name) = ["execute", "exec-oob"].iter().find_map(|verb| message.get(verb)?.as_str()) else { return };
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Command {
            id: message.get("id").cloned(),
            name: name.to_owned(),
            arguments: message.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default(),
        });
    }

    /// QEMU replied this. To which command, the id says; without one, it is the first that has none either.
    pub(super) fn received(&mut self, reply: Reply, at: Duration) {
        let id = reply.id.as_ref().map(Json::value);
        let command = self.waiting.iter().position(|command| command.id == id);
        if let Some(command) = command.and_then(|index| self.waiting.remove(index)) {
            self.put(command.name, command.arguments, reply.result.map(|json| json.value()), at);
        }
    }

    /// A record of a machine's state has answers, by the command that was asked.
    pub(super) fn state(&mut self, state: &Json, at: Duration) {
        if let Value::Object(answers) = state.value() {
            for (command, answer) in answers {
                self.put(command.to_string(), Object::new(), Ok(answer), at);
            }
        }
    }

    /// Another recording begins: what was not answered in this one, never was.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    fn put(&mut self, command: String, arguments: Object, result: Result<Value, QmpError>, at: Duration) {
        // Negotiation is the server's business.
        if command != "qmp_capabilities" {
            let result = result.map(|value| as_inserted(&value));
            self.commands.entry(command).or_default().push(Answered { at, arguments, result });
        }
    }

    /// What is answered to a command at this time of the recording: what was answered last before it, else first.
    ///
    /// # Errors
    ///
    /// The error that was recorded; `CommandNotFound` for a command that does not occur.
    pub(super) fn answer(&self, command: &str, arguments: &Object, at: Duration) -> Result<Value, QmpError> {
        let Some(answered) = self.commands.get(command) else {
            return if command == "query-commands" { Ok(self.names()) } else { Err(unknown_command(command)) };
        };
        let mut same = answered.iter().filter(|answered| answered.arguments == *arguments).peekable();
        let first = same.peek().copied();
        match same.take_while(|answered| answered.at <= at).last().or(first) {
            Some(answered) => answered.result.clone(),
            None => Err(QmpError::generic(format!(
                "The recording has the command {command} with other arguments only, such as {}",
                answered.first().map(|first| first.arguments.print(Order::Given, Layout::Line)).unwrap_or_default()
            ))),
        }
    }

    fn names(&self) -> Value {
        let names = self.commands.keys().map(String::as_str).chain(["qmp_capabilities", "query-commands"]);
        names.map(|name| Object::new().with("name", name).into()).collect::<Vec<Value>>().into()
    }
}

/// A printed value as QEMU had built it. QEMU prints an object by its hash table, those of one bucket backwards; printed
/// once more as it is, they would change their places.
fn as_inserted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut inserted = Object::new();
            object.iter().rev().for_each(|(name, value)| inserted.insert(name.to_owned(), as_inserted(value)));
            inserted.into()
        }
        Value::Array(items) => items.iter().map(as_inserted).collect::<Vec<Value>>().into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Message;

    fn replies(lines: &[(&str, u64)]) -> Replies {
        let mut replies = Replies::default();
        for (line, at) in lines {
            match Message::decode(line.as_bytes()) {
                Ok(Message::Reply(reply)) => replies.received(reply, Duration::from_secs(*at)),
                _ => replies.sent(&Json::parse(line).unwrap().value()),
            }
        }
        replies
    }

    fn check(replies: &Replies, command: &str, arguments: &Object, at: u64, expected: &str) {
        let answer = replies.answer(command, arguments, Duration::from_secs(at));
        let told = answer.map_or_else(|error| error.to_string(), |value| value.to_string());
        assert_eq!(told, expected);
    }

    #[test]
    fn replies_find_their_commands_by_id_and_else_in_order() {
        let replies = replies(&[
            (r#"{"execute": "a", "id": 1}"#, 0),
            (r#"{"execute": "b", "id": {"x": 1}}"#, 0),
            (r#"{"execute": "c"}"#, 0),
            (r#"{"return": "of b", "id": {"x": 1}}"#, 1),
            (r#"{"return": "of c"}"#, 1),
            (r#"{"id": 1, "error": {"class": "DeviceNotFound", "desc": "of a"}}"#, 1),
            (r#"{"return": "of nobody", "id": 9}"#, 1),
        ]);
        check(&replies, "a", &Object::new(), 0, "DeviceNotFound: of a");
        check(&replies, "b", &Object::new(), 0, r#""of b""#);
        check(&replies, "c", &Object::new(), 0, r#""of c""#);
        check(&replies, "d", &Object::new(), 0, "CommandNotFound: The command d has not been found");
        let names = r#"[{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "qmp_capabilities"}, {"name": "query-commands"}]"#;
        check(&replies, "query-commands", &Object::new(), 0, names);
    }

    #[test]
    fn arguments_make_another_command_of_it() {
        let replies = replies(&[
            (r#"{"execute": "device_del", "arguments": {"id": "d1"}}"#, 0),
            (r#"{"return": {}}"#, 5),
            (r#"{"execute": "device_del", "arguments": {"id": "d1"}}"#, 0),
            (r#"{"error": {"class": "DeviceNotFound", "desc": "gone"}}"#, 9),
        ]);
        let id = |id: &str| Object::new().with("id", id);
        check(&replies, "device_del", &id("d1"), 0, "{}");
        check(&replies, "device_del", &id("d1"), 8, "{}");
        check(&replies, "device_del", &id("d1"), 9, "DeviceNotFound: gone");
        let other =
            r#"GenericError: The recording has the command device_del with other arguments only, such as {"id": "d1"}"#;
        check(&replies, "device_del", &id("d2"), 9, other);
    }

    #[test]
    fn a_recording_of_commands_alone_does_not_grow() {
        let mut replies = Replies::default();
        for id in 0..1000 {
            replies.sent(&Object::new().with("execute", "a").with("id", id).into());
        }
        assert_eq!(replies.waiting.len(), MAX_WAITING);
        replies.forget_waiting();
        assert!(replies.waiting.is_empty());
    }
}
