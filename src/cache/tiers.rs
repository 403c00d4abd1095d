//! The two tiers as the path sees them: look, read, plan, keep, write.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::large::{Bulk, is_opened_apart};
use super::options::Options;
use super::turn::Asking;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Complaint, Event, Unreadable};
use crate::fence::Fence;
use crate::frame;
use crate::frame::Tags;
use crate::guard::{Guard, check_size};
use crate::invalidate::{Boxed, Verdict};
use crate::key::Key;
use crate::ledger::Stamp;
use crate::memory::{self, Age, Held, Hit, L1};
use crate::seal::{Dates, Marks, Value};

/// An entry found in a tier.
pub(super) struct Found<T> {
    pub(super) value: Arc<T>,
    pub(super) age: Age,
    pub(super) in_l1: bool,
    /// The tick from which it is expired.
    pub(super) expires: u64,
    /// `None` is none, or that nobody asked for them.
    pub(super) tags: Option<Tags>,
}

impl<T> Found<T> {
    pub(super) fn tags(&self) -> &[u64] {
        self.tags.as_deref().unwrap_or_default()
    }
}

/// An entry that the backend has.
struct Stored<T> {
    /// As they were sealed.
    bytes: Bytes,
    value: Arc<T>,
    /// What it takes in L1 as a value.
    weight: usize,
    dates: Dates,
    tags: Tags,
}

/// What L1 must know of an entry to forget it.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) dates: Dates,
    /// The epoch in which its making began.
    pub(super) epoch: u64,
    pub(super) tags: Tags,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// What L1 holds for a key, if it is a `T`, without its tags.
    #[inline]
    pub(super) fn look_l1<T: Value>(&self, hash: u64, text: &str, complaint: &Complaint) -> Option<Found<T>> {
        let Hit { held, age, expires, tags } = self.local.l1.as_ref()?.get(hash, text, self.clock.ticks())?;
        let value = if C::CONFIDENTIAL {
            let sealed = held.downcast_ref::<Bytes>();
            if sealed.is_some_and(|sealed| is_opened_apart(sealed)) {
                // The flight opens it.
                return None;
            }
            let opened = sealed.ok_or(Unreadable::Foreign).and_then(|sealed| self.sealer.open(text, sealed));
            opened.map(|(value, ..)| Arc::new(value))
        } else {
            held.downcast().map_err(|_| Unreadable::Schema)
        };
        let value = self.readable(hash, text, value, complaint)?;
        Some(Found { value, age, in_l1: true, expires, tags })
    }

    /// What L1 holds for a key, if it is a `T`, with its tags.
    pub(super) async fn look_l1_tagged<T: Value>(&self, key: &Key, complaint: &Complaint) -> Option<Found<T>> {
        let (hash, text) = (key.hash64(), key.as_str());
        let Hit { held, age, expires, tags } = self.local.l1.as_ref()?.get_tagged(hash, text, self.clock.ticks())?;
        let value = if C::CONFIDENTIAL {
            match held.downcast_ref::<Bytes>() {
                Some(sealed) => self.open(key, sealed).await.map(|(value, ..)| Arc::new(value)),
                None => Err(Unreadable::Foreign),
            }
        } else {
            held.downcast().map_err(|_| Unreadable::Schema)
        };
        let value = self.readable(hash, text, value, complaint)?;
        Some(Found { value, age, in_l1: true, expires, tags })
    }

    /// The value of a hit in L1, or nothing and an event.
    #[inline]
    fn readable<T>(
        &self,
        hash: u64,
        text: &str,
        value: Result<Arc<T>, Unreadable>,
        complaint: &Complaint,
    ) -> Option<Arc<T>> {
        match value {
            Ok(value) => Some(value),
            Err(reason) => {
                complaint.tell(&self.observers, &Key::from_parts(text, hash), reason);
                if reason == Unreadable::Schema {
                    self.tell_types_in_turns();
                }
                None
            }
        }
    }

    /// Warns of a key that this process itself uses for values of two types. A type that has changed since the entry was
    /// stored is none of this: the process knows the new one alone.
    #[cold]
    fn tell_types_in_turns(&self) {
        let message = "a key holds values of two types in turns, so each replaces the other and is computed anew: give each \
                       type a namespace of its own, or a part of the key";
        self.observers.tell(Event::Warning { message });
    }

    /// Reads the backend, and keeps what it has in L1 for the rest of its life. `None` if it has nothing newer than
    /// `known`.
    pub(super) async fn read<T: Value>(
        &self,
        key: &Key,
        options: Options,
        known: Option<&Found<T>>,
        (fence, asking): (&Fence, &mut Asking<'_, B>),
        admit: impl Fn() -> bool,
    ) -> Result<Option<Found<T>>, Error> {
        let Some(guard) = &self.guard else { return Ok(None) };
        // Before the question: a change that waits now may be made again before the answer is judged.
        let is_hidden = self.recovery.hides(key, &[]);
        if is_hidden && asking.turn.is_none() {
            return Ok(None);
        }
        let Some(bytes) = self.frame(guard, key, asking).await?.filter(|_| !is_hidden) else { return Ok(None) };
        let (bytes, ended) = frame::strip_expiry(bytes);
        // By its head, so that a value that was forgotten is not decoded.
        let swept = match self.sealer.peek(key.as_str(), &bytes) {
            Some((_, marks)) => match self.judge(guard, key, &marks).await? {
                Verdict::Valid => None,
                Verdict::Expired(at) => Some(at),
                Verdict::Forgotten => return Ok(None),
            },
            None => None,
        };
        let (value, dates, marks) = match self.open::<T>(key, &bytes).await {
            Ok(opened) => opened,
            Err(reason) => {
                asking.complaint.tell(&self.observers, key, reason);
                if reason == Unreadable::Schema && self.sealer.is_of_a_type_in_use(&bytes) {
                    self.tell_types_in_turns();
                }
                // Boxed: rare, and as deep as the backend's removal.
                Box::pin(self.reject(guard, key, reason)).await?;
                return Ok(None);
            }
        };
        let judged = if ended.is_none() { self.by_own_clock(guard, key, &bytes, dates).await? } else { Some(dates) };
        let Some(dates) = judged else { return Ok(None) };
        let (grace, now) = (self.grace(options, Duration::from_millis(dates.ttl)), self.clock.wall());
        let dates = Dates { grace, ..dates.ended(ended, now).ended(swept, now) };
        let value = Arc::new(value);
        let weight = if self.keeps_values() { Bulk::of(&*value).weigh(&value).await } else { 0 };
        let stored = Stored { bytes, value, weight, dates, tags: marks.tags };
        Ok(self.promote(key, options, known, fence, stored, admit))
    }

    /// Takes what the backend has, if it is not gone and newer than what is `known`, and keeps it in L1.
    fn promote<T: Value>(
        &self,
        key: &Key,
        options: Options,
        known: Option<&Found<T>>,
        fence: &Fence,
        stored: Stored<T>,
        admit: impl Fn() -> bool,
    ) -> Option<Found<T>> {
        let Stored { bytes, value, weight, dates, tags } = stored;
        let now = self.clock.wall();
        if dates.left(dates.kept(), now) == 0 {
            return None;
        }
        let age = match (dates.left(dates.fresh_for, now), dates.left(dates.ttl, now)) {
            (_, 0) => Age::Expired,
            (0, _) => Age::Stale,
            _ => Age::Fresh,
        };
        let expires = dates.end(dates.ttl, now, self.clock.ticks());
        let is_older = known.is_some_and(|known| expires < known.expires);
        if is_older || self.recovery.hides(key, &tags) {
            return None;
        }
        // One that is a little ahead would live longer in L1 by as much.
        if dates.created <= now && !options.skip_l1_write {
            // What does not fit into L1 is read again.
            let origin = Origin { dates, epoch: fence.epoch(), tags: Arc::clone(&tags) };
            let _ = self.keep(key, &value, weight, Some(bytes), origin, admit);
        }
        Some(Found { value, age, in_l1: false, expires, tags: Some(tags) })
    }

    /// Deals with an entry that cannot be read. One that is not authentic leaves the backend, unless the cache is set to
    /// fail closed.
    async fn reject(&self, guard: &Guard<B>, key: &Key, reason: Unreadable) -> Result<(), Error> {
        if reason != Unreadable::Unauthentic || !C::CONFIDENTIAL {
            return Ok(());
        }
        if self.policy.fail_closed {
            let message = "the stored entry is not authentic, and the cache is set to fail closed: \
                           invalidate the key once you know why";
            return Err(Error::new(ErrorKind::Unauthentic, message));
        }
        // A failure is told by the guard, and is none of the read: the entry is a miss either way.
        let _ = guard.remove(key).await;
        Ok(())
    }

    /// The frame under `key`, and with a plain read the head of the ledger where that is due.
    pub(super) async fn frame(
        &self,
        guard: &Guard<B>,
        key: &Key,
        asking: &mut Asking<'_, B>,
    ) -> Result<Option<Bytes>, Error> {
        let found = self.ask_for_frame(guard, key, asking).await?;
        self.habit.note(found.is_some());
        Ok(found)
    }

    async fn ask_for_frame(
        &self,
        guard: &Guard<B>,
        key: &Key,
        asking: &mut Asking<'_, B>,
    ) -> Result<Option<Bytes>, Error> {
        let complaint = asking.complaint;
        if let Some(turn) = &mut asking.turn {
            if !std::mem::take(&mut turn.reads_first) {
                return self.ask_whole(guard, key, turn, complaint).await;
            }
            // The question for the lease follows, if what is found is of no use.
            let found = Box::pin(self.ask_for_frame(guard, key, &mut Asking::plain(complaint))).await?;
            turn.saw(found.as_ref());
            return Ok(found);
        }
        let Some(ledgers) = &self.ledgers else { return guard.read(key, complaint).await };
        let part = guard.part(key);
        let Some((head, asked)) = ledgers.due(part) else { return guard.read(key, complaint).await };
        let both: Boxed<'_, _> = Box::pin(guard.read_with(key, head, complaint));
        let (bytes, found) = both.await?;
        if bytes.is_some() || found.is_some() {
            ledgers.learn(guard, part, found.as_ref(), asked).await?;
        }
        Ok(bytes)
    }

    /// What the ledger says of an entry under `key`.
    async fn judge(&self, guard: &Guard<B>, key: &Key, marks: &Marks) -> Result<Verdict, Error> {
        match &self.ledgers {
            Some(ledgers) => ledgers.judge(guard, guard.part(key), marks.stamp, &marks.tags).await,
            None => Ok(Verdict::Valid),
        }
    }

    /// Whether there is a frame under `key` that has not expired, of whatever type.
    pub(super) async fn has(&self, guard: &Guard<B>, key: &Key) -> Result<bool, Error> {
        let Some(bytes) = self.frame(guard, key, &mut Asking::plain(&Complaint::default())).await? else {
            return Ok(false);
        };
        // One that expired ahead of its time is none that can be peeked at.
        let Some((dates, marks)) = self.sealer.peek(key.as_str(), &bytes) else { return Ok(false) };
        if self.recovery.hides(key, &marks.tags) {
            return Ok(false);
        }
        let Some(dates) = self.by_own_clock(guard, key, &bytes, dates).await? else { return Ok(true) };
        let lives = dates.left(dates.ttl, self.clock.wall()) > 0;
        Ok(lives && self.judge(guard, key, &marks).await? == Verdict::Valid)
    }

    /// The time of the ledger, for an entry of `key` whose making begins now.
    pub(super) async fn stamp(&self, key: &Key) -> Result<Stamp, Error> {
        match (&self.guard, &self.ledgers) {
            (Some(guard), Some(ledgers)) => ledgers.stamp(guard, guard.part(key)).await,
            _ => Ok(Stamp::default()),
        }
    }

    /// The same, if it is known without asking.
    pub(super) fn known_stamp(&self, key: &Key) -> Option<Stamp> {
        match (&self.guard, &self.ledgers) {
            (Some(guard), Some(ledgers)) => ledgers.known(guard.part(key)),
            _ => Some(Stamp::default()),
        }
    }

    /// Warns of a type that L1 keeps and no backend could, so that one can be added without a surprise.
    fn probe<T: Value>(&self, key: &Key, value: &T, weight: usize) {
        if self.guard.is_some() || C::CONFIDENTIAL || weight > MAX_PROBED {
            return;
        }
        if let Some(message) = self.sealer.probe(key, value) {
            self.observers.tell(Event::Warning { message: &message });
        }
    }

    /// Whether L1 holds values as they are, and so wants their weight.
    pub(super) fn keeps_values(&self) -> bool {
        !C::CONFIDENTIAL && self.local.l1.is_some()
    }

    /// Puts an entry into L1, if L1 is on and has room for it. `sealed` is its frame, where there is one already.
    ///
    /// Returns whether L1 holds it now. If not, an older entry of the key stays only where `admit` said no.
    ///
    /// # Errors
    /// If the value is too large for L1 or for the policy.
    pub(super) fn keep<T: Value>(
        &self,
        key: &Key,
        value: &Arc<T>,
        weight: usize,
        sealed: Option<Bytes>,
        origin: Origin,
        admit: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let Some(l1) = &self.local.l1 else { return Ok(false) };
        if self.is_deaf() {
            return Ok(false);
        }
        let (held, weight, handle) = match sealed {
            Some(bytes) if C::CONFIDENTIAL => {
                let weight = bytes.len();
                (Arc::new(bytes) as Held, weight, SEALED_HANDLE)
            }
            _ if C::CONFIDENTIAL => return Ok(false),
            _ => (Arc::clone(value) as Held, weight, 0),
        };
        let Origin { dates, epoch, tags } = origin;
        let handle = handle + tags.len() * size_of::<u64>();
        let size = check_size(weight, self.policy.max_value_size)
            .and_then(|()| check_fits(l1, key, weight.saturating_add(handle)));
        let weight = if size.is_ok() { weight.saturating_add(handle) } else { usize::MAX };
        let (now, ticks) = (self.clock.wall(), self.clock.ticks());
        let entry = memory::Entry {
            held,
            weight,
            fresh_until: dates.end(dates.fresh_for, now, ticks),
            expires: dates.end(dates.ttl, now, ticks),
            gone: dates.end(dates.kept(), now, ticks),
            epoch,
            tags,
        };
        let held = l1.put(key, entry, ticks, admit);
        self.probe(key, &**value, weight);
        size.map(|()| held)
    }
}

fn check_fits(l1: &L1, key: &Key, weight: usize) -> Result<(), Error> {
    if l1.fits(key, weight) {
        return Ok(());
    }
    let message = format!("a value of {weight} bytes is too large for L1: raise l1_max_size_mb to eight times that");
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// Larger values are not written for a trial.
const MAX_PROBED: usize = 64 * 1024;

/// What the two handles of a sealed entry's bytes take beside them, with what the allocator adds.
const SEALED_HANDLE: usize = 120;
