//! A client may write anything: what is broken is answered with an error or ended by a 0xFF, and what follows is executed.

use crate::strange_machines::block_on;
use crate::support::{commands, raw, raw_with};
use proptest::prelude::*;
use qev_link::MonitorOptions;
use tokio::io::AsyncWriteExt;

#[tokio::test(start_paused = true)]
async fn every_kind_of_nonsense_is_answered_and_the_next_request_is_executed() {
    let server = commands().start().await.unwrap();
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    for nonsense in
        ["}", "null ", "[1, 2]", "{}", "{\"execute\": 7}", "{\"execute\": }", "{\"a\": 1, \"a\": 2}", "\u{1}"]
    {
        client.say(nonsense).await;
        assert!(client.hear().await.contains("GenericError"), "{nonsense}");
        client.say("{'execute': 'echo', 'id': 'still there'}").await;
        client.expect(r#"{"return": {}, "id": "still there"}"#).await;
    }
}

#[tokio::test(start_paused = true)]
async fn arguments_of_a_mebibyte_are_arguments() {
    let server = commands().start().await.unwrap();
    let mut client = raw_with(&server, MonitorOptions::default(), 4 << 20).await;
    client.negotiate().await;
    let arguments = format!("{{\"x\": \"{}\"}}", "x".repeat(1 << 20));
    client.say(format!("{{\"execute\": \"echo\", \"arguments\": {arguments}}}")).await;
    client.expect(&format!("{{\"return\": {arguments}}}")).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_costs_no_other_client_anything() {
    let server = commands().start().await.unwrap();
    let mut strange = raw_with(&server, MonitorOptions::default(), 1000).await;
    let mut other = raw(&server, MonitorOptions::default()).await;
    strange.negotiate().await;
    other.negotiate().await;
    let babble = tokio::spawn(async move { while strange.stream.write_all(&[b'{'; 1000]).await.is_ok() {} });
    for id in 0..100 {
        other.say(format!("{{\"execute\": \"echo\", \"id\": {id}}}")).await;
        other.expect(&format!("{{\"return\": {{}}, \"id\": {id}}}")).await;
    }
    babble.abort();
}

/// What a client writes next.
#[derive(Clone, Debug)]
enum Written {
    Request(String),
    /// The beginning of a request, ended by 0xFF.
    Broken(Vec<u8>),
}

fn request() -> impl Strategy<Value = String> {
    let arguments = prop_oneof![
        Just(String::new()),
        Just(r#", "arguments": {"a": {"b": [1, {}, "}{\"\\"]}}"#.to_owned()),
        "[a-z \\[\\]{}:,]{0,40}".prop_map(|text| format!(", 'arguments': {{'text': '{text}', 'n': -1.5}}")),
    ];
    let command = prop_oneof![3 => Just("echo"), 1 => Just("what"), 1 => Just("stop")];
    (command, arguments)
        .prop_map(|(command, arguments)| format!("{{\"execute\": \"{command}\"{arguments}, \"id\": ID}}"))
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        3 => request().prop_map(Written::Request),
        1 => (request(), any::<prop::sample::Index>()).prop_map(|(request, at)| {
            Written::Broken(request.as_bytes()[..at.index(request.len())].to_owned())
        }),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Written::Broken),
    ]
}

proptest! {
    /// However the bytes are split, every whole request is answered, in its order, whatever was broken before it.
    #[test]
    fn no_whole_request_is_ever_lost(
        oob in any::<bool>(),
        script in prop::collection::vec(written(), 0..12),
        splits in prop::collection::vec(1usize..60, 1..40),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (id, written) in script.iter().enumerate() {
            match written {
                Written::Request(request) => {
                    bytes.extend_from_slice(request.replace("ID", &format!("\"n{id}\"")).as_bytes());
                    expected.push(format!("\"n{id}\""));
                }
                Written::Broken(part) => {
                    bytes.extend_from_slice(part);
                    bytes.push(0xFF);
                }
            }
        }
        let answered = block_on(ask(oob, bytes, splits));
        prop_assert_eq!(answered, expected);
    }
}

/// The ids of the replies to what is written in pieces of these sizes.
async fn ask(oob: bool, bytes: Vec<u8>, splits: Vec<usize>) -> Vec<String> {
    let server = commands().start().await.unwrap();
    let mut client = raw_with(&server, MonitorOptions::default(), 64).await;
    client.hear().await;
    let enable = if oob { r#"["oob"]"# } else { "[]" };
    client.say(format!(r#"{{"execute": "qmp_capabilities", "arguments": {{"enable": {enable}}}}}"#)).await;
    client.expect(r#"{"return": {}}"#).await;
    let (reader, mut writer) = tokio::io::split(client.stream);
    let write = async {
        let mut rest = bytes.as_slice();
        for size in splits.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            writer.write_all(piece).await.unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        writer.write_all(b"{\"execute\": \"echo\", \"id\": \"last\"}").await.unwrap();
    };
    let read = async {
        let mut client = crate::support::Raw::new(tokio::io::join(reader, tokio::io::sink()));
        let mut ids = Vec::new();
        loop {
            let line = client.hear().await;
            assert!(!line.is_empty(), "the connection ended");
            let reply = qev_qmp::Json::parse(&line).unwrap();
            match reply.get("id").and_then(|id| id.string()) {
                Some(id) if id == "last" => return ids,
                Some(id) if id.starts_with('n') => ids.push(format!("\"{id}\"")),
                _ => {}
            }
        }
    };
    tokio::join!(write, read).1
}
