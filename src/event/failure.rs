//! Why a computation gave no value, as observers hear it.

use std::any::Any;
use std::fmt;

use crate::error::{ComputeError, Error, shown};

/// Why a computation gave no value.
///
/// `Display` and `Debug` show the text of an error that is an `anyhow::Error` (feature `anyhow`), a
/// `Box<dyn Error + Send + Sync>`, an [`Error`](crate::Error), an [`std::io::Error`] or a text. Errors of other types
/// need have no text, so these show the name of the type, and [`error`](Failure::error) has the error itself.
///
/// # Examples
/// Learning of renewals that fail, of which no caller hears.
/// ```
/// use std::sync::{Arc, Mutex};
/// use cachekit::{CacheBuilder, Event, Observer};
///
/// #[derive(Debug, PartialEq)]
/// struct NoSuchUser(u32);
///
/// #[derive(Debug, Default)]
/// struct Missing(Mutex<Vec<u32>>);
///
/// impl Observer for Missing {
///     fn event(&self, event: &Event<'_>) {
///         if let Event::Computed { failure: Some(failure), .. } = event
///             && let Some(NoSuchUser(id)) = failure.error()
///         {
///             self.0.lock().unwrap().push(*id);
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let missing = Arc::new(Missing::default());
/// let users = CacheBuilder::new().observer(Arc::clone(&missing) as _).build()?;
/// assert!(users.get_or_compute(42, || async { Err::<String, _>(NoSuchUser(42)) }).await.is_err());
/// assert_eq!(*missing.0.lock().unwrap(), [42]);
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy)]
pub struct Failure<'a>(Cause<'a>);

#[derive(Clone, Copy)]
enum Cause<'a> {
    Error { error: &'a (dyn Any + Send + Sync), name: &'static str },
    Panic(&'a str),
    TimedOut,
}

impl<'a> Failure<'a> {
    /// Nothing is looked at before it is asked for.
    pub(crate) fn of<E: Send + Sync + 'static>(error: &'a ComputeError<E>) -> Self {
        Self(match error {
            ComputeError::Failed(error) => Cause::Error { error: &**error, name: std::any::type_name::<E>() },
            ComputeError::Panicked { message } => Cause::Panic(message),
            ComputeError::TimedOut => Cause::TimedOut,
            ComputeError::Cache(error) => Cause::Error { error, name: std::any::type_name::<Error>() },
        })
    }

    /// The error that the computation returned, if it is an `E`.
    pub fn error<E: 'static>(&self) -> Option<&'a E> {
        match self.0 {
            Cause::Error { error, .. } => error.downcast_ref(),
            _ => None,
        }
    }

    /// What the panic said, if the computation panicked: up to 1,024 bytes.
    pub fn panic(&self) -> Option<&'a str> {
        if let Cause::Panic(message) = self.0 { Some(message) } else { None }
    }

    /// Whether the computation did not end before its deadline.
    pub fn timed_out(&self) -> bool {
        matches!(self.0, Cause::TimedOut)
    }
}

/// As the caller's [`ComputeError`] displays. `{:#}` also shows the sources of an `anyhow::Error`.
impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Error { error, name } => match shown(error) {
                Some(error) => error.fmt(f),
                None => write!(f, "an error of the type {name}"),
            },
            Cause::Panic(message) => write!(f, "the computation panicked: {message}"),
            Cause::TimedOut => f.write_str("the computation did not end before its deadline"),
        }
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}
