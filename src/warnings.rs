//! Warnings: each told once, and kept to be read.
//!
//! A program has many caches, and clones of them, and what is wrong with its environment is wrong for all: it is told by
//! the first of them. A program without a subscriber or an observer hears of nothing, so each cache keeps its own.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// The warnings that the caches of one environment have told. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<HashSet<Box<str>>>>);

impl Told {
    /// The most that are remembered; further ones may be told again.
    const MAX: usize = 256;

    /// What this process has told of its own environment.
    pub(crate) fn of_process() -> Self {
        static TOLD: LazyLock<Told> = LazyLock::new(Told::default);
        TOLD.clone()
    }

    /// Forgets a warning that holds no more, so that it is told again if it ever does.
    fn forget(&self, warning: &str) {
        lock(&self.0).remove(warning);
    }

    /// Whether this is to be told now.
    fn is_news(&self, warning: &str) -> bool {
        let mut told = lock(&self.0);
        told.len() >= Self::MAX && !told.contains(warning) || told.insert(warning.into())
    }
}

/// The warnings of one cache.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    told: Told,
    kept: Mutex<Vec<String>>,
}

/// What becomes of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing: this cache has said it.
    None,
    /// It is this cache's, and another one has told it.
    Here,
    /// It is told.
    Everywhere,
}

impl Warnings {
    /// The most that are kept. Warnings are about what a program was given and not about what it does, so they are few.
    const MAX: usize = 64;

    pub(crate) fn new(told: Told) -> Self {
        Self { told, kept: Mutex::default() }
    }

    /// Keeps a warning.
    pub(crate) fn add(&self, warning: &str) -> News {
        let mut kept = lock(&self.kept);
        if kept.len() >= Self::MAX || kept.iter().any(|known| known == warning) {
            return News::None;
        }
        kept.push(warning.to_owned());
        if self.told.is_news(warning) { News::Everywhere } else { News::Here }
    }

    /// Takes a warning back that holds no more.
    pub(crate) fn withdraw(&self, warning: &str) {
        lock(&self.kept).retain(|known| known != warning);
        self.told.forget(warning);
    }

    /// Those kept so far, the first first.
    pub(crate) fn all(&self) -> Vec<String> {
        lock(&self.kept).clone()
    }
}

/// Nothing that is done under these locks can stop half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_kept_by_each_cache_and_told_by_the_first() {
        let told = Told::default();
        let (one, other) = (Warnings::new(told.clone()), Warnings::new(told));
        assert_eq!((one.add("a"), one.add("a"), one.add("b")), (News::Everywhere, News::None, News::Everywhere));
        assert_eq!((other.add("a"), other.add("a"), other.add("c")), (News::Here, News::None, News::Everywhere));
        assert_eq!(
            (one.all(), other.all()),
            (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned(), "c".to_owned()])
        );
        assert_eq!(Warnings::default().add("a"), News::Everywhere, "another environment");
        one.withdraw("a");
        assert_eq!((one.all(), one.add("a")), (vec!["b".to_owned()], News::Everywhere), "it holds anew");
    }

    #[test]
    fn warnings_are_bounded() {
        let told = Told::default();
        for cache in 0..100 {
            let warnings = Warnings::new(told.clone());
            for number in 0..1_000 {
                warnings.add(&format!("{cache} {number}"));
            }
            assert_eq!(warnings.all().len(), Warnings::MAX);
        }
        assert_eq!(lock(&told.0).len(), Told::MAX);
        assert_eq!(Warnings::new(told.clone()).add("0 0"), News::Here);
        assert_eq!(Warnings::new(told).add("more"), News::Everywhere);
    }
}
