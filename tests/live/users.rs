//! Users in a cache, by their ids, half of them with a tag that is to be forgotten.

use cachekit::{Backend, Cache, Codec};

/// Stores so many users, the even ones with the tag `even`.
pub(crate) async fn fill<B: Backend, C: Codec>(cache: &Cache<B, C>, count: usize) {
    for id in 0..count {
        let tag = if id % 2 == 0 { "even" } else { "odd" };
        cache.entry(id).tags([tag]).set(id).await.unwrap();
    }
}

/// Which of these users are found; a failure of their server is as good as an absence.
pub(crate) async fn found<B: Backend, C: Codec>(cache: &Cache<B, C>, ids: &[usize]) -> Vec<usize> {
    let mut found = Vec::new();
    for id in ids {
        if let Ok(Some(value)) = cache.get::<usize>(*id).await {
            assert_eq!(value, *id);
            found.push(*id);
        }
    }
    found
}

pub(crate) fn odd(ids: &[usize]) -> Vec<usize> {
    ids.iter().copied().filter(|id| id % 2 == 1).collect()
}
