//! What a QEMU 7.2 answers to odd and malformed lines, measured; a [`Session`] answers the same to the byte.

use qev_qmp::json::print::Layout;
use qev_qmp::server::Session;
use qev_qmp::{ErrorClass, Greeting, Json, Object, QemuVersion, QmpError, Value};

fn session() -> Session {
    let greeting = Greeting {
        version: QemuVersion::new(7, 2, 22),
        package: "Debian".to_owned(),
        capabilities: vec!["oob".to_owned()],
    };
    let mut session = Session::new(&greeting, Layout::Line);
    session.take_output();
    session
}

/// The few commands of the machine behind the monitor that the lines use.
fn execute(command: &str, arguments: &Object, oob: bool) -> Result<Value, QmpError> {
    match command {
        "query-status" if oob => Err(QmpError::generic("The command query-status does not support OOB")),
        "query-status" => match arguments.iter().next() {
            Some((name, _)) => Err(QmpError::generic(format!("Parameter '{name}' is unexpected"))),
            None => {
                Ok(Object::new().with("running", false).with("singlestep", false).with("status", "prelaunch").into())
            }
        },
        other => Err(QmpError::new(ErrorClass::CommandNotFound, format!("The command {other} has not been found"))),
    }
}

fn answers(session: &mut Session, bytes: &[u8]) -> Vec<String> {
    session.feed(bytes);
    while let Some(request) = session.next_request() {
        let result = execute(&request.command, &request.arguments, request.oob);
        session.respond(request.id, result);
    }
    let output = String::from_utf8(session.take_output()).unwrap();
    output.split_terminator("\r\n").map(str::to_owned).collect()
}

fn sent(exchange: &Json) -> Vec<u8> {
    match exchange.get("send_hex") {
        Some(hex) => {
            let hex = hex.string().unwrap();
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
        }
        None => exchange.get("send").unwrap().string().unwrap().into_bytes(),
    }
}

/// Runs all lines through one session, as they were measured; `known` says which ones need no more than a session.
fn check(exchanges: &str, known: impl Fn(&str) -> bool) -> usize {
    let mut session = session();
    let mut compared = 0;
    for exchange in exchanges.lines().map(|line| Json::parse(line).unwrap()) {
        let sent = sent(&exchange);
        if !known(&String::from_utf8_lossy(&sent)) {
            continue;
        }
        let expected: Vec<String> = exchange
            .get("lines")
            .unwrap()
            .value()
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(answers(&mut session, &sent), expected, "to {}", sent.escape_ascii());
        compared += 1;
    }
    compared
}

#[test]
fn odd_and_malformed_lines_are_answered_in_qemus_words() {
    assert_eq!(check(include_str!("../data/requests.jsonl"), |_| true), 70);
}

#[test]
fn the_lines_of_the_first_measurement_too() {
    // The rest of them ask for a machine behind the monitor.
    let machine = ["balloon", "migrate", "acpi", "\"stop\"", "\"cont\"", "\"quit\""];
    let compared =
        check(include_str!("../data/exchanges.jsonl"), |sent| !machine.iter().any(|word| sent.contains(word)));
    assert_eq!(compared, 25);
}
