//! The cases: how much of what is read by how many.

/// One workload.
pub(crate) struct Case {
    /// About how long a stored value is, in bytes.
    pub(crate) size: usize,
    pub(crate) tasks: usize,
    /// Whether every tenth operation is a write.
    pub(crate) sets: bool,
    /// How many keys there are.
    pub(crate) keys: usize,
}

impl Case {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let loads = [(200, 1), (200, 64), (200, 256), (16 << 10, 64), (256 << 10, 64)];
        loads.into_iter().flat_map(|(size, tasks)| [false, true].map(|sets| Self::new(size, tasks, sets)))
    }

    fn new(size: usize, tasks: usize, sets: bool) -> Self {
        Self { size, tasks, sets, keys: ((16 << 20) / size).min(1_000) }
    }

    /// Size, tasks and mix, such as `200B, 64 tasks, get`.
    pub(crate) fn name(&self) -> String {
        let size = if self.size < 1024 { format!("{}B", self.size) } else { format!("{}KiB", self.size >> 10) };
        let mix = if self.sets { "9:1" } else { "get" };
        format!("{size}, {} tasks, {mix}", self.tasks)
    }
}
