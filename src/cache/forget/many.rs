//! Forgetting more than one key, by tags or by namespace.

use std::collections::HashSet;
use std::sync::Arc;

use crate::backends::Backend;
use crate::cache::Inner;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Effect, Scope};
use crate::frame;
use crate::invalidate::{Reached, Target, Work};
use crate::ledger::{Change, MAX_TAGS};
use crate::order::Moment;

/// What is swept.
pub(super) enum Extent {
    Namespace(Effect),
    /// All entries of a domain, which have its tag.
    Domain(Effect, u64),
    Tags(Vec<Tag>),
}

/// A tag.
pub(super) struct Tag {
    fingerprint: u64,
    /// Kept if an observer wants to hear of it.
    name: Option<Box<str>>,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn forget_tags<'t>(
        self: &Arc<Self>,
        tags: impl IntoIterator<Item = &'t str> + Send,
    ) -> Result<(), Error> {
        let (mut all, mut known) = (Vec::new(), HashSet::new());
        for name in tags {
            let fingerprint = frame::fingerprint(name);
            if known.insert(fingerprint) {
                all.push(Tag { fingerprint, name: self.observers.listen().then(|| name.into()) });
            }
        }
        self.forget(Extent::Tags(all)).await
    }

    /// Forgets everything of the namespace, or of the domain, if this is one.
    pub(super) async fn forget_whole(self: &Arc<Self>, effect: Effect) -> Result<(), Error> {
        let what = self.tiers.domain.first().map_or(Extent::Namespace(effect), |tag| Extent::Domain(effect, *tag));
        self.forget(what).await
    }

    async fn forget(self: &Arc<Self>, what: Extent) -> Result<(), Error> {
        if self.tiers.l2.guard.is_some() && self.tiers.l2.ledgers.is_none() {
            let message = "this cache keeps no ledger, so it cannot tell which entries of the backend are meant: build it with \
                           the setting namespace_index";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let changes = what.changes(self.clock.wall());
        if changes.is_empty() {
            return Ok(());
        }
        let change = BulkChange::begin(self, what);
        if self.is_alone() {
            return Ok(());
        }
        self.change(async move {
            let (cache, begun) = (Arc::clone(&change.cache), change.begun);
            let mut made = Vec::with_capacity(changes.len());
            for change in &changes {
                made.push(cache.shared.forget_in_backend(change, None).await);
            }
            drop(change);
            changes.iter().zip(&made).for_each(|(change, reached)| cache.settle_order(change, begun, reached));
            let mut answer = Ok(());
            for (change, reached) in changes.iter().zip(made) {
                answer = answer.and(cache.finish_order(change, begun, reached).await);
            }
            answer
        })
        .await
    }

    /// Takes note of what an order has left to do in the backend, and of what it has made good.
    fn settle_order(&self, change: &Change, begun: Moment, reached: &Reached) {
        // What an expiry leaves as fallbacks may be what an invalidation was to remove that failed.
        if reached.error.is_none() && !matches!(change, Change::Expiry { .. }) {
            Target::all(change).iter().for_each(|target| self.tiers.l2.retries.settle(target, begun));
        }
        self.ensure_retries();
        if let Some(work) = Work::of_order(reached) {
            self.retry_order(change, begun, &work);
        }
    }

    /// Tells others of an order that any part of the backend took, if they were not told with it. What of the order
    /// failed is the answer.
    async fn finish_order(&self, change: &Change, begun: Moment, reached: Reached) -> Result<(), Error> {
        let told = match reached.is_something() {
            true => self.shared.publish_order(&self.namespace.root(), change, &reached).await,
            // What they would read anew is what is there still.
            false => Ok(()),
        };
        if told.is_err() {
            self.retry_order(change, begun, &Work::Publish);
        }
        reached.error.map_or(told, Err)
    }

    fn retry_order(&self, change: &Change, begun: Moment, work: &Work) {
        let root = &self.namespace.root();
        Target::all(change).into_iter().for_each(|target| self.retry_later(target, root, begun, work.clone()));
    }
}

impl Extent {
    /// The orders that it takes.
    fn changes(&self, now: u64) -> Vec<Change> {
        match self {
            Self::Namespace(Effect::Expired) => vec![Change::Expiry { at: now }],
            Self::Namespace(_) => vec![Change::Everything],
            // Ledgers know no expiry of a tag: the backend keeps no fallbacks.
            Self::Domain(_, tag) => vec![Change::Tags(vec![*tag])],
            Self::Tags(tags) => {
                let few = |few: &[Tag]| Change::Tags(few.iter().map(|tag| tag.fingerprint).collect());
                tags.chunks(MAX_TAGS).map(few).collect()
            }
        }
    }
}

/// An order to forget more than one key. Whatever begins before its end is void.
struct BulkChange<B: Backend, C: Codec> {
    cache: Arc<Inner<B, C>>,
    what: Extent,
    /// The last order before it.
    begun: Moment,
    has_begun: bool,
}

impl<B: Backend, C: Codec> BulkChange<B, C> {
    fn begin(cache: &Arc<Inner<B, C>>, what: Extent) -> Self {
        let begun = cache.tiers.local.orders.latest();
        let mut change = Self { cache: Arc::clone(cache), what, begun, has_begun: false };
        change.forget();
        change.has_begun = true;
        change
    }

    fn forget(&self) {
        let Inner { tiers, clock, shared, .. } = &*self.cache;
        let local = &tiers.local;
        match &self.what {
            Extent::Tags(tags) => return tags.iter().for_each(|tag| local.forget_tag(tag.fingerprint)),
            Extent::Domain(Effect::Expired, tag) if self.has_begun => local.end_expiry_of(*tag),
            Extent::Domain(Effect::Expired, tag) => local.expire_tag(*tag, clock.ticks()),
            Extent::Domain(effect, tag) => {
                local.forget_tag(*tag);
                if *effect != Effect::Cleared {
                    return;
                }
            }
            Extent::Namespace(Effect::Expired) if self.has_begun => local.end_expiry(clock.ticks()),
            Extent::Namespace(Effect::Expired) => local.expire_all(clock.ticks()),
            Extent::Namespace(Effect::Cleared) => local.clear(),
            Extent::Namespace(_) => return local.forget_all(),
        }
        shared.throttle.forget();
    }

    fn tell(&self) {
        match &self.what {
            Extent::Namespace(effect) => self.cache.tell_invalidated(Scope::Namespace, *effect),
            Extent::Domain(effect, _) => {
                let name = self.cache.domain.as_deref().unwrap_or_default();
                self.cache.tell_invalidated(Scope::Domain { name }, *effect);
            }
            Extent::Tags(tags) => {
                for Tag { fingerprint, name } in tags {
                    let scope = Scope::Tag { name: name.as_deref(), fingerprint: *fingerprint };
                    self.cache.tell_invalidated(scope, Effect::Invalidated);
                }
            }
        }
    }
}

impl<B: Backend, C: Codec> Drop for BulkChange<B, C> {
    fn drop(&mut self) {
        self.forget();
        self.cache.tiers.local.reclaim();
        self.tell();
    }
}
