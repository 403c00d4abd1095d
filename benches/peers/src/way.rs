//! A way to read and write values on a server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::load::{Load, Sample};
use crate::page::Page;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Reads and writes the values of a case, by number.
pub(crate) trait Way: Send + Sync + 'static {
    /// Reads a value and checks that it is the right one.
    fn get(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Writes a value, with an expiry.
    fn set(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What a way is compared as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The fastest of these is what all are compared to.
    Reference,
    Compared,
}

/// A way under a name. Its workload is compiled for it, so that no way pays for being one of many.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fill: Box<dyn Fn() -> Boxed<()>>,
    pub(crate) run: Box<dyn Fn(Load) -> Boxed<Sample>>,
}

impl Contender {
    /// A way with `keys` values.
    pub(crate) fn new(name: &'static str, kind: Kind, keys: usize, way: impl Way) -> Self {
        let way = Arc::new(way);
        let filler = Arc::clone(&way);
        Self {
            name,
            kind,
            fill: Box::new(move || {
                let way = Arc::clone(&filler);
                Box::pin(async move {
                    for id in 0..keys {
                        way.set(id).await?;
                    }
                    Ok(())
                })
            }),
            run: Box::new(move |load| Box::pin(load.drive(Arc::clone(&way)))),
        }
    }
}

/// The values of a case, and the texts of their keys.
pub(crate) struct Pages {
    pub(crate) pages: Vec<Page>,
    pub(crate) names: Vec<String>,
}

impl Pages {
    /// Under names that start with `prefix`.
    pub(crate) fn new(prefix: &str, keys: usize, size: usize) -> Self {
        let names = (0..keys).map(|id| format!("{prefix}:{id}")).collect();
        Self { pages: (0..keys).map(|id| Page::new(id as u64, size)).collect(), names }
    }
}

/// The failure of a read that gave nothing, or another value.
pub(crate) fn wrong(id: usize) -> Failure {
    format!("value {id} is gone, or not what was stored").into()
}
