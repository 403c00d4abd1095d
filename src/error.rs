//! Errors: one opaque type, one enum for computations.
//!
//! Foreign errors enter only as boxed sources, so that no dependency becomes part of the public API.
//! A message names what went wrong and what to do; it never holds a secret, a cached value or a raw key.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

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
    /// There is no tokio runtime to work on, or the one that did is gone.
    Closed,
}

impl Error {
    /// Makes an error of `kind` with a message for humans.
    ///
    /// Say what is wrong and what to do. The message must not contain secrets, values or raw keys.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    /// Like [`new`](Error::new), and keeps the error that caused it as [`source`](StdError::source).
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: Some(source.into()) }))
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_temporary(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::ReadOnly)
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

/// Why [`get_or_compute`](crate::Cache::get_or_compute) has no value to return.
///
/// Everyone who waited for one computation gets the same error. It implements [`std::error::Error`] for every `E` that
/// is `Debug + Display`, so `?` works with `anyhow` and with `Box<dyn Error>`. It displays as what it holds. The
/// sources of `E` are reached through [`Failed`](ComputeError::Failed), because `E` need not be an error.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, ComputeError};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let users = CacheBuilder::new().namespace("users").build()?;
/// let load = || async { Err::<String, _>("no such user") };
/// match users.get_or_compute(42, load).await {
///     Err(ComputeError::Failed(error)) => assert_eq!(*error, "no such user"),
///     other => panic!("{other:?}"),
/// }
///
/// async fn first<B: cachekit::Backend, C: cachekit::Codec>(users: &cachekit::Cache<B, C>) -> anyhow::Result<String> {
///     Ok(users.get_or_compute(1, || async { "7".parse::<u8>().map(|id| id.to_string()) }).await?)
/// }
/// assert_eq!(first(&users).await?, "7");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError<E> {
    /// The computation returned this error.
    #[error("{0}")]
    Failed(Arc<E>),
    /// The computation panicked.
    #[error("the computation panicked")]
    Panicked,
    /// The computation did not end before its deadline, and there is no older value to fall back on.
    #[error("the computation did not end before its deadline")]
    TimedOut,
    /// The cache refused the call: a key or an option is invalid, there is no runtime, or the cache is set to fail
    /// closed.
    #[error(transparent)]
    Cache(Error),
}

impl<E> Clone for ComputeError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked => Self::Panicked,
            Self::TimedOut => Self::TimedOut,
            Self::Cache(error) => Self::Cache(error.clone()),
        }
    }
}

impl<E> From<Error> for ComputeError<E> {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}
