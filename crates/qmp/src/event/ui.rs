//! Who looks at the machine's screen, by VNC and by SPICE: the events of QEMU's `ui`.

use super::schema::{event, object};
use super::socket::NetworkAddressFamily;

object! {
    /// One end of a VNC connection.
    VncBasicInfo {
        /// Its address.
        host: Box<str>;
        /// Its port: a number, or the name that the host has for it.
        service: Box<str>;
        /// What kind of address it is.
        family: NetworkAddressFamily;
        /// Whether it speaks over a web socket.
        websocket: Option<bool>, since "2.3";
    }
}

object! {
    /// QEMU's end of a VNC connection.
    VncServerInfo {
        /// Its address.
        host: Box<str>;
        /// Its port: a number, or the name that the host has for it.
        service: Box<str>;
        /// What kind of address it is.
        family: NetworkAddressFamily;
        /// Whether it speaks over a web socket.
        websocket: Option<bool>, since "2.3";
        /// How clients that do not come over a web socket prove who they are: `none`, `vnc`, `sasl`, `vencrypt+x509+vnc`, …
        auth: Option<Box<str>>;
    }
}

object! {
    /// The client's end of a VNC connection.
    VncClientInfo {
        /// Its address.
        host: Box<str>;
        /// Its port: a number, or the name that the host has for it.
        service: Box<str>;
        /// What kind of address it is.
        family: NetworkAddressFamily;
        /// Whether it speaks over a web socket.
        websocket: Option<bool>, since "2.3";
        /// The name in its certificate, if it has proved who it is by one.
        x509_dname: Option<Box<str>>;
        /// Its user's name, if it has proved who it is by SASL.
        sasl_username: Option<Box<str>>;
    }
}

event! {
    /// A VNC client connected. It has not yet proved who it is.
    VncConnected = "VNC_CONNECTED", since "0.13" {
        /// QEMU's end.
        server: VncServerInfo;
        /// The client's end.
        client: VncBasicInfo;
    }
}

event! {
    /// A VNC client has proved who it is, if it had to, and has its session.
    VncInitialized = "VNC_INITIALIZED", since "0.13" {
        /// QEMU's end.
        server: VncServerInfo;
        /// The client's end.
        client: VncClientInfo;
    }
}

event! {
    /// A VNC client disconnected.
    VncDisconnected = "VNC_DISCONNECTED", since "0.13" {
        /// QEMU's end.
        server: VncServerInfo;
        /// The client's end.
        client: VncClientInfo;
    }
}

object! {
    /// One end of a SPICE connection.
    SpiceBasicInfo {
        /// Its address.
        host: Box<str>;
        /// Its port.
        port: Box<str>;
        /// What kind of address it is.
        family: NetworkAddressFamily;
    }
}

object! {
    /// QEMU's end of a SPICE connection.
    SpiceServerInfo {
        /// Its address.
        host: Box<str>;
        /// Its port.
        port: Box<str>;
        /// What kind of address it is.
        family: NetworkAddressFamily;
        /// How clients prove who they are: `none`, `spice`, `sasl`.
        auth: Option<Box<str>>;
    }
}

object! {
    /// The client's end of a SPICE channel. A client has many: for the screen, the keyboard, the sound, …
    SpiceChannel {
        /// Its address.
        host: Box<str>;
        /// Its port.
        port: Box<str>;
        /// What kind of address it is.
        family: NetworkAddressFamily;
        /// The session: all channels of one client have the same.
        connection_id = "connection-id": i64;
        /// What the channel is for: 1 is the main one, of which a session has one.
        channel_type = "channel-type": i64;
        /// Which of those that are for the same: mostly 0, more with several screens.
        channel_id = "channel-id": i64;
        /// Whether it is encrypted.
        tls: bool;
    }
}

event! {
    /// A SPICE client connected.
    SpiceConnected = "SPICE_CONNECTED", since "0.14" {
        /// QEMU's end.
        server: SpiceBasicInfo;
        /// The client's end.
        client: SpiceBasicInfo;
    }
}

event! {
    /// A SPICE channel was set up; its client has proved who it is, if it had to.
    SpiceInitialized = "SPICE_INITIALIZED", since "0.14" {
        /// QEMU's end.
        server: SpiceServerInfo;
        /// The client's end.
        client: SpiceChannel;
    }
}

event! {
    /// A SPICE client disconnected.
    SpiceDisconnected = "SPICE_DISCONNECTED", since "0.14" {
        /// QEMU's end.
        server: SpiceBasicInfo;
        /// The client's end.
        client: SpiceBasicInfo;
    }
}

event! {
    /// The SPICE clients were moved along with a migration.
    SpiceMigrateCompleted = "SPICE_MIGRATE_COMPLETED", since "1.3";
}
