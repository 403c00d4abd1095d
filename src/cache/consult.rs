//! What both tiers have.

use super::Inner;
use super::election::Question;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::MissReason;
use crate::key::Key;
use crate::memory::Age;
use crate::order::Fence;
use crate::seal::Value;
use crate::tiers::{Found, Lookup, Options};

impl<B: Backend, C: Codec> Inner<B, C> {
    /// The best that L1 and the backend have, and the backend's failure.
    ///
    /// What a change overtook while it was read is older than the change, so it is read anew; where changes go on and
    /// on, between two of them.
    pub(super) async fn consult<T: Value>(
        &self,
        key: &Key,
        options: Options,
        mut question: Question<'_, B>,
    ) -> (Option<Found<T>>, Option<Error>) {
        for _ in 0..3 {
            let fence = self.tiers.local.fence(key);
            let (found, failure) = self.consult_under(key, options, &fence, &mut question).await;
            if failure.is_some() || fence.is_current() && !fence.forgot(tags_of(&found)) {
                return (found, failure);
            }
            question.why.note(MissReason::Fenced);
            question.anew().await;
        }
        // Boxed: rare, and as deep as a read.
        Box::pin(self.consult_in_turn(key, options, question)).await
    }

    /// Like [`consult`](Self::consult), while no change of this process can end.
    #[cold]
    async fn consult_in_turn<T: Value>(
        &self,
        key: &Key,
        options: Options,
        mut question: Question<'_, B>,
    ) -> (Option<Found<T>>, Option<Error>) {
        let (before, why) = (self.tiers.local.fence(key), question.why);
        let turn = before.turn().await;
        let fence = self.tiers.local.fence(key);
        let (found, failure) = self.consult_under(key, options, &fence, &mut question).await;
        let is_valid = |found: &Found<T>| !fence.forgot(found.tags()) && (!turn.was_passed() || fence.is_current());
        let is_overtaken = found.as_ref().is_some_and(|found| !is_valid(found));
        if is_overtaken {
            why.note(MissReason::Fenced);
        }
        (found.filter(|_| !is_overtaken), failure)
    }

    async fn consult_under<T: Value>(
        &self,
        key: &Key,
        options: Options,
        fence: &Fence,
        question: &mut Question<'_, B>,
    ) -> (Option<Found<T>>, Option<Error>) {
        let why = question.why;
        let found =
            if options.skip_l1_read { None } else { self.tiers.look_tagged::<T>(key, |_, _| options.early, why).await };
        if options.skip_l2_read || found.as_ref().is_some_and(|found| found.age == Age::Fresh) {
            return (found, None);
        }
        let lookup = Lookup { key, options, known: found.as_ref(), fence, why };
        match self.read(lookup, question, || fence.is_current()).await {
            Err(error) => {
                why.note((&error).into());
                (found, Some(error))
            }
            Ok(in_l2) => (in_l2.or(found), None),
        }
    }

    /// What the backend has, if it is newer than what is known.
    pub(super) async fn read<T: Value>(
        &self,
        lookup: Lookup<'_, T>,
        question: &mut Question<'_, B>,
        admit: impl Fn() -> bool,
    ) -> Result<Option<Found<T>>, Error> {
        // Before the question: a change that waits now may be made again before the answer is judged.
        let is_hidden = self.tiers.l2.hides(lookup.key, &[]);
        let bytes = match &mut question.election {
            None if is_hidden => {
                lookup.why.note(MissReason::Fenced);
                None
            }
            None => self.tiers.fetch(lookup.key, lookup.why).await?,
            // Boxed: what finds a value by a plain read needs no room for the question.
            Some(election) if !election.reads_first => {
                Box::pin(self.ask_whole(lookup.key, election, lookup.why)).await?
            }
            Some(election) => {
                // The question for the lease follows, if what is found is of no use.
                election.reads_first = false;
                let bytes = self.tiers.fetch(lookup.key, lookup.why).await?;
                election.saw(bytes.as_ref());
                bytes
            }
        };
        match bytes {
            Some(_) if is_hidden => {
                lookup.why.note(MissReason::Fenced);
                Ok(None)
            }
            Some(bytes) => self.tiers.accept(lookup, bytes, admit).await,
            None => Ok(None),
        }
    }
}

fn tags_of<T>(found: &Option<Found<T>>) -> &[u64] {
    found.as_ref().map_or(&[], Found::tags)
}
