//! What a server must live through: whatever a client sends, a later request is answered.

use proptest::prelude::*;
use qev_qmp::json::print::Layout;
use qev_qmp::server::Session;
use qev_qmp::{Greeting, Json, Object, QemuVersion};

/// The ids of the requests that reached the embedder.
fn served(bytes: &[u8], chunk: usize) -> Vec<i64> {
    let greeting = Greeting { version: QemuVersion::new(7, 2, 22), package: String::new(), capabilities: vec![] };
    let mut session = Session::new(&greeting, Layout::Line);
    let mut served = Vec::new();
    session.feed(b"{'execute': 'qmp_capabilities'}");
    assert_eq!(session.next_request(), None);
    for chunk in bytes.chunks(chunk.max(1)) {
        session.feed(chunk);
        while let Some(request) = session.next_request() {
            served.extend(request.id.as_ref().and_then(qev_qmp::Value::as_i64));
            session.respond(request.id, Ok(Object::new().into()));
        }
    }
    // Whatever was answered, it was answered in JSON.
    for line in String::from_utf8(session.take_output()).unwrap().split_terminator("\r\n") {
        Json::parse(line).unwrap();
    }
    served
}

fn any_request() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"execute": "query-status", "id": 7}"#.to_owned()),
        Just(r#"{'execute':'balloon','arguments':{'value':1},'id':7}"#.to_owned()),
        Just("{\r\n    \"id\": 7,\r\n    \"execute\": \"a{\\\"}[\"\r\n}".to_owned()),
        r#"[a-z {}\[\]:,"\\]{0,40}"#.prop_map(|text| {
            let arguments = Object::new().with("x", text);
            Object::new()
                .with("execute", "x")
                .with("arguments", arguments)
                .with("id", 7)
                .print(qev_qmp::json::print::Order::Given, Layout::Line)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn requests_are_the_same_however_their_bytes_are_split(
        requests in prop::collection::vec((any_request(), prop_oneof![Just("\n"), Just("")]), 1..8),
        chunk in 1_usize..100,
    ) {
        let stream: String = requests.iter().map(|(text, end)| format!("{text}{end}")).collect();
        prop_assert_eq!(served(stream.as_bytes(), chunk), vec![7; requests.len()]);
    }

    #[test]
    fn a_request_broken_off_anywhere_and_ended_by_the_resync_byte_does_not_cost_the_next(
        text in any_request(),
        cut in any::<prop::sample::Index>(),
        next in any_request(),
        chunk in 1_usize..100,
    ) {
        let cut = cut.index(text.len());
        let stream = [&text.as_bytes()[..cut], b"\xFF\n", next.as_bytes()].concat();
        prop_assert_eq!(served(&stream, chunk), [7]);
    }

    #[test]
    fn garbage_and_the_resync_byte_do_not_cost_the_next(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        next in any_request(),
        chunk in 1_usize..100,
    ) {
        let stream = [&garbage[..], b"\xFF\n", next.as_bytes()].concat();
        prop_assert_eq!(served(&stream, chunk).pop(), Some(7));
    }
}
