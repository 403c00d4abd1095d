//! Logins: who a server is told that connects to it. A program may give them anew for each connect.

use redis::RedisConnectionInfo;

use super::connect::Way;
use super::error;
use crate::config::{Credentials, Login, Provider};
use crate::error::{Error, ErrorKind};

/// Who gives the login of a connection: the program, or where it does not, the URL.
#[derive(Debug, Clone)]
pub(super) struct Logins(Option<Provider>);

impl Logins {
    pub(super) fn new(provider: Option<Provider>) -> Self {
        Self(provider)
    }

    /// The way to a server, with the login of now.
    pub(super) async fn now(&self, way: &Way) -> Result<Way, Error> {
        let Some(provider) = &self.0 else { return Ok(way.clone()) };
        let Credentials { user, password } = provider.ask().await?;
        let login = identity(Some(&Login { user, password }));
        Ok(way.by(login.set_db(way.redis.db()).set_protocol(way.redis.protocol())))
    }

    /// The error of a connect, in which a login that is refused is that of the program.
    pub(super) fn blame(&self, error: Error, place: &str) -> Error {
        match self.0 {
            Some(_) if error.kind() == ErrorKind::Denied => error::denied_given(place),
            _ => error,
        }
    }
}

/// Who the server is told it is.
pub(super) fn identity(login: Option<&Login>) -> RedisConnectionInfo {
    let mut redis = RedisConnectionInfo::default().set_lib_name("cachekit", env!("CARGO_PKG_VERSION"));
    if let Some(login) = login {
        redis = redis.set_password(login.password.expose());
        if let Some(user) = &login.user {
            redis = redis.set_username(user.expose());
        }
    }
    redis
}
