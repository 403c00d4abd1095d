//! Helpers: a manual clock, directories, listings.

use std::fs::{self, File as OsFile};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cachekit::backends::File;
use cachekit::{Clock, FileLimits, Key};
use tempfile::TempDir;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// What the manual clock shows at first: half a second past a whole one.
pub(super) const START: u64 = 1_700_000_000_500;

#[derive(Debug)]
pub(super) struct Manual(AtomicU64);

impl Manual {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START)))
    }

    pub(super) fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn wall(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn ticks(&self) -> u64 {
        self.wall()
    }
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// A backend in a fresh directory, on a manual clock.
pub(super) struct Place {
    pub(super) files: File,
    pub(super) clock: Arc<Manual>,
    pub(super) dir: PathBuf,
    _parent: TempDir,
}

impl Place {
    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::<Manual>::clone(&self.clock)
    }
}

pub(super) fn place(limits: FileLimits) -> Place {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("cache");
    let clock = Manual::new();
    let files = File::open_with_clock(&dir, limits, Arc::<Manual>::clone(&clock)).unwrap();
    Place { files, clock, dir, _parent: parent }
}

pub(super) fn small() -> FileLimits {
    let mut limits = FileLimits::default();
    limits.max_size = 2 * MIB;
    limits.max_value = MIB;
    limits.max_entries = 100;
    limits.lock_timeout = Duration::from_millis(500);
    limits
}

/// For many processes on a busy machine: nobody times out.
pub(super) fn patient() -> FileLimits {
    let mut limits = small();
    limits.lock_timeout = Duration::from_secs(30);
    limits
}

pub(super) fn key(id: impl cachekit::IntoKey) -> Key {
    Key::new("users", id).unwrap()
}

/// The path of the only entry in the directory.
pub(super) fn only_entry(dir: &Path) -> PathBuf {
    let mut names = entries(dir);
    assert_eq!(names.len(), 1, "{names:?}");
    dir.join(names.remove(0).0)
}

/// Names and lengths of the entries, sorted by name.
pub(super) fn entries(dir: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<_> = listing(dir)
        .into_iter()
        .filter(|name| name.len() == 32)
        .filter_map(|name| fs::symlink_metadata(dir.join(&name)).ok().map(|metadata| (name, metadata.len())))
        .collect();
    found.sort();
    found
}

pub(super) fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(super) fn make_older(path: &Path, age: Duration) {
    OsFile::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

/// A value of `length` bytes or a few more that tells whether it is whole: key, length, checksum, filling.
pub(super) fn sealed(key: &str, length: usize) -> Bytes {
    let filling: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
    let head = format!("{key} {length} {:016x}\n", checksum(&filling));
    [head.as_bytes(), &filling].concat().into()
}

pub(super) fn assert_whole(key: &str, value: &[u8]) {
    let end = value.iter().position(|byte| *byte == b'\n').expect("a head");
    let head = std::str::from_utf8(&value[..end]).unwrap();
    let filling = &value[end + 1..];
    assert_eq!(head, format!("{key} {} {:016x}", filling.len(), checksum(filling)));
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}
