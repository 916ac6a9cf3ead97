//! The protocol as its users meet it: the document's own examples, recordings of a real QEMU, and everything that must
//! not cost a message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod both_ends;
mod catalogue;
mod document;
mod exchanges;
mod recordings;
mod robustness_client;
mod robustness_server;
mod tables;
