//! The computations of a simulation.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::calls::{Call, Ending, Value};
use super::plans::{End, Failure, Plan};
use super::world::{World, turns};

impl World {
    /// The computation of a call: reads its source at once, and takes its time. If it fails, `cleared` says what cannot
    /// stand in for it.
    pub(super) async fn work(&self, plan: Plan, call: Call, cleared: &AtomicU64) -> Result<Value, Failure> {
        let now = self.now();
        let (id, value) = self.lock().oracle.compute(&call, now);
        let mut working = Working { world: self, call, id, ending: Ending::Dropped, cleared };
        turns(plan.turns).await;
        if let Some(pause) = plan.pause {
            self.sleep(pause).await;
        }
        working.ending = if plan.end == End::Value { Ending::Well } else { Ending::Failed };
        drop(working);
        match plan.end {
            End::Value => Ok(Value { made: self.now(), ..value }),
            End::Failure => Err(Failure { key: plan.key }),
            // Unlike `panic!`, prints nothing.
            End::Panic => resume_unwind(Box::new("a computation of the simulation panics")),
        }
    }
}

/// A computation under way.
struct Working<'a> {
    world: &'a World,
    call: Call,
    id: u64,
    ending: Ending,
    /// What may not stand in for it.
    cleared: &'a AtomicU64,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let now = self.world.now();
        let cleared = self.world.lock().oracle.computed(self.id, &self.call, self.ending, now);
        self.cleared.store(cleared, SeqCst);
    }
}
