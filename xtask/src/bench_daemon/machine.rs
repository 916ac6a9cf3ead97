//! A machine that costs next to nothing: it dials in, answers what it is asked, and writes events that were made
//! beforehand. So what is measured is the daemon, not who feeds it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use xtask::Error;
use xtask::error::Context;

const GREETING: &str = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \
    \"package\": \"bench\"}, \"capabilities\": []}}\r\n";

/// How long the daemon may take to begin to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// One that has dialled in and is attached.
pub(crate) struct Machine {
    socket: Arc<Mutex<UnixStream>>,
}

impl Machine {
    /// Dials, and answers from then on. It counts as attached once it was asked for its last detail.
    pub(crate) fn dial(path: &Path, name: &str) -> Result<Machine, Error> {
        let socket = connect(path)?;
        let reader = socket.try_clone().context(|| "cannot share a socket".to_owned())?;
        let socket = Arc::new(Mutex::new(socket));
        let writer = Arc::clone(&socket);
        let name = name.to_owned();
        write(&writer, GREETING.as_bytes())?;
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let Ok(request) = serde_json::from_str::<Value>(&line) else { continue };
                let reply = json!({"return": answer(&request, &name), "id": request.get("id")});
                // The daemon may have ended: then there is nobody to answer.
                if write(&writer, format!("{reply}\r\n").as_bytes()).is_err() {
                    return;
                }
            }
        });
        Ok(Machine { socket })
    }

    /// Writes whole messages.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        write(&self.socket, bytes)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends the thread that answers; one that is not connected any more has ended already.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
}

/// What a QEMU with this name says.
fn answer(request: &Value, name: &str) -> Value {
    match request.get("execute").and_then(Value::as_str) {
        Some("query-name") => json!({ "name": name }),
        Some("query-status") => json!({"status": "running", "running": true, "singlestep": false}),
        Some("query-uuid") => json!({"UUID": "00000000-0000-0000-0000-000000000000"}),
        Some("query-balloon") => json!({"actual": 268_435_456}),
        Some("query-acpi-ospm-status") => json!([]),
        _ => json!({}),
    }
}

fn write(socket: &Mutex<UnixStream>, bytes: &[u8]) -> Result<(), Error> {
    let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
    socket.write_all(bytes).context(|| "the daemon does not read".to_owned())
}

fn connect(path: &Path) -> Result<UnixStream, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return Ok(socket),
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(Error::because(format!("nobody listens at {}", path.display()), error)),
        }
    }
}

/// One event as QEMU prints it, numbered, of a kind that is not throttled: the 153 bytes that the document's five have on
/// average.
pub(crate) fn event(number: u64) -> String {
    format!(
        "{{\"timestamp\": {{\"seconds\": 1795347310, \"microseconds\": {:06}}}, \"event\": \"ACPI_DEVICE_OST\", \
         \"data\": {{\"info\": {{\"device\": \"d1\", \"source\": 1, \"status\": {number}, \"slot\": \"0\", \
         \"slot-type\": \"DIMM\"}}}}}}\r\n",
        100_000 + number % 900_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_and_carries_its_number() {
        let event: Value = serde_json::from_str(&event(4_000_000_000)).unwrap();
        assert_eq!(event["data"]["info"]["status"], 4_000_000_000_u64);
        assert_eq!(event["event"], "ACPI_DEVICE_OST");
    }

    #[test]
    fn what_it_is_asked_it_answers() {
        assert_eq!(answer(&json!({"execute": "query-name"}), "vm1"), json!({"name": "vm1"}));
        assert_eq!(answer(&json!({"execute": "qmp_capabilities"}), "vm1"), json!({}));
    }
}
