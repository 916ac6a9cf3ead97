//! The enums, structs and unions that members of events are made of, as QEMU's schema up to 10.2 has them.

use super::{Member, member};

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One of these strings.
    Enum(&'static [Choice]),
    /// An object with these members.
    Struct(&'static [Member]),
    /// An object whose further members depend on one of them.
    Union {
        /// The member that decides.
        tag: Member,
        /// For each of its values, the struct whose members stand beside it.
        branches: &'static [(&'static str, &'static str)],
    },
}

/// A value of an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The value on the wire.
    pub name: &'static str,
    /// The first QEMU that has it, when that is later than the enum itself.
    pub since: Option<&'static str>,
}

const fn value(name: &'static str) -> Choice {
    Choice { name, since: None }
}

impl Choice {
    const fn since(mut self, version: &'static str) -> Choice {
        self.since = Some(version);
        self
    }
}

/// The type of this name; `None` for those that need no explanation (`str`, `int`, `bool`, …).
pub fn find(name: &str) -> Option<Type> {
    let at = TYPES.binary_search_by_key(&name, |(type_name, _)| type_name).ok()?;
    TYPES.get(at).map(|(_, found)| *found)
}

/// Whether a type of this name is in the table, or is one of the simple ones.
#[cfg(test)]
pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some() || matches!(name, "str" | "int" | "bool" | "size" | "any" | "uint16" | "uint32" | "uint64")
}

/// The types that a member of this name has in objects of a type: several, when branches of a union differ.
#[cfg(test)]
pub(crate) fn members_named(type_name: &str, member: &str) -> Vec<&'static str> {
    match find(type_name) {
        Some(Type::Struct(members)) => members.iter().filter(|m| m.name == member).map(|m| m.kind).collect(),
        Some(Type::Union { tag, .. }) if tag.name == member => vec![tag.kind],
        Some(Type::Union { branches, .. }) => {
            branches.iter().flat_map(|(_, kind)| members_named(kind, member)).collect()
        }
        Some(Type::Enum(_)) | None => Vec::new(),
    }
}

/// Sorted by name.
static TYPES: &[(&str, Type)] = &[
    (
        "ACPIOSTInfo",
        Type::Struct(&[
            member("device", "str").optional(),
            member("slot", "str"),
            member("slot-type", "ACPISlotType"),
            member("source", "int"),
            member("status", "int"),
        ]),
    ),
    ("ACPISlotType", Type::Enum(&[value("DIMM"), value("CPU").since("2.7")])),
    ("BlockErrorAction", Type::Enum(&[value("ignore"), value("report"), value("stop")])),
    (
        "COLOExitReason",
        Type::Enum(&[value("none"), value("request"), value("error"), value("processing").since("4.0")]),
    ),
    ("COLOMode", Type::Enum(&[value("none"), value("primary"), value("secondary")])),
    ("CommandDropReason", Type::Enum(&[value("queue-full")])),
    (
        "DumpQueryResult",
        Type::Struct(&[member("status", "DumpStatus"), member("completed", "int"), member("total", "int")]),
    ),
    ("DumpStatus", Type::Enum(&[value("none"), value("active"), value("completed"), value("failed")])),
    ("FdSocketAddress", Type::Struct(&[member("str", "str")])),
    ("GuestPanicAction", Type::Enum(&[value("pause"), value("poweroff").since("2.8"), value("run").since("5.0")])),
    (
        "GuestPanicInformation",
        Type::Union {
            tag: member("type", "GuestPanicInformationType"),
            branches: &[
                ("hyper-v", "GuestPanicInformationHyperV"),
                ("s390", "GuestPanicInformationS390"),
                ("tdx", "GuestPanicInformationTdx"),
                ("sev", "GuestPanicInformationSev"),
            ],
        },
    ),
    (
        "GuestPanicInformationHyperV",
        Type::Struct(&[
            member("arg1", "uint64"),
            member("arg2", "uint64"),
            member("arg3", "uint64"),
            member("arg4", "uint64"),
            member("arg5", "uint64"),
        ]),
    ),
    (
        "GuestPanicInformationS390",
        Type::Struct(&[
            member("core", "uint32"),
            member("psw-mask", "uint64"),
            member("psw-addr", "uint64"),
            member("reason", "S390CrashReason"),
        ]),
    ),
    ("GuestPanicInformationSev", Type::Struct(&[member("set", "uint32"), member("code", "uint32")])),
    (
        "GuestPanicInformationTdx",
        Type::Struct(&[member("error-code", "uint32"), member("message", "str"), member("gpa", "uint64").optional()]),
    ),
    (
        "GuestPanicInformationType",
        Type::Enum(&[
            value("hyper-v"),
            value("s390").since("2.12"),
            value("tdx").since("10.1"),
            value("sev").since("11.0"),
        ]),
    ),
    (
        "InetSocketAddress",
        Type::Struct(&[
            member("host", "str"),
            member("port", "str"),
            member("numeric", "bool").optional(),
            member("to", "uint16").optional(),
            member("ipv4", "bool").optional(),
            member("ipv6", "bool").optional(),
            member("keep-alive", "bool").optional(),
            member("keep-alive-count", "uint32").optional(),
            member("keep-alive-idle", "uint32").optional(),
            member("keep-alive-interval", "uint32").optional(),
            member("mptcp", "bool").optional(),
        ]),
    ),
    ("IoOperationType", Type::Enum(&[value("read"), value("write")])),
    (
        "JobStatus",
        Type::Enum(&[
            value("undefined"),
            value("created"),
            value("running"),
            value("paused"),
            value("ready"),
            value("standby"),
            value("waiting"),
            value("pending"),
            value("aborting"),
            value("concluded"),
            value("null"),
        ]),
    ),
    (
        "JobType",
        Type::Enum(&[
            value("commit"),
            value("stream"),
            value("mirror"),
            value("backup"),
            value("create").since("3.0"),
            value("amend").since("5.1"),
            value("snapshot-load").since("6.0"),
            value("snapshot-save").since("6.0"),
            value("snapshot-delete").since("6.0"),
        ]),
    ),
    ("MemoryFailureAction", Type::Enum(&[value("ignore"), value("inject"), value("fatal"), value("reset")])),
    ("MemoryFailureFlags", Type::Struct(&[member("action-required", "bool"), member("recursive", "bool")])),
    ("MemoryFailureRecipient", Type::Enum(&[value("hypervisor"), value("guest")])),
    (
        "MigrationStatus",
        Type::Enum(&[
            value("none"),
            value("setup"),
            value("cancelling"),
            value("cancelled"),
            value("active"),
            value("postcopy-device").since("10.2"),
            value("postcopy-active").since("2.5"),
            value("postcopy-paused").since("3.0"),
            value("postcopy-recover-setup").since("9.1"),
            value("postcopy-recover").since("3.0"),
            value("completed"),
            value("failed"),
            value("colo").since("2.8"),
            value("pre-switchover").since("2.11"),
            value("device").since("2.11"),
            value("wait-unplug").since("4.2"),
        ]),
    ),
    (
        "NetworkAddressFamily",
        Type::Enum(&[value("ipv4"), value("ipv6"), value("unix"), value("vsock").since("2.8"), value("unknown")]),
    ),
    (
        "QapiVfioMigrationState",
        Type::Enum(&[
            value("stop"),
            value("running"),
            value("stop-copy"),
            value("resuming"),
            value("running-p2p"),
            value("pre-copy"),
            value("pre-copy-p2p"),
        ]),
    ),
    ("QuorumOpType", Type::Enum(&[value("read"), value("write"), value("flush")])),
    ("S390CpuPolarization", Type::Enum(&[value("horizontal"), value("vertical")])),
    (
        "S390CrashReason",
        Type::Enum(&[
            value("unknown"),
            value("disabled-wait"),
            value("extint-loop"),
            value("pgmint-loop"),
            value("opint-loop"),
        ]),
    ),
    (
        "ShutdownCause",
        Type::Enum(&[
            value("none"),
            value("host-error"),
            value("host-qmp-quit"),
            value("host-qmp-system-reset"),
            value("host-signal"),
            value("host-ui"),
            value("guest-shutdown"),
            value("guest-reset"),
            value("guest-panic"),
            value("subsystem-reset"),
            value("snapshot-load").since("7.2"),
        ]),
    ),
    (
        "SocketAddress",
        Type::Union {
            tag: member("type", "SocketAddressType"),
            branches: &[
                ("inet", "InetSocketAddress"),
                ("unix", "UnixSocketAddress"),
                ("vsock", "VsockSocketAddress"),
                ("fd", "FdSocketAddress"),
            ],
        },
    ),
    ("SocketAddressType", Type::Enum(&[value("inet"), value("unix"), value("vsock"), value("fd")])),
    (
        "SpiceBasicInfo",
        Type::Struct(&[member("host", "str"), member("port", "str"), member("family", "NetworkAddressFamily")]),
    ),
    (
        "SpiceChannel",
        Type::Struct(&[
            member("host", "str"),
            member("port", "str"),
            member("family", "NetworkAddressFamily"),
            member("connection-id", "int"),
            member("channel-type", "int"),
            member("channel-id", "int"),
            member("tls", "bool"),
        ]),
    ),
    (
        "SpiceServerInfo",
        Type::Struct(&[
            member("host", "str"),
            member("port", "str"),
            member("family", "NetworkAddressFamily"),
            member("auth", "str").optional(),
        ]),
    ),
    (
        "UnixSocketAddress",
        Type::Struct(&[
            member("path", "str"),
            member("abstract", "bool").optional(),
            member("tight", "bool").optional(),
        ]),
    ),
    (
        "VncBasicInfo",
        Type::Struct(&[
            member("host", "str"),
            member("service", "str"),
            member("family", "NetworkAddressFamily"),
            member("websocket", "bool").since("2.3"),
        ]),
    ),
    (
        "VncClientInfo",
        Type::Struct(&[
            member("host", "str"),
            member("service", "str"),
            member("family", "NetworkAddressFamily"),
            member("websocket", "bool").since("2.3"),
            member("x509_dname", "str").optional(),
            member("sasl_username", "str").optional(),
        ]),
    ),
    (
        "VncServerInfo",
        Type::Struct(&[
            member("host", "str"),
            member("service", "str"),
            member("family", "NetworkAddressFamily"),
            member("websocket", "bool").since("2.3"),
            member("auth", "str").optional(),
        ]),
    ),
    ("VsockSocketAddress", Type::Struct(&[member("cid", "str"), member("port", "str")])),
    (
        "WatchdogAction",
        Type::Enum(&[
            value("reset"),
            value("shutdown"),
            value("poweroff"),
            value("pause"),
            value("debug"),
            value("none"),
            value("inject-nmi").since("2.4"),
        ]),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_or_types_would_not_be_found() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn every_type_is_made_of_types_that_are_known() {
        for (name, found) in TYPES {
            match found {
                Type::Enum(values) => assert!(!values.is_empty(), "{name}"),
                Type::Struct(members) => members.iter().for_each(|m| assert!(is_known(m.kind), "{name}: {}", m.kind)),
                Type::Union { tag, branches } => {
                    let Some(Type::Enum(values)) = find(tag.kind) else { panic!("{name}: {}", tag.kind) };
                    let tags: Vec<_> = values.iter().map(|value| value.name).collect();
                    assert_eq!(tags, branches.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), "{name}");
                    branches.iter().for_each(|(_, kind)| assert!(is_known(kind), "{name}: {kind}"));
                }
            }
        }
    }

    #[test]
    fn a_member_of_a_union_can_have_several_types() {
        assert_eq!(members_named("SocketAddress", "type"), ["SocketAddressType"]);
        assert_eq!(members_named("SocketAddress", "port"), ["str", "str"]);
        assert_eq!(members_named("ACPIOSTInfo", "slot"), ["str"]);
    }
}
