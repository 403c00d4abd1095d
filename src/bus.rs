//! The bus: how processes tell one another what to forget.
//!
//! A log that everybody appends to and everybody reads from where they stopped, so that who was away catches up, and
//! who was away too long knows it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;

/// A log of messages that all processes over one backend share.
///
/// Messages are opaque to the bus, and at most 1,024 bytes long. [`Backend::bus`](crate::Backend::bus) gives one. What
/// passes `cachekit::testing::conformance::bus` (feature `testing`) keeps this contract.
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
/// use cachekit::{Backend, Key, backends::Memory};
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
#[async_trait]
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Appends `message`.
    async fn publish(&self, message: Bytes) -> Result<(), Error>;

    /// Waits for messages behind the position `after`, at most `wait`, or a shorter time of the bus's choice. An empty
    /// batch is an answer: nothing that was published before the call is missing from it.
    ///
    /// Without a position it answers at once: with no messages, and the position of now.
    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error>;
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
