//! Another user, really another: shut out by the socket's mode, or let in as the configuration says.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use xtask::lab::monitor::Monitor;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::lab::transcript::{Missing, Transcript};
use xtask::programs::{QEMU, SETPRIV, SOCAT, is_root};
use xtask::workspace;

use super::{PATIENCE, until};

/// The user `nobody`, and its group.
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// What another user hears that says this, until as many requests are answered or he is shut out; and what socat complains of.
fn as_nobody(path: &Path, said: &str, answers: usize) -> (String, String) {
    let mut command = Command::new(SETPRIV.path().unwrap());
    command.args(NOBODY).arg(SOCAT.path().unwrap()).arg("-").arg(format!("UNIX-CONNECT:{}", path.display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    let heard = Transcript::of(child.stdout.take().unwrap());
    // Who is not let in does not read it.
    let _ = typed.write_all(said.as_bytes());
    let is_answer =
        |line: &&str| line.ends_with('\n') && (line.contains("\"return\": ") || line.contains("\"error\": "));
    let all = |text: &str| (text.split_inclusive('\n').filter(is_answer).count() == answers).then_some(());
    let waited = heard.wait_for(PATIENCE, all);
    assert_ne!(waited, Err(Missing::TimedOut), "{}", heard.text());
    drop(typed);
    heard.wait_for_end(PATIENCE).unwrap();
    let output = child.wait_with_output().unwrap();
    (heard.text(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const ASKED: &str =
    "{\"execute\": \"qmp_capabilities\"}{\"execute\": \"query-name\"}{\"execute\": \"stop\"}{\"execute\": \"cont\"}";
const ANSWERS: usize = 4;

/// A daemon with this configuration that holds a QEMU; what the other user hears, and so many commands that were kept.
fn heard(config: &str, audits: usize) -> ((String, String), Vec<String>) {
    assert!(is_root(), "only root can become another user: run this as root");
    let scratch = Scratch::new().unwrap();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (state, attach, file) = (scratch.file("state"), scratch.socket("a.sock").unwrap(), scratch.file("config.toml"));
    std::fs::write(&file, format!("run-dir = \"{}\"\n{config}", scratch.path().display())).unwrap();
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
    command.arg("serve").arg("--state-dir").arg(&state).arg("--attach").arg(&attach).args(["--http", "none"]);
    let _daemon = Running::start(
        {
            command.arg("--config").arg(&file);
            command
        },
        "qev serve",
    )
    .unwrap();
    let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
    command.args(["-M", "none", "-nodefaults", "-display", "none", "-name", "web1", "-chardev"]);
    command
        .arg(format!("socket,id=qev,path={},reconnect=1", attach.display()))
        .args(["-mon", "chardev=qev,mode=control"]);
    let direct = scratch.socket("direct").unwrap();
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", direct.display()));
    let _qemu = Running::start(command, QEMU.name).unwrap();
    let shared = state.join("share").join("web1.qmp");
    until("the monitor is shared", || UnixStream::connect(&shared).is_ok());
    let heard = as_nobody(&shared, ASKED, ANSWERS);
    // Root may do what the default says, whatever nobody may.
    assert!(Monitor::connect(&shared).unwrap().execute("{\"execute\": \"query-name\"}").is_ok());
    let audited = || {
        let mut log = Command::new(workspace::qev_program().unwrap());
        let log = log.args(["log", "-o", "json", "--state-dir"]).arg(&state).output().unwrap();
        let of_audit = |line: &&str| line.contains("\"kind\":\"audit\"");
        text(&log).lines().filter(of_audit).map(str::to_owned).collect::<Vec<_>>()
    };
    until("the commands are in the journal", || audited().len() >= audits);
    (heard, audited())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs a real QEMU and root: run by cargo xtask test"]
fn by_default_another_user_does_not_get_in() {
    let ((heard, told), _) = heard("", 0);
    assert_eq!(heard, "");
    assert!(told.contains("Permission denied"), "{told}");
}

#[test]
#[ignore = "needs a real QEMU and root: run by cargo xtask test"]
fn another_user_that_is_let_in_may_do_what_its_policy_says() {
    let open = "[share]\nmode = \"0666\"\naudit = true\n";
    let name = "{\"return\": {\"name\": \"web1\"}}";
    let refused = |command: &str, rule: &str| format!("{command} is refused by qev's rule '{rule}'");

    let ((heard_all, _), audited) = heard(open, 0);
    assert!(audited.is_empty(), "{audited:?}");
    assert!(heard_all.contains(name) && heard_all.contains(&refused("stop", "read")), "{heard_all}");

    let ((heard_all, _), _) = heard(&format!("{open}[[share.policy]]\nuser = \"nobody\"\nallow = \"events\"\n"), 0);
    assert!(!heard_all.contains(name) && heard_all.contains(&refused("query-name", "events")), "{heard_all}");

    let policy = "[[share.policy]]\nuser = \"nobody\"\nallow = \"operate\"\ncommands = [\"stop\"]\n";
    let ((heard_all, _), audited) = heard(&format!("{open}{policy}"), 1);
    assert!(
        heard_all.contains("\"event\": \"STOP\"") && heard_all.contains(&refused("cont", "operate")),
        "{heard_all}"
    );
    assert!(audited.len() == 1 && audited[0].contains(" of user 65534 executed stop"), "{audited:?}");
}
