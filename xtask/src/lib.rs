//! What the tasks and their tests share: a lab in which a real QEMU runs a real Linux guest.
//!
//! * [`lab`]: a machine to boot, a monitor to command it through, and the provocations of the five events;
//! * [`programs`]: the programs of the system that this needs, and the line that installs a missing one;
//! * [`page`]: what checks the page, on Node.js;
//! * [`deb`]: the Debian package;
//! * [`fetch`]: a network that is away for a moment;
//! * [`workspace`]: where things built from this workspace lie, and how to run cargo inside cargo.
//!
//! The lab judges qev from outside, as a user would: it starts the `qev` program and reads what that prints, and it
//! speaks QMP by means of its own. Nothing here depends on a crate of the product.

pub mod deb;
pub mod error;
pub mod fetch;
pub mod lab;
pub mod page;
pub mod programs;
pub mod workspace;

pub use error::Error;
