//! [`Typed`]: an event with its data understood, whichever of the catalogue it is.

use super::*;
use crate::dialect::Dialect;
use crate::json::print::{Layout, Order};
use crate::json::{Json, Object, Value};

/// The data of an event, encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The event's `data`.
    pub data: Option<Json>,
    /// The members that the dialect has no place for, and that are therefore not in `data`.
    pub dropped: Vec<&'static str>,
}

/// An event that has no type of its own here.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherEvent {
    /// Which event.
    pub name: EventName,
    /// What it carries.
    pub data: Option<Json>,
}

/// The enum, and whatever must know all of its variants. The document's five stand here with what is their own; of the
/// others a list is enough: a variant is named as the type that it holds, in a box where that type is big and rare.
macro_rules! typed {
    ($($(#[$doc:meta])* $event:ident($held:ty),)*) => {
        /// An event with its data understood: the document's five first, then all that QEMU ever sent beside them.
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
            $($(#[$doc])* $event($held),)*
            /// An event that qev does not know; or one that is to be sent, and has no need of a type.
            Other(OtherEvent),
        }

        impl Typed {
            /// The data of the event of this name, in whichever dialect it is.
            pub(super) fn decode(name: &EventName, data: Option<&Json>) -> Result<Typed, EventError> {
                Ok(match name.as_str() {
                    AcpiDeviceOst::NAME => Typed::AcpiDeviceOst(AcpiDeviceOst::decode(data)?),
                    BalloonChange::NAME => Typed::BalloonChange(BalloonChange::decode(data)?),
                    GuestPanicked::NAME => Typed::GuestPanicked(GuestPanicked::decode(data)?),
                    QuorumFailure::NAME => Typed::QuorumFailure(QuorumFailure::decode(data)?),
                    QuorumReportBad::NAME => Typed::QuorumReportBad(QuorumReportBad::decode(data)?),
                    $($event::NAME => schema::decode::<$event>($event::NAME, data)?.into(),)*
                    _ => Typed::Other(OtherEvent { name: name.clone(), data: data.cloned() }),
                })
            }

            /// Which event.
            pub fn name(&self) -> EventName {
                match self {
                    Typed::AcpiDeviceOst(_) => EventName::of_type(AcpiDeviceOst::NAME),
                    Typed::BalloonChange(_) => EventName::of_type(BalloonChange::NAME),
                    Typed::GuestPanicked(_) => EventName::of_type(GuestPanicked::NAME),
                    Typed::QuorumFailure(_) => EventName::of_type(QuorumFailure::NAME),
                    Typed::QuorumReportBad(_) => EventName::of_type(QuorumReportBad::NAME),
                    $(Typed::$event(_) => EventName::of_type($event::NAME),)*
                    Typed::Other(other) => other.name.clone(),
                }
            }

            /// The data in a dialect, and what the dialect has no place for.
            ///
            /// The document describes five events. For all others both dialects are QEMU's.
            pub fn encode(&self, dialect: Dialect) -> Encoded {
                let mut dropped = Vec::new();
                let object = match self {
                    Typed::AcpiDeviceOst(event) => event.encode(dialect),
                    Typed::BalloonChange(event) => event.encode(),
                    Typed::GuestPanicked(event) => event.encode(dialect, &mut dropped),
                    Typed::QuorumFailure(event) => event.encode(dialect),
                    Typed::QuorumReportBad(event) => event.encode(dialect, &mut dropped),
                    $(Typed::$event(event) => return Encoded::as_qemu(schema::encode::<$event>(event)),)*
                    Typed::Other(other) => return Encoded { data: other.data.clone(), dropped },
                };
                let order = match dialect {
                    Dialect::Document => Order::Given,
                    Dialect::Qemu => Order::Qemu,
                };
                Encoded { data: Some(Json::printed(object.print(order, Layout::Line))), dropped }
            }
        }
    };
}

typed! {
    // Disks.
    /// A block export is gone.
    BlockExportDeleted(BlockExportDeleted),
    /// An image contradicts itself.
    BlockImageCorrupted(BlockImageCorrupted),
    /// A read or write that the guest asked a disk for failed.
    BlockIoError(Box<BlockIoError>),
    /// A write went past a threshold.
    BlockWriteThreshold(BlockWriteThreshold),
    /// The tray of a drive opened or closed.
    DeviceTrayMoved(DeviceTrayMoved),
    /// The helper for persistent reservations came or went.
    PrManagerStatusChanged(PrManagerStatusChanged),

    // Jobs.
    /// A block job was cancelled.
    BlockJobCancelled(BlockJobCancelled),
    /// A block job is over.
    BlockJobCompleted(BlockJobCompleted),
    /// A read or write of a block job failed.
    BlockJobError(BlockJobError),
    /// A block job waits to be finalized.
    BlockJobPending(BlockJobPending),
    /// A block job can be completed.
    BlockJobReady(BlockJobReady),
    /// A job is in another state.
    JobStatusChange(JobStatusChange),

    // Devices.
    /// A device is gone.
    DeviceDeleted(DeviceDeleted),
    /// The guest does not let a device go.
    DeviceUnplugGuestError(DeviceUnplugGuestError),
    /// A program in the guest opened or closed a port.
    VserportChange(VserportChange),
    /// The client of a device served by vfio-user hung up.
    VfuClientHangup(VfuClientHangup),

    // Memory.
    /// The guest's Hyper-V balloon driver reports.
    HvBalloonStatusReport(HvBalloonStatusReport),
    /// A memory device has another size.
    MemoryDeviceSizeChange(MemoryDeviceSizeChange),
    /// Memory of the host is broken.
    MemoryFailure(MemoryFailure),
    /// Memory could not be unplugged. Up to QEMU 9.0.
    MemUnplugError(MemUnplugError),

    // The machine and its monitor.
    /// A command was dropped. Up to QEMU 3.1.
    CommandDropped(CommandDropped),
    /// An s390 guest asked for another distribution of CPU time.
    CpuPolarizationChange(CpuPolarizationChange),
    /// A dump of the guest's memory is over.
    DumpCompleted(DumpCompleted),
    /// The guest set its clock.
    RtcChange(RtcChange),
    /// An s390 guest told what it is.
    SclpCpiInfoAvailable(SclpCpiInfoAvailable),

    // Migration.
    /// COLO ended on this side.
    ColoExit(ColoExit),
    /// A migration is in another state.
    Migration(Migration),
    /// A migration starts over the memory once more.
    MigrationPass(MigrationPass),
    /// A migration asked the guest to let a device go.
    UnplugPrimary(UnplugPrimary),
    /// A VFIO device is in another state of its migration.
    VfioMigration(VfioMigration),

    // Networks.
    /// The guest agreed to failover.
    FailoverNegotiated(FailoverNegotiated),
    /// A stream network backend got its connection.
    NetdevStreamConnected(Box<NetdevStreamConnected>),
    /// A stream network backend lost its connection.
    NetdevStreamDisconnected(NetdevStreamDisconnected),
    /// A vhost-user network backend got its connection.
    NetdevVhostUserConnected(NetdevVhostUserConnected),
    /// A vhost-user network backend lost its connection.
    NetdevVhostUserDisconnected(NetdevVhostUserDisconnected),
    /// The guest changed the receive filter of a network card.
    NicRxFilterChanged(NicRxFilterChanged),
    /// An address of a paravirtual RDMA device came or went. Up to QEMU 9.0.
    RdmaGidStatusChanged(RdmaGidStatusChanged),

    // A machine's life.
    /// The machine stopped for a debugger. In QEMU 0.12.
    Debug(Debug),
    /// The guest panicked, and its crash kernel runs.
    GuestCrashloaded(GuestCrashloaded),
    /// The guest asked its panic device to shut it down.
    GuestPvshutdown(GuestPvshutdown),
    /// The guest was asked to shut down.
    Powerdown(Powerdown),
    /// The machine was reset.
    Reset(Reset),
    /// The machine goes on.
    Resume(Resume),
    /// The machine shuts down.
    Shutdown(Shutdown),
    /// The machine was stopped.
    Stop(Stop),
    /// The guest went to sleep.
    Suspend(Suspend),
    /// The guest went to sleep, its memory on its disk.
    SuspendDisk(SuspendDisk),
    /// The guest woke up.
    Wakeup(Wakeup),
    /// The watchdog expired.
    Watchdog(Watchdog),

    // Who looks at the screen.
    /// A SPICE client connected.
    SpiceConnected(Box<SpiceConnected>),
    /// A SPICE client disconnected.
    SpiceDisconnected(Box<SpiceDisconnected>),
    /// A SPICE channel was set up.
    SpiceInitialized(Box<SpiceInitialized>),
    /// The SPICE clients were moved along with a migration.
    SpiceMigrateCompleted(SpiceMigrateCompleted),
    /// A VNC client connected.
    VncConnected(Box<VncConnected>),
    /// A VNC client disconnected.
    VncDisconnected(Box<VncDisconnected>),
    /// A VNC client has its session.
    VncInitialized(Box<VncInitialized>),
}

impl Encoded {
    fn as_qemu(data: Option<Object>) -> Encoded {
        Encoded { data: data.map(|data| Json::from(&data)), dropped: Vec::new() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_events_do_not_make_the_five_any_bigger() {
        // Those that are bigger are in a box. This one was the biggest when there were only five.
        assert!(size_of::<Typed>() <= size_of::<AcpiDeviceOst>() + size_of::<usize>());
    }
}
