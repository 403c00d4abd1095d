//! How many simulations, and which.

use harness::Number;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) steps: u64,
    pub(crate) threads: u64,
    /// Whether no other process is to make some of them again.
    pub(crate) alone: bool,
}

impl Default for Arguments {
    /// As many as an optimized build does in two minutes on two cores, and others in less.
    fn default() -> Self {
        let (seeds, steps) = if cfg!(debug_assertions) { (40, 2_500) } else { (200, 100_000) };
        Self { from: 0, seeds, steps, threads: 2, alone: false }
    }
}

impl Arguments {
    /// Takes an option, if it is one of these.
    pub(crate) fn take(&mut self, option: &str, number: &mut Number<'_>) -> Result<bool, String> {
        match option {
            "--from" => self.from = number()?,
            "--seeds" => self.seeds = number()?,
            "--steps" => self.steps = number()?,
            "--threads" => self.threads = number()?.clamp(1, 64),
            "--alone" => self.alone = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
