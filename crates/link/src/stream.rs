//! Reading from a stream without a buffer of one's own.
//!
//! A connection to a QEMU is idle most of the time, and a host may have thousands. So the space that is read into
//! belongs to the thread, and is in use only while a read that has something gives it out: what waits holds nothing.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much one read takes, in bytes.
pub(crate) const SPACE: usize = 64 << 10;

thread_local! {
    static SHARED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Anything that a monitor can be spoken over.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Waits until there is something to read, and gives it to `take`: an empty slice at the end of the stream.
///
/// Nothing is lost when the future is dropped.
pub(crate) async fn read<T>(reader: &mut (impl AsyncRead + Unpin), mut take: impl FnMut(&[u8]) -> T) -> io::Result<T> {
    poll_fn(|context| {
        // Taken out and put back, so that a reader which itself reads this way gets a space of its own.
        let mut space = SHARED.try_with(Cell::take).unwrap_or_default();
        space.resize(SPACE, 0);
        let mut buffer = ReadBuf::new(&mut space);
        let polled = Pin::new(&mut *reader).poll_read(context, &mut buffer);
        let result = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(take(buffer.filled()))),
        };
        // Without its place, while the thread ends, the space is simply freed.
        let _ = SHARED.try_with(|shared| shared.set(space));
        result
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn what_is_there_is_read_and_then_the_end() {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(&[7; 100_000]).await.unwrap();
        drop(theirs);
        let mut sizes = Vec::new();
        loop {
            let size = read(&mut ours, <[u8]>::len).await.unwrap();
            sizes.push(size);
            if size == 0 {
                break;
            }
        }
        assert_eq!(sizes, [SPACE, 100_000 - SPACE, 0]);
    }
}
