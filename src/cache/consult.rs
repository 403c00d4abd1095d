//! What both tiers have.

use super::Inner;
use super::options::Options;
use super::tiers::Found;
use super::turn::Asking;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::fence::Fence;
use crate::key::Key;
use crate::memory::Age;
use crate::seal::Value;

impl<B: Backend, C: Codec> Inner<B, C> {
    /// The best that L1 and the backend have, and the backend's failure.
    ///
    /// What a change overtook while it was read is older than the change, so it is read anew; where changes go on and
    /// on, between two of them.
    pub(super) async fn consult<T: Value>(
        &self,
        key: &Key,
        options: Options,
        mut asking: Asking<'_, B>,
    ) -> (Option<Found<T>>, Option<Error>) {
        for _ in 0..3 {
            let fence = self.local.fence(key);
            let (found, failure) = self.consult_under(key, options, &fence, &mut asking).await;
            if failure.is_some() || fence.is_current() && !fence.forgot(tags_of(&found)) {
                return (found, failure);
            }
            asking.anew().await;
        }
        self.consult_in_turn(key, options, asking).await
    }

    /// Like [`consult`](Self::consult), while no change of this process can end.
    #[cold]
    async fn consult_in_turn<T: Value>(
        &self,
        key: &Key,
        options: Options,
        mut asking: Asking<'_, B>,
    ) -> (Option<Found<T>>, Option<Error>) {
        let lane = self.local.fence(key);
        let turn = lane.turn().await;
        let fence = self.local.fence(key);
        let (found, failure) = Box::pin(self.consult_under(key, options, &fence, &mut asking)).await;
        let is_valid = |found: &Found<T>| !fence.forgot(found.tags()) && (!turn.was_passed() || fence.is_current());
        (found.filter(is_valid), failure)
    }

    async fn consult_under<T: Value>(
        &self,
        key: &Key,
        options: Options,
        fence: &Fence,
        asking: &mut Asking<'_, B>,
    ) -> (Option<Found<T>>, Option<Error>) {
        let found = if options.skip_l1_read { None } else { self.look_l1_tagged::<T>(key, asking.complaint).await };
        if options.skip_l2_read || found.as_ref().is_some_and(|found| found.age == Age::Fresh) {
            return (found, None);
        }
        match self.read(key, options, found.as_ref(), (fence, asking), || fence.is_current()).await {
            Err(error) => (found, Some(error)),
            Ok(in_l2) => (in_l2.or(found), None),
        }
    }
}

fn tags_of<T>(found: &Option<Found<T>>) -> &[u64] {
    found.as_ref().map_or(&[], Found::tags)
}
