//! Tests against a real QEMU with a real Linux guest. `cargo xtask test` runs them; plain `cargo test` needs only Rust.

#[cfg(test)]
mod clients;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod deb;
#[cfg(test)]
mod five_events;
#[cfg(test)]
mod lab_itself;
#[cfg(test)]
mod libvirt;
#[cfg(test)]
mod live_parity;
#[cfg(test)]
mod page;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod process_end;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod run;
#[cfg(test)]
mod run_state;
#[cfg(test)]
mod shared_monitor;
#[cfg(test)]
mod vanished_host;
