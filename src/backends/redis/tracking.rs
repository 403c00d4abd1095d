//! Tracking: a connection over which the server says what was changed.
//!
//! It can die without a word: a proxy that passes no pushes, a failover, an administrator. So now and then a key of its
//! own is written over another connection, a beat, and has to come back: then everything that was changed before has
//! come, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, timeout};

use super::connect::RawConnection;
use super::pushes::Pushes;
use super::request::{Request, Single, SizeClass};
use super::{Shared, error};
use crate::backends::LeaseToken;
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// An open connection that was seen to work.
pub(super) struct Tracking {
    pushes: Arc<Pushes>,
    /// Tells connections apart.
    session: Box<str>,
    beats: Mutex<Beats>,
    limit: Duration,
    _connection: RawConnection,
}

struct Beats {
    /// The number of the last.
    last: u64,
    /// When the last was sent that came back.
    proven: Instant,
}

/// The longest time between two beats that no caller needs sooner.
const PACE: Duration = Duration::from_secs(1);
/// How long a beat stays if the server is lost between writing and removing it, in milliseconds.
const LIFE: u32 = 10_000;

impl Tracking {
    /// Opens one for what goes with the stream of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where trying again is of no use: the server is too old, or does not let this user.
    pub(super) async fn open(shared: &Shared, name: &Key) -> Result<Self, Error> {
        let (pushes, limit) = (Arc::new(Pushes::new(name)), shared.router.timeout());
        let mut connection = match shared.router.listen(&pushes).await {
            Err(error) if error::is_too_old(&error) => return Err(cannot(shared, "is older than version 6")),
            opened => opened?,
        };
        let place = shared.router.place();
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(pushes.prefix());
        let answer = timeout(limit, connection.client.send_packed_command(&track)).await;
        match answer.map_err(|_| error::no_answer(place, limit))?.and_then(Value::extract_error) {
            Err(refused) if is_refusal(&refused) => return Err(cannot(shared, "refuses CLIENT TRACKING")),
            answer => answer.map_err(|error| error::of_command(&error, place))?,
        };
        let beats = Mutex::new(Beats { last: 0, proven: Instant::now() });
        let session = format!("{:x}", LeaseToken::random().as_u128()).into();
        let tracking = Self { pushes, session, beats, limit, _connection: connection };
        tracking.prove(shared, name).await?;
        Ok(tracking)
    }

    async fn prove(&self, shared: &Shared, name: &Key) -> Result<(), Error> {
        let (number, sent) = (self.begin(), Instant::now());
        match shared.router.run(name, SizeClass::Small, |_| Request::One(self.beat(number))).await {
            Err(refused) if refused.kind() == ErrorKind::Denied => return Err(cannot(shared, "refuses a probe")),
            written => written.map(drop)?,
        }
        if self.returned(number, sent).await {
            return Ok(());
        }
        let message = format!(
            "what Redis at {} says of changes does not arrive, so tracking finds nothing: see whether a proxy on the \
             way drops it",
            shared.router.place()
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    pub(super) fn pushes(&self) -> &Pushes {
        &self.pushes
    }

    /// The name of this connection. No other has it.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// Takes the beat that could not be `sent` then for one that came back.
    pub(super) fn spare(&self, sent: Instant) {
        let mut beats = self.beats();
        beats.proven = beats.proven.max(sent);
    }

    /// The number of the next beat, if one is due where a reader waits for so long at a time: their own bound is four
    /// waits, of which this takes a sixteenth.
    pub(super) fn due(&self, wait: Duration) -> Option<u64> {
        let is_due = self.beats().proven.elapsed() >= PACE.min(wait / 4);
        is_due.then(|| self.begin())
    }

    /// What makes the beat of this number. It leaves nothing behind.
    pub(super) fn beat(&self, number: u64) -> Single {
        let name = self.pushes.beat(number);
        let mut set = Cmd::with_capacity(5, name.len() + 24);
        set.arg("SET").arg(&name).arg("").arg("PX").arg(LIFE);
        let mut remove = Cmd::with_capacity(2, name.len() + 8);
        remove.arg("DEL").arg(&name);
        Single::Atomic(vec![set, remove])
    }

    /// Whether the beat of this number, which was `sent` then, comes back while a command might be answered.
    pub(super) async fn returned(&self, number: u64, sent: Instant) -> bool {
        let came = self.pushes.wait(|heard| heard.beat >= number || heard.ended);
        if timeout(self.limit, came).await.is_err() || !self.pushes.has_beat(number) {
            return false;
        }
        self.spare(sent);
        true
    }

    fn begin(&self) -> u64 {
        let mut beats = self.beats();
        beats.last += 1;
        beats.last
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        // Nothing between lock and unlock can panic half way through a change.
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server will not, rather than cannot now.
fn is_refusal(error: &RedisError) -> bool {
    let kinds = [ServerErrorKind::ResponseError, ServerErrorKind::NoPerm];
    kinds.iter().any(|kind| error.kind() == redis::ErrorKind::Server(*kind))
}

fn cannot(shared: &Shared, why: &str) -> Error {
    let message = format!(
        "Redis at {} {why}, so L1 hears only of what caches of this library change: use a server that can and grant \
         its user +client|tracking, or leave `tracking` out of the settings",
        shared.router.place()
    );
    Error::new(ErrorKind::Unsupported, message)
}
