//! From the text of a configuration to its values, or to everything that is wrong with it.
//!
//! A value that is wrong costs itself, so that one look at the file shows all there is to mend.

mod share;

use super::{Attach, Config, Http, Journal, Machine, Problem, listen_address, values};
use crate::places::Places;
use qev_record::explain::suggest;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Smaller segments are mostly overhead, larger ones lose much at once.
const SEGMENT_SIZE: RangeInclusive<u64> = 64 << 10..=64 << 30;
const SEGMENT_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=YEARS;
const KEEP_SIZE: RangeInclusive<u64> = 64 << 10..=1 << 60;
const KEEP_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=YEARS;

/// A hundred.
const YEARS: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// How many sockets, machines, patterns and URIs there may be, each.
const MOST: usize = 16_384;

/// What the text says, over the defaults.
pub(super) fn config(text: &str, places: &Places) -> Result<Config, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: toml::de::Error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            let digits = text.get(span.start..).unwrap_or_default();
            let digits = digits.split_once(|c: char| !c.is_ascii_digit()).map_or(digits, |(digits, _)| digits);
            let hint = match digits.starts_with('0') && digits.len() > 1 {
                true => format!("; a mode is a string: \"{digits}\""),
                false => String::new(),
            };
            Problem::at(text, &span, "", format!("{}{hint}", error.message().escape_debug()))
        };
        return Err(sorted(errors.into_iter().map(problem).collect()));
    }
    let mut reader = Reader { text, problems: Vec::new() };
    let config = reader.config(document.get_ref(), places);
    if reader.problems.is_empty() { Ok(config) } else { Err(sorted(reader.problems)) }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

type Value<'a> = Spanned<DeValue<'a>>;

/// Reads values, and collects what is wrong.
struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn config(&mut self, table: &DeTable<'_>, places: &Places) -> Config {
        self.only(
            table,
            "",
            &["state-dir", "run-dir", "attach", "machine", "dial", "libvirt", "journal", "http", "share"],
        );
        let mut places = places.clone();
        if let Some(folder) = self.value(table, "", "state-dir", values::path) {
            places.state_dir = folder;
        }
        if let Some(folder) = self.value(table, "", "run-dir", values::path) {
            places.run_dir = folder;
        }
        let mut config = Config::defaults(&places);
        if let Some(attach) = self.tables(table, "attach", Reader::attach) {
            config.attach = attach;
        }
        config.machines = self.tables(table, "machine", Reader::machine).unwrap_or_default();
        config.dial = self.list(table, "", "dial", values::pattern);
        config.libvirt = self.list(table, "", "libvirt", values::libvirt);
        if let Some(journal) = self.table(table, "journal") {
            config.journal = self.journal(journal);
        }
        if let Some(http) = self.table(table, "http") {
            config.http = self.http(http);
        }
        if let Some(share) = self.table(table, "share") {
            config.share = self.share(share, config.share.clone());
        }
        config
    }

    fn attach(&mut self, table: &DeTable<'_>, place: &Range<usize>, before: &[Attach]) -> Option<Attach> {
        self.only(table, "attach.", &["path", "mode", "group"]);
        let path = self.needed(table, place, "attach.", "path", values::socket);
        let mode = self.value(table, "attach.", "mode", values::mode);
        let group = self.value(table, "attach.", "group", values::existing_group);
        let path = path?;
        if before.iter().any(|other| other.path == path) {
            self.again(table, "attach.", "path");
        }
        let default = Attach::at(path);
        Some(Attach { mode: mode.unwrap_or(default.mode), group, ..default })
    }

    fn machine(&mut self, table: &DeTable<'_>, place: &Range<usize>, before: &[Machine]) -> Option<Machine> {
        self.only(table, "machine.", &["name", "monitor"]);
        let name = self.needed(table, place, "machine.", "name", values::name);
        let monitor = self.needed(table, place, "machine.", "monitor", values::monitor);
        let (name, monitor) = (name?, monitor?);
        if before.iter().any(|other| other.name == name) {
            self.again(table, "machine.", "name");
        }
        if before.iter().any(|other| other.monitor == monitor) {
            self.again(table, "machine.", "monitor");
        }
        Some(Machine { name, monitor })
    }

    fn journal(&mut self, table: &DeTable<'_>) -> Journal {
        self.only(table, "journal.", &["segment-size", "segment-age", "keep-size", "keep-age"]);
        let default = Journal::default();
        let mut size = |key, allowed: RangeInclusive<u64>| {
            self.value(table, "journal.", key, move |text: &str| values::size(text, allowed))
        };
        let (segment_size, keep_size) = (size("segment-size", SEGMENT_SIZE), size("keep-size", KEEP_SIZE));
        let mut age = |key, allowed: RangeInclusive<Duration>| {
            self.value(table, "journal.", key, move |text: &str| values::age(text, allowed))
        };
        let (segment_age, keep_age) = (age("segment-age", SEGMENT_AGE), age("keep-age", KEEP_AGE));
        Journal {
            segment_size: segment_size.unwrap_or(default.segment_size),
            segment_age: segment_age.unwrap_or(default.segment_age),
            keep_size: keep_size.or(default.keep_size),
            keep_age: keep_age.or(default.keep_age),
            fsync: default.fsync,
        }
    }

    fn http(&mut self, table: &DeTable<'_>) -> Http {
        self.only(table, "http.", &["listen", "hosts", "socket"]);
        let mut http = Http::default();
        if table.contains_key("listen") {
            let listen = self.list(table, "http.", "listen", listen_address);
            // Who writes the default down asks for no more than who does not.
            http = if listen == http.listen { http } else { http.at(listen) };
        }
        http.hosts = self.list(table, "http.", "hosts", values::host);
        http.socket = self.truth(table, "http.", "socket").unwrap_or(http.socket);
        http
    }

    /// Complains of every key but these.
    fn only(&mut self, table: &DeTable<'_>, prefix: &str, known: &[&str]) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let near = suggest::nearest_of(name, known.iter().copied());
            let hint = match near.first() {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known are {}", known.join(", ")),
            };
            self.wrong(
                &key.span(),
                &format!("{prefix}{}", name.escape_debug()),
                format!("there is no such key: {hint}"),
            );
        }
    }

    /// The value of a key that is a string, as `read` takes it.
    fn value<T>(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = table.get(key)?;
        self.string(value, &format!("{prefix}{key}"), read)
    }

    /// The same for a key that must be there.
    fn needed<T>(
        &mut self,
        table: &DeTable<'_>,
        place: &Range<usize>,
        prefix: &str,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !table.contains_key(key) {
            self.wrong(place, &format!("{prefix}{key}"), "it is missing, and has no default");
        }
        self.value(table, prefix, key, read)
    }

    fn string<T>(&mut self, value: &Value<'_>, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let result = match value.get_ref() {
            DeValue::String(text) => read(text),
            other => Err(format!("expected a string in quotes, not {}", kind(other))),
        };
        result.map_err(|what| self.wrong(&value.span(), key, what)).ok()
    }

    /// A list of strings.
    fn list<T: PartialEq>(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        let name = format!("{prefix}{key}");
        for value in self.array(table, prefix, key, "a list of strings such as [\"…\"]") {
            let Some(item) = self.string(value, &name, &read) else { continue };
            if list.contains(&item) {
                self.wrong(&value.span(), &name, "it is there already");
            } else {
                list.push(item);
            }
        }
        list
    }

    /// A table for each `[[key]]`; nothing when there is no such key.
    fn tables<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        read: impl Fn(&mut Self, &DeTable<'_>, &Range<usize>, &[T]) -> Option<T>,
    ) -> Option<Vec<T>> {
        table.get(key)?;
        let mut list = Vec::new();
        for value in self.array(table, "", key, &format!("tables, each under a line [[{key}]]")) {
            match value.get_ref() {
                DeValue::Table(table) => list.extend(read(self, table, &value.span(), &list)),
                other => self.wrong(&value.span(), key, format!("expected a line [[{key}]], not {}", kind(other))),
            }
        }
        Some(list)
    }

    fn array<'t, 'd>(&mut self, table: &'t DeTable<'d>, prefix: &str, key: &str, expected: &str) -> &'t [Value<'d>] {
        let Some(value) = table.get(key) else { return &[] };
        let what = match value.get_ref() {
            DeValue::Array(array) if array.len() <= MOST => return array,
            DeValue::Array(array) => format!("expected at most {MOST}, not {}", array.len()),
            other => format!("expected {expected}, not {}", kind(other)),
        };
        self.wrong(&value.span(), &format!("{prefix}{key}"), what);
        &[]
    }

    /// The value of a key that is true or false.
    fn truth(&mut self, table: &DeTable<'_>, prefix: &str, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            other => {
                let what = format!("expected true or false, not {}", kind(other));
                self.wrong(&value.span(), &format!("{prefix}{key}"), what);
                None
            }
        }
    }

    fn table<'t, 'd>(&mut self, table: &'t DeTable<'d>, key: &str) -> Option<&'t DeTable<'d>> {
        let value = table.get(key)?;
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            self.wrong(
                &value.span(),
                key,
                format!("expected a table under a line [{key}], not {}", kind(value.get_ref())),
            );
        }
        inner
    }

    /// What must be one of its kind is there twice.
    fn again(&mut self, table: &DeTable<'_>, prefix: &str, key: &str) {
        if let Some(value) = table.get(key) {
            self.wrong(&value.span(), &format!("{prefix}{key}"), "another one has it already");
        }
    }

    fn wrong(&mut self, span: &Range<usize>, key: &str, what: impl Into<String>) {
        self.problems.push(Problem::at(self.text, span, key, what));
    }
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::String(text) => format!("the string '{}'", text.escape_debug()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Datetime(_) => "a date".to_owned(),
    }
}
