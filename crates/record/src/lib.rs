//! What qev says about an event, with no I/O and no clock: the record, its severity, its plain sentence, what to do.
pub mod acpi;
pub mod explain;
pub mod meaning;
pub mod plain;
pub mod severity;
pub mod size;
pub mod time;
