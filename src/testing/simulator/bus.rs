//! The bus of a simulation.
//!
//! That of the server, with its troubles. A message is never lost silently: what was trimmed, or went down with the
//! server, is a gap.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::deeds::tags_of;
use super::faults::{Fate, Kind, refused, unanswered};
use super::homes::has_domain_tag;
use super::violation::Happening;
use super::world::{State, World, turns};
use crate::backends::Backend;
use crate::bus::{AnyBus, Batch, Bus, Position};
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::key::Key;
use crate::ledger::Change;
use crate::message::{self, Message};

pub(super) struct SimulatedBus {
    world: Arc<World>,
    slot: usize,
    cache: usize,
    name: Key,
    /// Who its cache is in messages, once it has sent one.
    source: Arc<OnceLock<u64>>,
}

impl SimulatedBus {
    /// The bus `name` on the way of the process `slot`, for this cache, which is the `source` of messages.
    pub(super) fn new(
        world: &Arc<World>,
        (slot, cache): (usize, usize),
        source: Arc<OnceLock<u64>>,
        name: &Key,
    ) -> Self {
        Self { world: Arc::clone(world), slot, cache, name: name.clone(), source }
    }

    fn inner(&self) -> Result<(AnyBus, u64), Error> {
        let (memory, restarts) = {
            let state = self.world.lock();
            (state.server.memory.clone(), state.server.restarts)
        };
        let bus = memory.bus(&self.name);
        bus.map(|bus| (bus, restarts)).ok_or_else(|| Error::new(ErrorKind::Unsupported, "the server has no bus"))
    }

    async fn ask(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let (bus, restarts) = self.inner()?;
        let known = after.map(|position| here(position, restarts));
        let batch = bus.receive(known.as_ref(), wait).await?;
        let position = Position::new(format!("{restarts}-{}", batch.position.as_str()));
        Ok(Batch { position, ..batch })
    }

    /// As from a log that has lost everything up to now.
    async fn trimmed(&self) -> Result<Batch, Error> {
        Ok(Batch { gap: true, ..self.ask(None, Duration::ZERO).await? })
    }

    /// Tells the oracle what the cache is about to hear.
    fn hears(&self, after: Option<&Position>, batch: &Batch) {
        let (world, cache) = (&self.world, self.cache);
        let tick = world.now();
        let State { oracle, .. } = &mut *world.lock();
        if batch.gap || after.is_none() {
            // What it read before it listened is not believed, either.
            oracle.void_all(cache, tick, Happening::HearsOfGap);
        }
        for message in &batch.messages {
            match Message::read(message) {
                Ok((source, _)) if self.source.get() == Some(&source) => {}
                Ok((_, Message::LeaseEnded(_))) => {}
                Ok((_, Message::Key(text) | Message::ExpiredKey(text))) => {
                    let known = world.keys.iter().any(|key| key.as_str() == text);
                    oracle.hear(cache, |key| !known || world.keys[key].as_str() == text, tick);
                }
                Ok((_, Message::Order(Change::Tags(tags), _))) => {
                    let named = |key| tags_of(key).iter().any(|name| tags.contains(&frame::fingerprint(name)));
                    let has = |key| named(key) || has_domain_tag(key, &tags);
                    oracle.hear(cache, has, tick);
                }
                Ok((_, Message::Order(..))) | Err(_) => oracle.hear(cache, |_| true, tick),
            }
        }
    }
}

/// The position in the words of the server's log; none of them if the server has lost that log.
fn here(position: &Position, restarts: u64) -> Position {
    let known = position.as_str().split_once('-').filter(|(log, _)| log.parse() == Ok(restarts));
    Position::new(known.map_or("lost", |(_, place)| place))
}

impl Bus for SimulatedBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.source.get_or_init(|| message::source(&message));
        let visit = self.world.visit(self.slot, Kind::Bus);
        turns(visit.before).await;
        match visit.fate {
            Fate::Refused => return Err(refused()),
            Fate::Waits(duration) | Fate::Late(duration) => self.world.sleep(duration).await,
            _ => {}
        }
        let (bus, _) = self.inner()?;
        if visit.fate == Fate::Repeated {
            bus.publish(message.clone()).await?;
        }
        bus.publish(message).await?;
        turns(visit.after).await;
        if visit.fate == Fate::FailsAfter { Err(unanswered()) } else { Ok(()) }
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let visit = self.world.visit(self.slot, Kind::Bus);
        turns(visit.before).await;
        let batch = match visit.fate {
            Fate::Refused => return Err(refused()),
            Fate::Waits(duration) => {
                self.world.sleep(duration).await;
                self.ask(after, wait).await?
            }
            Fate::Trimmed if after.is_some() => self.trimmed().await?,
            _ => self.ask(after, wait).await?,
        };
        turns(visit.after).await;
        let batch = match visit.fate {
            Fate::FailsAfter => return Err(unanswered()),
            Fate::Late(duration) => {
                self.world.sleep(duration).await;
                batch
            }
            Fate::Repeated => Batch { messages: [batch.messages.clone(), batch.messages].concat(), ..batch },
            _ => batch,
        };
        self.hears(after, &batch);
        Ok(batch)
    }
}

impl fmt::Debug for SimulatedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedBus").field("slot", &self.slot).field("cache", &self.cache).finish_non_exhaustive()
    }
}
