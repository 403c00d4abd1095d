//! Several futures, awaited at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Waits for all; their outputs in their order. Each wake polls every future that is not done, so keep them few.
pub(crate) async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut done = true;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => done = false,
                }
            }
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::all;

    #[tokio::test]
    async fn outputs_are_in_the_order_of_the_futures_whichever_ends_first() {
        let (tell_first, first) = oneshot::channel();
        let (tell_second, second) = oneshot::channel();
        let joined = tokio::spawn(async { all([first, second].into_iter()).await });
        tell_second.send(2).unwrap();
        tokio::task::yield_now().await;
        tell_first.send(1).unwrap();
        assert_eq!(joined.await.unwrap(), [Ok(1), Ok(2)]);
        assert!(all(std::iter::empty::<std::future::Ready<()>>()).await.is_empty());
    }
}
