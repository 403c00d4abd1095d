//! Why a computation gave no value.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Error, cause};

/// Why [`get_or_compute`](crate::Cache::get_or_compute) has no value to return.
///
/// Everyone who waited for one computation gets the same error. It displays as what it holds, with all flags: `{:#}` of
/// an `anyhow::Error` is the whole chain.
///
/// # As an error
/// It implements [`std::error::Error`] for every `E` that is `Debug + Display`, a `String` or a type of your own without
/// `Error` included, so `?` works with `anyhow` and with `Box<dyn Error>`. Its [`source`](StdError::source) goes on
/// with those of `E`, where `E` is an `anyhow::Error` (feature `anyhow`, on by default), a
/// `Box<dyn Error + Send + Sync>`, an [`Error`] or an [`std::io::Error`].
///
/// For an error type of your own the compiler cannot tell in that one implementation whether `E` has sources. So either
/// let the computation return one of those above, which `?` in it turns any error into; or hand the error on by
/// [`with_sources`](ComputeError::with_sources). [`source`](ComputeError::source) called on a `ComputeError` itself
/// knows them in any case.
///
/// To get `E` back from an `anyhow::Error` or a box, downcast to `ComputeError<E>` and ask for
/// [`failed`](ComputeError::failed).
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
#[derive(Debug)]
#[non_exhaustive]
pub enum ComputeError<E> {
    /// The computation returned this error.
    Failed(Arc<E>),
    /// The computation panicked.
    #[non_exhaustive]
    Panicked {
        /// What the panic said, up to 1,024 bytes of it.
        message: Arc<str>,
    },
    /// The computation did not end before its deadline, or did not begin while the caller waited, and there is no older
    /// value to fall back on.
    TimedOut,
    /// The cache refused the call: a key or an option is invalid, there is no runtime, more is under way than the cache
    /// was set to bear, or the cache is set to fail closed.
    Cache(Error),
}

impl<E> ComputeError<E> {
    /// What the computation returned, if it is that.
    ///
    /// # Examples
    /// ```
    /// use cachekit::ComputeError;
    /// # #[derive(Debug, PartialEq)] struct NotFound;
    /// # impl std::fmt::Display for NotFound {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("not found") }
    /// # }
    /// fn is_missing(error: &anyhow::Error) -> bool {
    ///     error.downcast_ref::<ComputeError<NotFound>>().is_some_and(|error| error.failed().is_some())
    /// }
    /// assert!(is_missing(&ComputeError::Failed(NotFound.into()).into()));
    /// assert!(!is_missing(&ComputeError::<NotFound>::TimedOut.into()));
    /// ```
    pub fn failed(&self) -> Option<&E> {
        if let Self::Failed(error) = self { Some(error) } else { None }
    }
}

impl<E: StdError + 'static> ComputeError<E> {
    /// The source of the error that this stands for.
    ///
    /// As [`std::error::Error::source`], for every `E` that is an error.
    pub fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::Cache(error) => StdError::source(error),
            Self::Panicked { .. } | Self::TimedOut => None,
        }
    }

    /// The same error for who takes any error, with the sources of `E`.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, ComputeError};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("cannot load the user")]
    /// struct LoadError(#[from] std::num::ParseIntError);
    ///
    /// async fn user(id: &'static str) -> anyhow::Result<u32> {
    ///     let users = CacheBuilder::new().namespace("users").build()?;
    ///     let load = move || async move { Ok::<u32, LoadError>(id.parse()?) };
    ///     Ok(users.get_or_compute(id, load).await.map_err(ComputeError::with_sources)?)
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let error = user("ada").await.unwrap_err();
    /// assert_eq!(format!("{error:#}"), "cannot load the user: invalid digit found in string");
    /// # });
    /// ```
    pub fn with_sources(self) -> WithSources<E> {
        WithSources(self)
    }
}

impl<E: fmt::Display> fmt::Display for ComputeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Panicked { message } => write!(f, "the computation panicked: {message}"),
            Self::TimedOut => f.write_str("the computation did not end before its deadline"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display + 'static> StdError for ComputeError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(error) => cause::known(&**error)?.source(),
            Self::Cache(error) => StdError::source(error),
            Self::Panicked { .. } | Self::TimedOut => None,
        }
    }
}

impl<E> Clone for ComputeError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked { message } => Self::Panicked { message: Arc::clone(message) },
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

/// A [`ComputeError`] with the sources of its `E`, made by [`ComputeError::with_sources`].
///
/// Displays as the error within, and derefs to it.
#[derive(Debug)]
pub struct WithSources<E>(ComputeError<E>);

impl<E> WithSources<E> {
    /// The error within.
    pub fn into_inner(self) -> ComputeError<E> {
        self.0
    }
}

impl<E> Clone for WithSources<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Deref for WithSources<E> {
    type Target = ComputeError<E>;

    fn deref(&self) -> &ComputeError<E> {
        &self.0
    }
}

impl<E: fmt::Display> fmt::Display for WithSources<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: StdError + 'static> StdError for WithSources<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
