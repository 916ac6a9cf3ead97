//! The program as its users run it: against the simulated machine, and with other people's clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attach;
mod attach_args;
mod check_config;
mod daemon;
mod demo;
mod descriptor;
mod exchanges;
mod explain;
mod flood;
mod handover;
mod http;
mod http_access;
mod http_document;
mod http_machines;
mod http_stream;
mod log;
mod log_of_a_daemon;
mod log_options;
mod machines;
mod manual;
mod odd_machines;
mod program;
mod python_client;
mod qapi_client;
mod readme;
mod replay;
mod retained;
mod run;
mod scenario;
mod send;
mod serve;
mod serve_under_load;
mod sessions;
mod share;
mod share_bounds;
mod simulate;
mod slow_reader;
mod validate;
mod wait;
mod watch;
