//! Batches: several operations at once, a few at a time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::error::Error;

/// The most operations of one batch that are under way, so that it leaves threads to others.
const MOST: usize = 16;

/// What `make(0)`, `make(1)`, ... to `count` give, in this order. The first failure ends all.
pub(super) async fn each<T: Send, F>(
    count: usize,
    width: usize,
    make: impl Fn(usize) -> F + Send + Sync,
) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    let mut results: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    let mut under_way: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut next = 0;
    poll_fn(|context| {
        loop {
            while next < count && under_way.len() < width.clamp(1, MOST) {
                under_way.push((next, Box::pin(make(next))));
                next += 1;
            }
            let before = under_way.len();
            let mut failure = None;
            under_way.retain_mut(|(index, work)| match work.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(Ok(result)) => {
                    results[*index] = Some(result);
                    false
                }
                Poll::Ready(Err(error)) => {
                    failure = Some(error);
                    false
                }
            });
            if let Some(error) = failure {
                return Poll::Ready(Err(error));
            }
            if under_way.is_empty() && next == count {
                return Poll::Ready(Ok(()));
            }
            if under_way.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await?;
    Ok(results.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn results_are_in_order_and_so_many_are_under_way() {
        for (count, width, most) in [(0, 4, 0), (1, 4, 1), (3, 4, 3), (100, 4, 4), (100, 1_000, MOST), (5, 0, 1)] {
            let (now, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let results = each(count, width, |index| {
                let (now, peak) = (&now, &peak);
                async move {
                    peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    for _ in 0..index % 3 {
                        tokio::task::yield_now().await;
                    }
                    tokio::task::yield_now().await;
                    now.fetch_sub(1, SeqCst);
                    Ok(index)
                }
            });
            assert_eq!(results.await.unwrap(), (0..count).collect::<Vec<_>>());
            assert_eq!(peak.into_inner(), most, "of {count} by {width}");
        }
    }

    #[tokio::test]
    async fn a_failure_ends_all() {
        let made = AtomicUsize::new(0);
        let results = each(1_000, 4, |index| {
            made.fetch_add(1, SeqCst);
            async move { if index == 2 { Err(Error::new(ErrorKind::Timeout, "late")) } else { Ok(index) } }
        });
        assert_eq!(results.await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(made.into_inner(), 4);
    }
}
