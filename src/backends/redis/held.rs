//! A held connection: checked out once, used by all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::batch::Queue;
use super::error;
use super::source::{Pooled, Source};
use super::wire::{Request, Single};
use crate::error::Error;

/// An open connection.
pub(super) struct Held {
    connection: MultiplexedConnection,
    /// How many requests in a row the server left unanswered.
    silent: AtomicU32,
    /// What travels next.
    queue: Queue,
    limits: Limits,
    _object: Box<dyn Send + Sync>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A command.
    pub(super) command: Duration,
    /// A connect, with its handshakes.
    pub(super) connect: Duration,
}

impl Limits {
    /// A command that has to connect first.
    pub(super) fn whole(self) -> Duration {
        self.connect.saturating_add(self.command)
    }
}

pub(super) type Answer = Result<Value, RedisError>;

/// Requests in a row that a server may leave unanswered before the connection counts as broken. A server that was only
/// stopped answers on the old connection; a path that lost its state never does.
const MOST_SILENT: u32 = 3;

impl Held {
    /// Opens a connection.
    pub(super) async fn open(
        source: &dyn Source,
        limits: Limits,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, Error> {
        let Ok(opened) = timeout(limits.connect, source.open()).await else {
            return Err(error::no_connection(source, limits.connect));
        };
        let Pooled { connection, object } = opened?;
        let (silent, queue) = (AtomicU32::new(0), Queue::default());
        Ok(Self { connection, silent, queue, limits, _object: object, _permit: permit })
    }

    /// Sends a request alone. The caller bounds the time.
    pub(super) async fn send(&self, request: Request) -> Answer {
        match request {
            Request::One(single) => {
                let read = matches!(single, Single::Read(_));
                let answer = self.connection.clone().send_packed_command(&single.into_command()).await?;
                self.answered();
                match answer.extract_error() {
                    Err(error) if read && error.code() == Some("WRONGTYPE") => Ok(Value::Nil),
                    answer => answer,
                }
            }
            Request::All(commands) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                Value::Array(self.send_all(&pipeline).await?).extract_error()
            }
        }
    }

    /// Sends a request together with those that others make in this turn of the scheduler.
    pub(super) async fn share(self: &Arc<Self>, request: Single) -> Answer {
        self.queue.send(self, request).await
    }

    /// Sends several commands, and returns an answer or an error for each.
    pub(super) async fn send_all(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let answers = self.connection.clone().send_packed_commands(pipeline, 0, pipeline.len()).await?;
        self.answered();
        Ok(answers)
    }

    /// Notes a request that was left unanswered, and tells whether to give the connection up.
    pub(super) fn unanswered(&self) -> bool {
        self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_SILENT
    }

    fn answered(&self) {
        if self.silent.load(Ordering::Relaxed) > 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("silent", &self.silent).finish_non_exhaustive()
    }
}
