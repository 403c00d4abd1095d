//! Batches: requests of many tasks that travel as one.
//!
//! What comes while others are in flight waits for the next turn of the scheduler; then all of it is one write, its
//! reads are one MGET, its stores one transaction, and one answer wakes everybody. That more than doubles what a
//! connection carries, and leaves TCP no reason to hold segments back. A script would store as well, and costs the
//! server more: for 64 values of 100 bytes 3.2 us each, a transaction each 1.7 us, one for all 0.8 us, as much as a SET
//! alone; for 16 KiB 28 us, because it copies the value, and 6 to 7 us.
//!
//! A batch is of one runtime: a runtime that stands still holds up no requests of another, and a task that waits is
//! on the one whose timer ends the batch.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redis::Value;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::Connection;
use super::joined::Scripts;
use super::pipeline::Pipeline;
use super::request::{Answer, Append, Single, told};
use super::{commands, stream};

/// A connection that tasks share, and the queue of what travels next over it.
pub(super) struct SharedConnection {
    pub(super) connection: Connection,
    queue: Mutex<Queue>,
    average: Average,
}

/// Requests of one turn of the scheduler. The task that puts in the first starts another that sends them all.
#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// That of the first request.
    runtime: Option<runtime::Id>,
}

/// A request, and the task that waits for its answer.
struct Waiting {
    request: Single,
    tell: oneshot::Sender<Answer>,
}

/// The most requests that travel as one: the server answers no other client meanwhile.
const MOST: usize = 128;

/// The average length in bytes of the values that a connection has read lately.
#[derive(Default)]
struct Average(AtomicUsize);

impl Average {
    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn note(&self, answers: &[Value]) {
        let length = |answer: &Value| match answer {
            Value::BulkString(bytes) => Some(bytes.len()),
            Value::Nil => Some(0),
            _ => None,
        };
        let lengths = answers.iter().filter_map(length);
        let (count, sum) = lengths.fold((0, 0), |(count, sum), length| (count + 1, sum + length));
        let Some(now) = usize::checked_div(sum, count) else { return };
        let before = self.get();
        // Two batches at once may note only one of them: it is an estimate.
        self.0.store(before - before / 4 + now / 4, Relaxed);
    }
}

impl SharedConnection {
    /// Nothing waits yet.
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, queue: Mutex::default(), average: Average::default() }
    }

    /// The average length in bytes of the values that were read lately.
    pub(super) fn average(&self) -> usize {
        self.average.get()
    }

    /// Sends a request together with those that other tasks make in this turn of the scheduler, within the time of a
    /// command. The caller is within the runtime of this name; where requests of another wait, it gets its own back.
    pub(super) fn share(
        self: &Arc<Self>,
        request: Single,
        runtime: runtime::Id,
    ) -> Result<impl Future<Output = Answer> + Send + use<>, Single> {
        let (tell, answer) = oneshot::channel();
        let first = {
            let mut queue = self.queue();
            let first = queue.waiting.is_empty();
            if !first && queue.runtime != Some(runtime) {
                return Err(request);
            }
            queue.runtime = Some(runtime);
            queue.waiting.push(Waiting { request, tell });
            first
        };
        if first {
            tokio::spawn(Turn { shared: Arc::clone(self), taken: false }.take());
        }
        // Without an answer the task is gone with its runtime, and so is the connection's.
        Ok(async { answer.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::BrokenPipe).into())) })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing between lock and unlock can panic half way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of the scheduler after which what waits travels.
struct Turn {
    shared: Arc<SharedConnection>,
    taken: bool,
}

impl Turn {
    /// Lets the tasks that are ready add their requests, and sends them.
    async fn take(mut self) {
        tokio::task::yield_now().await;
        self.taken = true;
        let mut batch = {
            let waiting = &mut self.shared.queue().waiting;
            let room = Vec::with_capacity(waiting.len());
            std::mem::replace(waiting, room)
        };
        while batch.len() > MOST {
            let rest = batch.split_off(MOST);
            tokio::spawn(deliver(Arc::clone(&self.shared), batch));
            batch = rest;
        }
        deliver(Arc::clone(&self.shared), batch).await;
    }
}

impl Drop for Turn {
    /// If its runtime ended first: the tasks that wait are told, and the next request begins anew.
    fn drop(&mut self) {
        if !self.taken {
            self.shared.queue().waiting.clear();
        }
    }
}

/// Sends a batch, and gives each task its answer.
async fn deliver(shared: Arc<SharedConnection>, batch: Vec<Waiting>) {
    let (pipeline, audiences) = together(batch, shared.average());
    let until = Instant::now() + shared.connection.limits().command;
    match shared.connection.send_all(pipeline, until, true).await {
        Ok(answers) => {
            let mut answers: Vec<Answer> = answers.collect();
            let appended = answers.split_off(audiences.len().min(answers.len()));
            let appended: Vec<bool> = appended.iter().map(Result::is_ok).collect();
            for (audience, answer) in audiences.into_iter().zip(answers) {
                if let (Audience::Each(_), Ok(Value::Array(values))) = (&audience, &answer) {
                    shared.average.note(values);
                }
                audience.tell(answer, &appended);
            }
        }
        Err(error) => audiences.into_iter().for_each(|audience| audience.tell(Err(error.clone()), &[])),
    }
}

/// The requests of a batch: reads are one MGET, stores one transaction that ends all their leases at once, removals one
/// command, scripts of one kind a few. With them come the tasks that wait for each answer. Behind all stand the messages
/// about them, in as few entries as they fit into. `average` is how long values are.
fn together(batch: Vec<Waiting>, average: usize) -> (Pipeline, Vec<Audience>) {
    let (mut pipeline, mut audiences) = (Pipeline::default(), Vec::new());
    let (mut names, mut readers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    let (mut stores, mut unlocks, mut writers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut removals, mut removers) = (Vec::new(), Vec::new());
    let mut scripts = Scripts::default();
    let mut entries: Vec<Entry> = Vec::new();
    for Waiting { request, tell } in batch {
        let (request, append) = match request {
            Single::Telling(request, append) => (*request, Some(append)),
            request => (request, None),
        };
        let tell = Task { tell, entry: append.map(|append| add(&mut entries, &append)) };
        match request {
            Single::Read(key) => {
                names.push(key);
                readers.push(tell);
            }
            Single::Store(store) => {
                stores.push(store.set);
                unlocks.push(store.unlock);
                writers.push(tell);
            }
            Single::Remove(command) => {
                removals.push(command);
                removers.push(tell);
            }
            Single::Script(kind, command) => scripts.add(kind, command, tell),
            other => {
                pipeline.push(other);
                audiences.push(Audience::One(tell));
            }
        }
    }
    if !stores.is_empty() {
        stores.push(commands::merged(&unlocks));
        pipeline.push(Single::Atomic(stores));
        audiences.push(Audience::All(writers));
    }
    if !removals.is_empty() {
        pipeline.push(commands::merged(&removals).into());
        audiences.push(Audience::All(removers));
    }
    if !names.is_empty() {
        pipeline.push_joined(commands::on_all(b"MGET", names.iter().map(|name| &**name)));
        audiences.push(Audience::Each(readers));
    }
    for (command, mut tasks) in scripts.joined(average) {
        pipeline.push_joined(command);
        audiences.push(match tasks.pop() {
            Some(task) if tasks.is_empty() => Audience::One(task),
            last => Audience::Each(tasks.into_iter().chain(last).collect()),
        });
    }
    entries.iter().for_each(|entry| pipeline.push(stream::append_all(&entry.stream, &entry.messages).into()));
    (pipeline, audiences)
}

/// An entry of a stream, with the messages of several tasks.
struct Entry {
    stream: Arc<str>,
    messages: Vec<Bytes>,
    room: usize,
}

/// What a message takes in an entry beside its bytes, so that many short ones are no longer answer than one long one.
const FIELD: usize = 16;

/// Adds a message to the last entry of its stream that has room, or to a new one. Returns the number of the entry.
fn add(entries: &mut Vec<Entry>, Append { stream, message }: &Append) -> usize {
    let length = message.len() + FIELD;
    let fits = |entry: &Entry| entry.stream == *stream && entry.room >= length;
    let number = entries.iter().rposition(fits).unwrap_or_else(|| {
        entries.push(Entry { stream: Arc::clone(stream), messages: Vec::new(), room: stream::LONGEST });
        entries.len() - 1
    });
    entries[number].room = entries[number].room.saturating_sub(length);
    entries[number].messages.push(message.clone());
    number
}

/// A task that waits for an answer.
struct Task {
    tell: oneshot::Sender<Answer>,
    /// The entry that has its message for others.
    entry: Option<usize>,
}

impl Task {
    /// Tells it the answer to its request, if the entries that were `appended` say nothing else.
    fn tell(self, answer: Answer, appended: &[bool]) {
        let is_told = self.entry.and_then(|entry| appended.get(entry)).is_some_and(|appended| *appended);
        let _ = self.tell.send(if is_told { answer.map(|_| told()) } else { answer });
    }
}

/// The tasks that wait for one answer.
enum Audience {
    One(Task),
    /// It is the answer to each of them.
    All(Vec<Task>),
    /// Each has its own part.
    Each(Vec<Task>),
}

impl Audience {
    fn tell(self, answer: Answer, appended: &[bool]) {
        match (self, answer) {
            (Self::Each(tasks), Ok(Value::Array(values))) if values.len() == tasks.len() => {
                tasks.into_iter().zip(values).for_each(|(task, value)| task.tell(value.extract_error(), appended));
            }
            // No value is an OK: readers see that this is no answer.
            (Self::Each(tasks), Ok(_)) => tell_all(tasks, &Ok(Value::Okay), appended),
            // What a transaction answers to its parts is nothing to those who wait for the whole.
            (Self::All(tasks), Ok(Value::Array(_))) => tell_all(tasks, &Ok(Value::Okay), appended),
            (Self::All(tasks) | Self::Each(tasks), answer) => tell_all(tasks, &answer, appended),
            (Self::One(task), answer) => task.tell(answer, appended),
        }
    }
}

fn tell_all(tasks: Vec<Task>, answer: &Answer, appended: &[bool]) {
    tasks.into_iter().for_each(|task| task.tell(answer.clone(), appended));
}

#[cfg(test)]
mod tests {
    use super::super::request::Store;
    use super::*;

    fn telling(id: u32, is_removal: bool, length: usize) -> (Waiting, oneshot::Receiver<Answer>) {
        let (tell, answer) = oneshot::channel();
        let command = |name: &str| redis::cmd(name).arg(id).to_owned();
        let request = match is_removal {
            true => Single::Remove(command("UNLINK")),
            false => Single::Store(Box::new(Store { set: command("SET"), unlock: command("DEL") })),
        };
        let append = Append { stream: "users::bus".into(), message: vec![b'x'; length].into() };
        (Waiting { request: request.telling(Some(&Arc::new(append))), tell }, answer)
    }

    #[test]
    fn messages_travel_behind_their_changes_in_entries_of_1_kib() {
        let told = [telling(1, false, 600), telling(2, true, 600), telling(3, false, 392)];
        let (batch, mut answers): (Vec<_>, Vec<_>) = told.into_iter().unzip();
        let (pipeline, audiences) = together(batch, 0);
        let line = |command: &redis::Cmd| String::from_utf8_lossy(&command.get_packed_command()).into_owned();
        let lines: Vec<String> = pipeline.commands().cmd_iter().map(line).collect();
        let names: Vec<&str> = lines.iter().filter_map(|line| line.split("\r\n").nth(2)).collect();
        assert_eq!(names, ["MULTI", "SET", "SET", "DEL", "EXEC", "UNLINK", "XADD", "XADD"]);
        assert_eq!([6, 7].map(|at: usize| lines[at].matches("\r\nx").count()), [1, 2]);
        for (audience, answer) in audiences.into_iter().zip([Value::Array(Vec::new()), Value::Int(1)]) {
            audience.tell(Ok(answer), &[false, true]);
        }
        let answers = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap());
        assert_eq!(answers.collect::<Vec<_>>(), [Value::Okay, super::told(), super::told()]);
    }

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
        let before = average.get();
        average.note(&[Value::Int(1), Value::Int(0)]);
        assert_eq!(average.get(), before, "leases that are granted say nothing of values");
    }
}
