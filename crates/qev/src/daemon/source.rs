//! Where machines come from.

pub(crate) mod dial_in;
pub(crate) mod dial_out;
mod folders;
pub(crate) mod libvirt;
pub(crate) mod paths;
pub(crate) mod remote;
