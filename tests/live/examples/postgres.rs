//! The cache that follows a Postgres, over a real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::super::servers::{Server, unused, wait_until};
use super::{cargo, run};

/// A server of its own, which is stopped when dropped.
struct Postgres {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
}

/// A program of a Postgres that is installed, run by whom it accepts: not by root.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map(|version| version.unwrap().path());
    let found = versions.map(|version| version.join("bin").join(name)).filter(|path| path.exists()).max();
    let path: PathBuf = found.unwrap_or_else(|| panic!("there is no {name}: run tests/run.sh"));
    if !geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
    command
}

impl Postgres {
    fn start() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), unused());
        if geteuid().is_root() {
            assert!(Command::new("chown").arg("postgres").arg(dir.path()).status().unwrap().success());
        }
        let data = dir.path().join("data");
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--auth", "trust", "--username", "postgres", "--pgdata"]).arg(&data);
        let output = initdb.current_dir("/").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut server = program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-p", &port.to_string(), "-c", "fsync=off"]);
        server.args(["-c", "listen_addresses=127.0.0.1"]).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
        let process = server.spawn().unwrap();
        let postgres = Self { process, dir, port };
        wait_until("Postgres takes connections", || postgres.is_ready());
        postgres
    }

    fn is_ready(&self) -> bool {
        let mut ready = program("pg_isready");
        ready.arg("-q").arg("-h").arg(self.dir()).args(["-p", &self.port.to_string()]);
        ready.current_dir("/").status().unwrap().success()
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It ends all its sessions, and then itself.
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}

#[test]
fn price_is_forgotten_when_postgres_commits_and_not_before() {
    let (postgres, server) = (Postgres::start(), Server::start());
    let mut build = cargo("build", ["--package", "cachekit-postgres-example", "--bin", "postgres_listen"]);
    let output = build.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let this = std::env::current_exe().unwrap();
    let example = this.ancestors().nth(2).unwrap().join("postgres_listen");
    let lines = run(&example, &[("DATABASE_URL", &postgres.url()), ("CACHEKIT_REDIS_URL", &server.url())]);
    assert_eq!(
        lines,
        [
            "first: Computed Some(100)",
            "again: L1Hit Some(100)",
            "while another program changes it: L1Hit Some(100)",
            "rolled back: L1Hit Some(100)",
            "committed: Computed Some(130)",
        ]
    );
}
