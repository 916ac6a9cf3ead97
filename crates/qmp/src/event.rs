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
//! All others that QEMU ever sent, up to 10.2, are typed too, grouped as in QEMU's schema:
//!
//! | | |
//! |---|---|
//! | [`block`], [`job`] | disks, and the work on them that goes on while the guest runs |
//! | [`device`], [`memory`] | what is plugged in |
//! | [`machine`], [`run_state`] | the machine and its life |
//! | [`migration`] | moving it to another host |
//! | [`net`], [`ui`] | networks, and who looks at the screen |
//!
//! An [`Event`] is what came over the wire, whatever its name: name, time, and `data` as text. [`Event::typed`] looks
//! into it. An event that qev does not know, or whose data is not as expected, is still an event.

pub mod acpi_device_ost;
pub mod balloon_change;
pub mod guest_panicked;
pub mod quorum_failure;
pub mod quorum_report_bad;

pub mod block;
pub mod device;
pub mod job;
pub mod machine;
pub mod memory;
pub mod migration;
pub mod name;
pub mod net;
pub mod run_state;
pub mod socket;
pub mod ui;

mod fields;
mod schema;
mod typed;

pub use acpi_device_ost::{AcpiDeviceOst, SlotType};
pub use balloon_change::BalloonChange;
pub use guest_panicked::{GuestPanicInformation, GuestPanicked, PanicAction};
pub use quorum_failure::QuorumFailure;
pub use quorum_report_bad::{QuorumOpType, QuorumReportBad};

pub use block::*;
pub use device::*;
pub use fields::EventError;
pub use job::*;
pub use machine::*;
pub use memory::*;
pub use migration::*;
pub use name::EventName;
pub use net::*;
pub use run_state::*;
pub use socket::*;
pub use typed::{Encoded, OtherEvent, Typed};
pub use ui::*;

use crate::dialect::Dialect;
use crate::json::print::{self, Layout, Order};
use crate::json::{Json, Object, Value};
use crate::timestamp::Timestamp;

/// An event as it came, or as it will go, over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When QEMU says it happened. Absent from QEMU up to 2.0 when its clock failed.
    pub timestamp: Option<Timestamp>,
    /// Which event.
    pub name: EventName,
    /// What it carries. Absent for events without data, such as `STOP`.
    pub data: Option<Json>,
    /// An object of the members beside these three, which no QEMU sends yet, and of a `timestamp` that is not one, as they
    /// came. Of members with the same name the last one counts.
    pub extra: Option<Json>,
}

impl Event {
    /// An event from its typed value; what the dialect has no place for is left out ([`Typed::encode`] tells what).
    pub fn new(typed: &Typed, timestamp: Option<Timestamp>, dialect: Dialect) -> Event {
        Event { timestamp, name: typed.name(), data: typed.encode(dialect).data, extra: None }
    }

    /// Looks into the data, in whichever dialect it is.
    ///
    /// # Errors
    ///
    /// When a member is missing that every QEMU sends, or one is not of its type. The event itself stays what it is.
    pub fn typed(&self) -> Result<Typed, EventError> {
        Typed::decode(&self.name, self.data.as_ref())
    }

    /// The event as one line without its line end, as QEMU writes it: `timestamp`, `event`, `data`.
    pub fn to_line(&self) -> String {
        self.print(Dialect::Qemu, Layout::Line)
    }

    /// The event as text, its members in the order of the dialect. The data is printed as it is: to write it in another
    /// dialect, go through [`Event::typed`] and [`Event::new`].
    pub fn print(&self, dialect: Dialect, layout: Layout) -> String {
        // What a monitor with `pretty=on` sent has line ends in it, and a line must have none.
        let is_line = self.data.as_ref().is_none_or(|data| !data.as_text().contains('\n'));
        if layout == Layout::Line && dialect == Dialect::Qemu && self.extra.is_none() && is_line {
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
        if let Some(Value::Object(extra)) = self.extra.as_ref().map(Json::value) {
            fields::put_back(&mut event, &extra);
        }
        event.print(Order::Given, layout)
    }

    /// The usual case: the data is text already, and need not be taken apart to be put in its place.
    fn splice(&self) -> String {
        let mut line = String::with_capacity(96 + self.data.as_ref().map_or(0, |data| data.as_text().len()));
        line.push('{');
        if let Some(Timestamp { seconds, microseconds }) = self.timestamp {
            line.push_str("\"timestamp\": {\"seconds\": ");
            print::integer(&mut line, seconds);
            line.push_str(", \"microseconds\": ");
            print::integer(&mut line, microseconds);
            line.push_str("}, ");
        }
        line.push_str("\"event\": ");
        print::string(&mut line, self.name.as_str());
        if let Some(data) = &self.data {
            line.push_str(", \"data\": ");
            line.push_str(data.as_text());
        }
        line.push('}');
        line
    }
}
