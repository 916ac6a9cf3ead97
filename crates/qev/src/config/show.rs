//! A configuration as a file that says all of it: what `check-config` prints can be read again.

use super::{Attach, Config, Http, Journal, Share, SharePolicy, values};
use std::fmt::{self, Display, Formatter};

/// Every value, the defaults too, as TOML.
impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Config { file: _, state_dir, run_dir, attach, machines, dial, libvirt, journal, http, share } = self;
        writeln!(f, "state-dir = {}", quoted(&state_dir.to_string_lossy()))?;
        writeln!(f, "run-dir = {}", quoted(&run_dir.to_string_lossy()))?;
        writeln!(f, "dial = {}", list(dial))?;
        writeln!(f, "libvirt = {}", list(libvirt))?;
        if attach.is_empty() {
            writeln!(f, "attach = []")?;
        }
        for Attach { path, mode, group } in attach {
            writeln!(f, "\n[[attach]]\npath = {}\nmode = \"{mode:04o}\"", quoted(&path.to_string_lossy()))?;
            match group {
                Some(group) => writeln!(f, "group = {}", quoted(&group.name))?,
                None => writeln!(f, "# group: that of the process")?,
            }
        }
        for machine in machines {
            writeln!(f, "\n[[machine]]\nname = {}", quoted(&machine.name))?;
            writeln!(f, "monitor = {}", quoted(&machine.monitor.to_string()))?;
        }
        write!(f, "\n{journal}\n{http}\n{share}")
    }
}

impl Display for Http {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Http { listen, hosts, socket, is_default: _ } = self;
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        writeln!(f, "[http]\nlisten = {}\nhosts = {}\nsocket = {socket}", list(&listen), list(hosts))
    }
}

impl Display for Share {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Share { enabled, dir, mode, group, audit, policies } = self;
        writeln!(f, "[share]\n# folder: {}", quoted(&dir.to_string_lossy()))?;
        writeln!(f, "enabled = {enabled}\nmode = \"{mode:04o}\"\naudit = {audit}")?;
        match group {
            Some(group) => writeln!(f, "group = {}", quoted(&group.name))?,
            None => writeln!(f, "# group: that of the process")?,
        }
        for SharePolicy { machine, user, group, allow, commands } in policies {
            writeln!(f, "\n[[share.policy]]")?;
            let names = [
                ("machine", machine.as_deref()),
                ("user", user.as_ref().map(|user| user.name.as_str())),
                ("group", group.as_ref().map(|group| group.name.as_str())),
            ];
            for (key, name) in names {
                if let Some(name) = name {
                    writeln!(f, "{key} = {}", quoted(name))?;
                }
            }
            writeln!(f, "allow = \"{}\"", allow.name())?;
            if !commands.is_empty() {
                writeln!(f, "commands = {}", list(commands))?;
            }
        }
        if policies.is_empty() {
            writeln!(f, "# policy: all who may open a socket may \"read\"")?;
        }
        Ok(())
    }
}

impl Display for Journal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Journal { segment_size, segment_age, keep_size, keep_age, .. } = self;
        writeln!(f, "[journal]\nsegment-size = \"{}\"", size(*segment_size))?;
        writeln!(f, "segment-age = \"{}\"", values::age_text(*segment_age))?;
        match keep_size {
            Some(bytes) => writeln!(f, "keep-size = \"{}\"", size(*bytes))?,
            None => writeln!(f, "# keep-size: no bound")?,
        }
        match keep_age {
            Some(age) => writeln!(f, "keep-age = \"{}\"", values::age_text(*age)),
            None => writeln!(f, "# keep-age: for ever"),
        }
    }
}

/// A number of bytes with nothing rounded.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || !(c.is_ascii() || c.is_alphanumeric()) => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
