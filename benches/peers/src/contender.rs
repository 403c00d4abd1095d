//! A contender: a way to a server under a name, and its workload.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::load::{Load, Sample};
use crate::way::{Failure, Way};

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

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
