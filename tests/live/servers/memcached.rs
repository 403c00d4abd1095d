//! One memcached server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use super::process::Process;
use super::{PATIENCE, ports, wait_until};

#[derive(Debug)]
pub(crate) struct Memcached {
    process: Mutex<Option<Process>>,
    port: u16,
    args: Vec<String>,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        Self::start_with(&["-m", "64"])
    }

    /// A server with these arguments.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..20 {
            let server = Self { process: Mutex::new(None), port: ports::unused(), args: args.clone() };
            if server.run() {
                return server;
            }
        }
        panic!("no memcached starts with {args:?}");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The first line the server answers to `request`.
    pub(crate) fn ask(&self, request: &str) -> String {
        answer(self.port, request).expect("the server answers")
    }

    /// What the server has under a name, as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.bytes(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the server has under a name.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        reader.get_mut().write_all(format!("mg {name} v\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let length = line.strip_prefix("VA ")?.trim_end().parse().unwrap();
        let mut value = vec![0; length];
        reader.read_exact(&mut value).unwrap();
        Some(value)
    }

    /// Stores bytes under a name for a minute, with these client flags.
    pub(crate) fn plant(&self, name: &str, flags: u32, bytes: &[u8]) {
        let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("ms {name} {} F{flags} T60\r\n", bytes.len());
        reader.get_mut().write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "HD", "it is stored");
    }

    /// One number of the server's `stats`.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (&stream).write_all(b"stats\r\n").unwrap();
        let head = format!("STAT {name} ");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| line != "END");
        lines.find_map(|line| line.strip_prefix(&head)?.parse().ok()).expect("a number")
    }

    /// As `kill -9`.
    pub(crate) fn kill(&self) {
        *self.lock() = None;
    }

    /// Starts the server again on its port, empty; kills it first if it runs.
    pub(crate) fn restart(&self) {
        self.kill();
        wait_until("memcached starts again", || self.run());
    }

    /// As `kill -STOP`: connections stay open, nobody answers.
    pub(crate) fn pause(&self) {
        self.lock().as_ref().expect("a running server").pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.lock().as_ref().expect("a running server").resume();
    }

    /// Starts the process. Returns whether it came to answer.
    fn run(&self) -> bool {
        let mut command = Command::new("memcached");
        command.args(["-l", "127.0.0.1", "-U", "0", "-p", &self.port.to_string()]).args(&self.args);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        let mut process = Process::spawn(&mut command);
        let mut ended = false;
        wait_until("memcached answers", || {
            ended = process.has_ended();
            ended || answer(self.port, "version").is_ok_and(|line| line.starts_with("VERSION "))
        });
        if !ended {
            *self.lock() = Some(process);
        }
        !ended
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap()
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
