//! What the page asks of machines: how each is, its hour and its past, over a restart too; and what Prometheus reads.

use crate::daemon::{History, dialling, emit};
use crate::http::Site;
use crate::program::{Scratch, run, stderr};
use qev_qmp::Json;
use qev_record::Kind;

/// What stands in an answer behind these names and numbers.
fn at(json: &Json, path: &[&str]) -> String {
    let mut found = Some(json.clone());
    for name in path {
        found = found.and_then(|json| match name.parse::<usize>() {
            Ok(n) => {
                let mut elements = Vec::new();
                json.elements(|element| elements.push(element.to_owned()));
                elements.get(n).and_then(|element| Json::parse(element).ok())
            }
            Err(_) => json.get(name),
        });
    }
    found.map(|json| json.string().unwrap_or_else(|| json.as_text().to_owned())).unwrap_or_default()
}

fn ask(site: &Site, path: &str) -> Json {
    let answer = site.get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    Json::parse(answer.body.trim()).unwrap()
}

/// Asks until the answer is so: the view follows the journal, it does not lead it.
fn until(site: &Site, path: &str, member: &[&str], expected: &str) -> Json {
    let deadline = std::time::Instant::now() + crate::daemon::PATIENCE;
    loop {
        let answer = ask(site, path);
        if at(&answer, member) == expected {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "no {expected} at {member:?} of {}", answer.as_text());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Two machines: web1 whose guest panicked, and db1 to which nothing happened but a balloon that moved.
fn story(scratch: &Scratch) -> (History, [crate::program::Running; 2]) {
    let mut history = History::of(scratch);
    let machines = ["db1", "web1"].map(|name| {
        let machine = dialling(scratch, name, &["--panic", "pause"]);
        history.kind(&Kind::State, name);
        machine
    });
    let sent = run(&["send", &scratch.path("web1"), "panic"]);
    assert!(sent.status.success(), "{}", stderr(&sent));
    history.event("STOP", "web1");
    let balloon = r#"{"event": "BALLOON_CHANGE", "data": {"actual": 1048576}}"#;
    let sent = run(&["send", &scratch.path("db1"), "emit", balloon]);
    assert!(sent.status.success(), "{}", stderr(&sent));
    history.event("BALLOON_CHANGE", "db1");
    (history, machines)
}

#[test]
fn the_worst_machine_comes_first_with_what_is_known_of_it_over_a_restart_too() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let (_history, machines) = story(&scratch);
    let panicked = |site: &Site| {
        let answer = until(site, "/api/v1/machines", &["machines", "1", "latest", "balloon", "actual"], "1048576");
        let web1 = |member: &[&str]| at(&answer, &[&["machines", "0"], member].concat());
        assert_eq!(web1(&["machine"]), "web1", "{}", answer.as_text());
        assert_eq!(web1(&["severity"]), "critical");
        assert_eq!(web1(&["worst", "event"]), "GUEST_PANICKED");
        assert_eq!(web1(&["latest", "panic", "action"]), "pause");
        assert_eq!(at(&answer, &["machines", "1", "machine"]), "db1");
        let one = ask(site, "/api/v1/machines/web1");
        assert_eq!(at(&one, &["worst"]), web1(&["worst"]));
        let named = ask(site, "/api/v1/machines?machine=d*");
        assert_eq!(
            (at(&named, &["machines", "0", "machine"]), at(&named, &["machines", "1"])),
            ("db1".into(), "".into())
        );
        answer
    };
    let answer = panicked(&site);
    assert_eq!(at(&answer, &["machines", "0", "latest", "run_state"]), "guest-panicked");
    assert_eq!(at(&answer, &["machines", "0", "state"]), "attached");

    // All of it is gone with the next daemon, which knows it from the journal.
    let Site { daemon, token, .. } = site;
    daemon.kill();
    drop(machines);
    let site = Site::again(&scratch, &token);
    let answer = panicked(&site);
    assert_eq!(at(&answer, &["machines", "0", "state"]), "unknown");
    site.daemon.stop();
}

#[test]
fn a_machine_over_time_its_neighbours_and_how_many_there_were() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let (mut history, machines) = story(&scratch);
    let lanes = ask(&site, "/api/v1/machines/web1/timeline?since=-1h");
    let states = [at(&lanes, &["run_state", "0", "state"]), at(&lanes, &["run_state", "1", "state"])];
    assert_eq!(states, ["running", "guest-panicked"], "{}", lanes.as_text());
    assert_eq!((at(&lanes, &["panics", "0", "action"]), at(&lanes, &["complete"])), ("pause".into(), "true".into()));
    let lanes = ask(&site, "/api/v1/machines/db1/timeline?points=8");
    assert_eq!(at(&lanes, &["balloon", "0", "actual"]), "1048576", "{}", lanes.as_text());

    let web1 = until(&site, "/api/v1/machines/web1", &["latest", "panic", "action"], "pause");
    let panic = at(&web1, &["latest", "panic", "seq"]);
    let context = ask(&site, &format!("/api/v1/events/{panic}/context"));
    assert_eq!(at(&context, &["record", "event"]), "GUEST_PANICKED");
    assert_eq!(at(&context, &["joined", "0", "why"]), "QEMU stopped the guest for the panic", "{}", context.as_text());
    assert_eq!(at(&context, &["before", "0", "kind"]), "attached");

    // Four of attaching, four events.
    emit(&scratch, "db1", "POWERDOWN");
    history.event("POWERDOWN", "db1");
    let sum = |query: &str| {
        let bars = ask(&site, &format!("/api/v1/histogram?buckets=1{query}"));
        assert_eq!(at(&bars, &["complete"]), "true", "{}", bars.as_text());
        ["debug", "info", "notice", "warning", "error", "critical"]
            .map(|severity| at(&bars, &["buckets", "0", severity]).parse::<u64>().unwrap_or_default())
            .iter()
            .sum::<u64>()
    };
    assert_eq!(sum(""), 8);
    assert_eq!(sum("&machine=db1"), 4);
    assert_eq!(sum("&event=STOP"), 1);
    assert_eq!(sum("&event=STOP&others=true"), 5);
    assert_eq!(sum("&kind=state"), 2);
    assert_eq!(sum("&where=data.action%3Dpause"), 1);
    assert_eq!(sum("&since=-2h&until=-1h"), 0);
    drop(machines);
    site.daemon.stop();
}

#[test]
fn what_is_asked_wrongly_is_told_so_that_it_can_be_put_right() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    for (path, status, expected) in [
        ("/api/v1/machines/nobody", 404, "there is no machine 'nobody'"),
        ("/api/v1/machines/%1B%5B2J/timeline", 404, r"there is no machine '\u{1b}[2J'"),
        ("/api/v1/machines/%FF", 400, "the address is no UTF-8 text"),
        ("/api/v1/machines?machines=a", 400, "did you mean machine?"),
        ("/api/v1/machines/a/timeline?points=3", 400, "expected a whole number from 8 to 2000"),
        ("/api/v1/machines/a/timeline?since=soon", 400, "since=soon: "),
        ("/api/v1/histogram?buckets=201", 400, "expected a whole number from 1 to 200"),
        ("/api/v1/histogram?since=-1h&until=-2h", 400, "since is behind until"),
        ("/api/v1/events/1/context", 404, "there is no record 1: the last one is 0"),
        ("/api/v1/events/x/context", 400, "'x' is no sequence number"),
        ("/api/v1/events/%FF", 400, "the address is no UTF-8 text"),
    ] {
        let detail = site.get(path).problem(status);
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    site.daemon.stop();
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for_and_only_to_who_has_a_token() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let machine = dialling(&scratch, "a\"b", &[]);
    History::of(&scratch).kind(&Kind::Attached, "a\"b");
    let text = site.get("/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.body.contains("\nqev_machines{state=\"attached\"} 1\n"), "{}", text.body);
    let open = site.get_with("/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    let stranger = crate::http::say(&site.address, &format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", site.address));
    stranger.problem(401);
    drop(machine);
    site.daemon.stop();
}

/// Starts a process that looks like a QEMU: what discovery reads is its command line.
fn process_that_looks_like_a_qemu(arguments: &[&str]) -> std::process::Child {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    let mut command = Command::new("sh");
    command.arg0("qemu-system-x86_64").args(["-c", "echo; read x"]).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Its command line can be read once it runs; `spawn` may return earlier.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn lists_the_qemus_that_are_not_attached_with_the_line_that_attaches_them() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let mut qemu = process_that_looks_like_a_qemu(&["-name", "left-alone"]);
    let pid = qemu.id().to_string();
    let answer = ask(&site, "/api/v1/discover");
    let mut found = None;
    answer.get("qemus").unwrap().elements(|element| {
        let one = Json::parse(element).unwrap();
        if at(&one, &["pid"]) == pid {
            found = Some(one);
        }
    });
    let found = found.unwrap_or_else(|| panic!("no process {pid} in {}", answer.as_text()));
    assert_eq!(at(&found, &["name"]), "left-alone");
    assert_eq!(at(&found, &["attached"]), "false");
    let line = at(&found, &["attach"]);
    assert!(line.contains(&scratch.path("a.sock")), "{line}");
    drop(qemu.stdin.take());
    qemu.wait().unwrap();
    site.daemon.stop();
}
