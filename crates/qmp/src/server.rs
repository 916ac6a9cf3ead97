//! The server's side of one client's session: requests in, replies and events out.
//!
//! ```text
//!                     qmp_capabilities
//!   Negotiating ───────────────────────────► Ready
//!     every other command is an error          commands go to the embedder, events to the client
//! ```
//!
//! What is wrong with a request, and the negotiation, the session answers itself, in QEMU's words. What remains is a
//! [`Request`]: whoever executes it answers with [`Session::respond`].

use crate::dialect::Dialect;
use crate::error::{ErrorClass, QmpError};
use crate::event::Event;
use crate::json::print::{Layout, Order};
use crate::json::request::RequestReader;
use crate::json::{Json, Object, Value};
use crate::message::Greeting;

/// A command that a client wants executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The command's name.
    pub command: String,
    /// Its arguments; none is the same as an empty object.
    pub arguments: Object,
    /// To be given back in the reply, whatever it is.
    pub id: Option<Value>,
    /// Whether it is to be executed at once, past those that wait.
    pub oob: bool,
}

/// The server's side of one client's session.
#[derive(Debug)]
pub struct Session {
    requests: RequestReader,
    layout: Layout,
    offers_oob: bool,
    oob: bool,
    negotiated: bool,
    output: Vec<u8>,
}

impl Session {
    /// A session that begins with this greeting: it is in the output at once.
    pub fn new(greeting: &Greeting, layout: Layout) -> Session {
        let mut session = Session {
            requests: RequestReader::new(),
            layout,
            offers_oob: greeting.offers_oob(),
            oob: false,
            negotiated: false,
            output: Vec::new(),
        };
        session.write(&greeting.to_object());
        session
    }

    /// Takes the bytes that were read. Call [`Session::next_request`] until it has no more before reading again.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.requests.feed(bytes);
    }

    /// The next command to execute. Whatever else the bytes hold is answered on the way.
    pub fn next_request(&mut self) -> Option<Request> {
        loop {
            let document = match self.requests.next_document()? {
                Ok(document) => document,
                Err(error) => {
                    self.respond(None, Err(QmpError::generic(error.to_string())));
                    continue;
                }
            };
            let id = document.get("id").cloned();
            match check(document, self.oob).and_then(|request| self.admit(request)) {
                Ok(Some(request)) => return Some(request),
                Ok(None) => self.respond(id, Ok(Object::new().into())),
                Err(error) => self.respond(id, Err(error)),
            }
        }
    }

    /// Answers a request, each once. Replies to requests that are not out of band must go out in the order of the requests:
    /// that is the caller's part, and [`Session::next_request`] may write the answer to a broken one at once.
    pub fn respond(&mut self, id: Option<Value>, result: Result<Value, QmpError>) {
        let mut reply = match result {
            Ok(value) => Object::new().with("return", value),
            Err(error) => Object::new().with("error", error.to_value()),
        };
        if let Some(id) = id {
            reply.insert("id", id);
        }
        self.write(&reply);
    }

    /// The same with what another server returned, whose text is passed on as it is, on one line. Of an error the class and
    /// the sentence are.
    pub fn pass_on(&mut self, id: Option<Value>, result: Result<&Json, &QmpError>) {
        let returned = match result {
            Ok(returned) => returned,
            Err(error) => return self.respond(id, Err(error.clone())),
        };
        let mut reply = String::with_capacity(returned.as_text().len() + 64);
        reply.push_str("{\"return\": ");
        push_on_one_line(&mut reply, returned.as_text());
        if let Some(id) = id {
            reply.push_str(", \"id\": ");
            reply.push_str(&id.print(Order::Qemu, Layout::Line));
        }
        reply.push('}');
        append_line(&mut self.output, &reply);
    }

    /// How many bytes of memory hold what was read of a request that is not whole yet.
    pub fn held(&self) -> usize {
        self.requests.held()
    }

    /// Whether the client has negotiated: from then on it gets events.
    pub fn is_negotiated(&self) -> bool {
        self.negotiated
    }

    /// Whether the client has enabled out-of-band execution.
    pub fn has_oob(&self) -> bool {
        self.oob
    }

    /// How events and replies are laid out for this client.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What is to be written to the client.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Before negotiation there is one command only, and behind it there is that one no more. `None`: it is answered.
    fn admit(&mut self, request: Request) -> Result<Option<Request>, QmpError> {
        match (self.negotiated, request.command == "qmp_capabilities") {
            (true, false) => Ok(Some(request)),
            (false, false) => Err(QmpError::new(
                ErrorClass::CommandNotFound,
                "Expecting capabilities negotiation with 'qmp_capabilities'",
            )),
            (_, true) if request.oob => Err(QmpError::generic("The command qmp_capabilities does not support OOB")),
            (negotiated, true) => {
                // Its arguments are looked at first, even when there is nothing left to negotiate.
                let oob = enabled_oob(&request.arguments, self.offers_oob)?;
                if negotiated {
                    return Err(QmpError::new(
                        ErrorClass::CommandNotFound,
                        "Capabilities negotiation is already complete, command ignored",
                    ));
                }
                self.oob = oob;
                self.negotiated = true;
                Ok(None)
            }
        }
    }

    fn write(&mut self, message: &Object) {
        append_line(&mut self.output, &message.print(Order::Qemu, self.layout));
    }
}

/// An event as the clients of one layout get it, its line end included.
pub fn encode_event(event: &Event, layout: Layout) -> Vec<u8> {
    let mut line = Vec::new();
    append_line(&mut line, &event.print(Dialect::Qemu, layout));
    line
}

/// QEMU's monitor writes CRLF for every line end, those inside a pretty message too.
fn append_line(output: &mut Vec<u8>, message: &str) {
    for line in message.split('\n') {
        output.extend_from_slice(line.as_bytes());
        output.extend_from_slice(b"\r\n");
    }
}

/// What a monitor with `pretty=on` returned is spread over lines: nothing but the white space at their ends and beginnings is
/// changed, and no string has a line end in it.
fn push_on_one_line(out: &mut String, text: &str) {
    let mut lines = text.split('\n');
    out.push_str(lines.next().unwrap_or_default().trim_end());
    for line in lines {
        if out.ends_with(',') {
            out.push(' ');
        }
        out.push_str(line.trim());
    }
}

/// Checks the members of a request, in the order in which QEMU's hash table has them.
fn check(document: Value, allow_oob: bool) -> Result<Request, QmpError> {
    let Value::Object(mut document) = document else {
        return Err(QmpError::generic("QMP input must be a JSON object"));
    };
    let mut verb: Option<&str> = None;
    for (name, value) in document.in_qemu_order() {
        match name {
            "execute" | "exec-oob" if name == "execute" || allow_oob => {
                if value.as_str().is_none() {
                    return Err(QmpError::generic(format!("QMP input member '{name}' must be a string")));
                }
                if let Some(verb) = verb {
                    return Err(QmpError::generic(format!("QMP input member '{name}' clashes with '{verb}'")));
                }
                verb = Some(name);
            }
            "arguments" if value.as_object().is_none() => {
                return Err(QmpError::generic("QMP input member 'arguments' must be an object"));
            }
            "arguments" | "id" => {}
            _ => return Err(QmpError::generic(format!("QMP input member '{name}' is unexpected"))),
        }
    }
    let Some(oob) = verb.map(|verb| verb == "exec-oob") else {
        return Err(QmpError::generic("QMP input lacks member 'execute'"));
    };
    let command = document.remove(if oob { "exec-oob" } else { "execute" });
    Ok(Request {
        command: command.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
        arguments: match document.remove("arguments") {
            Some(Value::Object(arguments)) => arguments,
            _ => Object::new(),
        },
        id: document.remove("id"),
        oob,
    })
}

/// What the arguments of `qmp_capabilities` enable.
fn enabled_oob(arguments: &Object, offered: bool) -> Result<bool, QmpError> {
    let mut oob = false;
    if let Some(enable) = arguments.get("enable") {
        let Some(enable) = enable.as_array() else {
            return Err(QmpError::generic("Invalid parameter type for 'enable', expected: array"));
        };
        for (i, capability) in enable.iter().enumerate() {
            match capability.as_str() {
                Some("oob") if offered => oob = true,
                Some("oob") => return Err(QmpError::generic("Capability oob not available")),
                // The name in the message is QEMU's own slip: elements of an array have none.
                Some(other) => {
                    return Err(QmpError::generic(format!("Parameter 'null' does not accept value '{other}'")));
                }
                None => {
                    let desc = format!("Invalid parameter type for 'enable[{i}]', expected: string");
                    return Err(QmpError::generic(desc));
                }
            }
        }
    }
    match arguments.unexpected(&["enable"]) {
        Some(name) => Err(QmpError::generic(format!("Parameter '{name}' is unexpected"))),
        None => Ok(oob),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::QemuVersion;

    fn passed_on(text: &str, id: Value) -> String {
        let version = QemuVersion::new(7, 2, 22);
        let greeting = Greeting { version, package: String::new(), capabilities: Vec::new() };
        let mut session = Session::new(&greeting, Layout::Line);
        session.take_output();
        session.pass_on(Some(id), Ok(&Json::parse(text).unwrap()));
        String::from_utf8(session.take_output()).unwrap()
    }

    #[test]
    fn what_is_passed_on_is_text_and_the_id_is_printed_as_qemu_does() {
        let text = r#"{"n": 0.10000000000000001, "big": 18446744073709551615, "x": inf, "s": "\u00e9  "}"#;
        let expected = format!("{{\"return\": {text}, \"id\": 1000}}\r\n");
        assert_eq!(passed_on(text, Value::Double(1e3)), expected);
    }

    #[test]
    fn a_pretty_reply_is_passed_on_on_one_line() {
        let pretty = "{\r\n    \"a\": [\r\n        1,\r\n        {\r\n        }\r\n    ],\r\n    \"b\": \"x,  \"\r\n}";
        let expected = "{\"return\": {\"a\": [1, {}], \"b\": \"x,  \"}, \"id\": null}\r\n";
        assert_eq!(passed_on(pretty, Value::Null), expected);
    }
}
