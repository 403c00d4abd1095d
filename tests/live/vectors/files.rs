//! The files of a directory that processes share, with one another and with the Python library.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{Backend, File};
use cachekit::testing::ManualClock;
use cachekit::{FileLimits, Key};
use tempfile::TempDir;

use super::{Vector, vector};
use harness::support::leased;

/// Python: `hashlib.blake2b(b"users:42", digest_size=16).hexdigest()`
const NAME: &str = "582992d52d563cfc1eec671a3b89bd6e";
const MINUTE: Duration = Duration::from_secs(60);

struct Place {
    files: File,
    dir: PathBuf,
    clock: ManualClock,
    _parent: TempDir,
}

/// A directory, half a second after 2025-01-01T00:00:00Z.
fn place() -> Place {
    let (clock, parent) = (ManualClock::new(), tempfile::tempdir().unwrap());
    clock.advance(Duration::from_millis(500));
    let (dir, mut limits) = (parent.path().join("cache"), FileLimits::default());
    (limits.max_entries, limits.max_size, limits.max_value) = (100, 2 << 20, 1 << 20);
    let files = File::open_with_clock(&dir, limits, Arc::new(clock.clone())).unwrap();
    Place { files, dir, clock, _parent: parent }
}

fn file(name: &str) -> Vector {
    vector(include_str!("files.txt"), name)
}

fn key() -> Key {
    Key::new("users", 42).unwrap()
}

#[tokio::test]
async fn an_entry_is_written_and_read_as_this_file() {
    let place = place();
    place.files.set(&key(), "ada".into(), MINUTE).await.unwrap();
    let path = place.dir.join(NAME);
    file("entry").check(&fs::read(&path).unwrap());
    fs::write(&path, file("entry").bytes).unwrap();
    assert_eq!(place.files.get(&key()).await.unwrap().as_deref(), Some(&b"ada"[..]));
    place.clock.advance(MINUTE + Duration::from_millis(500));
    assert_eq!(place.files.get(&key()).await.unwrap(), None, "61 s after the start");
}

#[tokio::test]
async fn a_file_that_the_python_library_wrote_for_ever_is_read() {
    let place = place();
    fs::write(place.dir.join(NAME), file("entry of the python library").bytes).unwrap();
    place.clock.advance(Duration::from_secs(1 << 40));
    assert_eq!(place.files.get(&key()).await.unwrap().as_deref(), Some(&b"ada"[..]));
}

#[tokio::test]
async fn what_the_directory_holds_is_kept_as_this_file() {
    let place = place();
    place.files.set(&key(), "ada".into(), MINUTE).await.unwrap();
    leased(&place.files, &Key::new("users", 43).unwrap(), MINUTE).await.unwrap().unwrap();
    let (path, vector) = (place.dir.join(".cachekit.lock"), file("totals"));
    vector.check(&fs::read(&path).unwrap());
    // Another process finds it, and believes it.
    let place = self::place();
    fs::write(place.dir.join(".cachekit.lock"), vector.bytes).unwrap();
    place.files.set(&Key::new("users", 44).unwrap(), "grace".into(), MINUTE).await.unwrap();
    file("totals with one more").check(&fs::read(place.dir.join(".cachekit.lock")).unwrap());
}

#[tokio::test]
async fn what_an_earlier_build_kept_is_counted_anew() {
    let place = place();
    fs::write(place.dir.join(".cachekit.lock"), file("totals of version 2").bytes).unwrap();
    place.files.set(&key(), "ada".into(), MINUTE).await.unwrap();
    leased(&place.files, &Key::new("users", 43).unwrap(), MINUTE).await.unwrap().unwrap();
    file("totals").check(&fs::read(place.dir.join(".cachekit.lock")).unwrap());
}
