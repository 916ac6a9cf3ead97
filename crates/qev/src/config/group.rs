//! Groups of the system, by name or number. Names are looked up in `/etc/group`; where they are kept elsewhere (a
//! directory service), `getent` asks.

use super::{Group, User};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
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

/// What the group of this number is called, as far as `/etc/group` says.
pub(crate) fn name_of(gid: u32) -> String {
    let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| gid.to_string())
}

/// What lets a user read what this file's group may, such as the state directory of the host's daemon. Nothing when that is
/// the group of root, or the file cannot be seen.
pub(crate) fn how_to_join(path: &Path) -> Option<String> {
    let gid = path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|file| file.gid())?;
    (gid != 0).then(|| format!("to become one: sudo adduser USER {}, then log in again", name_of(gid)))
}

fn ask(name: &str) -> Option<u32> {
    gid_in(&getent("group", name)?, name)
}

fn getent(database: &str, name: &str) -> Option<String> {
    let mut getent = Command::new("getent");
    getent.args(["--", database, name]).stdin(Stdio::null()).stderr(Stdio::null());
    Some(String::from_utf8_lossy(&getent.output().ok()?.stdout).into_owned())
}

/// The user that is called so, if there is one.
pub(super) fn find_user(name: &str) -> Option<User> {
    let uid = match name.parse() {
        Ok(uid) => Some(uid),
        // A user's line is `name:password:uid:…`, so the number is where a group's is.
        Err(_) => std::fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|file| gid_in(&file, name))
            .or_else(|| gid_in(&getent("passwd", name)?, name)),
    }?;
    Some(User { name: name.to_owned(), uid })
}

/// Returns the number of the user of this name, if `/etc/passwd` has one.
pub(crate) fn local_user(name: &str) -> Option<u32> {
    // A user's line is `name:password:uid:…`, so the number is where a group's is.
    std::fs::read_to_string("/etc/passwd").ok().and_then(|file| gid_in(&file, name))
}

/// The users that are in this group beside those whose first group it is.
pub(crate) fn members(group: &Group) -> Vec<u32> {
    let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let asked = getent("group", &group.name).unwrap_or_default();
    let names = members_in(&file, group.gid).into_iter().chain(members_in(&asked, group.gid));
    let mut members: Vec<u32> = names.filter_map(find_user).map(|user| user.uid).collect();
    members.sort_unstable();
    members.dedup();
    members
}

fn members_in(file: &str, gid: u32) -> Vec<&str> {
    let mut found = Vec::new();
    for line in file.lines() {
        let mut fields = line.split(':').skip(2);
        if fields.next().and_then(|field| field.parse().ok()) == Some(gid) {
            found.extend(fields.next().unwrap_or_default().split(',').filter(|name| !name.is_empty()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_groups() {
        assert_eq!(find("root"), Some(Group { name: "root".into(), gid: 0 }));
        assert_eq!(find("4711"), Some(Group { name: "4711".into(), gid: 4711 }));
        assert_eq!((name_of(0), name_of(4_294_967_294)), ("root".to_owned(), "4294967294".to_owned()));
        for no_group in ["", "no such group", "-1", "4294967296", "roo"] {
            assert_eq!(find(no_group), None, "{no_group}");
        }
    }

    #[test]
    fn how_to_join_names_the_group_of_the_file() {
        let path = std::env::temp_dir().join(format!("qev-join-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let gid = std::fs::metadata(&path).unwrap().gid();
        let expected =
            (gid != 0).then(|| format!("to become one: sudo adduser USER {}, then log in again", name_of(gid)));
        assert_eq!(how_to_join(&path), expected);
        if std::os::unix::fs::chown(&path, None, Some(4711)).is_ok() {
            let expected = "to become one: sudo adduser USER 4711, then log in again";
            assert_eq!(how_to_join(&path).as_deref(), Some(expected));
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn users_and_members_are_found() {
        assert_eq!(find_user("root"), Some(User { name: "root".into(), uid: 0 }));
        assert_eq!(find_user("no such user"), None);
        assert_eq!(members_in("x\nkvm:x:106:a,b\nother:x:107:c\nkvm2:x:106:d\n", 106), ["a", "b", "d"]);
    }

    #[test]
    fn a_line_that_is_no_group_hides_no_other() {
        let file = "x\nkvm\n:::\nkvm:x:106:a,b\nkvm:x:107:\n";
        assert_eq!(gid_in(file, "kvm"), Some(106));
    }
}
