//! What an event means: how much it matters, a plain sentence with the numbers in it, and what to do about it.
//!
//! The document's five have a file each. The rest are rules in a table, because nothing but their wording differs.
//!
//! A sentence is one line, bounded, and holds no character that acts on a terminal, whatever the event carries: foreign
//! words go through [`crate::plain`].

mod acpi_device_ost;
mod balloon_change;
mod guest_panicked;
mod quorum_failure;
mod quorum_report_bad;
mod rest;
mod rules;

use crate::explain::Explanation;
use crate::severity::Severity;
use qev_qmp::event::name::OF_THE_DOCUMENT;
use qev_qmp::{Event, Typed};

/// The most characters that a sentence about an event has.
pub const LONGEST_SENTENCE: usize = 600;

/// What qev says about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in a plain sentence on one line.
    pub sentence: String,
}

impl Meaning {
    /// The meaning of an event, in whichever dialect it is.
    ///
    /// An event that qev does not know is a [`Severity::Notice`]. One of the five whose data is not as it should be has
    /// the severity that it could have at worst: a panic is none the less a panic.
    pub fn of(event: &Event) -> Meaning {
        match event.typed() {
            Ok(Typed::AcpiDeviceOst(event)) => acpi_device_ost::meaning(&event),
            Ok(Typed::BalloonChange(event)) => balloon_change::meaning(&event),
            Ok(Typed::GuestPanicked(event)) => guest_panicked::meaning(&event),
            Ok(Typed::QuorumFailure(event)) => quorum_failure::meaning(&event),
            Ok(Typed::QuorumReportBad(event)) => quorum_report_bad::meaning(&event),
            Ok(_) => rest::meaning(event),
            // Of the others the table says what there is to say, whatever is missing.
            Err(misfit) if !OF_THE_DOCUMENT.contains(&misfit.event) => rest::meaning(event),
            Err(misfit) => {
                Meaning { severity: worst(event.name.as_str()), sentence: format!("unexpected data: {misfit}") }
            }
        }
    }

    fn new(severity: Severity, sentence: String) -> Meaning {
        Meaning { severity, sentence }
    }
}

/// What a person who runs the host can do about this event, in a sentence or two.
///
/// There is advice for the document's five; for other events, and for data that is not as it should be, there is none.
pub fn advice(event: &Event) -> Option<&'static str> {
    match event.typed().ok()? {
        Typed::AcpiDeviceOst(event) => Some(acpi_device_ost::advice(&event)),
        Typed::BalloonChange(event) => Some(balloon_change::advice(&event)),
        Typed::GuestPanicked(event) => Some(guest_panicked::advice(&event)),
        Typed::QuorumFailure(_) => Some(quorum_failure::ADVICE),
        Typed::QuorumReportBad(event) => Some(quorum_report_bad::advice(&event)),
        _ => None,
    }
}

/// The document's five, explained in full.
pub(crate) static FIVE: [&Explanation; 5] = [
    &acpi_device_ost::EXPLANATION,
    &balloon_change::EXPLANATION,
    &guest_panicked::EXPLANATION,
    &quorum_failure::EXPLANATION,
    &quorum_report_bad::EXPLANATION,
];

fn worst(name: &str) -> Severity {
    match name {
        "GUEST_PANICKED" | "QUORUM_FAILURE" => Severity::Critical,
        "QUORUM_REPORT_BAD" => Severity::Error,
        _ => Severity::Warning,
    }
}

/// `1 sector at 128`, `8 sectors at 8`: sectors of 512 bytes.
fn sectors(count: i64, first: i64) -> String {
    format!("{count} {} at {first}", if count == 1 { "sector" } else { "sectors" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Message;

    pub(super) fn event(line: &str) -> Event {
        match Message::decode(line.as_bytes()) {
            Ok(Message::Event(event)) => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    /// What is said about an event of this name with this data.
    pub(super) fn check(name: &str, data: &str, severity: Severity, sentence: &str) {
        let event = event(&format!(r#"{{"event": "{name}", "data": {data}}}"#));
        let expected = Meaning { severity, sentence: sentence.to_owned() };
        assert_eq!(Meaning::of(&event), expected, "{name} {data}");
    }

    /// What is advised about an event of this name with this data: some words of it.
    pub(super) fn check_advice(name: &str, data: &str, words: &str) {
        let event = event(&format!(r#"{{"event": "{name}", "data": {data}}}"#));
        let advice = advice(&event).unwrap();
        assert!(advice.contains(words), "{name} {data}: {advice}");
    }

    #[test]
    fn a_panic_is_a_panic_even_when_its_data_is_broken() {
        check(
            "GUEST_PANICKED",
            "{}",
            Severity::Critical,
            "unexpected data: GUEST_PANICKED: expected member 'action' to be present",
        );
        check(
            "QUORUM_FAILURE",
            "7",
            Severity::Critical,
            "unexpected data: QUORUM_FAILURE: expected data that is an object",
        );
    }

    #[test]
    fn the_documents_own_form_means_the_same_as_qemus() {
        for (name, document, qemu) in [
            (
                "ACPI_DEVICE_OST",
                r#"{ "device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0 }"#,
                r#"{"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}"#,
            ),
            (
                "QUORUM_FAILURE",
                r#"{ "reference": "usr1", "sector-num": 345435, "sector-count": 5 }"#,
                r#"{"reference": "usr1", "sectors-count": 5, "sector-num": 345435}"#,
            ),
            (
                "QUORUM_REPORT_BAD",
                r#"{ "node-name": "1.raw", "sector-num": 345435, "sector-count": 5 }"#,
                r#"{"node-name": "1.raw", "sectors-count": 5, "sector-num": 345435}"#,
            ),
        ] {
            let meaning = |data| Meaning::of(&event(&format!(r#"{{"event": "{name}", "data": {data}}}"#)));
            assert_eq!(meaning(document), meaning(qemu));
        }
    }

    #[test]
    fn an_event_of_tomorrow_has_no_advice_but_is_an_event() {
        let event = event(r#"{"event": "GUEST_ASCENDED"}"#);
        assert_eq!(advice(&event), None);
        assert_eq!(Meaning::of(&event).severity, Severity::Notice);
    }
}
