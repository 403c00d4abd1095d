//! Forgetting more than one key, by tags or by namespace.

use std::collections::HashSet;
use std::sync::Arc;

use crate::backends::Backend;
use crate::cache::Inner;
use crate::cache::change::Part;
use crate::cache::recovery::{Target, Work};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Effect, Scope};
use crate::frame;
use crate::guard::Guard;
use crate::invalidate::Versions;
use crate::message::Message;

/// What is swept.
pub(super) enum Swept {
    Namespace(Effect),
    Tags(Vec<Tag>),
}

/// A tag.
pub(super) struct Tag {
    fingerprint: u64,
    /// Kept if somebody wants to hear of it.
    name: Option<Box<str>>,
}

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn sweep_tags<'t>(
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
        self.sweep(Swept::Tags(all)).await
    }

    pub(super) async fn sweep(self: &Arc<Self>, what: Swept) -> Result<(), Error> {
        if self.guard.is_some() && self.versions.is_none() {
            let message = "this cache keeps no versions, so it cannot tell which entries of the backend are meant: build it with \
                           the setting namespace_index";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let parts = what.targets();
        if parts.is_empty() {
            return Ok(());
        }
        let sweep = Sweep::begin(self, what);
        if self.is_alone() {
            return Ok(());
        }
        self.change(async move {
            let cache = Arc::clone(&sweep.cache);
            let made = match (&cache.guard, &cache.versions) {
                (Some(guard), Some(versions)) => sweep.what.make(versions, guard).await,
                _ => Ok(()),
            };
            let begun = sweep.begun;
            drop(sweep);
            let root = &cache.namespace.root();
            let part = |(target, message)| Part { target, key: root, begun, message };
            let parts: Vec<Part<'_>> = parts.into_iter().map(part).collect();
            cache.conclude(&parts, made, Work::Sweep).await
        })
        .await
    }
}

impl Swept {
    async fn make<B: Backend>(&self, versions: &Versions, guard: &Guard<B>) -> Result<(), Error> {
        match self {
            Self::Namespace(Effect::Expired) => versions.expire(guard).await,
            Self::Namespace(_) => versions.invalidate(guard, None).await,
            Self::Tags(tags) => {
                let tags: Vec<u64> = tags.iter().map(|tag| tag.fingerprint).collect();
                versions.invalidate(guard, Some(&tags)).await
            }
        }
    }

    /// What is to be made again if it fails, and what others are told.
    fn targets(&self) -> Vec<(Target, Message<'static>)> {
        match self {
            Self::Namespace(Effect::Expired) => vec![(Target::Namespace, Message::ExpiredNamespace)],
            Self::Namespace(_) => vec![(Target::Namespace, Message::Namespace)],
            Self::Tags(tags) => {
                let target = |tag: &Tag| (Target::Tag(tag.fingerprint), Message::Tag(tag.fingerprint));
                tags.iter().map(target).collect()
            }
        }
    }
}

/// An order to forget more than one key. Whatever begins before its end is void.
struct Sweep<B: Backend, C: Codec> {
    cache: Arc<Inner<B, C>>,
    what: Swept,
    /// The epoch that it ended.
    begun: u64,
}

impl<B: Backend, C: Codec> Sweep<B, C> {
    fn begin(cache: &Arc<Inner<B, C>>, what: Swept) -> Self {
        let sweep = Self { cache: Arc::clone(cache), what, begun: cache.local.epochs.now() };
        sweep.forget();
        sweep
    }

    fn forget(&self) {
        let Inner { local, clock, shared, .. } = &*self.cache;
        match &self.what {
            Swept::Tags(tags) => return tags.iter().for_each(|tag| local.forget_tag(tag.fingerprint)),
            Swept::Namespace(Effect::Expired) => local.expire_all(clock.ticks()),
            Swept::Namespace(Effect::Cleared) => local.clear(),
            Swept::Namespace(_) => return local.forget_all(),
        }
        shared.throttle.forget();
    }

    fn tell(&self) {
        match &self.what {
            Swept::Namespace(effect) => self.cache.tell_invalidated(Scope::Namespace, *effect),
            Swept::Tags(tags) => {
                for Tag { fingerprint, name } in tags {
                    let scope = Scope::Tag { name: name.as_deref(), fingerprint: *fingerprint };
                    self.cache.tell_invalidated(scope, Effect::Invalidated);
                }
            }
        }
    }
}

impl<B: Backend, C: Codec> Drop for Sweep<B, C> {
    fn drop(&mut self) {
        // First: what is read from the backend in between must not be judged by the versions of before.
        if let Some(versions) = &self.cache.versions {
            versions.distrust();
        }
        self.forget();
        self.cache.local.reclaim();
        self.tell();
    }
}
