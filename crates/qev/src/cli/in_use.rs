//! What is said of a monitor that is in use, when the client is qev's own daemon: the machine is watched by its name.

use crate::daemon::control::client;
use crate::daemon::roster::MachineStatus;
use crate::exit::{Exit, Failure};
use crate::places::state_dir_to_read;
use qev_link::ConnectError;
use qev_record::plain;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Turns the error of a connection into a failure. Of a monitor that is in use the daemon is asked whether it has attached it.
pub(crate) async fn failure(error: ConnectError) -> Failure {
    let ConnectError::Held { socket, .. } = &error else { return error.into() };
    match attached(socket).await {
        Some(machine) => Failure::new(Exit::Held, by_name(socket, &machine)),
        None => error.into(),
    }
}

/// The machine of the daemon whose monitor is at this socket.
async fn attached(socket: &str) -> Option<MachineStatus> {
    let state_dir = state_dir_to_read().ok()?;
    let (machines, _) = client::machines(&state_dir).await.ok()?;
    let mut machines = machines.iter().filter_map(|machine| MachineStatus::parse(&machine.status));
    machines.find(|machine| machine.state == "attached" && machine.way == "dial-out" && is_same(&machine.place, socket))
}

fn is_same(place: &str, socket: &str) -> bool {
    let file = |path: &str| std::fs::metadata(Path::new(path)).ok().map(|file| (file.dev(), file.ino()));
    place == socket || file(place).is_some_and(|of_place| file(socket) == Some(of_place))
}

fn by_name(socket: &str, machine: &MachineStatus) -> String {
    let name = plain::name(&machine.machine);
    let mut sentence = format!("{socket} is in use by qev's daemon, which has attached it as {name}: qev watch {name}");
    if let Some(share) = &machine.share {
        let path = plain::Plain::new(&share.path, usize::MAX);
        sentence.push_str(&format!(" shows its events, and its shared monitor is at {path}"));
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::roster::SharedAt;
    use qev_qmp::Timestamp;

    #[test]
    fn the_name_of_the_machine_is_told_and_where_it_is_shared() {
        let since = Timestamp { seconds: 0, microseconds: 0 };
        let machine = MachineStatus::not_attached("web1", "attached", since, "/run/a.qmp".to_owned(), String::new());
        let expected = "/run/a.qmp is in use by qev's daemon, which has attached it as web1: qev watch web1";
        assert_eq!(by_name("/run/a.qmp", &machine), expected);
        let share = Some(SharedAt { path: "/run/qev/share/web1.qmp".into(), clients: 0 });
        let shared = MachineStatus { share, ..machine };
        let more = " shows its events, and its shared monitor is at /run/qev/share/web1.qmp";
        assert_eq!(by_name("/run/a.qmp", &shared), format!("{expected}{more}"));
        assert!(is_same("/proc/self/root/", "/") && !is_same("/run", "/tmp") && is_same("@vm", "@vm"));
    }
}
