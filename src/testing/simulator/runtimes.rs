//! The runtimes of a simulation: one that is always driven, and one for each process that may stand still.

use tokio::runtime::{Builder, Runtime};

use super::world::turns;
use crate::clock::remember;

#[derive(Debug)]
pub(super) struct Runtimes {
    pub(super) main: Runtime,
    /// Another one, by the slot of its process; none where none stands still.
    asides: Vec<Runtime>,
}

impl Runtimes {
    pub(super) fn new(asides: usize) -> Self {
        let build = || {
            let runtime = Builder::new_current_thread().build().unwrap_or_else(|error| panic!("no runtime: {error}"));
            remember(runtime.handle().id(), false);
            runtime
        };
        Self { main: build(), asides: (0..asides).map(|_| build()).collect() }
    }

    /// Where a call of the process in `slot` runs.
    pub(super) fn of(&self, slot: usize, is_aside: bool) -> &Runtime {
        self.asides.get(slot).filter(|_| is_aside).unwrap_or(&self.main)
    }

    /// Lets all tasks run so many times that do not stand still.
    pub(super) fn turn(&self, count: u8, stands_still: impl Fn(usize) -> bool) {
        self.main.block_on(turns(count));
        for (slot, aside) in self.asides.iter().enumerate() {
            if !stands_still(slot) {
                aside.block_on(turns(count));
            }
        }
    }
}
