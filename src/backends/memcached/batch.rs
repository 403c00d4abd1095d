//! Batches: the operations on many keys, server by server.
//!
//! Each server gets its share in one round trip, all at once. A long share travels in several pieces: a server that is
//! not read from stops reading.

use memcache::exp::{Op, OpResult};

use super::fleet::Route;
use super::{Shared, sought};
use crate::backends::join;
use crate::error::Error;
use crate::key::Key;

/// The keys of one server.
pub(super) struct Share<'a> {
    /// By position in the batch; the route of a key says what of its answer is believed.
    pub(super) keys: Vec<(usize, Route<'a>)>,
}

/// The most operations of one piece, and the most bytes of values.
const OPERATIONS: usize = 512;
const BYTES: usize = 4 << 20;

impl Shared {
    /// The shares of these keys, which have these names. A server that cannot be asked fails all.
    pub(super) async fn shares(&self, keys: &[&Key], names: &[String]) -> Result<Vec<Share<'_>>, Error> {
        let mut shares: Vec<Share<'_>> = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let sought = sought(keys[position], name);
            let (index, own) = self.fleet.locate(sought);
            let known = shares.iter_mut().find(|share| share.keys[0].1.index == index);
            match known {
                Some(share) => share.keys.push((position, share.keys[0].1.along(own).await?)),
                None => {
                    let route = self.fleet.route(sought).await?;
                    shares.push(Share { keys: vec![(position, route)] });
                }
            }
        }
        Ok(shares)
    }

    /// Carries out what `make` makes for each position, at all servers at once. The answers of each share, one for each
    /// operation. All are tried, even if one fails.
    pub(super) async fn run_shares<'a>(
        &self,
        shares: &[Share<'a>],
        make: impl Fn(usize) -> Vec<Op> + Send + Sync,
    ) -> Result<Vec<Vec<OpResult>>, Error> {
        join::all(shares.iter().map(|share| share.run(&make))).await.into_iter().collect()
    }
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
