//! A real Prometheus with our example configuration, our rules and its own tools, at a daemon with machines that call
//! themselves whatever they like.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xtask::lab::port::Port;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::{PROMETHEUS, PROMTOOL, output_of};
use xtask::workspace;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn contrib(file: &str) -> PathBuf {
    workspace::root().join("contrib/prometheus").join(file)
}

fn qev() -> Command {
    Command::new(workspace::qev_program().unwrap())
}

fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What is answered to a GET; `None` while nobody is there or the answer is no success.
fn get(address: &str, path: &str, token: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
}

/// A daemon, and a token for it.
struct Daemon {
    _running: Running,
    address: String,
    attach: PathBuf,
    token: String,
}

impl Daemon {
    fn start(scratch: &Scratch) -> Daemon {
        let (state, attach) = (scratch.file("state"), scratch.socket("attach.sock").unwrap());
        let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
        command.args(["serve", "--state-dir", text(&state), "--attach", text(&attach), "--http", "127.0.0.1:0"]);
        // Nobody's configuration is to be found.
        command.env("XDG_CONFIG_HOME", scratch.path()).env("HOME", scratch.path()).stderr(Stdio::piped());
        let mut running = Running::start(command, "qev").unwrap();
        let told = BufReader::new(running.child().stderr.take().unwrap());
        let mut address = None;
        for line in told.lines() {
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once("http://") {
                address = Some(rest.trim_end_matches('/').to_owned());
            }
            if line.contains("listening at") && address.is_some() {
                break;
            }
        }
        let address = address.expect("it says where its page is");
        let made = output_of(qev().args(["page", "--state-dir", text(&state), "--token", "prometheus"])).unwrap();
        Daemon { _running: running, address, attach, token: made.trim().to_owned() }
    }

    fn metrics(&self) -> String {
        get(&self.address, "/metrics", &self.token).expect("the daemon answers")
    }

    fn until_metrics_have(&self, line: &str) -> String {
        until(line, || Some(self.metrics()).filter(|metrics| metrics.lines().any(|known| known == line)))
    }
}

/// Names that are hard to pass on.
fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "a\"b",
        "new\nline",
        "back\\slash\\",
        "\u{202e}turned",
        "\u{1b}[2Jcleared",
        "x{y=\"z\"} 1",
        "# HELP qev_events_total mine",
        "<img src=x onerror=alert(1)>",
        "\u{0}null",
        "größe 🜏",
        "# EOF",
        "other",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("long\u{202e}\"".repeat(64 << 10 >> 3));
    names
}

/// A machine that dials the daemon, answers what it is asked, and sends an event of its own name, twice.
fn dial(attach: &Path, name: &str) -> UnixStream {
    let stream = UnixStream::connect(attach).unwrap();
    let (mut out, lines) = (stream.try_clone().unwrap(), BufReader::new(stream.try_clone().unwrap()));
    let mut say = move |message: &Value| writeln!(out, "{message}").unwrap();
    say(
        &json!({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}),
    );
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut open = 0;
        for line in lines.lines() {
            let Ok(line) = line else { return };
            let Ok(request) = serde_json::from_str::<Value>(&line) else { continue };
            let answer = match request["execute"].as_str() {
                Some("query-name") => json!({"name": name}),
                Some("query-status") => json!({"status": "running", "running": true, "singlestep": false}),
                Some("query-balloon") => json!({"actual": 1 << 20}),
                _ => json!({}),
            };
            say(&json!({"return": answer, "id": request["id"]}));
            open += 1;
            // qmp_capabilities, and the six questions.
            if open == 7 {
                for _ in 0..2 {
                    say(&json!({"timestamp": {"seconds": 1, "microseconds": 0}, "event": name, "data": {"it": name}}));
                }
                say(&json!({"event": "GUEST_PANICKED", "data": {"action": name}}));
            }
        }
    });
    stream
}

/// Has promtool look at something on its standard input; what it complains of.
fn promtool_on(input: &str, arguments: &[&str]) -> (bool, String) {
    let mut promtool = Command::new(PROMTOOL.path().unwrap());
    promtool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
#[ignore = "needs Prometheus' tools: run by cargo xtask test"]
fn promtool_finds_nothing_wrong_whatever_machines_call_themselves_and_their_events() {
    let scratch = Scratch::new().unwrap();
    let daemon = Daemon::start(&scratch);
    let names = hostile();
    let _machines: Vec<_> = names.iter().map(|name| dial(&daemon.attach, name)).collect();
    daemon.until_metrics_have(&format!("qev_machines{{state=\"attached\"}} {}", names.len()));
    let counted = |metrics: &str| metrics.lines().filter(|line| line.contains("event=\"GUEST_PANICKED\"")).count();
    let metrics =
        until("every machine's panic", || Some(daemon.metrics()).filter(|metrics| counted(metrics) == names.len()));
    let (is_good, said) = promtool_on(&metrics, &["check", "metrics"]);
    assert!(is_good && said.is_empty(), "{said}\n{metrics}");
    assert!(metrics.contains(r#"machine="a\"b",event="a\"b""#), "{metrics}");
    assert!(metrics.contains(r#"machine="new\\nline""#), "{metrics}");
    assert!(!metrics.contains('\u{202e}') && !metrics.contains('\u{1b}'), "{metrics}");
    assert!(metrics.len() < 100_000, "{} bytes", metrics.len());
    // That promtool would say something, had it something to say.
    assert!(!promtool_on("x{a=\"b} 1\n", &["check", "metrics"]).0);
}

#[test]
#[ignore = "needs Prometheus' tools: run by cargo xtask test"]
fn promtool_takes_the_rules_the_example_and_the_tests_of_the_rules() {
    let scratch = Scratch::new().unwrap();
    let promtool = PROMTOOL.path().unwrap();
    output_of(Command::new(&promtool).args(["check", "rules"]).arg(contrib("qev.rules.yml"))).unwrap();
    output_of(Command::new(&promtool).args(["test", "rules"]).arg(contrib("qev.rules.test.yml"))).unwrap();
    for file in ["qev.rules.yml", "prometheus.yml"] {
        std::fs::copy(contrib(file), scratch.file(file)).unwrap();
    }
    std::fs::write(scratch.file("qev.token"), "secret\n").unwrap();
    output_of(Command::new(&promtool).args(["check", "config"]).arg(scratch.file("prometheus.yml"))).unwrap();
}

/// A Prometheus with our example, at another address and in a hurry.
struct Prometheus {
    _running: Running,
    _port: Port,
    address: String,
}

impl Prometheus {
    fn start(scratch: &Scratch, daemon: &Daemon) -> Prometheus {
        let example = std::fs::read_to_string(contrib("prometheus.yml")).unwrap();
        let mut config = example.clone();
        for (from, to) in [("127.0.0.1:7780", &*daemon.address), ("_interval: 15s", "_interval: 1s")] {
            assert!(config.contains(from), "{from} is not in the example");
            config = config.replace(from, to);
        }
        std::fs::write(scratch.file("prometheus.yml"), config).unwrap();
        std::fs::write(scratch.file("qev.token"), format!("{}\n", daemon.token)).unwrap();
        std::fs::copy(contrib("qev.rules.yml"), scratch.file("qev.rules.yml")).unwrap();
        let port = Port::reserve().unwrap();
        let address = port.to_string();
        let mut command = process::bound_to_us(&PROMETHEUS.path().unwrap()).unwrap();
        command
            .arg(format!("--config.file={}", text(&scratch.file("prometheus.yml"))))
            .arg(format!("--storage.tsdb.path={}", text(&scratch.file("tsdb"))))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let running = Running::start(command, PROMETHEUS.name).unwrap();
        let prometheus = Prometheus { _running: running, _port: port, address };
        until("Prometheus", || get(&prometheus.address, "/-/ready", ""));
        prometheus
    }

    fn ask(&self, path: &str) -> Value {
        let answer = get(&self.address, path, "").unwrap_or_default();
        serde_json::from_str(&answer).unwrap_or_default()
    }

    /// An alert that fires, for this machine.
    fn until_fires(&self, alert: &str, machine: &str) -> Value {
        until(alert, || {
            let alerts = self.ask("/api/v1/alerts");
            let mut alerts = alerts["data"]["alerts"].as_array()?.iter();
            let is = |found: &&Value| {
                let labels = &found["labels"];
                labels["alertname"] == alert && labels["machine"] == machine && found["state"] == "firing"
            };
            alerts.find(is).cloned()
        })
    }
}

#[test]
#[ignore = "needs a real Prometheus: run by cargo xtask test"]
fn a_real_prometheus_reads_it_with_a_token_and_rules_fire_when_a_guest_panics_and_when_a_machine_is_killed() {
    let scratch = Scratch::new().unwrap();
    let daemon = Daemon::start(&scratch);
    let machines = hostile();
    let _machines: Vec<_> = machines.iter().map(|name| dial(&daemon.attach, name)).collect();
    let guest = scratch.socket("guest").unwrap();
    let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
    command.args(["simulate", "--name", "web1", "--panic", "pause", "--dial", text(&daemon.attach)]);
    command.args(["--guest", text(&guest)]).stdout(Stdio::null()).stderr(Stdio::null());
    let web1 = Running::start(command, "qev simulate").unwrap();
    daemon.until_metrics_have(&format!("qev_machines{{state=\"attached\"}} {}", machines.len() + 1));

    let prometheus = Prometheus::start(&scratch, &daemon);
    let target = until("a scrape that Prometheus could read", || {
        let targets = prometheus.ask("/api/v1/targets");
        let target = targets["data"]["activeTargets"][0].clone();
        (target["health"] == "up").then_some(target)
    });
    assert_eq!(target["lastError"], "");
    // Every machine is in it, by its cleaned name.
    until("the machines in Prometheus", || {
        let found = prometheus.ask("/api/v1/query?query=count(count%20by%20(machine)%20(qev_events_total))");
        let count = found["data"]["result"][0]["value"][1].as_str()?;
        (count.parse() == Ok(machines.len())).then_some(())
    });

    let mut send = qev();
    output_of(send.arg("send").arg(&guest).arg("panic")).unwrap();
    let alert = prometheus.until_fires("QemuGuestPanicked", "web1");
    assert_eq!(alert["annotations"]["summary"], "The guest of web1 panicked");
    assert_eq!(alert["labels"]["severity"], "critical");

    // It is killed: the first of its series is enough.
    drop(web1);
    prometheus.until_fires("QemuMachineKilled", "web1");
}
