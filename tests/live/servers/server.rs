//! One Redis server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use super::process::Process;
use super::resp::{Client, Reply};
use super::tls::Authority;
use super::{ports, reaper, wait_until};

/// A server of its own. It also listens on a unix socket, by which [`cli`](Server::cli) reaches it past all proxies.
#[derive(Debug)]
pub(crate) struct Server {
    process: Mutex<Option<Process>>,
    setup: Setup,
    dir: PathBuf,
    port: u16,
}

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    args: Vec<String>,
    password: Option<String>,
    tls: bool,
    /// The text of a configuration file, which the server may rewrite.
    file: Option<String>,
}

impl Setup {
    /// Adds arguments to the command line.
    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The password of the user `default`.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.args(["--requirepass", password, "--masterauth", password])
    }

    /// A user with `rules` as `ACL SETUSER` takes them.
    pub(crate) fn user(self, name: &str, rules: &str) -> Self {
        self.args(["--user", name]).args(rules.split(' '))
    }

    /// Speaks TLS only, with a certificate of `authority`.
    pub(crate) fn tls(mut self, authority: &Authority) -> Self {
        self.tls = true;
        let issued = authority.issue();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        self.args(["--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes"])
            .args(["--tls-cert-file".to_owned(), path(&issued.certificate)])
            .args(["--tls-key-file".to_owned(), path(&issued.key)])
            .args(["--tls-ca-cert-file".to_owned(), path(authority.bundle())])
    }

    /// Makes it a sentinel, with this configuration to begin with.
    pub(super) fn sentinel(mut self, configuration: &str) -> Self {
        self.file = Some(configuration.to_owned());
        self.args(["--sentinel"])
    }

    pub(crate) fn start(self) -> Server {
        for _ in 0..20 {
            let dir = reaper::fresh_dir();
            let server = Server { process: Mutex::new(None), setup: self.clone(), dir, port: ports::unused() };
            if server.run() {
                return server;
            }
        }
        panic!("no server starts with {:?}", self.args);
    }
}

impl Server {
    /// A server without password.
    pub(crate) fn start() -> Self {
        Self::setup().start()
    }

    pub(crate) fn setup() -> Setup {
        Setup::default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of database 0, with the password if there is one.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.setup.tls { "rediss" } else { "redis" };
        let password = self.setup.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{password}{}/0", self.address())
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.setup.password.as_deref()
    }

    /// Where the server keeps its files.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// The text of the server's answer. It has its own connection, with the user `default`.
    pub(crate) fn cli<A: AsRef<[u8]>>(&self, args: &[A]) -> String {
        self.call(args).to_string()
    }

    /// As [`cli`](Self::cli), the answer taken apart.
    pub(crate) fn call<A: AsRef<[u8]>>(&self, args: &[A]) -> Reply {
        self.try_call(args).expect("the server answers")
    }

    /// Whether the server answers, and so; to be asked again until it is.
    pub(crate) fn says<A: AsRef<[u8]>>(&self, args: &[A], text: &str) -> bool {
        self.try_call(args).is_ok_and(|reply| reply.to_string().contains(text))
    }

    pub(super) fn try_call<A: AsRef<[u8]>>(&self, args: &[A]) -> std::io::Result<Reply> {
        Client::connect(&self.socket(), self.setup.password.as_deref())?.call(args)
    }

    /// How many clients are connected by TCP, replicas apart.
    pub(crate) fn connections(&self) -> usize {
        let list = self.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
        list.lines().filter(|line| line.contains(" addr=127.0.0.1:")).count()
    }

    /// How often `command` was called, in lower case; subcommands as `client|list`.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let head = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|line| line.strip_prefix(&head)?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// Starts to write down every command the server is given.
    pub(crate) fn monitor(&self) -> Monitor {
        let mut client = Client::connect(&self.socket(), self.setup.password.as_deref()).unwrap();
        assert_eq!(client.call(&["MONITOR"]).unwrap().to_string(), "OK");
        Monitor(client)
    }

    /// As `kill -9`.
    pub(crate) fn kill(&self) {
        *self.lock() = None;
    }

    /// Starts the server again on its port, with its files; kills it first if it runs.
    pub(crate) fn restart(&self) {
        self.kill();
        wait_until("the server starts again", || self.run());
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
        let mut command = Command::new("redis-server");
        if let Some(text) = &self.setup.file {
            let path = self.dir.join("server.conf");
            if !path.exists() {
                std::fs::write(&path, text).unwrap();
            }
            command.arg(path);
        }
        let port = self.port.to_string();
        let (plain, tls) = if self.setup.tls { ("0", &*port) } else { (&*port, "0") };
        command.arg("--dir").arg(&self.dir).args(["--bind", "127.0.0.1", "--port", plain, "--tls-port", tls]);
        command.args(["--save", "", "--appendonly", "no", "--logfile", "log", "--unixsocket", "socket"]);
        command
            .args(["--enable-debug-command", "local", "--daemonize", "no", "--repl-diskless-sync-delay", "0"])
            .args(&self.setup.args);
        let mut process = Process::spawn(&mut command);
        let mut ended = false;
        wait_until("the server answers", || {
            ended = process.has_ended();
            ended || self.try_call(&["PING"]).is_ok_and(|reply| reply.to_string() == "PONG")
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

/// Hears every command a server is given.
#[derive(Debug)]
pub(crate) struct Monitor(Client);

impl Monitor {
    /// The commands heard since the last call, one a line as `MONITOR` shows them. `server` is the one monitored.
    pub(crate) fn heard(&mut self, server: &Server) -> Vec<String> {
        let mark = format!("{:032x}", fastrand::u128(..));
        server.cli(&["ECHO", &mark]);
        let mut lines = Vec::new();
        loop {
            let line = self.0.receive().unwrap().to_string();
            if line.contains(&mark) {
                return lines;
            }
            lines.push(line);
        }
    }
}
