//! The crate from outside: what was appended is there, in order, whatever happens to the process, the disk and the files.

// A test fails by panicking; outside of functions marked as tests clippy must be told.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod anything;
mod appending;
mod beside;
mod clocks;
mod crash;
mod damage;
mod full;
mod histogram;
mod lost_end;
mod missing;
mod removed;
mod sessions;
mod shares;
mod support;
