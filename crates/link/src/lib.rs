//! The QEMU Machine Protocol over sockets, both ends of it, on tokio. A current-thread runtime is enough.
//!
//! - [`Client`] connects to a QEMU's monitor, negotiates, executes commands, and hands every event to each subscriber:
//!   `examples/smallest_watcher.rs` is all that it takes to print events.
//! - [`DialIn`] is a socket that QEMUs connect to by themselves; each that does becomes a [`Client`].
//! - [`Server`] is the other side: it listens where a QEMU would, one client a monitor, and throttles and buffers events
//!   as QEMU does. What the commands do, a [`Service`] says, or closures: `examples/smallest_emitter.rs`.
//!
//! - [`Share`] is both at once: one QEMU, and any number of clients that each see a QEMU of their own.
//!
//! What the bytes mean, `qev_qmp` knows; here they are only carried.
//!
//! Two rules hold throughout. One task owns each connection, and everything else reaches it through a queue with a
//! bound. And nothing ends in silence: a subscriber that was too slow learns how much it missed, and every subscriber
//! and every caller learns why a connection ended.

pub mod client;
pub mod clock;
pub mod dial_in;
pub mod server;
pub mod share;
pub mod target;

mod holder;
mod inherited;
mod listen;
mod stream;
mod tcp;
mod unix_address;

pub use client::{
    Capacity, Client, ConnectError, ConnectOptions, EndReason, EventItem, Events, ExecuteError, InUseCheck,
    MESSAGE_TIMEOUT, RECEIVE_BUDGET, Resumed,
};
pub use clock::Clock;
pub use dial_in::{Access, Caller, DialIn, Peer};
pub use holder::{Holder, Sockets, Standing};
pub use inherited::NotInherited;
pub use server::{Commands, Context, Emitter, MonitorOptions, Notice, Server, Service, StartError};
pub use share::Share;
pub use target::{NotATarget, Target};
pub use tcp::VANISHED_AFTER;

#[cfg(test)]
mod tests {
    #[test]
    fn handles_may_be_used_from_any_thread() {
        fn check<T: Send + Sync>() {}
        check::<crate::Client>();
        check::<crate::Events>();
        check::<crate::Server>();
        check::<crate::Emitter>();
        check::<crate::ConnectError>();
        check::<crate::ExecuteError>();
    }
}
