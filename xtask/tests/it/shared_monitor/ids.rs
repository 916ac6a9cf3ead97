//! Ten thousand commands of twenty clients, whose ids are the same: every value goes to whom it belongs.

use std::thread;

use super::{Client, NEGOTIATE, NEGOTIATE_OOB, Shared};

const CLIENTS: u64 = 20;
const COMMANDS: u64 = 500;

/// Numbers that look like chance, and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One client's part. What is not known QEMU names in its answer, so that every answer can be told from every other.
fn ask(mut client: Client, number: u64, ahead: u64, version: &str) {
    let mut chance = Chance(number);
    let mut asked = 0;
    while asked < COMMANDS {
        let mut expected = Vec::new();
        let mut requests = String::new();
        for _ in 0..=chance.below(ahead) {
            let id = match chance.below(4) {
                0 => "1".to_owned(),
                1 => "\"a\"".to_owned(),
                2 => "null".to_owned(),
                _ => format!("{{\"n\": {asked}}}"),
            };
            let (command, answer) = match chance.below(4) {
                0 => ("\"query-name\"".to_owned(), format!("{{\"return\": {{\"name\": \"web1\"}}, \"id\": {id}}}")),
                1 => ("\"query-version\"".to_owned(), format!("{{\"return\": {version}, \"id\": {id}}}")),
                2 => {
                    let line = format!(
                        "\"human-monitor-command\", \"arguments\": {{\"command-line\": \"c{number}-{asked}\"}}"
                    );
                    let answer = format!("unknown command: 'c{number}-{asked}'\\r\\n");
                    (line, format!("{{\"return\": \"{answer}\", \"id\": {id}}}"))
                }
                _ => {
                    let desc = format!("The command c{number}-{asked} has not been found");
                    let error = format!("{{\"class\": \"CommandNotFound\", \"desc\": \"{desc}\"}}");
                    (format!("\"c{number}-{asked}\""), format!("{{\"id\": {id}, \"error\": {error}}}"))
                }
            };
            requests.push_str(&format!("{{\"execute\": {command}, \"id\": {id}}}"));
            expected.push(answer);
            asked += 1;
        }
        client.say(requests.as_bytes());
        for expected in expected {
            assert_eq!(client.reply(), expected);
        }
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn ten_thousand_commands_of_twenty_clients_with_the_same_ids_get_their_own_values() {
    let shared = Shared::start(&["-M", "none"], &["--allow", "operate"]);
    let mut direct = Client::connect(&shared.direct, NEGOTIATE);
    direct.say(b"{\"execute\": \"query-version\"}");
    let version = direct.reply();
    let version = version.strip_prefix("{\"return\": ").and_then(|rest| rest.strip_suffix('}')).unwrap();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (path, version) = (&shared.path, version);
            scope.spawn(move || {
                let (negotiate, ahead) = if number % 2 == 0 { (NEGOTIATE, 3) } else { (NEGOTIATE_OOB, 12) };
                ask(Client::connect(path, negotiate), number, ahead, version);
            });
        }
    });
}
