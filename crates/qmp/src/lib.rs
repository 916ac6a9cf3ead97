//! The QEMU Machine Protocol (QMP), both sides of it, with no I/O and no clock: the caller passes the bytes and the time.
//!
//! Five events come first here, those that the document *QEMU Machine Protocol Events* describes: see [`event`].

pub mod client;
pub mod dialect;
pub mod error;
pub mod event;
pub mod frame;
pub mod introspect;
pub mod json;
pub mod message;
pub mod server;
pub mod throttle;
pub mod timestamp;

pub use dialect::Dialect;
pub use error::{ErrorClass, QmpError};
pub use event::{Event, EventName, RunState, Typed};
pub use introspect::Schema;
pub use json::{Json, Object, Value};
pub use message::{Greeting, Message, QemuVersion, Reply};
pub use timestamp::Timestamp;
