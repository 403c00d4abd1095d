//! One memcached server.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use super::process::Process;
use super::{PATIENCE, ports, wait_until};

#[derive(Debug)]
pub(crate) struct Memcached {
    _process: Process,
    port: u16,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        for _ in 0..20 {
            let port = ports::unused();
            let mut command = Command::new("memcached");
            command.args(["-l", "127.0.0.1", "-U", "0", "-m", "64", "-p", &port.to_string()]);
            if rustix::process::geteuid().is_root() {
                command.args(["-u", "nobody"]);
            }
            let mut process = Process::spawn(&mut command);
            let mut ended = false;
            wait_until("memcached answers", || {
                ended = process.has_ended();
                ended || answer(port, "version").is_ok_and(|line| line.starts_with("VERSION "))
            });
            if !ended {
                return Self { _process: process, port };
            }
        }
        panic!("no memcached starts");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The first line the server answers to `request`.
    pub(crate) fn ask(&self, request: &str) -> String {
        answer(self.port, request).expect("the server answers")
    }
}

fn answer(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\r\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}
