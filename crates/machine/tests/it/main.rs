//! The machine as a client sees it: one file for each of the document's five events, and what a real QEMU did.

// The tests of one crate are one program: it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acpi_device_ost;
mod any_input;
mod balloon_change;
mod cpu_hotplug;
mod disk_errors;
mod guest_panicked;
mod lab;
mod lifecycle;
mod limits;
mod quorum_failure;
mod quorum_report_bad;
mod transcripts;
