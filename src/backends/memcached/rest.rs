//! The rest of an exchange whose caller has given up.
//!
//! A connection whose answer was not read is of no more use. Where many operations wait for few connections, those that
//! are given up have often begun just before, and each would cost a connection. So an exchange that is dropped goes on
//! by itself for a while, which keeps its connection if the server answers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::timeout;

/// How long the rest may take: as long as a server is left alone that does not answer.
const REST: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An exchange that goes on when it is dropped, on the runtime it began on.
pub(super) struct Lasting<T: Send + 'static> {
    /// Boxed: it is deep, and every call of a cache would have to carry room for it.
    exchange: Option<Boxed<T>>,
    runtime: Id,
    lasts: bool,
}

impl<T: Send + 'static> Lasting<T> {
    /// One that does not last ends where it is dropped.
    pub(super) fn new(runtime: Id, lasts: bool, exchange: impl Future<Output = T> + Send + 'static) -> Self {
        Self { exchange: Some(Box::pin(exchange)), runtime, lasts }
    }
}

impl<T: Send + 'static> Future for Lasting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let exchange = self.exchange.as_mut().expect("it is not polled after its end");
        let result = exchange.as_mut().poll(context);
        if result.is_ready() {
            self.exchange = None;
        }
        result
    }
}

impl<T: Send + 'static> Drop for Lasting<T> {
    fn drop(&mut self) {
        let (Some(rest), Ok(runtime)) = (self.exchange.take(), Handle::try_current()) else { return };
        if self.lasts && runtime.id() == self.runtime {
            drop(runtime.spawn(async { drop(timeout(REST, rest).await) }));
        }
    }
}
