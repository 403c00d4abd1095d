//! Batches: requests of many tasks that travel as one.
//!
//! What comes while others are in flight waits for the next turn of the scheduler; then all of it is one write, its
//! reads are one MGET, and one answer wakes everybody. That more than doubles what a connection carries, and leaves TCP
//! no reason to hold segments back.
//!
//! A batch is of one runtime: a runtime that stands still holds up none of another's requests, and whoever waits is on
//! the one whose timer ends the batch.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{RedisError, Value};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::commands;
use super::held::{Answer, Held};
use super::packet::Packet;
use super::wire::Single;

/// What travels next on a connection. Whoever puts the first request in starts the task that sends them all.
#[derive(Default)]
pub(super) struct Queue(Mutex<Next>);

#[derive(Default)]
struct Next {
    waiting: Vec<Waiting>,
    /// Of the first that waits.
    runtime: Option<runtime::Id>,
}

/// A request, and who waits for its answer.
struct Waiting {
    request: Single,
    tell: oneshot::Sender<Answer>,
}

/// The most requests that travel as one: the server answers nobody else meanwhile.
const MOST: usize = 128;

/// How long the values are that a connection reads, on the average of late.
#[derive(Default)]
pub(super) struct Average(AtomicUsize);

impl Average {
    /// Bytes.
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn note(&self, values: &[Value]) {
        let length = |value: &Value| if let Value::BulkString(bytes) = value { bytes.len() } else { 0 };
        let now = values.iter().map(length).sum::<usize>() / values.len().max(1);
        let before = self.get();
        // Two batches at once may note only one of them: it is an estimate.
        self.0.store(before - before / 4 + now / 4, Relaxed);
    }
}

impl Queue {
    /// Sends a request over `held`, whose queue this is, from within the runtime of this name. Gives it back if those
    /// that wait are of another.
    pub(super) fn send(
        &self,
        held: &Arc<Held>,
        request: Single,
        runtime: runtime::Id,
    ) -> Result<impl Future<Output = Answer> + Send + use<>, Single> {
        let (tell, answer) = oneshot::channel();
        let first = {
            let mut next = self.lock();
            let first = next.waiting.is_empty();
            if !first && next.runtime != Some(runtime) {
                return Err(request);
            }
            next.runtime = Some(runtime);
            next.waiting.push(Waiting { request, tell });
            first
        };
        if first {
            tokio::spawn(Turn { held: Arc::clone(held), taken: false }.take());
        }
        // Without an answer the task is gone with its runtime, and so is the connection's.
        Ok(async { answer.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::BrokenPipe).into())) })
    }

    fn lock(&self) -> MutexGuard<'_, Next> {
        // Nothing between lock and unlock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of the scheduler after which what waits travels.
struct Turn {
    held: Arc<Held>,
    taken: bool,
}

impl Turn {
    /// Lets the tasks that are ready add their requests, and sends them.
    async fn take(mut self) {
        tokio::task::yield_now().await;
        self.taken = true;
        let mut batch = {
            let waiting = &mut self.held.queue().lock().waiting;
            let room = Vec::with_capacity(waiting.len());
            std::mem::replace(waiting, room)
        };
        while batch.len() > MOST {
            let rest = batch.split_off(MOST);
            tokio::spawn(deliver(Arc::clone(&self.held), batch));
            batch = rest;
        }
        deliver(Arc::clone(&self.held), batch).await;
    }
}

impl Drop for Turn {
    /// If its runtime ended first: lets those who wait know, and the next begin anew.
    fn drop(&mut self) {
        if !self.taken {
            self.held.queue().lock().waiting.clear();
        }
    }
}

/// Sends a batch, and gives everybody their answer.
async fn deliver(held: Arc<Held>, batch: Vec<Waiting>) {
    let mut names = Vec::with_capacity(batch.len());
    let mut readers = Vec::with_capacity(batch.len());
    let mut others = Vec::new();
    let mut packet = Packet::default();
    for Waiting { request, tell } in batch {
        match request {
            Single::Read(key) => {
                names.push(key);
                readers.push(tell);
            }
            other => {
                packet.push(other);
                others.push(tell);
            }
        }
    }
    if !names.is_empty() {
        packet.push(commands::on_all(b"MGET", names.iter().map(|name| &**name)).into());
    }
    match held.send_all(packet, Instant::now() + held.limits().command, true).await {
        Ok(mut answers) => {
            for (tell, answer) in others.into_iter().zip(&mut answers) {
                let _ = tell.send(answer);
            }
            if let Some(answer) = answers.next() {
                if let Ok(Value::Array(values)) = &answer {
                    held.average().note(values);
                }
                tell_readers(readers, answer);
            }
        }
        Err(error) => tell_all(others.into_iter().chain(readers), &error),
    }
}

/// Gives each reader the value at its place.
fn tell_readers(readers: Vec<oneshot::Sender<Answer>>, answer: Answer) {
    match answer {
        Ok(Value::Array(values)) if values.len() == readers.len() => {
            for (tell, value) in readers.into_iter().zip(values) {
                let _ = tell.send(Ok(value));
            }
        }
        // No value is an OK: readers see that this is no answer.
        Ok(_) => readers.into_iter().for_each(|tell| drop(tell.send(Ok(Value::Okay)))),
        Err(error) => tell_all(readers.into_iter(), &error),
    }
}

fn tell_all(all: impl Iterator<Item = oneshot::Sender<Answer>>, error: &RedisError) {
    all.for_each(|tell| drop(tell.send(Err(error.clone()))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_is_read() {
        let average = Average::default();
        let page = || Value::BulkString(vec![0; 16_000]);
        for _ in 0..32 {
            average.note(&[page(), page()]);
        }
        assert!((15_000..=16_000).contains(&average.get()), "{}", average.get());
        average.note(&[page(), Value::Nil, Value::Nil, Value::Nil]);
        assert!((12_000..=13_000).contains(&average.get()), "{}", average.get());
        for _ in 0..64 {
            average.note(&[Value::BulkString(vec![0; 200])]);
        }
        assert!(average.get() < 300, "{}", average.get());
    }
}
