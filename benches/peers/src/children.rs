//! This program as its own child: for what needs a process to itself.

use std::process::{Child, Command, Stdio};

use crate::Failure;

/// The first argument of a child.
pub(crate) const MARK: &str = "--child";

/// Starts a child that does what `words` say.
pub(crate) fn start(words: &[&str]) -> Result<Child, Failure> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).arg(MARK).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// Waits for a child, and reads the numbers that it printed.
pub(crate) fn numbers(child: Child) -> Result<Vec<f64>, Failure> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("a child ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}
