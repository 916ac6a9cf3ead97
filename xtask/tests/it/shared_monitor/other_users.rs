//! Another user, really another: shut out by the socket's mode, or let in as the configuration says.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use xtask::lab::monitor::Monitor;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::{QEMU, SETPRIV, SOCAT, is_root};
use xtask::workspace;

use super::until;

/// The user `nobody`, and its group.
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// What another user hears that says this, and then says nothing more.
fn as_nobody(path: &Path, said: &str) -> Output {
    let mut command = Command::new(SETPRIV.path().unwrap());
    command.args(NOBODY).arg(SOCAT.path().unwrap()).args(["-t5", "-"]).arg(format!("UNIX-CONNECT:{}", path.display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who is not let in does not read it.
    let _ = child.stdin.take().unwrap().write_all(said.as_bytes());
    child.wait_with_output().unwrap()
}

const ASKED: &str =
    "{\"execute\": \"qmp_capabilities\"}{\"execute\": \"query-name\"}{\"execute\": \"stop\"}{\"execute\": \"cont\"}";

/// A daemon with this configuration that holds a QEMU; what the other user hears.
fn heard(config: &str) -> (Output, Output) {
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
    until("qev listens", || attach.exists());
    let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
    command.args(["-M", "none", "-nodefaults", "-display", "none", "-name", "web1", "-chardev"]);
    command
        .arg(format!("socket,id=qev,path={},reconnect=1", attach.display()))
        .args(["-mon", "chardev=qev,mode=control"]);
    let direct = scratch.socket("direct").unwrap();
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", direct.display()));
    let _qemu = Running::start(command, QEMU.name).unwrap();
    let shared = state.join("share").join("web1.qmp");
    until("the monitor is shared", || shared.exists());
    let output = as_nobody(&shared, ASKED);
    // Root may do what the default says, whatever nobody may.
    assert!(Monitor::connect(&shared).unwrap().execute("{\"execute\": \"query-name\"}").is_ok());
    let log = Command::new(workspace::qev_program().unwrap())
        .args(["log", "-o", "json", "--state-dir"])
        .arg(&state)
        .output()
        .unwrap();
    (output, log)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs a real QEMU and root: run by cargo xtask test"]
fn by_default_another_user_does_not_get_in() {
    let (output, _) = heard("");
    assert_eq!(text(&output), "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("Permission denied"), "{told}");
}

#[test]
#[ignore = "needs a real QEMU and root: run by cargo xtask test"]
fn another_user_that_is_let_in_may_do_what_its_policy_says() {
    let open = "[share]\nmode = \"0666\"\naudit = true\n";
    let name = "{\"return\": {\"name\": \"web1\"}}";
    let refused = |command: &str, rule: &str| format!("{command} is refused by qev's rule '{rule}'");

    let (output, _) = heard(open);
    let heard_all = text(&output);
    assert!(heard_all.contains(name) && heard_all.contains(&refused("stop", "read")), "{heard_all}");

    let (output, _) = heard(&format!("{open}[[share.policy]]\nuser = \"nobody\"\nallow = \"events\"\n"));
    let heard_all = text(&output);
    assert!(!heard_all.contains(name) && heard_all.contains(&refused("query-name", "events")), "{heard_all}");

    let policy = "[[share.policy]]\nuser = \"nobody\"\nallow = \"operate\"\ncommands = [\"stop\"]\n";
    let (output, log) = heard(&format!("{open}{policy}"));
    let heard_all = text(&output);
    assert!(
        heard_all.contains("\"event\": \"STOP\"") && heard_all.contains(&refused("cont", "operate")),
        "{heard_all}"
    );
    let log = text(&log);
    let audited: Vec<&str> = log.lines().filter(|line| line.contains("\"kind\":\"audit\"")).collect();
    assert!(audited.len() == 1 && audited[0].contains(" of user 65534 executed stop"), "{log}");
}
