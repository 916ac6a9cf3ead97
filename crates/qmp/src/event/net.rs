//! Networks: the events of QEMU's `net`, and of what was its `rdma`.

use super::schema::event;
use super::socket::SocketAddress;

event! {
    /// The guest changed the receive filter of a network card.
    ///
    /// It is not sent again for this card before `query-rx-filter` was asked.
    NicRxFilterChanged = "NIC_RX_FILTER_CHANGED", since "1.6" {
        /// The id of the card, if it has one.
        name: Option<Box<str>>;
        /// Its QOM path.
        path: Box<str>;
    }
}

event! {
    /// The guest's virtio-net driver agreed to stand in for a passed-through device, which therefore is plugged now.
    FailoverNegotiated = "FAILOVER_NEGOTIATED", since "4.2" {
        /// The id of the virtio-net device.
        device_id = "device-id": Box<str>;
    }
}

event! {
    /// A `stream` network backend got its connection.
    NetdevStreamConnected = "NETDEV_STREAM_CONNECTED", since "7.2" {
        /// The id of the backend.
        netdev_id = "netdev-id": Box<str>;
        /// The address that it is connected to.
        addr: SocketAddress;
    }
}

event! {
    /// A `stream` network backend lost its connection.
    NetdevStreamDisconnected = "NETDEV_STREAM_DISCONNECTED", since "7.2" {
        /// The id of the backend.
        netdev_id = "netdev-id": Box<str>;
    }
}

event! {
    /// A `vhost-user` network backend got its connection.
    NetdevVhostUserConnected = "NETDEV_VHOST_USER_CONNECTED", since "10.0" {
        /// The id of the backend.
        netdev_id = "netdev-id": Box<str>;
        /// The id of the character device that the connection goes through.
        chardev_id = "chardev-id": Box<str>;
    }
}

event! {
    /// A `vhost-user` network backend lost its connection.
    NetdevVhostUserDisconnected = "NETDEV_VHOST_USER_DISCONNECTED", since "10.0" {
        /// The id of the backend.
        netdev_id = "netdev-id": Box<str>;
    }
}

event! {
    /// An address of a paravirtual RDMA device came or went.
    RdmaGidStatusChanged = "RDMA_GID_STATUS_CHANGED", since "4.0", until "9.0" {
        /// The network interface of the host that it belongs to.
        netdev: Box<str>;
        /// Whether it is there now.
        gid_status = "gid-status": bool;
        /// The upper 64 bits of the address.
        subnet_prefix = "subnet-prefix": u64;
        /// The lower 64 bits of the address.
        interface_id = "interface-id": u64;
    }
}
