//! What can be told from QEMU's arguments before it is started.

use std::ffi::OsString;
use std::path::Path;

/// Options that ask QEMU for information alone.
const INFORMATION: [&str; 3] = ["version", "help", "h"];

/// Options whose value may be `help` (or `?`, as it was written once).
const WITH_HELP: [&str; 24] = [
    "M",
    "accel",
    "audiodev",
    "chardev",
    "cpu",
    "d",
    "device",
    "display",
    "drive",
    "global",
    "machine",
    "mon",
    "net",
    "netdev",
    "nic",
    "object",
    "rtc",
    "soundhw",
    "spice",
    "tpmdev",
    "trace",
    "vga",
    "watchdog",
    "watchdog-action",
];

/// Properties whose value may be `help`, inside the value of an option.
const PROPERTIES: [&str; 4] = ["format", "model", "driver", "type"];

/// The name of an option, which takes one dash or two.
fn option(argument: &OsString) -> Option<&str> {
    let word = argument.to_str()?.strip_prefix('-')?;
    Some(word.strip_prefix('-').unwrap_or(word))
}

/// Whether QEMU is given this option.
pub(super) fn has(command: &[OsString], name: &str) -> bool {
    command.iter().skip(1).filter_map(option).any(|word| word == name)
}

/// Whether one of the arguments has this text in it.
pub(super) fn mention(command: &[OsString], text: &str) -> bool {
    command.iter().skip(1).filter_map(|argument| argument.to_str()).any(|argument| argument.contains(text))
}

/// Whether the program is only asked for information: it prints that and ends, and runs no guest.
pub(super) fn ask_for_information(command: &[OsString]) -> bool {
    let arguments = command.get(1..).unwrap_or_default();
    let asks = |argument: &OsString| option(argument).is_some_and(|word| INFORMATION.contains(&word));
    let is_help = |value: &OsString| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').any(|part| match part.split_once('=') {
            Some((property, value)) => PROPERTIES.contains(&property) && matches!(value, "help" | "?"),
            None => matches!(part, "help" | "?"),
        })
    };
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let mut helps = pairs.filter(|(name, _)| option(name).is_some_and(|word| WITH_HELP.contains(&word)));
    // What follows an option may be its value, whatever it looks like; a QEMU takes none of these for one.
    arguments.iter().any(asks) || helps.any(|(_, value)| is_help(value))
}

/// Whether the program is a QEMU by its name, and no script around one.
pub(super) fn is_qemu(command: &[OsString]) -> bool {
    let name = name(command);
    ["qemu", "kvm"].iter().any(|prefix| name.starts_with(prefix))
}

/// What a machine is called that has no name.
pub(super) fn name(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    program.map_or_else(|| "qemu".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn options_are_found_with_one_dash_and_with_two() {
        assert!(has(&words("qemu -M q35 -daemonize"), "daemonize"));
        assert!(has(&words("qemu --daemonize"), "daemonize"));
        assert!(has(&words("qemu -S -s"), "S"));
        assert!(!has(&words("-S -s -smp 2"), "S"), "the program is none");
        assert!(!has(&words("qemu S ---S -"), "S"));
    }

    #[test]
    fn a_machine_without_a_name_is_called_as_its_program() {
        assert_eq!(name(&words("/usr/bin/qemu-system-x86_64 -S")), "qemu-system-x86_64");
        assert_eq!(name(&[]), "qemu");
    }

    #[test]
    fn what_asks_for_information_runs_no_guest() {
        for line in [
            "--version",
            "-version",
            "-h",
            "-help",
            "--help",
            "-machine help",
            "-M q35,help",
            "-cpu ?",
            "-accel help",
            "-m 1G -device help",
            "-device virtio-net-pci,help",
            "-drive format=?",
            "-nic model=help",
            "-net nic,model=help",
            "-object help",
            "-object memory-backend-ram,help",
            "--trace help",
        ] {
            assert!(ask_for_information(&words(&format!("qemu {line}"))), "{line}");
        }
        for line in [
            "-M q35",
            "-name help",
            "-append help",
            "-drive file=help",
            "-kernel help",
            "-m 1G",
            "help",
            "?",
            "-device virtio-net-pci,id=help",
            "-S",
        ] {
            assert!(!ask_for_information(&words(&format!("qemu {line}"))), "{line}");
        }
    }

    #[test]
    fn a_qemu_is_known_by_its_name() {
        for program in ["/usr/bin/qemu-system-x86_64", "qemu-kvm", "kvm"] {
            assert!(is_qemu(&words(program)), "{program}");
        }
        assert!(!is_qemu(&words("/home/a/run-vm.sh")));
    }
}
