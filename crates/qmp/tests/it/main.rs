//! The protocol as its users meet it: the document's own examples, recordings of a real QEMU, and everything that must
//! not cost a message.

mod document;
mod exchanges;
mod recordings;
mod robustness_client;
mod robustness_server;
