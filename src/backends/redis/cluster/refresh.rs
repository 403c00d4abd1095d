//! Reading the map anew, once for all.
//!
//! A task of its own reads, so that no caller that gives up stops it, and its outcome is that of all callers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::map::{Map, Node};
use super::{Cluster, table};
use crate::backends::redis::error;
use crate::backends::redis::request::{Request, SizeClass};
use crate::error::{Error, ErrorKind};

/// The reading that goes on, and when the last one ended.
#[derive(Default)]
pub(super) struct Refresh(Mutex<State>);

#[derive(Default)]
struct State {
    reading: Option<Outcome>,
    ended: Option<Instant>,
}

/// What becomes of a reading. Closed without a value if its task ended before it, with its runtime.
type Outcome = watch::Receiver<Option<Result<Arc<Map>, Error>>>;

/// How long a map counts as new, whatever fails meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// How many nodes are asked at once. The first answer counts.
const ASKED: usize = 5;

impl Cluster {
    /// Reads the map, or waits for who is just reading it.
    pub(super) async fn reread(self: &Arc<Self>) -> Result<Arc<Map>, Error> {
        loop {
            let (mut outcome, own) = self.join()?;
            if let Ok(told) = outcome.wait_for(Option::is_some).await
                && let Some(result) = &*told
            {
                return result.clone();
            }
            if own {
                return Err(error::no_runtime());
            }
        }
    }

    /// Reads the map in the background, unless it is new.
    pub(super) fn reread_soon(self: &Arc<Self>) {
        let is_new = self.refresh.state().ended.is_some_and(|ended| ended.elapsed() < PAUSE);
        if !is_new {
            // Without a runtime there is no operation that could want the map.
            let _ = self.join();
        }
    }

    /// The outcome of a reading, and whether this caller began it.
    fn join(self: &Arc<Self>) -> Result<(Outcome, bool), Error> {
        let mut state = self.refresh.state();
        if let Some(outcome) = &state.reading
            && outcome.has_changed().is_ok()
        {
            return Ok((outcome.clone(), false));
        }
        let runtime = Handle::try_current().map_err(|_| error::no_runtime())?;
        let (tell, outcome) = watch::channel(None);
        let cluster = Arc::clone(self);
        runtime.spawn(async move {
            let result = cluster.read().await;
            if let Ok(map) = &result {
                *cluster.map.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(map));
                cluster.newcomers().retain(|node| map.node(&node.host).is_none());
            }
            *cluster.refresh.state() = State { reading: None, ended: Some(Instant::now()) };
            tell.send_replace(Some(result));
        });
        state.reading = Some(outcome.clone());
        Ok((outcome, true))
    }

    /// Asks the nodes that are known, and if no node of them answers, those of the URL.
    async fn read(&self) -> Result<Arc<Map>, Error> {
        let known: Vec<Arc<Node>> = self.map().map(|map| map.nodes().cloned().collect()).unwrap_or_default();
        if !known.is_empty()
            && let Ok(map) = self.ask(&known).await
        {
            return Ok(map);
        }
        let seeds: Vec<Arc<Node>> = self.seeds.iter().map(|host| self.nodes.node(host)).collect();
        self.ask(&seeds).await
    }

    /// Asks some of these nodes, and takes the first answer.
    async fn ask(&self, nodes: &[Arc<Node>]) -> Result<Arc<Map>, Error> {
        let mut some = nodes.to_vec();
        fastrand::shuffle(&mut some);
        let mut asked = JoinSet::new();
        for node in some.into_iter().take(ASKED) {
            asked.spawn(async move {
                let answer = node.pool.run(SizeClass::Small, |_| Request::One(table::question().into())).await;
                answer.and_then(|answer| table::read(&answer, &node.host).ok_or_else(|| no_table(&answer, &node)))
            });
        }
        let mut failure = None;
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(ranges)) => {
                    let mut known = nodes.to_vec();
                    known.extend(self.newcomers().iter().cloned());
                    return Ok(Arc::new(Map::new(ranges, &known, &self.nodes)));
                }
                // What is wrong for good tells more than what may pass.
                Ok(Err(error)) if failure.is_none() || !error.is_temporary() => failure = Some(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(error::no_runtime))
    }
}

fn no_table(answer: &Value, node: &Node) -> Error {
    match answer {
        Value::Array(rows) if rows.is_empty() => {
            let message = format!("the Redis cluster at {} serves no slots yet: see CLUSTER INFO", node.host);
            Error::new(ErrorKind::Unavailable, message)
        }
        _ => error::strange(node.pool.place()),
    }
}

impl Refresh {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
