//! Which arguments of a command the audit keeps.
//!
//! Many commands take secrets, under many names: `set_password`, `object-add` of a `secret`, `qom-set`, `block_passwd`, a
//! command of the human monitor, keys that are typed into a guest, a disk's URL. New ones come with each QEMU. So this is an
//! allow list: the value of a member that is not listed here is replaced by [`NOT_KEPT`]. The names of members are kept.
//!
//! | value | kept |
//! |---|---|
//! | number, boolean, null | always, unless [`ANY_VALUE`] lists the command |
//! | string of a member in [`NAMES`] | always |
//! | string of a member in [`ADDRESSES`] | when it is a path, or the address of a socket, that has no user's name |
//! | `command-line` of `human-monitor-command` | its first word |
//! | object, array | its members, by the same rules; an item of an array by the name of the array |

use qev_qmp::{Json, Object, Value};

/// What the record has in place of a value.
const NOT_KEPT: &str = "(not kept)";

/// Members that identify something, or choose one of several words that QEMU defines.
const NAMES: &[&str] = &[
    "action",
    "actions",
    "backend",
    "backing-fmt",
    "base-node",
    "bitmap",
    "blockdev",
    "boundaries",
    "bus",
    "capability",
    "channel",
    "chardev",
    "child",
    "children",
    "command",
    "compression",
    "connected",
    "cpu-index",
    "detect-zeroes",
    "device",
    "display",
    "driver",
    "drive",
    "export",
    "fdset-id",
    "filter-node-name",
    "fmt",
    "format",
    "host",
    "id",
    "iothread",
    "job-id",
    "key-id",
    "mac",
    "memdev",
    "mode",
    "name",
    "net",
    "netdev",
    "node",
    "node-name",
    "node-names",
    "on-cbw-error",
    "on-error",
    "on-source-error",
    "on-target-error",
    "panic",
    "parent",
    "port",
    "preallocation",
    "property",
    "protocol",
    "qom-type",
    "read-only-mode",
    "reboot",
    "replaces",
    "shutdown",
    "state",
    "sync",
    "tag",
    "top-node",
    "type",
    "vcpu",
    "vmstate",
    "watchdog",
    "x-perf",
];

/// Members that hold a node's name, or the address of a file or of a socket. A URL may hold a password, as may an address that
/// begins with `json:` or `exec:`.
const ADDRESSES: &[&str] = &[
    "backing-file",
    "base",
    "file",
    "filename",
    "new-image-file",
    "path",
    "qom-path",
    "snapshot-file",
    "target",
    "top",
    "uri",
];

/// How the address of a socket begins that holds no password.
const SAFE_ADDRESSES: &[&str] = &["tcp:", "unix:", "fd:", "fdset:", "rdma:", "vsock:", "nbd://", "nbd+unix://"];

/// Commands with a value that may mean anything, a number as well.
const ANY_VALUE: &[&str] = &["qom-set"];

/// The arguments of a command, with [`NOT_KEPT`] in place of each value that may be a secret. They stay as they were written
/// when nothing is replaced; otherwise their members have QEMU's order.
pub(super) fn of(command: &str, arguments: &Json) -> Json {
    let value = arguments.value();
    let kept = keep(command, "", value.clone());
    if kept == value { arguments.clone() } else { Json::from(&kept) }
}

fn keep(command: &str, member: &str, value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let value = keep(command, &name, value);
                (name, value)
            });
            members.collect::<Object>().into()
        }
        Value::Array(items) => items.into_iter().map(|item| keep(command, member, item)).collect::<Vec<_>>().into(),
        value => match value.as_str() {
            Some(text) if is_safe(member, text) => value,
            Some(text) if (command, member) == ("human-monitor-command", "command-line") => first_word(text).into(),
            None if !ANY_VALUE.contains(&command) => value,
            _ => NOT_KEPT.into(),
        },
    }
}

fn is_safe(member: &str, text: &str) -> bool {
    let is_address = || SAFE_ADDRESSES.iter().any(|start| text.starts_with(start)) || !text.contains(':');
    let is_safe_address = || text.starts_with('/') || is_address() && !text.contains('@');
    NAMES.contains(&member) || ADDRESSES.contains(&member) && is_safe_address()
}

fn first_word(text: &str) -> String {
    match text.trim_start().split_once(char::is_whitespace) {
        Some((word, _)) => format!("{word} {NOT_KEPT}"),
        None => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, given: &str, expected: &str) {
        assert_eq!(of(command, &Json::parse(given).unwrap()).as_text(), expected, "{command}");
    }

    #[test]
    fn arguments_without_secrets_stay_as_they_were_written() {
        check("balloon", r#"{"value":  1e3}"#, r#"{"value":  1e3}"#);
        check("block-job-cancel", r#"{"device": "j0", "force": true}"#, r#"{"device": "j0", "force": true}"#);
        check("qom-get", r#"{"path": "/machine", "property": "type"}"#, r#"{"path": "/machine", "property": "type"}"#);
        check("drive-backup", r#"{"target": "/b/x@1:2.img"}"#, r#"{"target": "/b/x@1:2.img"}"#);
        check("migrate", r#"{"uri": "tcp:192.0.2.1:4444"}"#, r#"{"uri": "tcp:192.0.2.1:4444"}"#);
    }

    #[test]
    fn secrets_are_not_kept() {
        let not_kept = |command, given: &str| {
            let kept = of(command, &Json::parse(given).unwrap());
            assert!(!kept.as_text().contains("hunter2"), "{command}: {}", kept.as_text());
        };
        not_kept("set_password", r#"{"protocol": "vnc", "password": "hunter2"}"#);
        not_kept("change-vnc-password", r#"{"password": "hunter2"}"#);
        not_kept("block_passwd", r#"{"device": "d0", "password": "hunter2"}"#);
        not_kept("change", r#"{"device": "vnc", "target": "password", "arg": "hunter2"}"#);
        not_kept("object-add", r#"{"qom-type": "secret", "id": "s0", "data": "hunter2"}"#);
        not_kept("object-add", r#"{"qom-type": "secret", "id": "s0", "props": {"data": "hunter2"}}"#);
        not_kept("qom-set", r#"{"path": "/objects/s0", "property": "data", "value": "hunter2"}"#);
        not_kept("human-monitor-command", r#"{"command-line": "set_password vnc hunter2"}"#);
        not_kept(
            "blockdev-add",
            r#"{"driver": "https", "url": "https://user:hunter2@192.0.2.1/disk", "cookie": "hunter2"}"#,
        );
        not_kept("blockdev-change-medium", r#"{"id": "cd0", "filename": "json:{\"password\": \"hunter2\"}"}"#);
        not_kept("drive-mirror", r#"{"device": "d0", "file": "nbd://user:hunter2@192.0.2.1/x"}"#);
        not_kept("drive-backup", r#"{"device": "d0", "target": "ssh://user:hunter2@192.0.2.1/x"}"#);
        not_kept("migrate", r#"{"uri": "exec:sshpass -p hunter2 ssh host"}"#);
        not_kept("send-key", r#"{"keys": [{"type": "qcode", "data": "hunter2"}]}"#);
        not_kept("frobnicate", r#"{"anything": ["hunter2", {"else": "hunter2"}]}"#);
    }

    #[test]
    fn what_the_command_acted_on_is_kept() {
        check(
            "qom-set",
            r#"{"path": "/a", "property": "n", "value": 1}"#,
            r#"{"path": "/a", "property": "n", "value": "(not kept)"}"#,
        );
        check(
            "human-monitor-command",
            r#"{"command-line": " set_password vnc hunter2"}"#,
            r#"{"command-line": "set_password (not kept)"}"#,
        );
        check("human-monitor-command", r#"{"command-line": "info"}"#, r#"{"command-line": "info"}"#);
    }
}
