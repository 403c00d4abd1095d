//! What needs neither environment nor server.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;
use super::failure::Failure;

/// 32 bytes in hex, and nothing else.
pub(super) fn keygen() -> Result<ExitCode, Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| Failure::Refused("the system has no random numbers".to_owned()))?;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(io::stdout(), "{digits}")?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    // Made first: the generator panics where the reader of its output is gone.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "cachekit", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
