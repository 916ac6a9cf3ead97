//! Is a QEMU to whoever connects, and says each second that its balloon changed:
//! `cargo run -p qev-link --example smallest_emitter -- /tmp/vm.sock`

use qev_link::{MonitorOptions, Server};
use qev_qmp::event::BalloonChange;
use qev_qmp::{Dialect, Event, Greeting, QemuVersion};
use std::error::Error;
use std::time::Duration;

/// Emits one event a second, with sizes from this many MiB down to 1.
pub(crate) async fn emit(path: &str, mebibytes: i64) -> Result<(), Box<dyn Error>> {
    let greeting = Greeting {
        version: QemuVersion::new(7, 2, 22),
        package: "smallest emitter".to_owned(),
        capabilities: Vec::new(),
    };
    let mut server = Server::builder(greeting).bind(path, MonitorOptions::default()).start().await?;
    for size in (1..=mebibytes).rev() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let emitted = server.call(move |_, context| {
            let balloon = BalloonChange::new(size << 20).into();
            context.emit(Event::new(&balloon, Some(context.timestamp()), Dialect::Qemu));
        });
        emitted.await?;
    }
    server.stop().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    emit(&std::env::args().nth(1).ok_or("at which path?")?, 1024).await
}
