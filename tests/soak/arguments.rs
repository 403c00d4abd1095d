//! How long the soak takes, and which it is.

use harness::Number;

const LONGEST: u64 = 3_600;

pub(crate) struct Arguments {
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { seconds: 60, seed: fastrand::u64(..1_000_000) }
    }
}

impl Arguments {
    /// Takes an option, if it is one of these.
    pub(crate) fn take(&mut self, option: &str, number: &mut Number<'_>) -> Result<bool, String> {
        match option {
            "--seconds" => self.seconds = number()?,
            "--seed" => self.seed = number()?,
            _ => return Ok(false),
        }
        if !(1..=LONGEST).contains(&self.seconds) {
            return Err(format!("--seconds takes 1 to {LONGEST}"));
        }
        Ok(true)
    }
}
