//! How a flight has a thread that waits for it compute.
//!
//! The flight's computation is a future that asks the thread and waits for what it answers. So the closure stays on the
//! thread that has it, and may borrow from its stack. If the flight has no need of it, the thread is never asked.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::runtime::runtime;
use crate::error::{ComputeError, panic_text};
use crate::flight::Context;

/// How long a thread that has a stale value waits to be asked for a newer one: longer than a backend takes to say that
/// there is none, and shorter than a thread should wait where another process computes it.
const PATIENCE: Duration = Duration::from_millis(250);

/// What is to be computed, of what, in which context.
struct Question<I, O> {
    input: I,
    context: Context,
    /// Takes what was computed, or what a panic said.
    reply: oneshot::Sender<Result<O, Arc<str>>>,
}

/// Asks the thread. The thread is not asked any more when all of these are gone. The cache keeps one until L1 has what was
/// computed, so that the next call of the thread finds it.
pub(super) struct Asker<I, O>(mpsc::UnboundedSender<Question<I, O>>);

/// The thread that computes.
pub(super) struct Thread<I, O>(mpsc::UnboundedReceiver<Question<I, O>>);

pub(super) fn pair<I, O>() -> (Asker<I, O>, Thread<I, O>) {
    let (asker, thread) = mpsc::unbounded_channel();
    (Asker(asker), Thread(thread))
}

impl<I, O> Clone for Asker<I, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Send, O: Send> Asker<I, O> {
    /// What the thread computes. `None` if it waits no longer.
    pub(super) async fn ask(self, input: I) -> Option<O> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Question { input, context: Context::current(), reply }).ok()?;
        match answer.await.ok()? {
            Ok(output) => Some(output),
            Err(message) => resume_unwind(Box::new(String::from(&*message))),
        }
    }
}

impl<I, O> Question<I, O> {
    /// Computes on this thread. If that panics, others are told what it said.
    fn answer(self, compute: impl FnOnce(I) -> O) -> thread::Result<()> {
        let Self { input, context, reply } = self;
        // What `compute` left behind is seen by this thread alone, which goes on panicking.
        let output = catch_unwind(AssertUnwindSafe(|| context.run(|| compute(input))));
        let (output, ended) = match output {
            Ok(output) => (Ok(output), Ok(())),
            Err(payload) => (Err(panic_text(&*payload)), Err(payload)),
        };
        // Not taken by a flight that is past its deadline.
        drop(reply.send(output));
        ended
    }
}

/// What a thread waits for.
enum Event<T, Q> {
    Answered(T),
    Asked(Q),
}

impl<I, O> Thread<I, O> {
    /// Waits for the answer of `call`, and computes what is asked for meanwhile. A stale value is answered when this thread
    /// has computed a newer one, if it is asked to, and L1 has that.
    ///
    /// Computations run outside of the runtime, so they may do what any thread may: block, and run a runtime of their own.
    pub(super) fn serve<T, E>(
        mut self,
        call: impl Future<Output = Result<T, ComputeError<E>>>,
        mut compute: impl FnMut(I) -> O,
    ) -> Result<T, ComputeError<E>> {
        let runtime = runtime()?;
        let (mut call, mut ended) = (pin!(call), Ok(()));
        let answer = loop {
            let event = poll_fn(|context| match call.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Event::Answered(answer)),
                Poll::Pending => match self.0.poll_recv(context) {
                    Poll::Ready(Some(question)) => Poll::Ready(Event::Asked(question)),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                },
            });
            match runtime.block_on(event) {
                Event::Answered(answer) => break answer,
                Event::Asked(question) if ended.is_ok() => ended = question.answer(&mut compute),
                Event::Asked(_) => {}
            }
        };
        // When the flight has ended, so that the next call does not meet it.
        ended.unwrap_or_else(|payload| resume_unwind(payload));
        let value = answer?;
        // Inside the runtime: a timeout is made where the time is.
        let next = async |thread: &mut Self| timeout(PATIENCE, thread.0.recv()).await.ok().flatten();
        while let Some(question) = runtime.block_on(next(&mut self)) {
            question.answer(&mut compute).unwrap_or_else(|payload| resume_unwind(payload));
        }
        Ok(value)
    }
}
