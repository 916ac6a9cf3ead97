//! The daemon: it holds monitors for everyone, and keeps what they say.
//!
//! ```text
//!   sources             one task a machine      one thread            readers, each a cursor
//!   dial-in   ─┐                               ┌──────────┐           ┌─► qev log -f, watch and wait by name
//!   dial-out  ─┼──► attach ──► Outbox::put ──► │ Recorder │ ──► journal ─┤
//!   libvirt   ─┘      │        (bounded)       └──────────┘           └─► (page, sinks)
//!                     └──► Roster: who is there ──► qev machines
//! ```

// What is here is filled in part by part.
#![allow(dead_code)]

pub(crate) mod recorder;
pub(crate) mod roster;
pub(crate) mod systemd;
