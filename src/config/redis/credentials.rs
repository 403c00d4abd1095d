//! Credentials that a program gives when they are needed.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::config::Secret;
use crate::error::{Error, ErrorKind};

/// A user and a password for Redis, as of now. `Debug` shows neither.
///
/// # Examples
/// ```
/// use cachekit::Credentials;
/// let credentials = Credentials::new("ada", "token-of-the-hour");
/// assert!(!format!("{credentials:?}").contains("token"));
/// ```
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(crate) user: Option<Secret<str>>,
    pub(crate) password: Secret<str>,
}

impl Credentials {
    /// A user of the server and the password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(Secret::new(user.into())), password: Secret::new(password.into()) }
    }

    /// The password of the default user.
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: Secret::new(password.into()) }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Credentials, Error>> + Send>>;

/// Gives the credentials for one connect.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Answer + Send + Sync>);

impl Provider {
    pub(super) fn new<F, Fut, E>(provide: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        Self(Arc::new(move || {
            let provided = provide();
            Box::pin(async move { provided.await.map_err(|error| failed(error.into())) })
        }))
    }

    /// What it gives now.
    #[cfg(feature = "redis")]
    pub(crate) async fn ask(&self) -> Result<Credentials, Error> {
        self.0().await
    }
}

/// A provider that says itself that it was refused is believed; any other failure may pass.
fn failed(error: Box<dyn StdError + Send + Sync>) -> Error {
    let is_denied = error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::Denied);
    let kind = if is_denied { ErrorKind::Denied } else { ErrorKind::Unavailable };
    Error::with_source(kind, "the credentials for Redis could not be had: see the source of this error", error)
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}
