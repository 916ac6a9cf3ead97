//! Groups of the system, by name or number. Names are looked up in `/etc/group`; where they are kept elsewhere (a
//! directory service), `getent` asks.

use super::Group;
use std::process::{Command, Stdio};

/// The group that is called so, if there is one.
pub(super) fn find(name: &str) -> Option<Group> {
    let gid = match name.parse() {
        Ok(gid) => Some(gid),
        Err(_) => std::fs::read_to_string("/etc/group").ok().and_then(|file| gid_in(&file, name)).or_else(|| ask(name)),
    }?;
    Some(Group { name: name.to_owned(), gid })
}

/// `name:password:gid:members`, a group a line.
fn gid_in(file: &str, name: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() == Some(name) { fields.nth(1)?.parse().ok() } else { None }
    })
}

fn ask(name: &str) -> Option<u32> {
    let output =
        Command::new("getent").args(["--", "group", name]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    gid_in(&String::from_utf8_lossy(&output.stdout), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_groups() {
        assert_eq!(find("root"), Some(Group { name: "root".into(), gid: 0 }));
        assert_eq!(find("4711"), Some(Group { name: "4711".into(), gid: 4711 }));
        for no_group in ["", "no such group", "-1", "4294967296", "roo"] {
            assert_eq!(find(no_group), None, "{no_group}");
        }
    }

    #[test]
    fn a_line_that_is_no_group_hides_no_other() {
        let file = "x\nkvm\n:::\nkvm:x:106:a,b\nkvm:x:107:\n";
        assert_eq!(gid_in(file, "kvm"), Some(106));
    }
}
