//! A discovered QEMU as JSON: the same members on the command line and in the HTTP API.
//!
//! ```text
//!   qev machines --discover -o json   one object per line
//!   GET /api/v1/discover              {"qemus":[…]}
//! ```

use super::{Hold, Report};
use crate::daemon::managers::Manager;
use qev_qmp::{Object, Value};

impl Report {
    /// Returns the QEMU, its monitors, and the line that would attach it.
    pub(crate) fn to_object(&self) -> Object {
        let qemu = &self.qemu;
        let or_null = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let monitors = self.held.iter().map(|(target, hold)| {
            let object = Object::new().with("path", target.to_string());
            Value::from(match hold {
                Hold::Free => object.with("state", "free"),
                Hold::Unknown | Hold::NobodyListens | Hold::Relative => object.with("state", "unknown"),
                Hold::Removed => object.with("state", "removed"),
                Hold::NotAllowed(_) => object.with("state", "no permission"),
                Hold::Held(None) => object.with("state", "held"),
                Hold::Held(Some(holder)) => object
                    .with("state", "held")
                    .with("pid", u64::from(holder.pid))
                    .with("command", holder.command.as_str()),
            })
        });
        Object::new()
            .with("pid", u64::from(qemu.pid))
            .with("uid", u64::from(qemu.uid))
            .with("name", or_null(qemu.line.name.as_deref()))
            .with("uuid", or_null(qemu.line.uuid.as_deref()))
            .with("manager", or_null(qemu.manager.map(Manager::name)))
            .with("monitors", Value::Array(monitors.collect()))
            .with("attached", self.is_attached)
            .with("why", self.why.as_str())
            .with("attach", or_null(self.attach.as_deref()))
    }
}
