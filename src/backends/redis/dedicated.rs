//! A connection that one caller has for itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::connection::Connection;
use super::entries::text;
use super::error;
use super::request::{Limits, Request};
use super::source::Source;
use crate::backends::LeaseToken;
use crate::error::Error;

/// An open connection outside the pool. Dropping it closes it.
pub(super) struct Dedicated {
    connection: Connection,
    source: Arc<dyn Source>,
    run: Box<str>,
}

impl Dedicated {
    /// Opens one.
    pub(super) async fn open(
        source: Arc<dyn Source>,
        limits: Limits,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let connection = Connection::open(&*source, limits, Some(permit)).await?;
        let mut dedicated = Self { connection, source, run: Box::default() };
        dedicated.run = dedicated.find_run().await?;
        Ok(dedicated)
    }

    /// Which run of which server this is: another start of a server is another run.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Sends a request, and waits for its answer as long as a command may take, and for `wait` beyond that.
    pub(super) async fn ask(&self, request: Request, wait: Duration) -> Result<redis::Value, Error> {
        let limit = self.connection.limits().command.saturating_add(wait);
        self.connection.send(request, Instant::now() + limit).await.map_err(|error| match error.is_timeout() {
            true => error::no_answer(self.source.place(), limit),
            false => error::of_command(&error, self.source.place()),
        })
    }

    /// A server that does not tell counts as another one at each connect.
    async fn find_run(&self) -> Result<Box<str>, Error> {
        let mut info = Cmd::with_capacity(2, 10);
        info.arg("INFO").arg("server");
        let told = match self.ask(Request::One(info.into()), Duration::ZERO).await {
            Ok(answer) => text(answer),
            Err(error) if error.is_temporary() => return Err(error),
            Err(_) => None,
        };
        let run = told.as_deref().and_then(|told| told.lines().find_map(|line| line.strip_prefix("run_id:")));
        Ok(run.map_or_else(|| format!("{:x}", LeaseToken::random().as_u128()).into(), |run| run.trim().into()))
    }
}

impl fmt::Debug for Dedicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedicated").field("place", &self.source.place()).finish_non_exhaustive()
    }
}
