//! libvirt's source with a stand-in for `virsh`: a script that prints what the test writes into a pipe, and lists what the
//! test says that runs.

use super::*;
use crate::daemon::absence::Absences;
use crate::daemon::descriptors::Descriptors;
use crate::daemon::handover::Handover;
use crate::daemon::recorder::{self, Recorder};
use crate::daemon::roster::Roster;
use crate::daemon::share::Shares;
use qev_journal::{Journal, Options, Query};
use qev_record::Kind;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

const STAND_IN: &str = r#"#!/bin/sh
here=${0%/*}
[ "$1 $2" = "-c test:///default" ] || exit 9
case $3 in
    list) echo "$*" >> "$here/lists"; exec cat "$here/running" ;;
    qemu-monitor-event) exec cat "$here/events" ;;
esac
"#;

const UUID: &str = "f33f7dd2-3b87-4ccf-a5db-9b4a17c8fe79";

/// A daemon that follows a libvirt of our making.
struct Lab {
    folder: PathBuf,
    daemon: Daemon,
    running: recorder::Running,
    stop: watch::Sender<bool>,
    source: JoinHandle<()>,
}

impl Lab {
    fn start(running: &str) -> Lab {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("qev-libvirt-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("virsh");
        // Written by a program of its own: a file that is open for writing cannot be run, and what this process has open
        // lives on for a moment in every program that another test starts.
        let mut write = std::process::Command::new("sh");
        write.args(["-c", r#"printf %s "$1" >"$0/virsh" && chmod 755 "$0/virsh" && mkfifo "$0/events""#]);
        assert!(write.arg(&folder).arg(STAND_IN).status().unwrap().success());
        fs::write(folder.join("running"), running).unwrap();
        Lab::follow(folder, &program.display().to_string(), "test:///default")
    }

    /// A daemon with its state in this folder, that follows this libvirt.
    fn follow(folder: PathBuf, program: &str, uri: &str) -> Lab {
        let journal = Journal::open(&folder.join("journal"), Options::default()).unwrap();
        let (recorder, handle) = Recorder::start(journal).unwrap();
        let (stop, stopped) = watch::channel(false);
        let absences = Absences::default();
        absences.learn([]);
        let host = "h1".into();
        let daemon = Daemon {
            host,
            recorder,
            roster: Roster::default(),
            absences,
            sessions: Default::default(),
            log: Arc::default(),
            descriptors: Descriptors::of_process(),
            handover: Handover::default(),
            shares: Arc::new(Shares::new(
                crate::config::Share::under(&folder),
                Descriptors::of_process(),
                Arc::default(),
            )),
            stop: stopped,
        };
        let virsh = Virsh::new(program, uri);
        let source = tokio::spawn(Source::new(virsh, uri.to_owned(), daemon.clone()).run());
        Lab { folder, daemon, running: handle, stop, source }
    }

    fn runs(&self, running: &str) {
        fs::write(self.folder.join("running"), running).unwrap();
    }

    /// What a `virsh` prints, as soon as one is there to print it; it ends when this is dropped.
    async fn events(&self) -> File {
        let path = self.folder.join("events");
        tokio::task::spawn_blocking(move || File::options().write(true).open(path).unwrap()).await.unwrap()
    }

    /// What is recorded: kind or event, machine, sentence.
    fn recorded(&self) -> Vec<(String, String, String)> {
        let records = self.daemon.recorder.reader().records(&Query::default());
        let told = records.map(|record| {
            let record = record.unwrap();
            assert_eq!(record.via.as_deref(), Some("libvirt"));
            assert_eq!(&*record.host, "h1");
            let what = match (&record.kind, &record.event) {
                (Kind::Event, Some(event)) => event.to_string(),
                (kind, _) => kind.to_string(),
            };
            (what, record.machine.to_string(), record.summary.to_string())
        });
        told.collect()
    }

    /// Waits until so many records are there, and compares them all: what, and the sentence where one is given.
    async fn expect(&self, expected: &[(&str, &str)]) {
        loop {
            let recorded = self.recorded();
            if recorded.len() >= expected.len() {
                let what: Vec<_> = recorded.iter().map(|(what, _, _)| what.as_str()).collect();
                let expected_what: Vec<_> = expected.iter().map(|(what, _)| *what).collect();
                assert_eq!(what, expected_what, "{recorded:?}");
                for ((_, _, summary), (_, sentence)) in recorded.iter().zip(expected) {
                    assert!(summary.contains(sentence), "{summary} lacks {sentence}");
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> Vec<(String, String, String)> {
        self.stop.send_replace(true);
        self.source.await.unwrap();
        self.running.stop().await;
        let mut records: Vec<_> = Vec::new();
        for record in self.daemon.recorder.reader().records(&Query::default()) {
            let record = record.unwrap();
            records.push((record.kind.to_string(), record.machine.to_string(), record.summary.to_string()));
        }
        fs::remove_dir_all(&self.folder).unwrap();
        records
    }
}

fn line(event: &str, domain: &str, data: &str) -> String {
    format!("2026-11-22 12:43:40.193+0000: event {event} for domain '{domain}': {data}\n")
}

#[tokio::test]
async fn what_a_domain_says_is_recorded_with_its_uuid_and_by_which_way_it_came() {
    let lab = Lab::start(&format!("{UUID} web1\n"));
    let mut events = lab.events().await;
    lab.expect(&[("attached", "attached: libvirt test:///default")]).await;
    events.write_all(line("GUEST_PANICKED", "web1", r#"{"action":"pause"}"#).as_bytes()).unwrap();
    events.write_all(line("STOP", "web1", "<null>").as_bytes()).unwrap();
    lab.expect(&[("attached", ""), ("GUEST_PANICKED", "QEMU paused it"), ("STOP", "")]).await;
    let records = lab.daemon.recorder.reader().records(&Query::default());
    for record in records {
        let record = record.unwrap();
        assert_eq!(record.machine_id.as_deref(), Some(UUID));
        assert_eq!(&*record.machine, "web1");
        if record.event.is_some() {
            assert_eq!(record.timestamp.unwrap().micros(), Some(1_795_351_420_193_000));
        }
    }
    let status = &lab.daemon.roster.snapshot()[0];
    assert_eq!((status.state, status.way, status.events), ("attached", "libvirt", 2));
    assert_eq!(status.place, "test:///default");
    let last = lab.stop().await.pop().unwrap();
    assert_eq!(last, ("detached".to_owned(), "web1".to_owned(), "detached: qev was stopped".to_owned()));
}

#[tokio::test]
async fn a_domain_that_is_started_later_is_known_by_its_first_event() {
    let lab = Lab::start("");
    let mut events = lab.events().await;
    lab.runs(&format!("{UUID} lv's 1\n"));
    events.write_all(line("RESUME", "lv's 1", "<null>").as_bytes()).unwrap();
    lab.expect(&[("attached", ""), ("RESUME", "")]).await;
    assert_eq!(lab.daemon.roster.snapshot()[0].machine_id.as_deref(), Some(UUID));
    assert!(lab.recorded().iter().all(|(_, machine, _)| machine == "lv's 1"));
    lab.stop().await;
}

#[tokio::test]
async fn an_odd_line_is_a_gap_and_the_stream_goes_on() {
    let lab = Lab::start(&format!("{UUID} web1\n"));
    let mut events = lab.events().await;
    lab.expect(&[("attached", "")]).await;
    events.write_all(b"odd \x1b[2J\xff\n\nevents received: 3\n").unwrap();
    events.write_all(line("STOP", "web1", "<null>").as_bytes()).unwrap();
    let odd = r"events may be missing: virsh printed what is no event: odd \u{1b}[2J";
    lab.expect(&[("attached", ""), ("gap", odd), ("STOP", "")]).await;
    lab.stop().await;
}

#[tokio::test]
async fn a_virsh_that_ends_is_started_again_and_what_was_missed_is_a_gap() {
    let lab = Lab::start(&format!("{UUID} web1\n"));
    let events = lab.events().await;
    lab.expect(&[("attached", "")]).await;
    drop(events);
    lab.expect(&[("attached", ""), ("detached", "detached: virsh ended: exit status: 0")]).await;
    assert_eq!(lab.daemon.roster.snapshot()[0].state, "detached");
    let mut events = lab.events().await;
    events.write_all(line("STOP", "web1", "<null>").as_bytes()).unwrap();
    lab.expect(&[("attached", ""), ("detached", ""), ("gap", "not attached"), ("attached", ""), ("STOP", "")]).await;
    let statuses = lab.daemon.roster.snapshot();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert_eq!(statuses[0].state, "attached");
    lab.stop().await;
}

#[tokio::test]
async fn a_domain_that_does_not_run_any_more_is_gone_and_how_it_went_is_said() {
    let other = "3f2a9c1e-0000-4000-8000-000000000001";
    let lab = Lab::start(&format!("{UUID} web1\n{other} db1\n"));
    let mut events = lab.events().await;
    lab.expect(&[("attached", ""), ("attached", "")]).await;
    // libvirt ends the process when it has said that it shuts down: so it is looked soon.
    lab.runs("");
    events.write_all(line("SHUTDOWN", "web1", r#"{"guest":true,"reason":"guest-shutdown"}"#).as_bytes()).unwrap();
    lab.expect(&[
        ("attached", ""),
        ("attached", ""),
        ("SHUTDOWN", ""),
        ("detached", "it does not run any more, without a shutdown"),
        ("detached", "detached: the machine shut down (guest-shutdown)"),
    ])
    .await;
    assert!(lab.daemon.roster.snapshot().iter().all(|status| status.state == "gone"));
    let records = lab.daemon.recorder.reader().records(&Query::default());
    let severities: Vec<Severity> =
        records.map(|record| record.unwrap()).filter(|r| r.kind == Kind::Detached).map(|r| r.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Notice]);
    lab.stop().await;
}
