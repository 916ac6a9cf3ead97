//! Connects to a QEMU and prints its events: `cargo run -p qev-link --example smallest_watcher -- unix:/run/vm.sock`

use qev_link::{Client, ConnectOptions, EventItem, Target};
use std::error::Error;
use std::io::Write;

/// Until the machine is gone.
pub(crate) async fn watch(target: &Target, mut output: impl Write) -> Result<(), Box<dyn Error>> {
    let (_client, mut events) = Client::connect(target, ConnectOptions::default()).await?;
    loop {
        match events.next().await {
            EventItem::Event(event) => writeln!(output, "{}", event.to_line())?,
            EventItem::Missed(count) => writeln!(output, "({count} events were missed)")?,
            EventItem::Ended(reason) => return Ok(writeln!(output, "({reason})")?),
            _ => {}
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("which machine? unix:PATH or tcp:HOST:PORT")?.parse()?;
    watch(&target, std::io::stdout()).await
}
