//! Forgetting more than one key, and telling others.

use std::sync::Arc;

use super::recovery::{Target, Work};
use super::{Inner, Shared};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::invalidate::Subscription;
use crate::key::Key;
use crate::message::Message;

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn invalidate_namespace(self: &Arc<Self>) -> Result<(), Error> {
        self.invalidate_many(Message::Namespace).await
    }

    pub(super) async fn invalidate_tag(self: &Arc<Self>, tag: &str) -> Result<(), Error> {
        self.invalidate_many(Message::Tag(frame::fingerprint(tag))).await
    }

    async fn invalidate_many(self: &Arc<Self>, what: Message<'static>) -> Result<(), Error> {
        if self.guard.is_some() && self.versions.is_none() {
            let message = "this cache keeps no versions, so it cannot tell which entries of the backend are meant: build it with \
                           the setting namespace_index";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let sweep = Sweep::begin(self, what);
        if self.is_alone() {
            return Ok(());
        }
        self.change(async move {
            let cache = Arc::clone(&sweep.cache);
            let tag = if let Message::Tag(tag) = what { Some(tag) } else { None };
            let made = match (&cache.guard, &cache.versions) {
                (Some(guard), Some(versions)) => versions.invalidate(guard, tag).await,
                _ => Ok(()),
            };
            drop(sweep);
            let target = tag.map_or(Target::Namespace, Target::Tag);
            cache.conclude(target, &cache.namespace.root(), 0, made, Work::Sweep).await
        })
        .await
    }

    /// Whether there is nobody to tell of a change: no backend, and no bus.
    pub(super) fn is_alone(&self) -> bool {
        self.guard.is_none() && self.subscription.is_none()
    }

    /// Whether this process no longer hears of what others change, so that L1 must hold nothing.
    pub(super) fn is_deaf(&self) -> bool {
        self.subscription.as_ref().is_some_and(|Subscription(bulletin)| bulletin.is_stopped())
    }

    /// Sees to it that this process hears of what others change, before it reads or computes what they may.
    #[inline]
    pub(super) async fn listen(&self) {
        if let Some(Subscription(bulletin)) = &self.subscription {
            bulletin.listen().await;
        }
    }
}

impl<B: Backend> Shared<B> {
    /// Tells other processes what to forget. The backend has forgotten it by then, so they cannot read it again.
    pub(super) async fn tell_others(&self, key: &Key, what: Message<'_>) -> Result<(), Error> {
        let Some(Subscription(bulletin)) = &self.subscription else { return Ok(()) };
        let message = what.to_bytes(bulletin.source());
        match (&self.post, &self.guard) {
            (Some(post), _) => post.publish(key, bulletin.bus(), message).await,
            (None, Some(guard)) => guard.publish(key, bulletin.bus(), message).await,
            (None, None) => Ok(()),
        }
    }
}

/// An order to forget more than one key. Whatever begins before its end is void.
struct Sweep<B: Backend, C: Codec> {
    cache: Arc<Inner<B, C>>,
    what: Message<'static>,
}

impl<B: Backend, C: Codec> Sweep<B, C> {
    fn begin(cache: &Arc<Inner<B, C>>, what: Message<'static>) -> Self {
        let sweep = Self { cache: Arc::clone(cache), what };
        sweep.forget();
        sweep
    }

    fn forget(&self) {
        match self.what {
            Message::Tag(tag) => self.cache.local.forget_tag(tag),
            Message::Key(_) | Message::Namespace => self.cache.local.forget_all(),
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
    }
}
