//! A connection: requests, the answers to them, and what shows that it is dead or out of step.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::{Cmd, RedisError, Value};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::commands;
use super::connect::RawConnection;
use super::echo::EchoCheck;
use super::error;
use super::pipeline::Pipeline;
use super::protocol::Fault;
use super::request::{Answer, Limits, Request, Single};
use super::source::Source;
use crate::error::Error;

/// An open connection.
pub(super) struct Connection {
    raw: RawConnection,
    /// How many requests in a row the server left unanswered.
    silent: AtomicU32,
    /// Whether answers are still those to the requests they are taken for.
    echo: EchoCheck,
    /// How often the server answered. Two at once may count as one: it tells only whether there was any.
    heard: AtomicU32,
    limits: Limits,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Requests in a row that a server may leave unanswered before the connection counts as broken. A server that was only
/// stopped answers on the old connection; a path that lost its state never does.
const MOST_SILENT: u32 = 3;

/// How long after its request a caller looks whether the connection is still open; then after twice that, and so on.
const DOUBT: Duration = Duration::from_millis(100);

impl Connection {
    /// Opens a connection.
    pub(super) async fn open(
        source: &dyn Source,
        limits: Limits,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, Error> {
        let (silent, echo, heard) = Default::default();
        Ok(Self { raw: opened(source, limits).await?, silent, echo, heard, limits, _permit: permit })
    }

    /// Sends a request alone, and waits for its answer until then.
    pub(super) async fn send(&self, request: Request, until: Instant) -> Answer {
        let proves = self.echo.is_due();
        match request {
            Request::One(Single::Read(key)) => match self.send_one(commands::on(b"GET", &key), until, proves).await {
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(Value::Nil),
                answer => answer,
            },
            Request::One(
                Single::Command(command)
                | Single::Remove(command)
                | Single::Lease(command)
                | Single::Script(_, command),
            ) => self.send_one(command, until, proves).await,
            Request::One(single) => self.send_first(single, until, proves).await,
            Request::All(singles) => {
                let answers = self.send_all(singles.into_iter().collect(), until, proves).await?;
                answers.collect::<Result<_, _>>().map(Value::Array)
            }
        }
    }

    async fn send_one(&self, command: Cmd, until: Instant, proves: bool) -> Answer {
        if proves {
            return self.send_first(command.into(), until, true).await;
        }
        let mut connection = self.raw.client.clone();
        let answer = self.bounded(connection.send_packed_command(&command), until).await?;
        self.answered();
        answer.extract_error()
    }

    async fn send_first(&self, single: Single, until: Instant, proves: bool) -> Answer {
        let mut answers = self.send_all(Pipeline::from_iter([single]), until, proves).await?;
        answers.next().unwrap_or_else(|| Ok(Value::Nil))
    }

    /// Sends several requests, and returns the answer to each, if all are there by then. One that `proves` that the
    /// connection is in echo fails if it is not.
    pub(super) async fn send_all(
        &self,
        mut pipeline: Pipeline,
        until: Instant,
        proves: bool,
    ) -> Result<impl Iterator<Item = Answer> + use<>, RedisError> {
        let word = if proves { self.echo.word() } else { None };
        if let Some(word) = &word {
            pipeline.prove(word);
        }
        let commands = pipeline.commands();
        let mut connection = self.raw.client.clone();
        let sent = connection.send_packed_commands(commands, 0, commands.len());
        let mut values = self.bounded(sent, until).await?;
        if let Some(word) = word {
            self.echo.hear(&word, values.pop()).map_err(|fault| {
                self.raw.verdict().give(fault);
                io::Error::from(fault)
            })?;
        }
        self.answered();
        Ok(pipeline.answers(values))
    }

    /// What a request is answered with until then. Fails also if the connection has closed, of which the driver does not
    /// tell every request: what is handed to it just as it ends stays in its channel, unanswered.
    async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
        until: Instant,
    ) -> Result<T, RedisError> {
        let (mut answer, mut doubt) = (pin!(answer), DOUBT);
        loop {
            let failure = match timeout_at(until.min(Instant::now() + doubt), answer.as_mut()).await {
                Ok(answer) => return answer.map_err(|error| self.explain(error)),
                Err(_) if self.is_closed() => io::ErrorKind::BrokenPipe,
                Err(_) if Instant::now() >= until => io::ErrorKind::TimedOut,
                Err(_) => {
                    doubt *= 2;
                    continue;
                }
            };
            return Err(self.explain(io::Error::from(failure).into()));
        }
    }

    /// Whether the driver takes no more requests. The one it is asked with is dropped before it is sent.
    fn is_closed(&self) -> bool {
        let (mut connection, ping) = (self.raw.client.clone(), redis::cmd("PING"));
        let request = pin!(connection.send_packed_command(&ping));
        matches!(request.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Notes a request that was left unanswered, and tells whether to give the connection up.
    pub(super) fn unanswered(&self) -> bool {
        self.echo.doubt();
        self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_SILENT
    }

    /// Changes whenever the server answers.
    pub(super) fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        self.heard.store(self.heard().wrapping_add(1), Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) > 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// Why the connection was ended, if it was for what the server sent. Told once, to the first request that asks.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.raw.verdict().take()
    }

    /// The error of a request that was in flight. The client tells few of them why their connection ended.
    fn explain(&self, error: RedisError) -> RedisError {
        self.raw.verdict().get().map_or(error, |fault| io::Error::from(fault).into())
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

/// A connection that is ready for commands. The connect has its time, and so has the handshake after it, which is as long
/// as that of a command.
async fn opened(source: &dyn Source, limits: Limits) -> Result<RawConnection, Error> {
    let Limits { command, connect } = limits;
    let mut open = pin!(source.open());
    if let Ok(opened) = timeout(connect.min(command), open.as_mut()).await {
        return opened;
    }
    if connect <= command {
        return Err(error::no_connection(source, connect));
    }
    // Whether the server accepts connections and says nothing, or cannot be reached, another connect tells.
    let mut answers = pin!(async {
        match timeout(connect - command, source.reach()).await {
            Ok(()) if source.is_tls() => error::no_connection(source, command),
            Ok(()) => error::no_answer(source.place(), command),
            Err(_) => error::no_connection(source, connect),
        }
    });
    poll_fn(|context| match open.as_mut().poll(context) {
        Poll::Ready(opened) => Poll::Ready(opened),
        Poll::Pending => answers.as_mut().poll(context).map(Err),
    })
    .await
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("silent", &self.silent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::super::connect::Address;
    use super::super::server;
    use super::*;
    use crate::config::{RedisSettings, Topology};

    #[tokio::test]
    async fn a_request_that_is_lost_with_its_connection_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (close, closing) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let mut client = listener.accept().await.unwrap().0;
            // The name and the version of the library.
            assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
            client.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
            closing.await.unwrap();
        });
        let settings = RedisSettings::new(&url).unwrap();
        let Topology::Server(host) = &settings.target().topology else { panic!("the URL is one of a server") };
        let way = server::way(Address::Host(host.clone()), &settings).unwrap();
        let raw = way.open(server::connection_config()).await.unwrap();
        let (silent, echo, heard) = Default::default();
        let limits = Limits { command: Duration::MAX, connect: Duration::MAX };
        let connection = Connection { raw, silent, echo, heard, limits, _permit: None };

        tokio::time::pause();
        let lost =
            async |limit| connection.bounded(pending::<Result<(), _>>(), Instant::now() + limit).await.unwrap_err();
        for limit in [DOUBT / 2, DOUBT * 100] {
            let begun = Instant::now();
            assert!(lost(limit).await.is_timeout(), "an open connection is waited for");
            // Timers have whole milliseconds.
            assert!((limit..limit + DOUBT / 10).contains(&begun.elapsed()));
        }
        tokio::time::resume();
        close.send(()).unwrap();
        server.await.unwrap();
        let error = lost(Duration::from_secs(30)).await;
        assert!(error.is_unrecoverable_error(), "{error}");
    }
}
