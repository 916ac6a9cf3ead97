//! `qev demo`: the document's five events, each for its reason, in about 20 seconds. No QEMU, no root, no network.
//!
//! A machine without a CPU runs in this process, and a client watches its monitor as it would watch a QEMU's: real bytes
//! go over a socket between the two. What happens is told chapter by chapter ([`chapters`]); where and how it is shown is
//! the [`stage`]'s business.

mod chapters;
mod disk;
mod stage;

use crate::exit::{Exit, Failure};
use stage::Stage;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not pause between the events
    #[arg(long)]
    quick: bool,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let pause = if args.quick { Duration::ZERO } else { Duration::from_millis(1_600) };
    let mut stage = Stage::set(pause).await.map_err(|error| Failure::new(Exit::Failed, error))?;
    match chapters::play(&mut stage).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.is_closed_pipe() => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::Failed, error)),
    }
}
