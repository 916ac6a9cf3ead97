//! The bytes of one client: a task that reads them to the server's task and writes out what it is given.
//!
//! ```text
//!                    ┌─────────── one task ───────────┐
//!   server's task ◄──│── inputs (bounded) ◄── reading │◄── client
//!   server's task ──►│── outbox (max_buffer) ► writing│──► client
//!                    └────────────────────────────────┘
//!
//!   ends when:  the server's task drops the outbox, and what was in it is written
//!               the client has left, and did not take what was in it within LINGER
//!               it is cut off: aborted, whatever was in it
//! ```
//!
//! What a client does not read is kept for it, as QEMU keeps it, up to a limit; nobody else waits for it.

use crate::stream::{self, Duplex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// How long a client that has closed its end may take to read its last replies.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Messages are joined up to this size, in bytes, to be written at once.
const JOINED: usize = 64 << 10;

/// What a client's task tells the server's.
#[derive(Debug)]
pub(super) enum FromClient {
    /// It wrote this.
    Bytes(Vec<u8>),
    /// It will write no more.
    Ended(io::Result<()>),
}

/// The server's end of what is to be written to one client.
#[derive(Debug)]
pub(super) struct Outbox {
    chunks: mpsc::UnboundedSender<Arc<[u8]>>,
    buffered: Arc<AtomicUsize>,
    limit: usize,
}

/// The client's task's end of it.
#[derive(Debug)]
pub(super) struct OutboxEnd {
    chunks: mpsc::UnboundedReceiver<Arc<[u8]>>,
    buffered: Arc<AtomicUsize>,
}

/// A client has not read for so long that this many bytes wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) buffered: usize,
}

/// A queue with a limit in bytes; its number of messages has none of its own.
pub(super) fn outbox(limit: usize) -> (Outbox, OutboxEnd) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let buffered = Arc::new(AtomicUsize::new(0));
    (Outbox { chunks: sender, buffered: Arc::clone(&buffered), limit }, OutboxEnd { chunks: receiver, buffered })
}

impl Outbox {
    /// Puts bytes behind what waits.
    pub(super) fn put(&self, bytes: Arc<[u8]>) -> Result<(), Full> {
        if bytes.is_empty() {
            return Ok(());
        }
        let buffered = self.buffered.load(Ordering::Relaxed);
        if buffered.saturating_add(bytes.len()) > self.limit {
            return Err(Full { buffered });
        }
        self.buffered.fetch_add(bytes.len(), Ordering::Relaxed);
        // Without its other end the client is gone already: the server is about to hear of it.
        let _ = self.chunks.send(bytes);
        Ok(())
    }
}

/// The task of one client.
pub(super) async fn carry(
    stream: Box<dyn Duplex>,
    inputs: mpsc::Sender<(u64, FromClient)>,
    id: u64,
    outbox: OutboxEnd,
) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read_all(reader, inputs, id) => {}
        () = write_all(writer, outbox) => {}
    }
}

/// Reads until the client has ended, and then gives it some time for what is still to be written.
async fn read_all(mut reader: impl AsyncRead + Unpin, inputs: mpsc::Sender<(u64, FromClient)>, id: u64) {
    loop {
        let input = match stream::read(&mut reader, <[u8]>::to_vec).await {
            Ok(bytes) if bytes.is_empty() => FromClient::Ended(Ok(())),
            Ok(bytes) => FromClient::Bytes(bytes),
            Err(error) => FromClient::Ended(Err(error)),
        };
        let ended = matches!(input, FromClient::Ended(_));
        if inputs.send((id, input)).await.is_err() {
            // The server has ended: it decides how long there may still be written.
            return std::future::pending().await;
        }
        if ended {
            return tokio::time::sleep(LINGER).await;
        }
    }
}

/// Writes until the server has nothing more for this client. After an error it goes on taking, so that the server's
/// count stays right: a client may well send commands and read nothing.
async fn write_all(mut writer: impl AsyncWrite + Unpin, mut outbox: OutboxEnd) {
    let mut batch = Vec::new();
    let mut broken = false;
    while outbox.chunks.recv_many(&mut batch, 64).await > 0 {
        let total = batch.iter().map(|chunk| chunk.len()).sum();
        if !broken {
            broken = write_batch(&mut writer, &batch).await.is_err();
        }
        outbox.buffered.fetch_sub(total, Ordering::Relaxed);
        // An idle client holds no buffer.
        batch = Vec::new();
    }
    if !broken {
        // A client that has gone meanwhile has what it wanted.
        let _ = writer.shutdown().await;
    }
}

async fn write_batch(writer: &mut (impl AsyncWrite + Unpin), batch: &[Arc<[u8]>]) -> io::Result<()> {
    if let [chunk] = batch {
        writer.write_all(chunk).await?;
        return writer.flush().await;
    }
    let mut joined = Vec::new();
    for chunk in batch {
        if joined.len() + chunk.len() > JOINED {
            writer.write_all(&joined).await?;
            joined.clear();
        }
        if chunk.len() > JOINED {
            writer.write_all(chunk).await?;
        } else {
            joined.extend_from_slice(chunk);
        }
    }
    writer.write_all(&joined).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_is_put_is_written_in_order_and_counted_while_it_waits() {
        let (outbox, end) = outbox(1 << 20);
        let buffered = Arc::clone(&outbox.buffered);
        let mut expected = Vec::new();
        for (byte, size) in [(1, 10), (2, 70_000), (3, 0), (4, 40_000), (5, 40_000), (6, 1)] {
            let chunk: Arc<[u8]> = vec![byte; size].into();
            expected.extend_from_slice(&chunk);
            outbox.put(chunk).unwrap();
        }
        assert_eq!(buffered.load(Ordering::Relaxed), 150_011);
        drop(outbox);
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let (inputs, _keep) = mpsc::channel(1);
        tokio::spawn(carry(Box::new(ours), inputs, 1, end));
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, expected);
        assert_eq!(buffered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn past_its_limit_nothing_is_taken() {
        let (outbox, _end) = outbox(10);
        assert_eq!(outbox.put(vec![0; 8].into()), Ok(()));
        assert_eq!(outbox.put(vec![0; 3].into()), Err(Full { buffered: 8 }));
        assert_eq!(outbox.put(vec![0; 2].into()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_left_without_reading_is_not_waited_for_for_long() {
        let (outbox, end) = outbox(1 << 20);
        outbox.put(vec![0; 5000].into()).unwrap();
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let (inputs, mut received) = mpsc::channel(1);
        let task = tokio::spawn(carry(Box::new(ours), inputs, 7, end));
        theirs.shutdown().await.unwrap();
        assert!(matches!(received.recv().await, Some((7, FromClient::Ended(Ok(()))))));
        let before = tokio::time::Instant::now();
        task.await.unwrap();
        assert_eq!(before.elapsed(), LINGER);
    }
}
