//! A way to read and write values on a server.

use std::future::Future;

use crate::page::Page;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads and writes the values of a case, by number.
pub(crate) trait Way: Send + Sync + 'static {
    /// Reads a value and checks that it is the right one.
    fn get(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Writes a value, with an expiry.
    fn set(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
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
