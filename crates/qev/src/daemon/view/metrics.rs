//! `/metrics`: what is counted and measured, as Prometheus reads it.
//!
//! No label holds what an event carries. A scrape takes a snapshot and makes text of it; it costs as much as there are
//! machines, whatever the history.

use super::View;
use super::counted::{Label, Labels};
use super::machine::Machine;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use qev_qmp::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How many machines have a balloon and a last panic in a scrape: those that were heard last.
const MACHINES: usize = 10_000;

/// The states in which a machine can be.
const STATES: [&str; 5] = ["attached", "detached", "silent", "held", "gone"];

/// A gauge a machine, in whole numbers and in seconds.
type Bytes = Family<Labels<1>, Gauge>;
type Seconds = Family<Labels<1>, Gauge<f64, AtomicU64>>;

/// In which format metrics are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    OpenMetrics,
    /// Prometheus' own, older one.
    Text,
}

impl Exposition {
    /// The one that a request's `Accept` asks for.
    pub(crate) fn accepted(accept: &str) -> Exposition {
        match accept.contains("application/openmetrics-text") {
            true => Exposition::OpenMetrics,
            false => Exposition::Text,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl View {
    /// All metrics. The journal's folder is read for its size, so this may block.
    pub(crate) fn metrics(&self, exposition: Exposition) -> String {
        let mut registry = Registry::default();
        self.counted.register(&mut registry);
        self.register_machines(&mut registry);
        self.register_journal(&mut registry);
        let build: Family<Labels<1>, Gauge> = Family::default();
        build.get_or_create_owned(&[("version", Label::new(env!("CARGO_PKG_VERSION")))]).set(1);
        registry.register("qev_build_info", "The version of qev, as a label; always 1", build);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &registry).and_then(|()| encode_eof(&mut text));
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Text => in_text_format(&text),
        }
    }

    fn register_machines(&self, registry: &mut Registry) {
        let states: Family<Labels<1>, Gauge> = Family::default();
        for state in STATES {
            states.get_or_create_owned(&[("state", Label::new(state))]);
        }
        for status in self.roster.snapshot() {
            states.get_or_create_owned(&[("state", Label::new(status.state))]).inc();
        }
        registry.register("qev_machines", "Machines by state, those that are gone included", states);

        let (balloons, panics) = (Bytes::default(), Seconds::default());
        for machine in lately(self.heard()) {
            let labels = [("machine", Label::new(&machine.identity.machine))];
            if let Some(balloon) = machine.balloon.filter(|_| machine.gone.is_none()) {
                balloons.get_or_create_owned(&labels).set(balloon.actual);
            }
            if let Some(panic) = &machine.panic {
                panics.get_or_create_owned(&labels).set(seconds(panic.at.received));
            }
        }
        let help = "Memory that the guest has, as its balloon says";
        registry.register("qev_machine_balloon_bytes", help, balloons);
        let help = "When the guest panicked last, in seconds since 1970";
        registry.register("qev_machine_last_panic_timestamp_seconds", help, panics);
    }

    fn register_journal(&self, registry: &mut Registry) {
        let recorder = &self.recorder;
        let figures = recorder.figures();
        let (waiting, lost) = recorder.waiting_and_dropped();
        let last = recorder.last();
        let (followers, lag) = figures.followers(last);
        let gauge = |n: u64| ConstGauge::new(n);
        let number = |n: usize| gauge(u64::try_from(n).unwrap_or(u64::MAX));

        let dropped: Family<Labels<1>, Counter> = Family::default();
        for (reason, lost) in [("journal_not_writable", lost), ("came_too_fast", figures.missed.get())] {
            dropped.get_or_create_owned(&[("reason", Label::new(reason))]).inc_by(lost);
        }
        let help = "Records that were dropped, by reason; gaps say which";
        registry.register("qev_dropped_records", help, dropped);

        let help = "How long it took to commit a group of records to disk";
        registry.register("qev_journal_commit_seconds", help, figures.commit_seconds.clone());
        let help = "Commits that failed; their records are tried again";
        registry.register("qev_journal_commit_failures", help, figures.commit_failures.clone());
        let help = "Size of the journal's files";
        registry.register("qev_journal_bytes", help, gauge(size(recorder.reader().dir())));
        registry.register("qev_journal_last_seq", "Number of the last record that is on disk", gauge(last));
        let help = "Whether the journal takes what comes: 0 when nothing could be committed for 5 s";
        registry.register(
            "qev_journal_writable",
            help,
            gauge(u64::from(recorder.is_alive() && !recorder.is_in_trouble())),
        );
        registry.register("qev_outbox_records", "Records that wait for the journal", number(waiting));
        registry.register("qev_followers", "Readers that follow the journal", number(followers));
        let help = "How many records the slowest follower is behind the last one";
        registry.register("qev_follower_lag_records", help, gauge(lag));
    }
}

/// The machines that were heard last, the last one last: it counts, where two have one name.
fn lately(machines: BTreeMap<Arc<str>, Arc<Machine>>) -> Vec<Arc<Machine>> {
    let mut machines: Vec<_> = machines.into_values().collect();
    machines.sort_by_key(|machine| machine.heard());
    let beyond = machines.len().saturating_sub(MACHINES);
    machines.drain(..beyond);
    machines
}

fn seconds(time: Timestamp) -> f64 {
    // Years from 1970 to 2106; a clock that is elsewhere is told to be at the end.
    let whole = u32::try_from(time.seconds.max(0)).unwrap_or(u32::MAX);
    f64::from(whole) + u32::try_from(time.microseconds).map_or(0.0, f64::from) / 1e6
}

/// How many bytes the files of a folder have.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    // One that was deleted meanwhile has none.
    entries.flatten().filter_map(|entry| entry.metadata().ok()).fold(0, |sum, file| sum.saturating_add(file.len()))
}

/// OpenMetrics as the older format has it: there a counter is called as its samples are, and there is no end mark.
fn in_text_format(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), rest) => help = Some((name, rest.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                    out.push_str(&format!("# HELP {name}{suffix} {help}\n"));
                }
                out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::Recorder;
    use crate::daemon::recorder::tests::{Scratch, event};
    use crate::daemon::roster::{MachineStatus, Roster};
    use qev_journal::{Journal, Options};
    use qev_record::{Gap, Record};
    use std::collections::BTreeSet;

    /// What a daemon that has heard these records says.
    async fn metrics(records: Vec<Record>, exposition: Exposition) -> String {
        let scratch = Scratch::new();
        let journal = Journal::open(&scratch.0, Options::default()).unwrap();
        let (recorder, running) = Recorder::start(journal).unwrap();
        let roster = Roster::default();
        let at = Timestamp::from_micros(0);
        roster.put(
            "key",
            MachineStatus::not_attached("held", "held", at, "/run/vm/held.qmp".to_owned(), "held".to_owned()),
        );
        let view = View::start(recorder.clone(), roster).unwrap();
        let outbox = recorder.outbox();
        let last = u64::try_from(records.len()).unwrap();
        for record in records {
            outbox.put(record).await;
        }
        // The view follows: it is asked until it has caught up.
        while recorder.figures().followers(last) != (1, 0) || recorder.last() < last {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let text = view.metrics(exposition);
        running.stop().await;
        text
    }

    /// A record of each kind that is counted.
    fn all_kinds() -> Vec<Record> {
        let at = Timestamp { seconds: 1_795_347_310, microseconds: 500_000 };
        let line = br#"{"event": "BALLOON_CHANGE", "data": {"actual": 134217728}}"#;
        let Ok(qev_qmp::Message::Event(balloon)) = qev_qmp::Message::decode(line) else { panic!("an event") };
        let mut panic = event("web1", "GUEST_PANICKED", 1);
        panic.received = at;
        vec![
            Record::event("h1", "web1", at, &balloon),
            panic,
            Record::gap("h1", "web1", at, Gap::default(), "not attached"),
            Record::detached("h1", "web2", at, "killed"),
        ]
    }

    /// The names of the metrics in an exposition, as it has them in its `TYPE` lines.
    fn names(text: &str) -> BTreeSet<String> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// Words that begin as our metrics do.
    fn mentioned(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| word.starts_with("qev_"));
        ours.map(|word| {
            ["_bucket", "_sum", "_count"].iter().fold(word, |word, end| word.strip_suffix(end).unwrap_or(word))
        })
        .map(str::to_owned)
        .collect()
    }

    #[tokio::test]
    async fn rules_and_dashboard_ask_for_metrics_that_there_are() {
        let known = names(&metrics(all_kinds(), Exposition::Text).await);
        for (file, text) in [
            ("qev.rules.yml", include_str!("../../../../../contrib/prometheus/qev.rules.yml")),
            ("qev.json", include_str!("../../../../../contrib/grafana/qev.json")),
        ] {
            let mentioned = mentioned(text);
            assert!(mentioned.len() > 5, "{file}: {mentioned:?}");
            let unknown: Vec<_> = mentioned.difference(&known).collect();
            assert!(unknown.is_empty(), "{file} asks for {unknown:?}, there are {known:?}");
        }
        qev_qmp::Json::parse(include_str!("../../../../../contrib/grafana/qev.json")).unwrap();
    }

    #[tokio::test]
    async fn a_scrape_says_what_there_is() {
        let text = metrics(all_kinds(), Exposition::Text).await;
        for line in [
            "# TYPE qev_events_total counter",
            r#"qev_events_total{machine="web1",event="GUEST_PANICKED",severity="critical"} 1"#,
            r#"qev_gaps_total{machine="web1"} 1"#,
            r#"qev_detached_total{machine="web2",severity="notice"} 1"#,
            r#"qev_machines{state="held"} 1"#,
            r#"qev_machines{state="attached"} 0"#,
            r#"qev_machine_balloon_bytes{machine="web1"} 134217728"#,
            r#"qev_machine_last_panic_timestamp_seconds{machine="web1"} 1795347310.5"#,
            "qev_journal_last_seq 4",
            "qev_journal_writable 1",
            "qev_followers 1",
            "qev_follower_lag_records 0",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in {text}");
        }
    }

    #[tokio::test]
    async fn open_metrics_ends_with_its_mark_and_names_counters_without_their_suffix() {
        let text = metrics(all_kinds(), Exposition::OpenMetrics).await;
        assert!(text.ends_with("\n# EOF\n") && text.contains("# TYPE qev_events counter\n"), "{text}");
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Exposition::accepted(accept), Exposition::OpenMetrics);
        assert_eq!(Exposition::accepted("*/*"), Exposition::Text);
    }
}
