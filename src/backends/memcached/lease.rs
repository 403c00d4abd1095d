//! Leases: where they stand, and why they fence.
//!
//! The id that a server gives each entry at each write (`cas`) is the fence: a value is filled in only where the entry
//! still has the id it had when the lease was granted, and the server compares and stores in one step.
//!
//! **A key without a value** gets a placeholder under its own name, stored only where nothing is (`add`), with the
//! lease's token as its value and the hold as its life. Readers know it by its client flags, whatever bytes values have,
//! and take it for a miss. `set` and `remove` replace and remove it, its life ends it, and `fill` and `release` name its
//! id after they have seen its token. The id alone would not do: a server that starts anew counts anew.
//!
//! **A key with a value** keeps it, because others go on reading it. Its lease is a lock beside it, `<key>:lock`, at the
//! same server, which holds the token and the id of the value. A process that takes the lock looks at the value again after
//! that, and gives the lock back if the value is another; one that puts a placeholder looks for a lock after that. So of
//! two that find the key in either state at once, at least one sees the other.
//!
//! **A value that ends by itself** while it is being renewed must not end the lease, or a busy key would be computed
//! twice at each end. `fill` then puts a placeholder, ends the lock, and stores only if the lock was still there. `remove`
//! takes the key, the lock and the key again, in this order: what `fill` has put before it took the lock, the second
//! removal finds; and after the lock is gone, `fill` gives up. `set` stores first, which changes the id, and ends the lock
//! after that.
//!
//! **What would last for ever**, or for much longer than a lease does, is of no living holder, whatever is in it, and is
//! taken over in one step, by its id.
//!
//! `renew` writes the note again, if it still has the id it had when its token was read there. That changes the id, so
//! a `fill` that overlaps it may be refused: the caller does one after the other.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use memcache::exp::{Delete, Get, GetResult, LeaseState, Meta, Op, OpResult, Set};

use super::error::strange;
use super::fleet::Route;
use super::life;
use super::{Shared, sought};
use crate::backends::{Lease, LeaseToken, late, longest_lease};
use crate::error::Error;
use crate::key::Key;

/// The client flags of placeholders and locks.
const FLAGS: u32 = 0x6c65_6173;
/// How long a placeholder lives that is replaced by its value at once, in seconds.
const SHORT: u32 = 3;
/// No MessagePack begins so: for readers that do not look at flags, a placeholder is no value.
const MAGIC: u8 = 0xC1;

/// Whether an entry is a placeholder: ours, or one that the server made for another client.
pub(super) fn is_placeholder(found: &GetResult) -> bool {
    found.client_flags == Some(FLAGS) || found.lease_state != LeaseState::None
}

/// Whether a placeholder or a lock would last for longer than a living holder has it, where one is asked for that is to
/// hold for so many seconds.
fn is_endless(found: &GetResult, hold: u32) -> bool {
    let longest = longest_lease(Duration::from_secs(hold.into()));
    found.item.ttl.is_some_and(|left| u64::try_from(left).map_or(true, |left| left > longest.as_secs()))
}

/// What placeholders and locks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    token: u128,
    /// The id of the value whose lock this is; zero for a placeholder.
    id: u64,
}

impl Note {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = vec![MAGIC];
        out.extend_from_slice(&self.token.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (token, rest) = bytes.strip_prefix(&[MAGIC])?.split_first_chunk()?;
        let id = rest.try_into().ok()?;
        Some(Self { token: u128::from_be_bytes(*token), id: u64::from_be_bytes(id) })
    }

    /// The note in an entry, and the entry's id.
    fn of(found: &GetResult) -> Option<(Self, u64)> {
        if found.client_flags != Some(FLAGS) {
            return None;
        }
        Some((Self::decode(found.value.as_deref()?)?, found.item.cas?))
    }
}

/// A lease that is out.
struct Held {
    note: Note,
    /// The id of the entry that holds the note.
    id: u64,
    /// Whether that is the lock, not a placeholder.
    locks: bool,
}

/// The names of a key and its lock, and where they are.
struct Place<'a> {
    route: Route<'a>,
    name: String,
    lock: String,
}

impl Shared {
    async fn place(&self, key: &Key) -> Result<Place<'_>, Error> {
        let name = self.name(key);
        let route = self.fleet.route(sought(key, &name)).await?;
        Ok(Place { route, name, lock: self.lock(key) })
    }

    pub(super) async fn lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&Bytes>,
    ) -> Result<Lease, Error> {
        let hold = life::lease(hold, self.clock.wall())?;
        let place = self.place(key).await?;
        let answer = pin!(place.lease(token.0, hold, seen));
        late::or_ask(answer, || self.is_long(key, &place.route)).await
    }

    pub(super) async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        let hold = life::lease(hold, self.clock.wall())?;
        let place = self.place(key).await?;
        let Some(Held { note, id, locks }) = place.held(token.0).await? else { return Ok(false) };
        let name = place.of(locks);
        let set = Set::new(name, note.encode()).client_flags(FLAGS).ttl_raw(hold).compare_cas(id);
        Ok(place.route.run_once(set).await?.applied())
    }

    pub(super) async fn fill(&self, key: &Key, value: &Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        let ttl = life::wire(ttl, self.clock.wall())?;
        let place = self.place(key).await?;
        place.fill(value, ttl, token.0).await
    }

    pub(super) async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        let place = self.place(key).await?;
        let Some(Held { id, locks, .. }) = place.held(token.0).await? else { return Ok(()) };
        place.route.run(|| Delete::new(place.of(locks)).compare_cas(id)).await.map(drop)
    }
}

impl Place<'_> {
    /// The name of the lock, or of the key.
    fn of(&self, locks: bool) -> &str {
        if locks { &self.lock } else { &self.name }
    }

    /// Takes the lease, if it is free, and there is no value but the one that was `seen`.
    ///
    /// Asked twice, as where the first answer was lost, it finds the placeholder that it put.
    async fn lease(&self, token: u128, hold: u32, seen: Option<&Bytes>) -> Result<Lease, Error> {
        let put = Set::new(&self.name, Note { token, id: 0 }.encode()).client_flags(FLAGS).ttl_raw(hold);
        let read = |name| Get::new(name).meta(Meta::NONE.cas().ttl()).into();
        let ask = || vec![put.clone().add().return_cas().into(), read(&self.lock), read(&self.name)];
        let answers = self.route.run_all(ask).await?;
        let Ok([OpResult::Mutation(added), OpResult::Get(lock), OpResult::Get(found)]) =
            <[OpResult; 3]>::try_from(answers)
        else {
            return Err(strange(self.route.place()));
        };
        let locked = Note::of(&lock).filter(|_| !is_endless(&lock, hold)).map(|(note, _)| note);
        if added.applied() {
            if locked.is_none() {
                return Ok(Lease::Granted);
            }
            // A value that is being renewed has ended: its lease has not.
            self.route.run(|| Delete::new(&self.name).compare_cas(added.cas.unwrap_or(0))).await?;
            return Ok(Lease::Held);
        }
        let Some(id) = found.item.cas.filter(|_| found.hit()) else { return Ok(Lease::Held) };
        if is_placeholder(&found) {
            let is_own = Note::of(&found).is_some_and(|(note, _)| note.token == token);
            let is_free = locked.is_none() && (is_own || is_endless(&found, hold));
            return granted(is_free && self.route.run_once(put.compare_cas(id)).await?.applied());
        }
        let value = Bytes::from(found.value.unwrap_or_default());
        if Lease::is_news(&value, seen) {
            return self.found(value, id).await;
        }
        if let Some(locked) = locked.filter(|note| note.id == id) {
            return granted(locked.token == token);
        }
        let lock = lock.item.cas.filter(|_| lock.hit());
        granted(self.lock(Note { token, id }, lock, hold).await?)
    }

    /// The answer where there is this value, of this id. One of before the server was away is removed: the next request
    /// finds nothing.
    async fn found(&self, value: Bytes, id: u64) -> Result<Lease, Error> {
        if self.route.believes(Some(id)).await? {
            return Ok(Lease::Found(value));
        }
        self.route.run(|| Delete::new(&self.name).compare_cas(id)).await?;
        Ok(Lease::Held)
    }

    /// Takes the lock of the value with this id, in place of what has its name: an earlier value's lock, or anything
    /// else.
    async fn lock(&self, note: Note, earlier: Option<u64>, hold: u32) -> Result<bool, Error> {
        let set = Set::new(&self.lock, note.encode()).client_flags(FLAGS).ttl_raw(hold).return_cas();
        let set = match earlier {
            Some(earlier) => set.compare_cas(earlier),
            None => set.add(),
        };
        let look = Get::new(&self.name).without_value().no_lru_bump().meta(Meta::NONE.cas());
        let answers = self.route.run_all_once(vec![set.into(), look.into()]).await?;
        let [OpResult::Mutation(set), OpResult::Get(found)] = &answers[..] else {
            return Err(strange(self.route.place()));
        };
        if !set.applied() {
            return Ok(false);
        }
        if found.hit() && found.item.cas == Some(note.id) {
            return Ok(true);
        }
        self.route.run(|| Delete::new(&self.lock).compare_cas(set.cas.unwrap_or(0))).await?;
        Ok(false)
    }

    /// The lease of this token, if it has not ended. Reads what is under the key only if it is a placeholder: a value
    /// may be long.
    async fn held(&self, token: u128) -> Result<Option<Held>, Error> {
        let read = |name: &str| Get::new(name).no_lru_bump().meta(Meta::NONE.cas());
        let looks = || vec![read(&self.lock).into(), read(&self.name).without_value().into()];
        let answers = self.route.run_all(looks).await?;
        let [OpResult::Get(lock), OpResult::Get(found)] = &answers[..] else {
            return Err(strange(self.route.place()));
        };
        let mine = |found: &GetResult| Note::of(found).filter(|(note, _)| note.token == token);
        let held = match mine(lock) {
            Some((note, id)) => Some(Held { note, id, locks: true }),
            None if !is_placeholder(found) => None,
            None => {
                let placeholder = self.route.run(|| read(&self.name)).await?;
                mine(&placeholder).map(|(note, id)| Held { note, id, locks: false })
            }
        };
        match held {
            Some(held) if self.route.believes(Some(held.id)).await? => Ok(Some(held)),
            _ => Ok(None),
        }
    }

    async fn fill(&self, value: &Bytes, ttl: u32, token: u128) -> Result<bool, Error> {
        let store = |id| Set::new(&self.name, value).ttl_raw(ttl).compare_cas(id);
        let Some(Held { note, id, locks }) = self.held(token).await? else { return Ok(false) };
        if !locks {
            return Ok(self.route.run_once(store(id)).await?.applied());
        }
        let stored = self.route.run_once(store(note.id)).await?;
        if stored.status != memcache::exp::MutationStatus::NotFound {
            self.route.run(|| Delete::new(&self.lock).compare_cas(id)).await?;
            return Ok(stored.applied());
        }
        let Some(id) = self.revive(note, id).await? else { return Ok(false) };
        Ok(self.route.run_once(store(id)).await?.applied())
    }

    /// Puts a placeholder where a value has ended, and ends its lock of this id. The placeholder's id, if the lock was
    /// still there.
    async fn revive(&self, note: Note, lock: u64) -> Result<Option<u64>, Error> {
        let put = Set::new(&self.name, note.encode()).client_flags(FLAGS).ttl_raw(SHORT).add().return_cas();
        let unlock: Op = Delete::new(&self.lock).compare_cas(lock).into();
        let answers = self.route.run_all_once(vec![put.into(), unlock]).await?;
        let [OpResult::Mutation(put), OpResult::Mutation(unlocked)] = &answers[..] else {
            return Err(strange(self.route.place()));
        };
        if put.applied() && !unlocked.applied() {
            self.route.run(|| Delete::new(&self.name).compare_cas(put.cas.unwrap_or(0))).await?;
            return Ok(None);
        }
        Ok(put.cas.filter(|_| put.applied()))
    }
}

fn granted(is_granted: bool) -> Result<Lease, Error> {
    Ok(if is_granted { Lease::Granted } else { Lease::Held })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_note_is_one() {
        let note = Note { token: 7 << 100, id: 9 };
        let bytes = note.encode();
        assert_eq!(Note::decode(&bytes), Some(note));
        for length in 0..bytes.len() {
            assert_eq!(Note::decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Note::decode(&[&bytes[..], &[0]].concat()), None);
    }
}
