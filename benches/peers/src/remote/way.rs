//! A way to read and write values on a server.

use crate::Failure;
use crate::load::Page;

/// What a way may be asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    /// Nine reads for each write.
    Mix,
    Invalidate,
    InvalidateTag,
    /// A read of a key that is nowhere, its computation, and a write.
    Miss,
}

/// Reads and writes values by number. Whatever it has no way to do is not measured.
pub(crate) trait Way: Send + Sync + 'static {
    /// Reads a value and checks that it is the right one.
    fn get(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Writes a value, with an expiry.
    fn set(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Removes a value.
    fn invalidate(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Makes all values with a tag void.
    fn invalidate_tag(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Looks for a value, computes it and stores it. The computation takes no time.
    fn miss(&self, id: usize) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether it can do this.
    fn can(&self, _: Operation) -> bool {
        true
    }
}

/// The values of a case, and the texts of their keys.
pub(crate) struct Pages {
    pub(crate) pages: Vec<Page>,
    prefix: &'static str,
    names: Vec<String>,
}

impl Pages {
    /// Under names that start with `prefix`.
    pub(crate) fn new(prefix: &'static str, keys: usize, size: usize) -> Self {
        let names = (0..keys).map(|id| format!("{prefix}:{id}")).collect();
        Self { pages: (0..keys).map(|id| Page::new(id as u64, size)).collect(), prefix, names }
    }

    pub(crate) fn name(&self, id: usize) -> &str {
        &self.names[id]
    }

    /// The name of a key that is not among those of the case.
    pub(crate) fn fresh(&self, id: usize) -> String {
        format!("{}:fresh:{id}", self.prefix)
    }

    pub(crate) fn tag(&self, id: usize) -> String {
        format!("{}:tag:{id}", self.prefix)
    }

    /// The value that is computed for any key.
    pub(crate) fn page(&self, id: usize) -> &Page {
        &self.pages[id % self.pages.len()]
    }
}

/// Reads a value back from bytes and checks that it is the right one.
pub(crate) fn check(bytes: &[u8], id: usize) -> Result<(), Failure> {
    let page: Page = postcard::from_bytes(bytes)?;
    if page.is(id) { Ok(()) } else { Err(wrong(id)) }
}

/// The failure of a read that gave nothing, or another value.
pub(crate) fn wrong(id: usize) -> Failure {
    format!("value {id} is gone, or not what was stored").into()
}

/// The failure of what a way has no way to do.
pub(crate) fn cannot() -> Failure {
    "this client cannot do that".into()
}
