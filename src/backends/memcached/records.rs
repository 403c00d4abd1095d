//! Records: what is kept once for a whole namespace, such as its versions.
//!
//! A record at one server would take all entries of the namespace along when that server is lost. So records are written
//! to all servers that are well, and read from all of them:
//!
//! - Servers that have the record have the same one. That is it, and those that have none, because they started anew or
//!   needed the room, get it.
//! - Where they differ, one of them has missed an order to forget: it was away, or another process could not reach it.
//!   Nothing tells which of the two is the older. So neither is believed: they are removed, and the next process that
//!   needs the record makes a new one, under which nothing of before is valid.
//!
//! Two orders at once may reach servers in different order, and the record is lost then, too: some entries are computed
//! once more, and none comes back that was to be forgotten.
//!
//! A lease on a record is at the first server for its name that is well. What fills it replaces at the others what is
//! there like it was at the first, so that it undoes no order that came in between.

use std::time::Duration;

use bytes::Bytes;
use memcache::exp::{Delete, Get, GetResult, Meta, Set};
use tokio::time::sleep;

use super::batch::gather;
use super::fleet::Route;
use super::{Shared, lease, life};
use crate::backends::join;
use crate::error::Error;
use crate::key::Key;

/// How often, and how long apart, to look again where servers differ: an order may be on its way to them.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);

/// What servers answered when they were asked for one name.
pub(super) type Answers<'a> = Vec<(Route<'a>, GetResult)>;

impl Shared {
    /// Whether a key is at all servers, and not at one of several.
    pub(super) fn is_everywhere(&self, key: &Key) -> bool {
        key.is_record() && self.fleet.servers().nth(1).is_some()
    }

    /// The value under one name, from the answers of its server, or where it is a record, of several.
    pub(super) async fn agree(&self, name: &str, answers: Answers<'_>) -> Result<Option<Vec<u8>>, Error> {
        match <[_; 1]>::try_from(answers) {
            Ok([(route, found)]) => Ok(self.sift(&route, name, found).await?.and_then(|found| found.value)),
            // Boxed: every read would have to carry room for it.
            Err(answers) => Box::pin(self.agree_on_record(name, answers)).await,
        }
    }

    async fn agree_on_record(&self, name: &str, mut answers: Answers<'_>) -> Result<Option<Vec<u8>>, Error> {
        for _ in 0..LOOKS {
            let mut values = answers.iter().filter_map(|(_, found)| value(found));
            let Some(first) = values.next().cloned() else { return Ok(None) };
            if values.all(|value| *value == first) {
                return self.spread(name, first, answers).await;
            }
            sleep(PAUSE).await;
            answers = self.look_everywhere(name).await;
        }
        let differing = answers.iter().filter_map(|(route, found)| Some((route, found.item.cas?)));
        let removals = differing.map(|(route, id)| route.run(move || Delete::new(name).compare_cas(id)));
        // A server that did not remove it differs from the others when it is asked again.
        drop(join::all(removals).await);
        Ok(None)
    }

    /// Gives a record to the servers that have none.
    async fn spread(&self, name: &str, value: Vec<u8>, answers: Answers<'_>) -> Result<Option<Vec<u8>>, Error> {
        let (mut holders, others): (Answers<'_>, Answers<'_>) =
            answers.into_iter().partition(|(_, found)| self::value(found).is_some());
        if holders.len() == 1
            && let Some((route, found)) = holders.pop()
        {
            // No other server bears it out: it may be from before an order that this one missed.
            let Some(found) = self.sift(&route, name, found).await? else { return Ok(None) };
            holders.push((route, found));
        }
        let lacking: Vec<_> = others.iter().filter(|(_, found)| !found.hit()).collect();
        if let (Some((holder, _)), false) = (holders.first(), lacking.is_empty()) {
            let found = holder.run(|| Get::new(name).without_value().no_lru_bump().meta(Meta::NONE.ttl())).await?;
            let ttl = self.ttl(life::left(found.item.ttl.unwrap_or(-1), self.capabilities.max_ttl))?;
            let add = || Set::new(name, &value[..]).ttl_raw(ttl).add();
            // A server that did not take it lacks it when it is asked again.
            drop(join::all(lacking.iter().map(|(route, _)| route.run(add))).await);
        }
        Ok(Some(value))
    }

    /// What the servers have under the name of a record, those that answer in time.
    pub(super) async fn look_everywhere(&self, name: &str) -> Answers<'_> {
        let routes = self.fleet.everywhere();
        let look = || Get::new(name).no_lru_bump().meta(Meta::NONE.cas());
        let answers = gather(routes.iter().map(|route| (false, route.run(look)))).await;
        routes.iter().zip(answers).filter_map(|(route, found)| Some((*route, found?.ok()?))).collect()
    }

    /// Replaces a record at the other servers after `first`, where it was like it was there `before`.
    pub(super) async fn follow(&self, first: &Route<'_>, name: &str, before: Answers<'_>, new: &Bytes, ttl: u32) {
        let old = before.iter().find(|(route, _)| route.index == first.index).and_then(|(_, found)| value(found));
        let is_like = |(route, found): &&(Route<'_>, GetResult)| route.index != first.index && value(found) == old;
        let stores = before.iter().filter(is_like).map(|(route, found)| {
            let set = Set::new(name, &new[..]).ttl_raw(ttl);
            let set = match found.item.cas {
                Some(id) if found.hit() => set.compare_cas(id),
                _ => set.add(),
            };
            route.run_once(set)
        });
        // A server that did not take it differs, or lacks it, when it is asked again.
        drop(join::all(stores).await);
    }
}

fn value(found: &GetResult) -> Option<&Vec<u8>> {
    if found.hit() && !lease::is_placeholder(found) { found.value.as_ref() } else { None }
}
