//! The commands that both QEMU and the simulated machine have, and values for their arguments.
//!
//! What is missing here is missing for a reason: a command that only QEMU has; a size that depends on the host's
//! memory, or at which QEMU aborts (2^64 - 1); what a guest's firmware would do by itself; and the list of all commands,
//! which is longer in QEMU.

/// A command and its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [Argument],
    pub(super) when: When,
}

/// An argument of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) required: bool,
    /// Values that a client may well send.
    pub(super) good: &'static [Value],
    /// Values that are wrong; none: any value will do.
    pub(super) bad: &'static [Value],
}

/// A value of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A string that says this.
    Text(&'static str),
    /// This JSON.
    Json(&'static str),
}

/// Where a command may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Only with wrong arguments: the answer to right ones is another on purpose.
    Refused,
    /// To a machine that never runs.
    Paused,
    /// To a machine that may run.
    Runs,
    /// Where each line waits for its answer, since an event comes some time later; and never runs.
    Stepped,
}

use Value::{Json, Text};

const fn required(name: &'static str, good: &'static [Value]) -> Argument {
    Argument { name, required: true, good, bad: &[] }
}

const fn optional(name: &'static str, good: &'static [Value]) -> Argument {
    Argument { name, required: false, good, bad: &[] }
}

const fn plain(name: &'static str) -> Command {
    Command { name, arguments: &[], when: When::Always }
}

const BOOLEANS: &[Value] = &[Json("true"), Json("false")];
const MEMORIES: &[Value] =
    &[Text("m1"), Text("m2"), Text("m3"), Text("m4"), Text("1m"), Text(""), Text("m 5"), Text("m/6")];
const LINKS: &[Value] = &[
    Text("m1"),
    Text("m1"),
    Text("m2"),
    Text("m3"),
    Text("m4"),
    Text(""),
    Text("/"),
    Text("//"),
    Text("d1"),
    Text("/objects/m1"),
    Text("objects/m2"),
    Text("//objects//m3/"),
    Text("m4/"),
    Text("/m1"),
    Text("/objects"),
    Text("objects"),
    Text("machine"),
    Text("peripheral/d1"),
    Text("/machine/peripheral"),
    Text("/machine/peripheral/d1"),
    Text("nosuch/m1"),
    Text("m1/nosuch"),
];
const DEVICES: &[Value] = &[
    Text("d1"),
    Text("d2"),
    Text("d3"),
    Text("nosuch"),
    Text(""),
    Text("/"),
    Text("/machine"),
    Text("/machine/peripheral"),
    Text("/machine/peripheral/d1"),
    Text("//"),
    Text("//machine//peripheral/d2/"),
    Text("/machine/peripheral-anon"),
    Text("1d"),
    Text("é"),
    Text("d1%s"),
];

/// Small ones that any host has, and those that none has.
const SIZES: &[Value] = &[
    Json("2097152"),
    Json("2097152"),
    Json("4194304"),
    Json("6291456"),
    Json("134217728"),
    Json("4096"),
    Json("1"),
    Json("0"),
    Json("1125899906842624"),
];
const NO_SIZES: &[Value] = &[
    Text("2M"),
    Text("2097152"),
    Json("2097152.5"),
    Json("1e6"),
    Json("null"),
    Json("true"),
    Json("[2097152]"),
    Json("{}"),
    Json("18446744073709551616"),
];

const HUMAN_LINES: &[Value] = &[
    Text("info status"),
    Text("info  name"),
    Text(" info uuid "),
    Text("info version"),
    Text("info balloon"),
    Text("info memory-devices"),
    Text("info memory_size_summary"),
    Text("info\tstatus"),
    Text("info status x"),
    Text("info nosuch"),
    Text("info Status"),
    Text("nosuch"),
    Text("nosuch command"),
    Text("STOP"),
    Text("é"),
    Text("%s%n"),
    Text(""),
    Text("  "),
    Text("\t"),
    Text(" nosuch"),
    Text("info  nosuch x"),
    Text("info/x status"),
    Text("  stop now"),
    Text("stop/now"),
    Text("/"),
    Text("info memory-devices/x"),
    Text("\u{a0}"),
    Text("info\u{b}status"),
    Text("help nosuch"),
    Text("help stop"),
    Text("help system_reset"),
    Text("help system_powerdown"),
    Text("help balloon"),
    Text("help cont"),
    Text("help c"),
    Text("help q"),
    Text("? qemu-io"),
    Text("help stop now"),
    Text("help info status"),
    Text("help info nosuch"),
    Text("stop now"),
    Text("c 1"),
    Text("system_reset 1"),
    Text("balloon"),
    Text("balloon 64"),
    Text("balloon 0"),
    Text("balloon -1"),
    Text("balloon x"),
    Text("balloon 64 64"),
    Text("balloon 64M"),
    Text("balloon 1.5"),
    Text("balloon \"64\""),
    Text("qemu-io"),
    Text("qemu-io q0"),
    Text("qemu-io nosuch \"read 0 512\""),
    Text("qemu-io -d nosuch \"read 0 512\""),
    Text("qemu-io q0 \"read 0 512\""),
    Text("qemu-io q0 \"read -P 0 0 512\""),
    Text("qemu-io q0 \"read -P 7 0 512\""),
    Text("qemu-io q0 \"read 0 4k\""),
    Text("qemu-io q0 \"read 0\""),
    Text("qemu-io q0 \"read x 512\""),
    Text("qemu-io q0 \"read -Z 0 512\""),
    Text("qemu-io q0 \"read 2M 512\""),
    Text("qemu-io q0 \"write -P 1 8192 512\""),
    Text("qemu-io q0 \"write 8193 511\""),
    Text("qemu-io q0 \"frobnicate\""),
    Text("qemu-io q0 flush"),
    Text("qemu-io q0 length"),
    Text("qemu-io q0 \"\""),
    Text("qemu-io q0 \"flush\" x"),
    Text("qemu-io q0 \"flush"),
    Text("qemu-io q0 \"fl\\xush\""),
    Text("qemu-io \"q0\" \"flush\""),
    Text("qemu-io c0 \"read 0 512\""),
    Text("qemu-io c1 \"write 8192 512\""),
    Text("qemu-io -d q0 flush"),
];

const SPOILT_LINES: &[Value] = &[Text("qemu-io q0 \"read 4096 4096\""), Text("qemu-io q0 \"read 65536 512\"")];

/// Reads that the quorum has something to say about, each sent once: a second one within a second would wait for the
/// throttle, and come at a time of its own.
pub(super) const SPOILT_READS: Command =
    Command { name: "human-monitor-command", arguments: &[required("command-line", SPOILT_LINES)], when: When::Paused };

/// The negotiation.
pub(super) const CAPABILITIES: Command = Command {
    name: "qmp_capabilities",
    arguments: &[optional(
        "enable",
        &[
            Json("[]"),
            Json("[\"oob\"]"),
            Json("[\"oob\", \"oob\"]"),
            Json("[\"nosuch\"]"),
            Json("[\"\"]"),
            Json("[1]"),
            Json("[\"oob\", null]"),
            Json("[[]]"),
            Json("\"oob\""),
            Json("{}"),
            Json("null"),
        ],
    )],
    when: When::Always,
};

/// Names that no QEMU has a command of.
pub(super) const UNKNOWN: &[&str] = &[
    "",
    "nosuch",
    "x-nosuch",
    "QUERY-STATUS",
    "query-nosuch",
    "stop ",
    " stop",
    "é",
    "%s%n%d",
    "a\u{0}b",
    "query status",
    "\u{7f}",
];

/// Everything else.
pub(super) const COMMANDS: &[Command] = &[
    plain("query-status"),
    plain("query-name"),
    plain("query-uuid"),
    plain("query-version"),
    plain("query-balloon"),
    plain("query-memory-devices"),
    plain("query-memory-size-summary"),
    plain("migrate-pause"),
    Command { name: "query-commands", arguments: &[], when: When::Refused },
    Command { name: "query-acpi-ospm-status", arguments: &[], when: When::Paused },
    Command { name: "stop", arguments: &[], when: When::Always },
    Command { name: "cont", arguments: &[], when: When::Runs },
    Command { name: "cont", arguments: &[], when: When::Refused },
    Command { name: "quit", arguments: &[], when: When::Refused },
    Command { name: "system_reset", arguments: &[], when: When::Stepped },
    Command { name: "system_powerdown", arguments: &[], when: When::Stepped },
    CAPABILITIES,
    Command {
        name: "balloon",
        arguments: &[required(
            "value",
            &[
                Json("67108864"),
                Json("0"),
                Json("-1"),
                Json("1"),
                Json("9223372036854775807"),
                Json("9223372036854775808"),
            ],
        )],
        when: When::Always,
    },
    Command {
        name: "object-add",
        arguments: &[
            required(
                "qom-type",
                &[
                    Text("memory-backend-ram"),
                    Text("memory-backend-ram"),
                    Text("memory-backend-ram"),
                    Text("nosuch"),
                    Text(""),
                ],
            ),
            required("id", MEMORIES),
            Argument { name: "size", required: true, good: SIZES, bad: NO_SIZES },
            optional("share", BOOLEANS),
            optional("merge", BOOLEANS),
            optional("dump", BOOLEANS),
        ],
        when: When::Always,
    },
    Command { name: "object-del", arguments: &[required("id", MEMORIES)], when: When::Always },
    Command {
        name: "device_add",
        arguments: &[
            required("driver", &[Text("pc-dimm"), Text("pc-dimm"), Text("pc-dimm"), Text("nosuch"), Text("")]),
            optional("id", DEVICES),
            required("memdev", LINKS),
            optional(
                "slot",
                &[
                    Json("0"),
                    Json("1"),
                    Json("2"),
                    Json("3"),
                    Json("-1"),
                    Json("-2"),
                    Text("0x1"),
                    Text(""),
                    Text(" 1"),
                    Text("01"),
                    Text("+1"),
                ],
            ),
            optional(
                "addr",
                &[
                    Json("0"),
                    Json("4294967296"),
                    Json("4297064448"),
                    Json("5368709120"),
                    Json("4294967297"),
                    Text("0x140000000"),
                    Json("-1"),
                ],
            ),
            optional("node", &[Json("0"), Json("1"), Json("-1"), Json("4294967296")]),
            optional(
                "bus",
                &[Text("nosuch"), Text(""), Text("/"), Text("//nosuch/x"), Text("nosuch/x"), Text("/\u{e9}")],
            ),
            optional("hotpluggable", BOOLEANS),
            optional("size", &[Json("1")]),
        ],
        when: When::Paused,
    },
    Command { name: "device_del", arguments: &[required("id", DEVICES)], when: When::Paused },
    Command {
        name: "human-monitor-command",
        arguments: &[
            Argument {
                name: "command-line",
                required: true,
                good: HUMAN_LINES,
                bad: &[Json("1"), Json("null"), Json("[]"), Json("{}"), Json("true")],
            },
            optional(
                "cpu-index",
                &[
                    Json("0"),
                    Json("1"),
                    Json("-1"),
                    Json("9223372036854775808"),
                    Json("0.0"),
                    Json("4294967296"),
                    Json("4294967297"),
                    Json("-4294967296"),
                ],
            ),
        ],
        when: When::Paused,
    },
    Command {
        name: "human-monitor-command",
        arguments: &[required(
            "command-line",
            &[Text("c"), Text("cont"), Text("stop"), Text("s"), Text("info status"), Text(" stop ")],
        )],
        when: When::Runs,
    },
];
