//! What is to be written to one client: whole messages, of which the first may be begun.
//!
//! Many go out with one call, and an event that goes to many clients is one piece of memory for all of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How many messages one call writes at most.
const AT_ONCE: usize = 64;

/// Messages on their way.
#[derive(Debug, Default)]
pub(super) struct Output {
    messages: VecDeque<Arc<[u8]>>,
    /// How much of the first is written.
    written: usize,
    bytes: usize,
}

impl Output {
    /// How many bytes are still to be written.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// One or more whole messages, behind the others.
    pub(super) fn push(&mut self, message: Arc<[u8]>) {
        if !message.is_empty() {
            self.bytes += message.len();
            self.messages.push_back(message);
        }
    }

    /// Drops all but the message that was begun.
    pub(super) fn keep_begun(&mut self) {
        self.messages.truncate(usize::from(self.written > 0));
        self.messages.shrink_to_fit();
        let whole: usize = self.messages.iter().map(|message| message.len()).sum();
        self.bytes = whole - self.written.min(whole);
    }

    /// Writes something; waits for ever when there is nothing to be written. Nothing is lost, and nothing is written twice,
    /// when the future is dropped.
    pub(super) async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.is_empty() {
            return std::future::pending().await;
        }
        let mut pieces = Vec::with_capacity(self.messages.len().min(AT_ONCE));
        for (i, message) in self.messages.iter().take(AT_ONCE).enumerate() {
            let from = if i == 0 { self.written } else { 0 };
            pieces.push(IoSlice::new(message.get(from..).unwrap_or_default()));
        }
        let count = writer.write_vectored(&pieces).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes = self.bytes.saturating_sub(count);
        self.written += count;
        while let Some(first) = self.messages.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.messages.pop_front();
        }
        if self.messages.is_empty() {
            // An idle client keeps no buffer.
            self.messages = VecDeque::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, DuplexStream};

    /// What comes out at the other end when all is written.
    async fn written(mut output: Output, mut ours: DuplexStream, mut theirs: DuplexStream) -> Vec<u8> {
        let write = async {
            while !output.is_empty() {
                output.write(&mut ours).await.unwrap();
            }
            drop(ours);
        };
        let mut got = Vec::new();
        let ((), read) = tokio::join!(write, theirs.read_to_end(&mut got));
        read.unwrap();
        got
    }

    #[tokio::test]
    async fn messages_go_out_whole_and_in_order_through_whatever_is_open() {
        let (ours, theirs) = tokio::io::duplex(7);
        let mut output = Output::default();
        let mut expected = Vec::new();
        for n in 0..100_u8 {
            let message = vec![n; usize::from(n % 11)];
            expected.extend_from_slice(&message);
            output.push(message.into());
        }
        assert_eq!(written(output, ours, theirs).await, expected);
    }

    #[tokio::test]
    async fn of_one_that_is_cut_off_the_message_that_was_begun_is_kept() {
        let (mut ours, theirs) = tokio::io::duplex(4);
        let mut output = Output::default();
        for message in ["first;", "second;", "third;"] {
            output.push(message.as_bytes().into());
        }
        output.write(&mut ours).await.unwrap();
        output.keep_begun();
        assert_eq!(output.len(), 2);
        output.push(b"why".as_slice().into());
        assert_eq!(written(output, ours, theirs).await, b"first;why");
        let mut output = Output::default();
        output.push(b"never begun".as_slice().into());
        output.keep_begun();
        assert!(output.is_empty());
    }
}
