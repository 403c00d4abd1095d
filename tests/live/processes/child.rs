//! A further process: this binary, started again.

use std::env;
use std::io::{BufRead, BufReader, Write, stderr};
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use rustix::time::{ClockId, clock_gettime};

/// Killed when dropped.
pub(crate) struct Child(Process);

impl Child {
    /// Starts the test `plays_its_role` of this module with these variables. What it says goes to `answers`.
    pub(crate) fn start(module: &str, variables: &[(&str, String)], answers: Sender<String>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let (_, module) = module.split_once("::").expect("a module is in a crate");
        command.args([&format!("{module}::plays_its_role"), "--exact"]).envs(variables.iter().cloned());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| answers.send(line)));
        Self(process)
    }

    /// Ends its stdin.
    pub(crate) fn end(&mut self) {
        drop(self.0.stdin.take());
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a child: tells the parent.
pub(crate) fn say(answer: &str) {
    stderr().write_all(format!("{answer}\n").as_bytes()).unwrap();
}

/// Microseconds by a clock that all processes share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000 + u64::try_from(time.tv_nsec).unwrap() / 1_000
}
