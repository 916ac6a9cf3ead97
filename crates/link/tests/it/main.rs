//! Stories of both ends, over socket pairs and real sockets. Time is paused: nothing here sleeps for real.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story that fails is to panic, in its helpers too"
)]

mod clients_that_do_not_read;
mod commands;
mod connecting;
mod dial_in;
mod events_to_subscribers;
mod examples;
mod handover;
mod holding_back;
mod looking;
mod negotiation;
mod one_client_at_a_time;
mod shared_monitor;
mod shared_monitor_bounds;
mod shared_monitor_order;
mod strange_clients;
mod strange_machines;
mod support;
mod the_life_of_a_server;
mod throttling;
