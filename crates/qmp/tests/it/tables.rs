//! QEMU's schema of events, release by release, from the tables in `tests/data/catalogue`.
//!
//! `event-history.txt` is replayed: what 2.1 sent, and what each release after it added, removed or changed. Values of
//! enums and members of structs come from `event-types.tsv`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static EVENTS: LazyLock<Rows> = LazyLock::new(|| rows(include_str!("../data/catalogue/events.tsv")));
static TYPES: LazyLock<Rows> = LazyLock::new(|| rows(include_str!("../data/catalogue/event-types.tsv")));
static LIFETIMES: LazyLock<Rows> = LazyLock::new(|| rows(include_str!("../data/catalogue/event-lifetimes.tsv")));
const HISTORY: &str = include_str!("../data/catalogue/event-history.txt");

/// Members of structs that are younger than their struct: the tables have no history of structs.
const LATE_MEMBERS: [(&str, Version); 4] = [
    ("websocket", (2, 3)),
    ("keep-alive-count", (10, 1)),
    ("keep-alive-idle", (10, 1)),
    ("keep-alive-interval", (10, 1)),
];

/// What the tables do not have, because no event of 10.2 uses it.
const DROP_REASON: (&str, &str) = ("CommandDropReason", "queue-full");

type Rows = Vec<Vec<&'static str>>;

/// Major and minor of a release.
pub(crate) type Version = (u32, u32);

/// What one release of QEMU sends.
pub(crate) struct Release {
    pub(crate) version: Version,
    pub(crate) events: BTreeMap<&'static str, Vec<Member>>,
}

/// A member of an event or of a struct.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) optional: bool,
}

/// What a type is that is not one of the simple ones.
pub(crate) enum Type {
    Enum(Vec<&'static str>),
    Struct(Vec<Member>),
    /// The member that decides, and for each of its values the struct whose members stand beside it.
    Union(&'static str, Vec<(&'static str, &'static str)>),
}

/// The rows of a table, without its heading.
fn rows(table: &'static str) -> Rows {
    table.lines().skip(1).map(|line| line.split('\t').collect()).collect()
}

pub(crate) fn version(text: &str) -> Version {
    let mut numbers = text.split('.').map(|n| n.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// `*name` and a type.
fn member(name: &'static str, kind: &'static str) -> Member {
    Member { name: name.trim_start_matches('*'), kind, optional: name.starts_with('*') }
}

/// The members that an event of 10.2 has, in the order of QEMU's schema.
pub(crate) fn members_today(event: &str) -> Vec<Member> {
    EVENTS
        .iter()
        .filter(|row| row[0] == event && !row[2].is_empty())
        .map(|row| Member { name: row[2], kind: row[3], optional: row[4] == "yes" })
        .collect()
}

/// The events of 10.2.
pub(crate) fn events_today() -> Vec<&'static str> {
    let mut names: Vec<_> = EVENTS.iter().map(|row| row[0]).collect();
    names.dedup();
    names
}

/// Every event that there ever was.
pub(crate) fn events_ever() -> Vec<&'static str> {
    let mut names: Vec<_> = LIFETIMES.iter().map(|row| row[0]).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The types that got another name: the old one, and the one of today.
static RENAMED: LazyLock<Vec<(&str, &str)>> =
    LazyLock::new(|| HISTORY.lines().filter_map(|line| line.split_once(": ")?.1.split_once(" -> ")).collect());

/// Every release from 2.1 on.
pub(crate) static RELEASES: LazyLock<Vec<Release>> = LazyLock::new(|| {
    let mut releases = Vec::new();
    let mut events = BTreeMap::new();
    for section in HISTORY.split("== ").skip(1) {
        let (heading, changes) = section.split_once('\n').unwrap();
        for change in changes.lines().filter(|line| !line.is_empty()) {
            apply(change, &mut events);
        }
        let mut words = heading.split(' ');
        let version = version(words.next().unwrap());
        assert_eq!(words.next().unwrap().parse(), Ok(events.len()), "{heading}");
        releases.push(Release { version, events: events.clone() });
    }
    releases
});

fn apply(change: &'static str, events: &mut BTreeMap<&'static str, Vec<Member>>) {
    if let Some(names) = change.strip_prefix('[') {
        events.extend(quoted(names).map(|name| (name, members_of_2_1(name))));
    } else if let Some(added) = change.strip_prefix("+ ") {
        let (name, members) = added.split_once(' ').unwrap();
        let words: Vec<_> = quoted(members).collect();
        events.insert(name, words.chunks(2).map(|pair| member(pair[0], pair[1])).collect());
    } else if let Some(name) = change.strip_prefix("- ") {
        assert!(events.remove(name).is_some(), "{change}");
    } else if let Some((event, change)) = change.trim_start().split_once(": ") {
        apply_to_member(event, change, events);
    } else {
        assert!(change.starts_with("  enum "), "{change}");
    }
}

fn apply_to_member(event: &'static str, change: &'static str, events: &mut BTreeMap<&'static str, Vec<Member>>) {
    if let Some((old, new)) = change.split_once(" -> ") {
        let (event, name) = event.split_once('.').unwrap();
        let member = events.get_mut(event).unwrap().iter_mut().find(|member| member.name == name).unwrap();
        assert_eq!(std::mem::replace(&mut member.kind, new), old, "{event}");
        return;
    }
    let members = events.get_mut(event).unwrap();
    let (name, kind) = change[1..].split_once(':').unwrap();
    let changed = member(name, kind);
    if change.starts_with('+') {
        members.push(changed);
        let order = members_today(event);
        members.sort_by_key(|member| order.iter().position(|today| today.name == member.name));
    } else {
        let at = members.iter().position(|member| *member == changed).unwrap();
        members.remove(at);
    }
}

/// The words between single quotes.
fn quoted(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split('\'').skip(1).step_by(2)
}

fn members_of_2_1(event: &str) -> Vec<Member> {
    let since = |name: &str| LIFETIMES.iter().find(|row| row[0] == event && row[4] == name).unwrap()[5];
    let mut members = members_today(event);
    members.retain(|member| since(member.name) == "2.1.0");
    for member in &mut members {
        // The name that the type had then.
        if let Some((old, _)) = RENAMED.iter().find(|(_, new)| *new == member.kind) {
            member.kind = old;
        }
    }
    members
}

/// What a type is in a release; `None` for the simple ones: `str`, `int`, …
pub(crate) fn find(kind: &str, release: Version) -> Option<Type> {
    let kind = RENAMED.iter().find(|(old, _)| *old == kind).map_or(kind, |(_, today)| today);
    if kind == DROP_REASON.0 {
        return Some(Type::Enum(vec![DROP_REASON.1]));
    }
    let rows: Vec<_> = TYPES.iter().filter(|row| row[1] == kind && is_in(row, release)).collect();
    Some(match *rows.first()?.first()? {
        "enum" => Type::Enum(rows.iter().map(|row| row[2]).collect()),
        "struct" => {
            let members = rows.iter().map(|row| Member { name: row[2], kind: row[3], optional: row[4] == "yes" });
            Type::Struct(members.collect())
        }
        _ => {
            let Some(Type::Enum(tags)) = find(rows[0][3], release) else { panic!("{kind} has no tag") };
            let branches = rows.iter().skip(1).map(|row| (row[2].split_once('=').unwrap().1, row[3]));
            Type::Union(rows[0][2], branches.filter(|(tag, _)| tags.contains(tag)).collect())
        }
    })
}

/// Whether a value of an enum, or a member of a struct, is in a release.
fn is_in(row: &[&'static str], release: Version) -> bool {
    let noted = row[5].split_once("since=").map(|(_, since)| version(since));
    let since = if row[0] == "struct" { late(row[2]) } else { noted };
    since.is_none_or(|since| since <= release)
}

/// Since when a member of a struct is there, if it is younger than its struct.
pub(crate) fn late(member: &str) -> Option<Version> {
    LATE_MEMBERS.iter().find(|(name, _)| *name == member).map(|(_, since)| *since)
}

#[test]
fn replayed_to_its_end_the_history_is_the_schema_of_today() {
    let today = &RELEASES.last().unwrap().events;
    assert_eq!(today.keys().copied().collect::<Vec<_>>(), events_today());
    for (event, members) in today {
        assert_eq!(*members, members_today(event), "{event}");
    }
}
