//! Events: what QEMU says without being asked.
//!
//! The document *QEMU Machine Protocol Events* describes five; each has a file of its own here, named as its heading:
//!
//! | event | emitted when | type |
//! |---|---|---|
//! | `ACPI_DEVICE_OST` | the guest runs ACPI `_OST` | [`AcpiDeviceOst`] |
//! | `BALLOON_CHANGE` | the guest changed the balloon | [`BalloonChange`] |
//! | `GUEST_PANICKED` | a guest OS panic was detected | [`GuestPanicked`] |
//! | `QUORUM_FAILURE` | no quorum could be established | [`QuorumFailure`] |
//! | `QUORUM_REPORT_BAD` | a quorum child was found bad | [`QuorumReportBad`] |
//!
//! An [`Event`] is what came over the wire, whatever its name: name, time, and `data` as text. [`Event::typed`] looks
//! into it. An event that qev does not know, or whose data is not as expected, is still an event.

pub mod acpi_device_ost;
pub mod balloon_change;
pub mod guest_panicked;
pub mod name;
pub mod quorum_failure;
pub mod quorum_report_bad;

mod fields;

pub use acpi_device_ost::{AcpiDeviceOst, SlotType};
pub use balloon_change::BalloonChange;
pub use fields::EventError;
pub use guest_panicked::{GuestPanicInformation, GuestPanicked, PanicAction};
pub use name::EventName;
pub use quorum_failure::QuorumFailure;
pub use quorum_report_bad::{QuorumOpType, QuorumReportBad};

use crate::dialect::Dialect;
use crate::json::print::{Layout, Order};
use crate::json::{Json, Object, Value};
use crate::timestamp::Timestamp;
use std::fmt::Write as _;

/// An event as it came, or as it will go, over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When QEMU says it happened. Absent from QEMU up to 2.0 when its clock failed.
    pub timestamp: Option<Timestamp>,
    /// Which event.
    pub name: EventName,
    /// What it carries. Absent for events without data, such as `STOP`.
    pub data: Option<Json>,
    /// Members beside these three, which no QEMU sends yet; and a `timestamp` that is not one.
    pub extra: Object,
}

/// An event with its data understood.
///
/// The five of the document are typed. Any other is [`Typed::Other`], whole.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Typed {
    /// The guest ran ACPI `_OST`.
    AcpiDeviceOst(AcpiDeviceOst),
    /// The guest changed the balloon.
    BalloonChange(BalloonChange),
    /// A guest OS panic was detected.
    GuestPanicked(GuestPanicked),
    /// No quorum could be established.
    QuorumFailure(QuorumFailure),
    /// A quorum child was found bad.
    QuorumReportBad(QuorumReportBad),
    /// Any other event.
    Other(OtherEvent),
}

/// An event that has no type of its own here.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherEvent {
    /// Which event.
    pub name: EventName,
    /// What it carries.
    pub data: Option<Json>,
}

/// The data of an event, encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The event's `data`.
    pub data: Option<Json>,
    /// The members that the dialect has no place for, and that are therefore not in `data`.
    pub dropped: Vec<&'static str>,
}

impl Event {
    /// An event from its typed value; what the dialect has no place for is left out ([`Typed::encode`] tells what).
    pub fn new(typed: &Typed, timestamp: Option<Timestamp>, dialect: Dialect) -> Event {
        Event { timestamp, name: typed.name(), data: typed.encode(dialect).data, extra: Object::new() }
    }

    /// Looks into the data, in whichever dialect it is.
    ///
    /// # Errors
    ///
    /// When this is one of the five and a member is missing or is not of its type. The event itself stays what it is.
    pub fn typed(&self) -> Result<Typed, EventError> {
        let data = self.data.as_ref();
        Ok(match self.name.as_str() {
            AcpiDeviceOst::NAME => Typed::AcpiDeviceOst(AcpiDeviceOst::decode(data)?),
            BalloonChange::NAME => Typed::BalloonChange(BalloonChange::decode(data)?),
            GuestPanicked::NAME => Typed::GuestPanicked(GuestPanicked::decode(data)?),
            QuorumFailure::NAME => Typed::QuorumFailure(QuorumFailure::decode(data)?),
            QuorumReportBad::NAME => Typed::QuorumReportBad(QuorumReportBad::decode(data)?),
            _ => Typed::Other(OtherEvent { name: self.name.clone(), data: self.data.clone() }),
        })
    }

    /// The event as one line without its line end, as QEMU writes it: `timestamp`, `event`, `data`.
    pub fn to_line(&self) -> String {
        self.print(Dialect::Qemu, Layout::Line)
    }

    /// The event as text, its members in the order of the dialect. The data is printed as it is: to write it in another
    /// dialect, go through [`Event::typed`] and [`Event::new`].
    pub fn print(&self, dialect: Dialect, layout: Layout) -> String {
        // What a monitor with `pretty=on` sent has line ends in it, and a line must have none.
        let is_line = self.data.as_ref().is_none_or(|data| !data.as_str().contains('\n'));
        if layout == Layout::Line && dialect == Dialect::Qemu && self.extra.is_empty() && is_line {
            return self.splice();
        }
        let mut event = Object::new();
        if let (Dialect::Qemu, Some(time)) = (dialect, self.timestamp) {
            event.insert("timestamp", time.to_object());
        }
        event.insert("event", self.name.as_str());
        if let Some(data) = &self.data {
            event.insert("data", data.value());
        }
        if let (Dialect::Document, Some(time)) = (dialect, self.timestamp) {
            event.insert("timestamp", time.to_object());
        }
        for (name, value) in self.extra.iter() {
            event.insert(name.to_owned(), value.clone());
        }
        event.print(Order::Given, layout)
    }

    /// The usual case: the data is text already, and need not be taken apart to be put in its place.
    fn splice(&self) -> String {
        let mut line = String::with_capacity(96 + self.data.as_ref().map_or(0, |data| data.as_str().len()));
        line.push('{');
        if let Some(Timestamp { seconds, microseconds }) = self.timestamp {
            // Writing to a String cannot fail.
            let _ = write!(line, "\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, ");
        }
        line.push_str("\"event\": ");
        crate::json::print::string(&mut line, self.name.as_str());
        if let Some(data) = &self.data {
            line.push_str(", \"data\": ");
            line.push_str(data.as_str());
        }
        line.push('}');
        line
    }
}

impl Typed {
    /// Which event.
    pub fn name(&self) -> EventName {
        match self {
            Typed::AcpiDeviceOst(_) => AcpiDeviceOst::NAME.into(),
            Typed::BalloonChange(_) => BalloonChange::NAME.into(),
            Typed::GuestPanicked(_) => GuestPanicked::NAME.into(),
            Typed::QuorumFailure(_) => QuorumFailure::NAME.into(),
            Typed::QuorumReportBad(_) => QuorumReportBad::NAME.into(),
            Typed::Other(other) => other.name.clone(),
        }
    }

    /// The data in a dialect, and what the dialect has no place for.
    pub fn encode(&self, dialect: Dialect) -> Encoded {
        let mut dropped = Vec::new();
        let object = match self {
            Typed::AcpiDeviceOst(event) => event.encode(dialect),
            Typed::BalloonChange(event) => event.encode(),
            Typed::GuestPanicked(event) => event.encode(dialect, &mut dropped),
            Typed::QuorumFailure(event) => event.encode(dialect),
            Typed::QuorumReportBad(event) => event.encode(dialect, &mut dropped),
            Typed::Other(other) => return Encoded { data: other.data.clone(), dropped },
        };
        let order = match dialect {
            Dialect::Document => Order::Given,
            Dialect::Qemu => Order::Qemu,
        };
        Encoded { data: Some(Json::printed(object.print(order, Layout::Line))), dropped }
    }
}

impl From<OtherEvent> for Typed {
    fn from(event: OtherEvent) -> Typed {
        Typed::Other(event)
    }
}

impl OtherEvent {
    /// An event by its name, with the data given.
    pub fn new(name: &str, data: Option<Object>) -> OtherEvent {
        OtherEvent { name: name.into(), data: data.map(|data| Json::from(&Value::from(data))) }
    }
}
