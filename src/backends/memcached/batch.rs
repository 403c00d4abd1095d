//! Batches: the operations on many keys, server by server.
//!
//! Each server gets its share in one round trip, all at once. A long share travels in several pieces: a server that is
//! not read from stops reading.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use memcache::exp::{Op, OpResult};
use tokio::time::{Sleep, sleep};

use super::Shared;
use super::error::too_late;
use super::fleet::Route;
use crate::error::Error;
use crate::key::Key;

/// The keys of one server.
pub(super) struct Share<'a> {
    /// By position in the batch; the route of a key says what of its answer is believed.
    pub(super) keys: Vec<(usize, Route<'a>)>,
    /// Whether the batch fails with this server: an entry is nowhere else.
    needed: bool,
    /// Whether it has records.
    records: bool,
}

/// How long servers that others can stand in for are waited for once one of them has answered.
const GRACE: Duration = Duration::from_millis(100);

/// The most operations of one piece, and the most bytes of values.
const OPERATIONS: usize = 512;
const BYTES: usize = 4 << 20;

impl Shared {
    /// The shares of these keys, which have these names. An entry is at one server, and a record at all that are well.
    /// A server of entries that cannot be asked fails all.
    pub(super) async fn shares(&self, keys: &[&Key], names: &[String]) -> Result<Vec<Share<'_>>, Error> {
        let mut shares: Vec<Share<'_>> = Vec::new();
        let has_records = keys.iter().any(|key| self.is_everywhere(key));
        let everywhere = if has_records { self.fleet.everywhere() } else { Vec::new() };
        for (position, name) in names.iter().enumerate() {
            if !everywhere.is_empty() && keys[position].is_record() {
                everywhere.iter().for_each(|route| add(&mut shares, position, *route, true));
                continue;
            }
            let (index, own) = self.fleet.locate(name);
            let known = shares
                .iter()
                .filter(|share| share.needed)
                .find_map(|share| share.keys.first().filter(|(_, route)| route.index == index));
            let route = match known {
                Some((_, route)) => route.along(own).await?,
                None => self.fleet.route(name).await?,
            };
            add(&mut shares, position, route, false);
        }
        Ok(shares)
    }

    /// Carries out what `make` makes for each position, at all servers at once. The answers of each share, one for each
    /// operation; `None` of one that is not needed and failed or kept silent. All are tried, even if one fails.
    pub(super) async fn run_shares<'a>(
        &self,
        shares: &[Share<'a>],
        make: impl Fn(usize) -> Vec<Op> + Send + Sync,
    ) -> Result<Vec<Option<Vec<OpResult>>>, Error> {
        let answers = gather(shares.iter().map(|share| (share.needed, share.run(&make)))).await;
        let heard = answers.iter().zip(shares).any(|(answer, share)| share.records && matches!(answer, Some(Ok(_))));
        let all = answers.into_iter().zip(shares).map(|(answer, share)| {
            let missed = share.needed || (share.records && !heard);
            match answer {
                Some(Ok(answers)) => Ok(Some(answers)),
                Some(Err(error)) if missed => Err(error),
                None if missed => Err(too_late(share.keys[0].1.place(), GRACE).error),
                Some(Err(_)) | None => Ok(None),
            }
        });
        all.collect()
    }
}

fn add<'a>(shares: &mut Vec<Share<'a>>, position: usize, route: Route<'a>, is_record: bool) {
    let known = shares.iter().position(|share| share.keys[0].1.index == route.index);
    let index = known.unwrap_or_else(|| {
        shares.push(Share { keys: Vec::new(), needed: false, records: false });
        shares.len() - 1
    });
    let share = &mut shares[index];
    share.keys.push((position, route));
    share.needed |= !is_record;
    share.records |= is_record;
}

/// Waits for all answers that are needed, and for one that is no failure; then for the others a little longer. `None` is
/// one that did not come by then.
pub(super) async fn gather<T, F>(shares: impl Iterator<Item = (bool, F)>) -> Vec<Option<Result<T, Error>>>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut shares: Vec<(bool, Pin<Box<F>>)> = shares.map(|(needed, share)| (needed, Box::pin(share))).collect();
    let mut answers: Vec<Option<Result<T, Error>>> = shares.iter().map(|_| None).collect();
    let mut grace: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        let (mut waits, mut done, mut answered) = (false, true, false);
        for ((needed, share), answer) in shares.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(result) = share.as_mut().poll(context)
            {
                *answer = Some(result);
            }
            done &= answer.is_some();
            waits |= *needed && answer.is_none();
            answered |= matches!(answer, Some(Ok(_)));
        }
        match (done, answered && !waits) {
            (true, _) => Poll::Ready(()),
            (false, false) => Poll::Pending,
            (false, true) => grace.get_or_insert_with(|| Box::pin(sleep(GRACE))).as_mut().poll(context),
        }
    })
    .await;
    answers
}

impl Share<'_> {
    async fn run(&self, make: &(impl Fn(usize) -> Vec<Op> + Send + Sync)) -> Result<Vec<OpResult>, Error> {
        let mut answers = Vec::with_capacity(self.keys.len());
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for (position, route) in &self.keys {
            let operations = make(*position);
            bytes += operations.iter().map(weight).sum::<usize>();
            piece.extend(operations);
            if piece.len() >= OPERATIONS || bytes >= BYTES {
                answers.extend(route.run_all(|| piece.clone()).await?);
                piece.clear();
                bytes = 0;
            }
        }
        if let (false, Some((_, route))) = (piece.is_empty(), self.keys.last()) {
            answers.extend(route.run_all(|| piece.clone()).await?);
        }
        Ok(answers)
    }
}

fn weight(operation: &Op) -> usize {
    match operation {
        Op::Set(set) => set.value.len(),
        _ => 0,
    }
}
