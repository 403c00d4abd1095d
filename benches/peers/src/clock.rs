//! Clocks: time that passes, and time that processors spend.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Whose processor time counts.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    /// This thread's.
    Thread,
    /// All threads' of this process.
    Process,
}

/// A clock that was started.
pub(crate) struct Stopwatch {
    whose: Whose,
    began: Instant,
    cpu: f64,
}

impl Stopwatch {
    pub(crate) fn start(whose: Whose) -> Self {
        Self { whose, began: Instant::now(), cpu: cpu(whose) }
    }

    /// Seconds of time and of processor time since the start.
    pub(crate) fn read(&self) -> (f64, f64) {
        let spent = cpu(self.whose) - self.cpu;
        (self.began.elapsed().as_secs_f64(), spent)
    }

    pub(crate) fn has_passed(&self, time: Duration) -> bool {
        self.began.elapsed() >= time
    }
}

fn cpu(whose: Whose) -> f64 {
    let time = clock_gettime(match whose {
        Whose::Thread => ClockId::ThreadCPUTime,
        Whose::Process => ClockId::ProcessCPUTime,
    });
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
