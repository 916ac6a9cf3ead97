//! A body that is made piece by piece while it is read: the next piece is not made before the client has taken the last.

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

/// What makes the next piece: the piece and who makes the one behind it, or nothing at the end.
pub(crate) type Next<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// A body of what `next` makes of the state, again and again.
pub(crate) fn pieces<S: Send + 'static>(state: S, next: fn(S) -> Next<S>) -> Body {
    Body::new(Pieces { making: Mutex::new(Some(next(state))), next })
}

struct Pieces<S> {
    /// The lock is never waited for: a body has one reader. It makes of a future that only moves one that may be shared.
    making: Mutex<Option<Next<S>>>,
    next: fn(S) -> Next<S>,
}

impl<S> hyper::body::Body for Pieces<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let making = this.making.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(future) = making else { return Poll::Ready(None) };
        let Poll::Ready(made) = future.as_mut().poll(context) else { return Poll::Pending };
        match made {
            Some((piece, state)) => {
                *making = Some((this.next)(state));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None => {
                *making = None;
                Poll::Ready(None)
            }
        }
    }
}
