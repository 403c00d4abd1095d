//! Other processes: this test binary, started again in a role.
//!
//! Parent and child talk in lines: requests on stdin, answers on stderr, which the test harness leaves alone.

use std::io::{BufRead, BufReader, Lines, Write, stderr, stdin};
use std::path::Path;
use std::process::{Child as Process, ChildStderr, Command, Stdio};
use std::{env, fs};

use cachekit::backends::{Backend, File, LeaseToken};
use cachekit::{Error, ErrorKind};
use tokio::task::JoinSet;

use super::support::{MINUTE, key, patient, sealed, small};
use harness::support::leased;

const ROLE: &str = "CACHEKIT_TEST_ROLE";
const DIR: &str = "CACHEKIT_TEST_DIR";
const TEST: &str = "files::child::plays_its_role";

pub(super) struct Child {
    process: Process,
    answers: Lines<BufReader<ChildStderr>>,
}

impl Child {
    pub(super) fn start(role: &str, dir: &Path) -> Self {
        Self::spawn(Command::new(env::current_exe().unwrap()).args([TEST, "--exact"]), role, dir)
    }

    /// Starts the child with a private, tiny file system of its own mounted on `dir`.
    pub(super) fn start_on_tmpfs(role: &str, dir: &Path) -> Self {
        const SCRIPT: &str = r#"mount -t tmpfs -o size=1m,mode=0700 tmpfs "$1" && exec "$0" "$2" --exact"#;
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", SCRIPT]).arg(env::current_exe().unwrap()).arg(dir).arg(TEST);
        Self::spawn(&mut command, role, dir)
    }

    /// Starts the child without the right of root to read every file.
    pub(super) fn start_unprivileged(role: &str, dir: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::start(role, dir);
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search"]).arg(env::current_exe().unwrap());
        Self::spawn(command.args([TEST, "--exact"]), role, dir)
    }

    fn spawn(command: &mut Command, role: &str, dir: &Path) -> Self {
        command.env(ROLE, role).env(DIR, dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, answers }
    }

    pub(super) fn ask(&mut self, request: &str) -> String {
        writeln!(self.process.stdin.as_ref().unwrap(), "{request}").unwrap();
        self.answer()
    }

    pub(super) fn answer(&mut self) -> String {
        self.answers.next().expect("the child answers").unwrap()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets the child end, and fails with what it said if it failed.
    pub(super) fn finish(mut self) {
        drop(self.process.stdin.take());
        let said: Vec<_> = self.answers.by_ref().map_while(Result::ok).collect();
        assert!(self.process.wait().unwrap().success(), "{}", said.join("\n"));
    }
}

/// Does nothing unless started by [`Child`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let dir = env::var(DIR).unwrap();
    let dir = Path::new(&dir);
    match role.as_str() {
        "serve" => serve(dir).await,
        "crowd" => crowd(dir).await,
        "scribble" => scribble(dir).await,
        "hold lock" => hold_lock(dir),
        "fill the disk" => fill_the_disk(dir).await,
        "turn read-only" => turn_read_only(dir).await,
        "meet unreadable files" => super::planted::meet_unreadable_files(dir).await,
        _ => panic!("no such role: {role}"),
    }
}

fn request() -> Option<String> {
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    line.strip_suffix('\n').map(str::to_owned)
}

fn say(answer: impl std::fmt::Display) {
    stderr().write_all(format!("{answer}\n").as_bytes()).unwrap();
}

/// Does what it is told, one line each.
async fn serve(dir: &Path) {
    let files = File::open(dir, patient()).unwrap();
    let mut token = None;
    while let Some(line) = request() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["get", id] => say(format_args!("{:?}", files.get(&key(id)).await.unwrap())),
            ["set", id, value] => {
                files.set(&key(id), value.to_owned().into(), MINUTE).await.unwrap();
                say("done");
            }
            ["remove", id] => {
                files.remove(&key(id)).await.unwrap();
                say("done");
            }
            ["lease", id] => match leased(&files, &key(id), MINUTE).await.unwrap() {
                Some(granted) => {
                    token = Some(granted);
                    say("granted");
                }
                None => say("held"),
            },
            ["fill", id, value] => {
                let token = token.unwrap_or_else(LeaseToken::random);
                say(files.fill(&key(id), value.to_owned().into(), MINUTE, token).await.unwrap());
            }
            _ => panic!("no such request: {line}"),
        }
    }
}

/// Eight writers at once, many keys.
async fn crowd(dir: &Path) {
    let files = File::open(dir, patient()).unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let files = files.clone();
        writers.spawn(async move {
            for round in 0..20 {
                let name = format!("{}-{writer}-{round}", std::process::id());
                let length = if round % 2 == 0 { 10 } else { fastrand::usize(..100_000) };
                files.set(&key(&name), sealed(&name, length), MINUTE).await.unwrap();
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}

/// Writes until it is killed, telling of each write.
async fn scribble(dir: &Path) {
    let files = File::open(dir, patient()).unwrap();
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let files = files.clone();
        writers.spawn(async move {
            loop {
                let name = format!("k{}", fastrand::u8(..20));
                files.set(&key(&name), sealed(&name, fastrand::usize(..60_000)), MINUTE).await.unwrap();
                say("written");
            }
        });
    }
    writers.join_next().await;
}

fn hold_lock(dir: &Path) {
    let file = fs::File::options().read(true).write(true).open(dir.join(".cachekit.lock")).unwrap();
    file.lock().unwrap();
    say("locked");
    assert_eq!(request(), None);
}

async fn fill_the_disk(dir: &Path) {
    let files = File::open(dir, small()).unwrap();
    let old = sealed("k", 100_000);
    files.set(&key("k"), old.clone(), MINUTE).await.unwrap();

    let refused = files.set(&key("k"), vec![7; 1_000_000].into(), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused:?}");
    assert!(refused.to_string().starts_with("no space left in the cache directory"), "{refused}");
    assert!(refused.is_temporary());

    assert_eq!(files.get(&key("k")).await.unwrap(), Some(old), "the old value survives");
    assert_eq!(super::support::listing(dir).len(), 2, "the entry and the lock, no temporary file");
    files.remove(&key("k")).await.unwrap();
    files.set(&key("k"), vec![7; 500_000].into(), MINUTE).await.unwrap();
}

async fn turn_read_only(dir: &Path) {
    let files = File::open(dir, small()).unwrap();
    files.set(&key("k"), "v".into(), MINUTE).await.unwrap();
    let remount = |options| {
        let status = Command::new("mount").args(["-o", options]).arg(dir).status().unwrap();
        assert!(status.success());
    };
    remount("remount,bind,ro");

    let is_read_only = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
        assert!(error.to_string().contains("read-only file system"), "{error}");
        assert!(error.is_temporary());
    };
    is_read_only(files.set(&key("k"), "w".into(), MINUTE).await.unwrap_err());
    is_read_only(files.remove(&key("k")).await.unwrap_err());
    is_read_only(files.ping().await.unwrap_err());
    assert_eq!(files.get(&key("k")).await.unwrap().as_deref(), Some(&b"v"[..]));
    let refused = File::open(dir, small()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("cannot be written to"), "{refused}");

    remount("remount,bind,rw");
    files.set(&key("k"), "w".into(), MINUTE).await.unwrap();
    assert_eq!(files.get(&key("k")).await.unwrap().as_deref(), Some(&b"w"[..]));
}
