//! A command that a client of a shared monitor had executed, as a record says it.

use crate::plain;
use qev_qmp::{Json, Object};

/// A command, who wanted it, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Its name.
    pub command: String,
    /// Its arguments, as they are to be kept.
    pub arguments: Option<Json>,
    /// How many bytes of arguments are not kept, because they are too long.
    pub left_out: usize,
    /// The process that wanted it, if it is known.
    pub pid: Option<u32>,
    /// The user that wanted it.
    pub uid: u32,
    /// `ok`, the class of QEMU's error, or `unanswered`.
    pub result: String,
}

impl Audit {
    pub(super) fn sentence(&self) -> String {
        let (command, uid) = (plain::name(&self.command), self.uid);
        let by = match self.pid {
            Some(pid) => format!("process {pid} of user {uid}"),
            None => format!("a process of user {uid}"),
        };
        match self.result.as_str() {
            "ok" => format!("{by} executed {command}"),
            "unanswered" => format!("{by} sent {command}, which was not answered"),
            class => format!("{by} sent {command}, which failed: {}", plain::name(class)),
        }
    }

    pub(super) fn data(&self) -> Json {
        let mut by = Object::new();
        if let Some(pid) = self.pid {
            by.insert("pid", i64::from(pid));
        }
        by.insert("uid", i64::from(self.uid));
        let mut data = Object::new().with("command", self.command.as_str());
        if let Some(arguments) = &self.arguments {
            data.insert("arguments", arguments.value());
        }
        if self.left_out > 0 {
            data.insert("left_out", u64::try_from(self.left_out).unwrap_or(u64::MAX));
        }
        Json::from(&data.with("by", by).with("result", self.result.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: Option<&str>, pid: Option<u32>, result: &str, sentence: &str, data: &str) {
        let arguments = arguments.map(|text| Json::parse(text).unwrap());
        let audit =
            Audit { command: "stop".to_owned(), arguments, left_out: 0, pid, uid: 7, result: result.to_owned() };
        assert_eq!(audit.sentence(), sentence);
        assert_eq!(audit.data().value(), Json::parse(data).unwrap().value());
    }

    #[test]
    fn who_did_what_is_said_in_a_sentence_and_in_data() {
        let data = r#"{"command": "stop", "by": {"pid": 1, "uid": 7}, "result": "ok"}"#;
        check(None, Some(1), "ok", "process 1 of user 7 executed stop", data);
        let data = r#"{"command": "stop", "arguments": {"a": 1}, "by": {"uid": 7}, "result": "GenericError"}"#;
        let sentence = "a process of user 7 sent stop, which failed: GenericError";
        check(Some(r#"{"a": 1}"#), None, "GenericError", sentence, data);
        let data = r#"{"command": "stop", "by": {"uid": 7}, "result": "unanswered"}"#;
        check(None, None, "unanswered", "a process of user 7 sent stop, which was not answered", data);
    }
}
