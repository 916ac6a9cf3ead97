//! `qev demo`: the document's five events, each for its reason, then a small host with a daemon: about 40 seconds. No QEMU, no
//! root, no network.
//!
//! A machine without a CPU runs in this process, and a client watches its monitor as it would watch a QEMU's: real bytes
//! go over a socket between the two. What happens is told chapter by chapter ([`chapters`]); where and how it is shown is
//! the [`stage`]'s business. The [`host`] is made of programs of its own.

mod chapters;
mod disk;
mod host;
mod stage;

use crate::exit::{Exit, Failure};
use stage::Stage;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the five events, without a pause between them
    #[arg(long)]
    quick: bool,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let pause = if args.quick { Duration::ZERO } else { Duration::from_millis(1_600) };
    let mut stage = Stage::set(pause).await.map_err(|error| Failure::new(Exit::Failed, error))?;
    match chapters::play(&mut stage).await {
        Ok(()) => {}
        Err(error) if error.is_closed_pipe() => return Ok(Exit::Done),
        Err(error) => return Err(Failure::new(Exit::Failed, error)),
    }
    if args.quick {
        return Ok(Exit::Done);
    }
    match host::play().await {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.is_closed_pipe() => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::Failed, error)),
    }
}
