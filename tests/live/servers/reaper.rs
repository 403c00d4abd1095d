//! Ends what a dead test process leaves.
//!
//! A shell in a process group of its own hears of every server started, and kills those left when its input ends: which
//! is when this process has ended, in whatever way.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

const SCRIPT: &str = r#"
trap '' HUP INT TERM
declare -A live
while read -r what pid; do
    case $what in
    started) live[$pid]=1 ;;
    ended) unset "live[$pid]" ;;
    esac
done
for pid in "${!live[@]}"; do
    kill -CONT "$pid"
    kill -KILL "$pid"
done 2>/dev/null
rm -rf -- "$1"
"#;

struct Reaper {
    shell: Mutex<Child>,
    root: PathBuf,
}

static REAPER: LazyLock<Reaper> = LazyLock::new(|| {
    let root = tempfile::Builder::new().prefix("cachekit-servers-").tempdir().unwrap().keep();
    let mut command = Command::new("bash");
    command.args(["-c", SCRIPT, "reaper"]).arg(&root).process_group(0);
    let shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    Reaper { shell: Mutex::new(shell), root }
});

/// Before a server runs: it would outlive us if we cannot tell of it.
pub(super) fn root() -> &'static Path {
    &REAPER.root
}

pub(super) fn started(pid: u32) {
    tell(&format!("started {pid}\n"));
}

pub(super) fn ended(pid: u32) {
    tell(&format!("ended {pid}\n"));
}

fn tell(line: &str) {
    let mut shell = REAPER.shell.lock().unwrap();
    shell.stdin.as_mut().expect("a pipe").write_all(line.as_bytes()).unwrap();
}

/// A fresh directory, removed when this process has ended.
pub(super) fn fresh_dir() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let dir = root().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir(&dir).unwrap();
    dir
}
