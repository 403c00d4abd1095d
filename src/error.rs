//! Errors: one opaque type, one enum for computations.
//!
//! Foreign errors enter only as boxed sources, so that no dependency becomes part of the public API.
//! A message names what went wrong and what to do; it never holds a secret, a cached value or a raw key.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

mod cause;
mod compute;

#[cfg(feature = "blocking")]
pub(crate) use self::cause::panic_text;
pub(crate) use self::cause::{panic_message, shown};
pub use self::compute::{ComputeError, WithSources};

/// An error of the cache, a codec or a backend.
///
/// Opaque: ask [`kind`](Error::kind) what it is and [`is_temporary`](Error::is_temporary) whether trying again may
/// help. The errors of other libraries are its [`source`](StdError::source). One word wide; clones share one
/// allocation.
///
/// # Examples
/// ```
/// use cachekit::{Error, ErrorKind};
/// let refused = Error::new(ErrorKind::Unavailable, "the server refused the connection");
/// assert_eq!(refused.kind(), ErrorKind::Unavailable);
/// assert!(refused.is_temporary());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// Whether the backend was not asked at all.
    is_refusal: bool,
}

/// What kind of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, an environment variable or a combination of them is wrong.
    Config,
    /// A key or a namespace is empty, or longer than [`Key::MAX_INPUT`](crate::Key::MAX_INPUT).
    Key,
    /// What this call asks for cannot be: a time of zero, a TTL the backend cannot keep, a computation that waits for
    /// itself.
    Argument,
    /// The backend cannot be reached or refuses to work at the moment.
    Unavailable,
    /// More is under way than the cache was set to bear; what waits already is worked off first.
    Overloaded,
    /// The backend did not answer in time.
    Timeout,
    /// The backend answers reads and takes no writes at the moment: it is full, a replica, or cannot save.
    ReadOnly,
    /// The backend refuses these credentials, or what they ask for.
    Denied,
    /// The backend answered with a failure that trying again does not mend.
    Backend,
    /// The value is larger than a limit allows.
    TooLarge,
    /// A value could not be turned into bytes, or not into bytes its codec can read.
    Encode,
    /// Bytes could not be turned into a value.
    Decode,
    /// Bytes failed a checksum or the check of a key.
    Unauthentic,
    /// What was asked for is not supported by this backend, feature set or version.
    Unsupported,
    /// A loader gave no value for a key that it was asked for.
    Absent,
    /// There is no tokio runtime to work on, or the one that did is gone.
    Closed,
}

impl Error {
    /// Makes an error of `kind` with a message for humans.
    ///
    /// Say what is wrong and what to do. The message must not contain secrets, values or raw keys.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: None, is_refusal: false }))
    }

    /// Like [`new`](Error::new), and keeps the error that caused it as [`source`](StdError::source).
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: Some(source.into()), is_refusal: false }))
    }

    /// The backend is spared, and was not asked.
    pub(crate) fn refusal(message: impl Into<Cow<'static, str>>) -> Self {
        let kind = ErrorKind::Unavailable;
        Self(Arc::new(Inner { kind, message: message.into(), source: None, is_refusal: true }))
    }

    /// Whether the backend was not asked at all.
    pub(crate) fn is_refusal(&self) -> bool {
        self.0.is_refusal
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_temporary(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::ReadOnly | ErrorKind::Overloaded)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
