//! Sealing: values into frames and back.
//!
//! A sealed entry is its header and the codec's output. Opening refuses everything that was not sealed by the same
//! codec stack for the same type, and says why.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "metrics")]
use crate::codec::take_sizes;
use crate::codec::{Codec, Context, Reading, Trials, Verified};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};
use crate::event::Unreadable;
use crate::frame::{self, Header, Labels, Tags};
use crate::key::Key;
use crate::ledger::Stamp;
use crate::schema::{is_known, schema_of};

/// What can be cached: anything serde reads and writes that may be shared between threads.
///
/// Implemented for every such type; there is nothing to implement by hand. A value is read back from bytes that are
/// gone by then, so it owns what it holds: `String`, not `&str`.
///
/// A value that its codec would not give back exactly is not stored, and an event names the type, the attribute and the
/// codecs that carry it. What never reaches the codec is not seen: a field with `#[serde(skip)]` is whole in L1, and its
/// default when it is read from the backend. The guide (`docs/values.md`) says which codec carries what, and what else
/// nobody can see.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "not a `Value`",
    note = "values own what they hold, are `Send + Sync`, and derive `serde::Serialize` and `serde::Deserialize`"
)]
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

/// The dates of an entry, in milliseconds; they travel in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dates {
    /// Since the Unix epoch.
    pub(crate) created: u64,
    /// After `created`: stale from then on.
    pub(crate) fresh_for: u64,
    /// After `created`: expired from then on.
    pub(crate) ttl: u64,
    /// After that: kept as a fallback. The backend keeps an entry as long as its writer's says.
    pub(crate) grace: u64,
    /// Whether the computation decided that, and no setting of a reader.
    pub(crate) own_grace: bool,
    /// The name of the clock that dated it.
    pub(crate) clock: u32,
}

impl Dates {
    /// How long the backend is asked to keep the entry.
    pub(crate) fn keep(&self) -> Duration {
        Duration::from_millis(self.kept())
    }

    /// The same, in milliseconds.
    pub(crate) fn kept(&self) -> u64 {
        self.ttl.saturating_add(self.grace)
    }

    /// These dates by a wall clock that shows `now`, of an entry of this `age`.
    pub(crate) fn aged(self, age: u64, now: u64) -> Self {
        Self { created: now.saturating_sub(age), ..self }
    }

    /// How much of `span` is left at the wall-clock moment `now`.
    ///
    /// An entry from the future is taken as made now.
    pub(crate) fn left(&self, span: u64, now: u64) -> u64 {
        span.saturating_sub(now.saturating_sub(self.created))
    }

    /// These dates where the entry expired `at` this moment of the wall clock, which shows `now`, if not before.
    ///
    /// A moment that is yet to come, by a clock that is ahead, is now.
    pub(crate) fn ended(self, at: Option<u64>, now: u64) -> Self {
        let Some(at) = at else { return self };
        Self { ttl: self.ttl.min(at.min(now).saturating_sub(self.created)), ..self }
    }

    /// The tick at which `span` is over, where the wall clock shows `now` at the tick `ticks`. It may be past.
    pub(crate) fn end(&self, span: u64, now: u64, ticks: u64) -> u64 {
        ticks.saturating_add(span).saturating_sub(now.saturating_sub(self.created))
    }
}

/// What says whether an entry was forgotten; it travels in its header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// When its making began, by the ledger of its backend.
    pub(crate) stamp: Stamp,
    pub(crate) labels: Labels,
}

/// Less room than this behind a frame is not worth moving it.
const SPARE: usize = 4_096;

/// Bytes of values before and after compression.
#[cfg(feature = "metrics")]
#[derive(Debug, Default)]
pub(crate) struct Sizes([AtomicU64; 2]);

#[cfg(feature = "metrics")]
impl Sizes {
    fn add(&self, (plain, stored): (u64, u64)) {
        self.0[0].fetch_add(plain, Relaxed);
        self.0[1].fetch_add(stored, Relaxed);
    }

    pub(crate) fn read(&self) -> (u64, u64) {
        (self.0[0].load(Relaxed), self.0[1].load(Relaxed))
    }
}

/// Turns values into frames for one cache.
#[derive(Debug)]
pub(crate) struct Sealer<C> {
    codec: C,
    stack: u32,
    compresses: bool,
    /// What the manual schema version adds to the fingerprint of a type; nothing for version 0.
    version: u64,
    max_value_size: usize,
    verified: Arc<Verified>,
    trials: Arc<Trials>,
    #[cfg(feature = "metrics")]
    sizes: Arc<Sizes>,
}

impl<C: Codec> Sealer<C> {
    pub(crate) fn new(codec: C, policy: &Policy) -> Self {
        let (name, setting) = (codec.name(), policy.compression);
        // Where the setting says no, the codec itself may say yes, which is rare.
        let (stack, compresses) = (frame::fingerprint(&name) as u32, setting && name.contains("compressed("));
        let (version, max_value_size) = (mark_of(policy.schema_version), policy.max_value_size);
        Self {
            codec,
            stack,
            compresses,
            version,
            max_value_size,
            verified: Arc::default(),
            trials: Arc::default(),
            #[cfg(feature = "metrics")]
            sizes: Arc::default(),
        }
    }

    /// The same with another manual schema version.
    pub(crate) fn with_version(&self, schema_version: u32) -> Self {
        let &Self { stack, compresses, max_value_size, .. } = self;
        let (codec, verified, trials) = (self.codec.clone(), Arc::clone(&self.verified), Arc::clone(&self.trials));
        Self {
            codec,
            stack,
            compresses,
            version: mark_of(schema_version),
            max_value_size,
            verified,
            trials,
            #[cfg(feature = "metrics")]
            sizes: Arc::clone(&self.sizes),
        }
    }

    #[cfg(feature = "encryption")]
    pub(crate) fn codec(&self) -> &C {
        &self.codec
    }

    /// The same with a codec that differs in its keys alone.
    #[cfg(feature = "encryption")]
    pub(crate) fn with_codec(&self, codec: C) -> Self {
        let &Self { stack, compresses, version, max_value_size, .. } = self;
        let (verified, trials) = (Arc::clone(&self.verified), Arc::clone(&self.trials));
        Self {
            codec,
            stack,
            compresses,
            version,
            max_value_size,
            verified,
            trials,
            #[cfg(feature = "metrics")]
            sizes: Arc::clone(&self.sizes),
        }
    }

    /// The frame of `value`, as it is stored.
    pub(crate) fn seal<T: Value>(
        &self,
        key: &Key,
        value: &T,
        dates: Dates,
        cost: Duration,
        marks: &Marks,
    ) -> Result<Bytes, Error> {
        let schema = schema_of::<T>();
        let header = Header {
            created: dates.created,
            fresh_for: dates.fresh_for,
            ttl: dates.ttl,
            grace: dates.grace,
            has_own_grace: dates.own_grace,
            clock: dates.clock,
            cost: u64::try_from(cost.as_micros()).unwrap_or(u64::MAX),
            stack: self.stack,
            schema: schema.fingerprint() ^ self.version,
            key: frame::fingerprint(key.as_str()),
            stamp: marks.stamp,
            labels: marks.labels.clone(),
        }
        .to_bytes();
        let reading = Reading::new(schema);
        let context = self.context(key.as_str(), &header).read_as(&reading);
        let mut out = Vec::with_capacity(header.len() + 256);
        out.extend_from_slice(&header);
        guarded(|| {
            self.codec.encode(value, context, &mut out)?;
            self.verified.check::<T, C>(&self.codec, &out[header.len()..], context, reading.is_doubtful())
        })
        .unwrap_or_else(|| {
            let message =
                format!("writing or reading back `{}` panicked: mend its serde implementation", type_name::<T>());
            Err(Error::new(ErrorKind::Encode, message))
        })?;
        #[cfg(feature = "metrics")]
        self.sizes.add(take_sizes());
        // What compression saved is given back: a backend in this process, and L1, keep the frame as it is.
        if out.capacity() - out.len() > out.len().max(SPARE) {
            out.shrink_to_fit();
        }
        Ok(out.into())
    }

    /// Whether sealing compresses, which takes far longer than the rest of it.
    pub(crate) fn compresses(&self) -> bool {
        self.compresses
    }

    /// What compression has made of values so far.
    #[cfg(feature = "metrics")]
    pub(crate) fn sizes(&self) -> &Arc<Sizes> {
        &self.sizes
    }

    /// Seals some values of a cache that stores none, as a trial. Tells once of a type that its codec cannot carry.
    pub(crate) fn probe<T: Value>(&self, key: &Key, value: &T) -> Option<String> {
        if !self.trials.is_due::<T>() {
            return None;
        }
        let dates = Dates { created: 0, fresh_for: 0, ttl: 0, grace: 0, own_grace: false, clock: 0 };
        let error = self.seal(key, value, dates, Duration::ZERO, &Marks::default()).err()?;
        let is_first = self.trials.end::<T>();
        is_first.then(|| format!("only L1 keeps values of this type, and no backend could be added later: {error}"))
    }

    /// Whether the codec can carry values of this type, as far as the type alone tells.
    ///
    /// # Errors
    /// As of a value that it cannot carry.
    pub(crate) fn check_type<T: Value>(&self) -> Result<(), Error> {
        let reading = Reading::trial(schema_of::<T>(), type_name::<T>());
        let context = self.context("", &[]).read_as(&reading);
        // A codec of the user's that panics does so with a value at hand, which says more.
        guarded(|| self.codec.encode(&(), context, &mut Vec::new())).unwrap_or(Ok(()))
    }

    /// What the header of a frame says that was stored under the key text `key`, whatever its type.
    pub(crate) fn head(&self, key: &str, bytes: &[u8]) -> Result<EntryHead, Unreadable> {
        let (header, head, _) = Header::split(bytes).ok_or(Unreadable::Foreign)?;
        if header.key != frame::fingerprint(key) {
            return Err(Unreadable::Unauthentic);
        }
        if header.stack != self.stack {
            return Err(Unreadable::Stack);
        }
        Ok(EntryHead { header, length: head.len() })
    }

    /// The value in the same frame.
    pub(crate) fn open<T: Value>(&self, key: &str, bytes: &[u8], head: &EntryHead) -> Result<T, Unreadable> {
        if head.header.schema != self.schema::<T>() {
            return Err(Unreadable::Schema);
        }
        let (head, body) = bytes.split_at_checked(head.length).ok_or(Unreadable::Foreign)?;
        match guarded(|| self.codec.decode(body, self.context(key, head))) {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(match error.kind() {
                ErrorKind::Unauthentic => Unreadable::Unauthentic,
                ErrorKind::TooLarge => Unreadable::TooLarge,
                _ => Unreadable::Corrupt,
            }),
            None => Err(Unreadable::Corrupt),
        }
    }

    /// Whether the checksum or the seal of a frame holds, as far as the codec has one, whatever type it was made of.
    pub(crate) fn is_authentic(&self, key: &str, bytes: &[u8], head: &EntryHead) -> bool {
        let Some((head, body)) = bytes.split_at_checked(head.length) else { return false };
        let opened = guarded(|| self.codec.decode::<()>(body, self.context(key, head)));
        !matches!(opened, Some(Err(error)) if error.kind() == ErrorKind::Unauthentic)
    }

    fn context<'a>(&self, key: &'a str, header: &'a [u8]) -> Context<'a> {
        Context::new(key, header).with_max_value_size(self.max_value_size)
    }

    /// Whether a frame was sealed for a type that this process uses.
    pub(crate) fn is_of_a_type_in_use(&self, bytes: &[u8]) -> bool {
        Header::split(bytes).is_some_and(|(header, ..)| is_known(header.schema ^ self.version))
    }

    fn schema<T: Value>(&self) -> u64 {
        schema_of::<T>().fingerprint() ^ self.version
    }
}

/// What a manual schema version adds to the fingerprint of a type.
fn mark_of(schema_version: u32) -> u64 {
    match schema_version {
        0 => 0,
        version => frame::fingerprint(&format!("schema version {version}")),
    }
}

/// What the header of a frame says.
#[derive(Debug, Clone)]
pub(crate) struct EntryHead {
    header: Header,
    /// The bytes of the header.
    length: usize,
}

impl EntryHead {
    pub(crate) fn dates(&self) -> Dates {
        let Header { created, fresh_for, ttl, grace, has_own_grace, clock, .. } = self.header;
        Dates { created, fresh_for: fresh_for.min(ttl), ttl, grace, own_grace: has_own_grace, clock }
    }

    /// How long the computation took.
    pub(crate) fn cost(&self) -> Duration {
        Duration::from_micros(self.header.cost)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.header.stamp
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.header.labels.tags
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.header.labels
    }
}

/// Runs the user's serde code. `None` if it panics: stored bytes must not bring a program down.
fn guarded<R>(work: impl FnOnce() -> R) -> Option<R> {
    // What was half written or half read is dropped.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Compressed, Postcard};
    use crate::config::Settings;

    #[test]
    fn a_frame_keeps_no_room_that_compression_has_saved() {
        let policy = Settings::default().decide(&mut Vec::new());
        let sealer = Sealer::new(Compressed::new(Postcard), &policy);
        let dates = Dates { created: 0, fresh_for: 1, ttl: 1, grace: 0, own_grace: false, clock: 0 };
        let (key, value) = (Key::new("pages", 1).unwrap(), "cache ".repeat(50_000));
        let frame = sealer.seal(&key, &value, dates, Duration::ZERO, &Marks::default()).unwrap();
        let (len, held) = (frame.len(), frame.try_into_mut().unwrap().capacity());
        assert!(len < 10_000 && held <= len + SPARE, "{held} bytes are held for {len}");
    }
}
