//! The bus: how processes tell one another what to forget.
//!
//! A log that everybody appends to and everybody reads from where they stopped, so that who was away catches up, and
//! who was away too long knows it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;

/// A log of messages that all processes over one backend share.
///
/// Messages are opaque to the bus, and at most 1,024 bytes long. [`Backend::bus`](crate::Backend::bus) gives one, as an
/// [`AnyBus`]. Implementers write plain `async fn`; the futures must be `Send`. What passes
/// `cachekit::testing::conformance::bus` (feature `testing`) keeps this contract.
///
/// # Contract
/// - What `publish` has acknowledged, every later [`receive`](Bus::receive) after an earlier position returns, in one
///   order for all, its own publisher's included; or that batch says that there is a gap.
/// - A bus may forget the oldest messages. It never forgets one silently.
/// - A dropped future leaves the bus usable; a message may or may not have been published.
///
/// # Errors
/// As those of [`Backend`](crate::Backend). Messages of errors hold no message of the bus. A bus that does less than it
/// was asked to says so by one [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) of [`receive`](Bus::receive),
/// of which observers hear as a warning, and then goes on.
///
/// # Examples
/// ```
/// use cachekit::{Backend, Bus, Key, backends::Memory};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (one, name) = (Memory::new(1 << 20), Key::new("app", "changes")?);
/// let another = one.clone();
/// let [here, there] = [one.bus(&name).unwrap(), another.bus(&name).unwrap()];
/// let second = std::time::Duration::from_secs(1);
/// let start = here.receive(None, second).await?.position;
/// there.publish("users changed".into()).await?;
/// assert_eq!(here.receive(Some(&start), second).await?.messages, ["users changed"]);
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a bus",
    label = "not a `Bus`",
    note = "take one from `Backend::bus`, or implement `cachekit::Bus`"
)]
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Appends `message`.
    fn publish(&self, message: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits for messages behind the position `after`, at most `wait`, or a shorter time of the bus's choice. An empty
    /// batch is an answer: nothing that was published before the call is missing from it.
    ///
    /// Without a position it answers at once: with no messages, and the position of now.
    fn receive(&self, after: Option<&Position>, wait: Duration) -> impl Future<Output = Result<Batch, Error>> + Send;

    /// Whether it is certain that nothing was published behind `after`, without asking anybody: it neither waits nor
    /// blocks. By default it is not. A cache asks before it ceases to believe its L1 because its reader has not run.
    fn is_quiet(&self, after: &Position) -> bool {
        let _ = after;
        false
    }

    /// Nothing is received until [`receive`](Bus::receive) is called again, so the bus need not have messages at hand.
    /// By default nothing happens. A cache that is paused calls it.
    fn rest(&self) {}
}

/// A bus whose type is hidden, such as the one that a [`Backend`](crate::Backend) gives.
///
/// Clones share the bus. `Debug` shows the bus's own.
///
/// # Cost
/// One boxed future per operation.
///
/// # Examples
/// A wrapper that counts what is published.
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use std::time::Duration;
/// use bytes::Bytes;
/// use cachekit::{AnyBus, Backend, Batch, Bus, Error, Key, Position, backends::Memory};
///
/// #[derive(Debug)]
/// struct Counted {
///     inner: AnyBus,
///     published: AtomicU64,
/// }
///
/// impl Bus for Counted {
///     async fn publish(&self, message: Bytes) -> Result<(), Error> {
///         self.published.fetch_add(1, Relaxed);
///         self.inner.publish(message).await
///     }
///     async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
///         self.inner.receive(after, wait).await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let inner = Memory::new(1 << 20).bus(&Key::new("app", "changes")?).expect("a `Memory` has a bus");
/// let bus = Counted { inner, published: AtomicU64::new(0) };
/// bus.publish("users changed".into()).await?;
/// assert_eq!(bus.published.load(Relaxed), 1);
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct AnyBus(Arc<dyn Erased>);

impl AnyBus {
    /// Hides the type of `bus`.
    pub fn new(bus: impl Bus) -> Self {
        Self(Arc::new(bus))
    }
}

impl Bus for AnyBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.0.erased_publish(message).await
    }
    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        self.0.erased_receive(after, wait).await
    }
    fn is_quiet(&self, after: &Position) -> bool {
        self.0.erased_is_quiet(after)
    }
    fn rest(&self) {
        self.0.erased_rest();
    }
}

impl fmt::Debug for AnyBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `Bus` with boxed futures. Distinct names, so that no method can call itself by mistake.
#[async_trait]
trait Erased: fmt::Debug + Send + Sync {
    async fn erased_publish(&self, message: Bytes) -> Result<(), Error>;
    async fn erased_receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error>;
    fn erased_is_quiet(&self, after: &Position) -> bool;
    fn erased_rest(&self);
}

#[async_trait]
impl<T: Bus> Erased for T {
    async fn erased_publish(&self, message: Bytes) -> Result<(), Error> {
        self.publish(message).await
    }
    async fn erased_receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        self.receive(after, wait).await
    }
    fn erased_is_quiet(&self, after: &Position) -> bool {
        self.is_quiet(after)
    }
    fn erased_rest(&self) {
        self.rest();
    }
}

/// Messages, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What was published behind the position asked for.
    pub messages: Vec<Bytes>,
    /// Where to go on.
    pub position: Position,
    /// Whether messages behind the position asked for may be lost.
    pub gap: bool,
}

/// A place in the log, in the words of the bus that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(Box<str>);

impl Position {
    /// The position that the bus calls `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// What the bus called it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
