//! Both ends against each other, and what a client writes, to the byte.

use qev_qmp::client::{Client, ExecuteError, Incoming, MAX_PENDING};
use qev_qmp::json::print::Layout;
use qev_qmp::server::{Session, encode_event};
use qev_qmp::{Dialect, Event, Greeting, Json, Message, Object, QemuVersion, Typed};

fn greeting(capabilities: &[&str]) -> Greeting {
    Greeting {
        version: QemuVersion::new(7, 2, 22),
        package: "qev".to_owned(),
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn incoming(client: &mut Client, bytes: &[u8]) -> Vec<Incoming> {
    client.feed(bytes);
    std::iter::from_fn(|| client.next_incoming()).collect()
}

fn written(client: &mut Client) -> String {
    String::from_utf8(client.take_output()).unwrap()
}

#[test]
fn what_a_client_writes() {
    for (offered, negotiation) in [
        (&["oob"][..], "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}, \"id\": 1}\r\n"),
        (&[], "{\"execute\": \"qmp_capabilities\", \"id\": 1}\r\n"),
    ] {
        let mut client = Client::new(true);
        assert_eq!(client.execute("stop", None), Err(ExecuteError::NotReady));
        let mut session = Session::new(&greeting(offered), Layout::Line);
        let heard = incoming(&mut client, &session.take_output());
        assert_eq!(heard, [Incoming::Greeting(greeting(offered))]);
        assert_eq!(written(&mut client), negotiation);
        assert!(!client.has_oob() && !client.is_ready());
        assert_eq!(incoming(&mut client, b"{\"return\": {}, \"id\": 1}\r\n"), [Incoming::Ready]);
        assert_eq!((client.is_ready(), client.has_oob()), (true, !offered.is_empty()));

        let arguments = Json::parse(r#"{"value": 1}"#).unwrap();
        assert_eq!(client.execute("balloon", Some(&arguments)), Ok(2));
        assert_eq!(written(&mut client), "{\"execute\": \"balloon\", \"arguments\": {\"value\": 1}, \"id\": 2}\r\n");
        let out_of_band = client.execute_oob("migrate-pause", None);
        if offered.is_empty() {
            assert_eq!(out_of_band, Err(ExecuteError::NoOob));
        } else {
            assert_eq!(out_of_band, Ok(3));
            assert_eq!(written(&mut client), "{\"exec-oob\": \"migrate-pause\", \"id\": 3}\r\n");
        }
        assert_eq!(written(&mut client), "");
    }
}

/// A client that has negotiated with a session.
fn pair(layout: Layout) -> (Client, Session) {
    let mut client = Client::new(true);
    let mut session = Session::new(&greeting(&["oob"]), layout);
    incoming(&mut client, &session.take_output());
    session.feed(&client.take_output());
    assert_eq!(session.next_request(), None);
    assert!(session.is_negotiated() && session.has_oob());
    assert_eq!(incoming(&mut client, &session.take_output()), [Incoming::Ready]);
    (client, session)
}

#[test]
fn a_command_goes_there_and_its_reply_comes_back() {
    for layout in [Layout::Line, Layout::Pretty] {
        let (mut client, mut session) = pair(layout);
        let id = client.execute("query-name", Some(&Json::parse("{}").unwrap())).unwrap();
        session.feed(&client.take_output());
        let request = session.next_request().unwrap();
        assert_eq!((request.command.as_str(), request.oob), ("query-name", false));

        let event = Event::new(&Typed::from(qev_qmp::event::BalloonChange::new(-1)), None, Dialect::Qemu);
        let on_the_wire = encode_event(&event, layout);
        session.respond(request.id, Ok(Object::new().with("name", "web1").into()));
        let heard = incoming(&mut client, &[on_the_wire, session.take_output()].concat());
        let [Incoming::Event(came), Incoming::Reply { id: answered, result: Ok(reply) }] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(came.typed(), event.typed());
        assert_eq!((*answered, reply.get("name").unwrap().string().as_deref()), (id, Some("web1")));
    }
}

#[test]
fn a_second_greeting_begins_anew_and_what_was_under_way_is_not_answered() {
    let (mut client, _) = pair(Layout::Line);
    let id = client.execute("query-name", None).unwrap();
    client.take_output();
    incoming(&mut client, &Session::new(&greeting(&[]), Layout::Line).take_output());
    assert_eq!(client.execute("stop", None), Err(ExecuteError::NotReady));
    let late = format!("{{\"return\": {{}}, \"id\": {id}}}\r\n");
    assert!(matches!(&incoming(&mut client, late.as_bytes())[..], [Incoming::Stray(_)]));
    assert!(written(&mut client).contains("qmp_capabilities"));
}

#[test]
fn an_error_without_an_id_is_given_to_a_command_only_when_there_is_one() {
    let error = b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, expecting value\"}}\r\n";
    let (mut client, _) = pair(Layout::Line);
    let first = client.execute("a", None).unwrap();
    assert!(matches!(&incoming(&mut client, error)[..], [Incoming::Reply { id, result: Err(_) }] if *id == first));
    client.execute("a", None).unwrap();
    client.execute("b", None).unwrap();
    assert!(matches!(&incoming(&mut client, error)[..], [Incoming::Stray(_)]));
}

#[test]
fn arguments_that_a_peer_might_not_read_are_not_sent() {
    let (mut client, _) = pair(Layout::Line);
    for arguments in ["[1]", "1", r#"{"a": -inf}"#, r#"{"a": [nan]}"#] {
        let arguments = Json::parse(arguments).unwrap();
        assert_eq!(client.execute("a", Some(&arguments)), Err(ExecuteError::NotJson));
    }
    assert_eq!(written(&mut client), "");
}

#[test]
fn so_many_commands_may_be_under_way_and_no_more() {
    let (mut client, _) = pair(Layout::Line);
    for _ in 0..MAX_PENDING {
        client.execute("a", None).unwrap();
    }
    assert_eq!(client.execute("a", None), Err(ExecuteError::TooManyPending));
}

#[test]
fn what_is_left_at_the_end_is_told() {
    let (mut client, _) = pair(Layout::Line);
    incoming(&mut client, b"{\"event\": ");
    assert_eq!(client.finish().map(|garbage| garbage.bytes), Some(10));
    assert_eq!(client.finish(), None);
}

#[test]
fn a_deeply_nested_event_needs_no_deep_stack() {
    let event = format!("{{\"event\": \"X\", \"data\": {}{}}}", "[".repeat(1023), "]".repeat(1023));
    let decoded = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
        let message = Message::decode(event.as_bytes());
        matches!(message, Ok(Message::Event(event)) if event.typed().is_ok())
    });
    assert!(decoded.unwrap().join().unwrap());
}
