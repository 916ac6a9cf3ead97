//! Who starts a QEMU, and how each is told to give it more arguments.

use std::fmt;

/// Who starts the QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Somebody with a command line.
    None,
    Proxmox(u32),
    Libvirt,
    Ganeti,
    Incus,
    Nixos,
}

/// This manager cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSpaces(Manager);

impl fmt::Display for NoSpaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name().unwrap_or("this manager");
        write!(f, "{name} splits arguments at spaces and knows no quotes: choose an --attach path without a space")
    }
}

impl std::error::Error for NoSpaces {}

/// Whether somebody listens at the socket that the QEMU is to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    There,
    Missing,
}

impl Manager {
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Manager::None => None,
            Manager::Proxmox(_) => Some("proxmox"),
            Manager::Libvirt => Some("libvirt"),
            Manager::Ganeti => Some("ganeti"),
            Manager::Incus => Some("incus"),
            Manager::Nixos => Some("nixos"),
        }
    }

    /// The QEMU that it starts.
    pub(super) fn usual_qemu(self) -> &'static str {
        match self {
            Manager::Proxmox(_) => "kvm",
            _ => "qemu-system-x86_64",
        }
    }

    /// What to add, ready to be copied.
    pub(crate) fn setting(self, arguments: &[String]) -> Result<String, NoSpaces> {
        let words = || arguments.iter().map(|argument| word(argument)).collect::<Vec<_>>().join(" ");
        Ok(match self {
            Manager::None => words(),
            Manager::Proxmox(vmid) => format!("qm set {vmid} --args {}", quoted(&words())),
            Manager::Libvirt => libvirt(arguments),
            Manager::Ganeti => {
                if arguments.iter().any(|argument| argument.contains(' ')) {
                    return Err(NoSpaces(self));
                }
                // -H itself splits at commas: those of a value have a backslash before them.
                let value = arguments.join(" ").replace('\\', "\\\\").replace(',', "\\,");
                format!("gnt-instance modify -H {} INSTANCE", quoted(&format!("kvm_extra={value}")))
            }
            Manager::Incus => format!("incus config set INSTANCE raw.qemu={}", quoted(&words())),
            Manager::Nixos => {
                let list = |items: Vec<String>| format!("[ {} ]", items.join(" "));
                let each = arguments.iter().map(|argument| nix(argument)).collect();
                let pairs = arguments.chunks(2).map(|pair| {
                    let words: Vec<_> = pair.iter().map(|argument| word(argument)).collect();
                    nix(&words.join(" "))
                });
                format!(
                    "microvm.qemu.extraArgs = {};\n# or, for the test machines of NixOS:\nvirtualisation.qemu.options = {};",
                    list(each),
                    list(pairs.collect()),
                )
            }
        })
    }

    /// What else has to be known, a sentence a line.
    pub(super) fn notes(self, path: &str, listener: Listener) -> Vec<String> {
        let mut notes: Vec<String> = match self {
            Manager::None => vec!["add this to the command line".to_owned()],
            Manager::Proxmox(vmid) => vec![
                format!("this replaces what 'qm config {vmid}' shows as args: keep what is there, in the same quotes"),
                format!("takes effect when the machine is next started, or with 'qm reboot {vmid}'; not when the guest reboots"),
            ],
            Manager::Libvirt => vec![
                "put this into the domain with 'virsh edit DOMAIN'; the first line is the domain's own, with xmlns:qemu"
                    .to_owned(),
                "takes effect when the domain is next started; libvirt marks it as tainted by custom arguments".to_owned(),
                format!("AppArmor or SELinux may keep QEMU from {path}: allow it to read and write there"),
            ],
            Manager::Ganeti => vec![
                "this replaces the instance's kvm_extra: keep what is there".to_owned(),
                "takes effect when the instance is next started".to_owned(),
            ],
            Manager::Incus => vec![
                "this replaces the instance's raw.qemu: keep what is there".to_owned(),
                format!("and let AppArmor pass: incus config set INSTANCE raw.apparmor={}", quoted(&format!("{path} rw,"))),
                "takes effect when the instance is next started".to_owned(),
            ],
            Manager::Nixos => vec!["put this into the machine's configuration".to_owned()],
        };
        notes.push(match listener {
            Listener::There => format!("qev listens at {path} already"),
            Listener::Missing => format!("and the daemon: qev serve --attach {}", word(path)),
        });
        notes.push("the user who runs QEMU must be allowed to write to that socket".to_owned());
        notes
    }
}

fn libvirt(arguments: &[String]) -> String {
    let mut text = "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n".to_owned();
    text.push_str("  <qemu:commandline>\n");
    for argument in arguments {
        let value = argument.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;");
        text.push_str(&format!("    <qemu:arg value='{value}'/>\n"));
    }
    text + "  </qemu:commandline>"
}

/// A word for a shell, in quotes where it needs them.
pub(crate) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

/// A word for a shell, in quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A string of Nix.
fn nix(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(manager: Manager, path: &str) -> String {
        let arguments = ["-chardev", &format!("socket,path={path}"), "-mon", "chardev=qev"].map(str::to_owned);
        manager.setting(&arguments).unwrap()
    }

    #[test]
    fn each_manager_gets_what_it_reads() {
        let args = "-chardev socket,path=/q -mon chardev=qev";
        assert_eq!(setting(Manager::None, "/q"), args);
        assert_eq!(setting(Manager::Proxmox(100), "/q"), format!("qm set 100 --args '{args}'"));
        assert_eq!(setting(Manager::Incus, "/q"), format!("incus config set INSTANCE raw.qemu='{args}'"));
        let ganeti = r"gnt-instance modify -H 'kvm_extra=-chardev socket\,path=/q -mon chardev=qev' INSTANCE";
        assert_eq!(setting(Manager::Ganeti, "/q"), ganeti);
        let nixos = setting(Manager::Nixos, "/q");
        assert!(nixos.contains(r#"extraArgs = [ "-chardev" "socket,path=/q" "-mon" "chardev=qev" ];"#), "{nixos}");
        assert!(nixos.contains(r#"options = [ "-chardev socket,path=/q" "-mon chardev=qev" ];"#), "{nixos}");
        let libvirt = setting(Manager::Libvirt, "/q");
        assert!(libvirt.contains("    <qemu:arg value='socket,path=/q'/>\n"), "{libvirt}");
    }

    #[test]
    fn a_strange_path_stays_one_word() {
        assert_eq!(setting(Manager::None, "/a b"), "-chardev 'socket,path=/a b' -mon chardev=qev");
        assert!(setting(Manager::Proxmox(1), "/a b").contains(r"'\''socket,path=/a b'\''"));
        assert!(setting(Manager::Libvirt, "/a'<&").contains("/a&apos;&lt;&amp;'"));
        assert!(setting(Manager::Nixos, "/${x}\"").contains(r#"\${x}\""#));
        let arguments = ["-chardev".to_owned(), "socket,path=/a b".to_owned()];
        assert_eq!(Manager::Ganeti.setting(&arguments), Err(NoSpaces(Manager::Ganeti)));
    }
}
