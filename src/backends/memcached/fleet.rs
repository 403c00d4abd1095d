//! The servers together: who is asked for what, and what of the answers is believed.
//!
//! While a server is away, others stand in for it, and know nothing of what it holds; when it is back, it knows nothing
//! of what they were told. Either could answer with what was replaced or removed elsewhere. The ids of entries (`cas`)
//! grow with each write to a server, so the id of a write made at the change of roles is a watermark: what is not above
//! it was written under other roles, and is not believed.
//!
//! A watermark is of this process: another one that noticed nothing of the cut goes on believing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use memcache::exp::{Op, OpResult, Set};

use super::connection::Single;
use super::error::{self, Failure, Trouble};
use super::health::{Health, Verdict};
use super::ring::Ring;
use super::server::Server;
use crate::clock::Clock;
use crate::config::MemcachedSettings;
use crate::error::Error;

/// All servers.
#[derive(Debug)]
pub(super) struct Fleet {
    members: Vec<Member>,
    ring: Ring,
    clock: Arc<dyn Clock>,
    /// The name of the entry that is written to learn an id.
    probe: String,
    /// How many servers are not well.
    unwell: AtomicUsize,
    /// Counts deaths and returns.
    view: AtomicU64,
}

#[derive(Debug)]
struct Member {
    server: Server,
    health: Mutex<Health>,
    /// The era of its health, to be read without the lock while all are well.
    era: AtomicU64,
    /// Its watermark for its own keys; zero if it never was away.
    returned: AtomicU64,
    /// The view it stands in for others in, and its watermark for their keys.
    stands_in: Mutex<(u64, u64)>,
}

/// What a server is sought for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sought<'a> {
    /// The key of this name.
    Name(&'a str),
    /// The ledger of this part, which no other server keeps.
    Part(u16),
}

/// Where a key is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    fleet: &'a Fleet,
    pub(super) index: usize,
    era: u64,
    /// Entries whose id is not above it are not believed; zero believes all.
    watermark: u64,
}

impl Fleet {
    pub(super) fn new(settings: &MemcachedSettings, probe: String, clock: Arc<dyn Clock>) -> Self {
        let mut addresses = settings.addresses();
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        let members = addresses.iter().map(|(host, port)| Member {
            server: Server::new(host, *port, settings),
            health: Mutex::new(Health::new(settings.retry_attempts)),
            era: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            stands_in: Mutex::new((0, 0)),
        });
        let members = members.collect();
        let ring = Ring::new(addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect());
        Self { members, ring, clock, probe, unwell: AtomicUsize::new(0), view: AtomicU64::new(0) }
    }

    /// Checks each server: one that answers looks for the probe.
    pub(super) fn pings(&self) -> impl Iterator<Item = impl Future<Output = Result<(), Error>> + Send> {
        self.servers().map(|server| server.ping(&self.probe))
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.members.iter().map(|member| &member.server)
    }

    /// Where what is `sought` is. If a server has to prove first that it is back, that is done here.
    pub(super) async fn route(&self, sought: Sought<'_>) -> Result<Route<'_>, Error> {
        let home = self.choose(sought, |_| true).expect("there is at least one server");
        if self.unwell.load(Ordering::Acquire) == 0 {
            let member = &self.members[home];
            let (era, watermark) = (member.era.load(Ordering::Acquire), member.returned.load(Ordering::Acquire));
            return Ok(Route { fleet: self, index: home, era, watermark });
        }
        loop {
            let now = self.clock.ticks();
            let living = self.choose(sought, |index| !self.members[index].health().is_away(now));
            let index = living.unwrap_or(home);
            let member = &self.members[index];
            let verdict = member.health().ask(now, living.is_none());
            match verdict {
                Verdict::Go(era) => {
                    let watermark = self.watermark(index, index == home, era).await?;
                    return Ok(Route { fleet: self, index, era, watermark });
                }
                Verdict::Wait(millis) => return Err(error::left_alone(member.server.place(), millis)),
                Verdict::Prove(era) => {
                    let proven = self.prove(index, era).await;
                    if living.is_none() {
                        proven?;
                    }
                }
            }
        }
    }

    /// Whether a server is away, and others stand in for it: what it holds is not believed once it is back.
    pub(super) fn is_replaced(&self, part: u16) -> bool {
        let now = self.clock.ticks();
        let is_away = |index: usize| self.members[index].health().is_away(now);
        self.members.len() > 1 && is_away(self.index_of(part)) && (0..self.members.len()).any(|index| !is_away(index))
    }

    fn index_of(&self, part: u16) -> usize {
        usize::from(part) % self.members.len()
    }

    /// The server that has what is `sought` now, as [`route`](Self::route) would say, and whether it is its own; without
    /// asking whether an operation may be sent.
    pub(super) fn locate(&self, sought: Sought<'_>) -> (usize, bool) {
        let home = self.choose(sought, |_| true).expect("there is at least one server");
        if self.unwell.load(Ordering::Acquire) == 0 {
            return (home, true);
        }
        let now = self.clock.ticks();
        let index = self.choose(sought, |index| !self.members[index].health().is_away(now)).unwrap_or(home);
        (index, index == home)
    }

    fn choose(&self, sought: Sought<'_>, serve: impl Fn(usize) -> bool) -> Option<usize> {
        match sought {
            Sought::Name(name) if self.members.len() > 1 => self.ring.choose(name, serve),
            Sought::Part(part) => Some(self.index_of(part)).filter(|index| serve(*index)),
            Sought::Name(_) => serve(0).then_some(0),
        }
    }

    /// What of a server is believed, of its own keys or of those it stands in for.
    async fn watermark(&self, index: usize, own: bool, era: u64) -> Result<u64, Error> {
        let member = &self.members[index];
        if own {
            return Ok(member.returned.load(Ordering::Acquire));
        }
        let view = self.view.load(Ordering::Acquire);
        let known = *member.stands_in();
        if known.0 == view {
            return Ok(known.1);
        }
        let id = self.newest(index).await.map_err(|failure| self.failed(index, era, failure))?;
        *member.stands_in() = (view, id);
        Ok(id)
    }

    /// Asks a dead server whether it is back. What it held before is not believed if others stood in for it.
    async fn prove(&self, index: usize, era: u64) -> Result<(), Error> {
        let id = self.newest(index).await.map_err(|failure| self.failed(index, era, failure))?;
        if self.members.len() > 1 {
            self.members[index].returned.store(id, Ordering::Release);
        }
        self.succeeded(index, era);
        Ok(())
    }

    /// An id above those of all entries the server has by now.
    async fn newest(&self, index: usize) -> Result<u64, Failure> {
        let probe = || Set::new(&self.probe, "").ttl_raw(1).return_cas();
        Ok(self.members[index].server.run(probe, &OnceLock::new()).await?.cas.unwrap_or(0))
    }

    /// Takes back a watermark that the server's ids have not reached.
    fn started_anew(&self, index: usize, watermark: u64) {
        let member = &self.members[index];
        let _ = member.returned.compare_exchange(watermark, 0, Ordering::AcqRel, Ordering::Acquire);
        let mut stands_in = member.stands_in();
        if stands_in.1 == watermark {
            stands_in.1 = 0;
        }
    }

    fn succeeded(&self, index: usize, era: u64) {
        if self.unwell.load(Ordering::Acquire) == 0 {
            return;
        }
        self.change(index, |health| health.succeeded(era));
    }

    /// Draws the conclusions of a failure, and gives back what to say.
    fn failed(&self, index: usize, era: u64, failure: Failure) -> Error {
        if failure.trouble == Trouble::None {
            return failure.error;
        }
        let now = self.clock.ticks();
        let draw = if failure.trouble == Trouble::Silent { Health::silent } else { Health::failed };
        if self.change(index, |health| draw(health, era, now)) {
            self.members[index].server.forget();
        }
        failure.error
    }

    fn change<R>(&self, index: usize, change: impl FnOnce(&mut Health) -> R) -> R {
        let member = &self.members[index];
        let mut health = member.health();
        let (was_well, was_dead) = (health.is_well(), health.is_dead());
        let result = change(&mut health);
        if was_dead != health.is_dead() {
            self.view.fetch_add(1, Ordering::AcqRel);
        }
        member.era.store(health.era(), Ordering::Release);
        match (was_well, health.is_well()) {
            (true, false) => drop(self.unwell.fetch_add(1, Ordering::AcqRel)),
            (false, true) => drop(self.unwell.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        result
    }
}

impl Member {
    fn health(&self) -> MutexGuard<'_, Health> {
        // Nothing between lock and unlock can panic half way through a change.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stands_in(&self) -> MutexGuard<'_, (u64, u64)> {
        self.stands_in.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Route<'a> {
    /// The route of another key at the same server, its own or not.
    pub(super) async fn along(&self, own: bool) -> Result<Route<'a>, Error> {
        let watermark = self.fleet.watermark(self.index, own, self.era).await?;
        Ok(Self { watermark, ..*self })
    }

    /// Carries out one operation, perhaps twice.
    pub(super) async fn run<O: Single>(&self, make: impl Fn() -> O + Send + Sync) -> Result<O::Answer, Error> {
        let mut open = self.open();
        let result = self.server().run(make, &open.sent).await;
        open.conclude(result)
    }

    /// Carries out several operations in their order and one round trip, perhaps twice.
    pub(super) async fn run_all(&self, make: impl Fn() -> Vec<Op> + Send + Sync) -> Result<Vec<OpResult>, Error> {
        let mut open = self.open();
        let result = self.server().run_all(make, &open.sent).await;
        open.conclude(result)
    }

    /// Carries out one operation that must not be done twice.
    pub(super) async fn run_once<O: Single + Send>(&self, operation: O) -> Result<O::Answer, Error> {
        let mut open = self.open();
        let result = self.server().run_once(operation, &open.sent).await;
        open.conclude(result)
    }

    /// Carries out several operations that must not be done twice.
    pub(super) async fn run_all_once(&self, operations: Vec<Op>) -> Result<Vec<OpResult>, Error> {
        let mut open = self.open();
        let result = self.server().run_all_once(operations, &open.sent).await;
        open.conclude(result)
    }

    /// Whether the entry of this id was written while its server had the key.
    pub(super) async fn believes(&self, id: Option<u64>) -> Result<bool, Error> {
        let id = id.unwrap_or(0);
        if id > self.watermark || self.watermark == 0 {
            return Ok(true);
        }
        // A server that started anew counts anew, and holds nothing older than that.
        let newest = self.fleet.newest(self.index).await;
        let newest = newest.map_err(|failure| self.fleet.failed(self.index, self.era, failure))?;
        if newest > self.watermark {
            return Ok(false);
        }
        self.fleet.started_anew(self.index, self.watermark);
        Ok(true)
    }

    /// Where the server is.
    pub(super) fn place(&self) -> &'a str {
        self.server().place()
    }

    /// Whether the server has a free connection.
    pub(super) fn has_room(&self) -> bool {
        self.server().has_room()
    }

    fn server(&self) -> &'a Server {
        &self.fleet.members[self.index].server
    }

    fn open(&self) -> Open<'_> {
        Open { route: self, sent: OnceLock::new(), answered: false }
    }
}

/// An operation under way.
struct Open<'a> {
    route: &'a Route<'a>,
    sent: OnceLock<Instant>,
    answered: bool,
}

impl Open<'_> {
    /// Draws the conclusions for the server.
    fn conclude<T>(&mut self, result: Result<T, Failure>) -> Result<T, Error> {
        self.answered = true;
        let Route { fleet, index, era, .. } = *self.route;
        match result {
            Ok(value) => {
                fleet.succeeded(index, era);
                Ok(value)
            }
            Err(failure) => Err(fleet.failed(index, era, failure)),
        }
    }
}

/// After so long without an answer, a caller that gives up has reason to.
const SILENT: Duration = Duration::from_millis(50);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.answered && self.sent.get().is_some_and(|sent| sent.elapsed() >= SILENT) {
            let Route { fleet, index, era, .. } = *self.route;
            fleet.failed(index, era, Failure::silent(self.route.place(), true));
        }
    }
}
