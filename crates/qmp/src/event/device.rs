//! Devices that go, stay and talk: the events of QEMU's `qdev` and `char`, and of `misc` those that are about a device.

use super::schema::event;

event! {
    /// A device is gone, after `device_del` or because the guest let it go; its id is free again.
    DeviceDeleted = "DEVICE_DELETED", since "1.5" {
        /// The id of the device, if it had one.
        device: Option<Box<str>>;
        /// The QOM path that it had.
        path: Box<str>;
    }
}

event! {
    /// The guest told that it does not let a device go.
    DeviceUnplugGuestError = "DEVICE_UNPLUG_GUEST_ERROR", since "6.2" {
        /// The id of the device, if it has one.
        device: Option<Box<str>>;
        /// Its QOM path.
        path: Box<str>;
    }
}

event! {
    /// A program in the guest opened or closed a virtio-serial port, as the guest agent does.
    ///
    /// At most one a second for each `id`, since QEMU 2.5; before, at most one a second for all ports together.
    VserportChange = "VSERPORT_CHANGE", since "2.1" {
        /// The id of the port's device.
        id: Box<str>;
        /// Whether it is open in the guest now.
        open: bool;
    }
}

event! {
    /// The client of a device that QEMU serves by vfio-user hung up.
    VfuClientHangup = "VFU_CLIENT_HANGUP", since "7.1" {
        /// The id of the `x-vfio-user-server` object.
        vfu_id = "vfu-id": Box<str>;
        /// Its QOM path.
        vfu_qom_path = "vfu-qom-path": Box<str>;
        /// The id of the device that it serves.
        dev_id = "dev-id": Box<str>;
        /// The QOM path of that device.
        dev_qom_path = "dev-qom-path": Box<str>;
    }
}
