//! What others put in the place of our files, and of the directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cachekit::backends::{Backend, File};
use cachekit::{CacheBuilder, ErrorKind, FileLimits, Intent, Lease, LeaseToken};

use super::child::Child;
use super::support::{MIB, MINUTE, Place, key, listing, only_entry, place, small};
use harness::support::leased;

/// What may stand in the place of a file.
#[derive(Debug, Clone, Copy)]
enum Planted {
    EmptyDirectory,
    FullDirectory,
    LinkToFile,
    LinkToDirectory,
    LinkToNothing,
    Pipe,
    Socket,
    EmptyFile,
    Garbage,
}

const ALL: [Planted; 9] = [
    Planted::EmptyDirectory,
    Planted::FullDirectory,
    Planted::LinkToFile,
    Planted::LinkToDirectory,
    Planted::LinkToNothing,
    Planted::Pipe,
    Planted::Socket,
    Planted::EmptyFile,
    Planted::Garbage,
];

impl Planted {
    /// Puts it under `path`; links lead to what is in `outside`.
    fn put(self, path: &Path, outside: &Path) {
        let _ = fs::remove_file(path);
        match self {
            Self::EmptyDirectory => fs::create_dir(path).unwrap(),
            Self::FullDirectory => fs::create_dir_all(path.join("somebody's")).unwrap(),
            Self::LinkToFile => symlink(outside.join("file"), path).unwrap(),
            Self::LinkToDirectory => symlink(outside, path).unwrap(),
            Self::LinkToNothing => symlink(outside.join("nothing"), path).unwrap(),
            Self::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Self::Socket => drop(UnixListener::bind(path).unwrap()),
            Self::EmptyFile => fs::write(path, "").unwrap(),
            Self::Garbage => fs::write(path, "garbage ".repeat(100)).unwrap(),
        }
    }
}

/// A backend with one entry under key 1, the path of that entry, and a place outside.
async fn with_entry() -> (Place, PathBuf, tempfile::TempDir) {
    let (place, outside) = (place(small()), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("file"), "not ours").unwrap();
    place.files.set(&key(1), "old".into(), MINUTE).await.unwrap();
    let path = only_entry(&place.dir);
    (place, path, outside)
}

/// Everything that is done with key 1 works, as if nothing had been there.
async fn works(place: &Place, what: &str) {
    let (files, key) = (&place.files, key(1));
    files.get(&key).await.expect(what);
    files.remove(&key).await.expect(what);
    let token = LeaseToken::random();
    assert_eq!(files.lease(&key, MINUTE, token, None).await.expect(what), Lease::Granted, "{what}");
    assert!(files.renew(&key, MINUTE, token).await.expect(what), "{what}");
    assert!(files.fill(&key, "filled".into(), MINUTE, token).await.expect(what), "{what}");
    assert_eq!(files.get(&key).await.unwrap().as_deref(), Some(&b"filled"[..]), "{what}");
    files.set(&key, "new".into(), MINUTE).await.expect(what);
    assert_eq!(files.get(&key).await.unwrap().as_deref(), Some(&b"new"[..]), "{what}");
}

#[tokio::test]
async fn planted_file_for_an_entry_lease_or_lock_breaks_no_key() {
    for planted in ALL {
        for role in ["entry", "lease", "lock"] {
            let what = format!("{planted:?} for the {role}");
            let (place, path, outside) = with_entry().await;
            let target = match role {
                "entry" => path.clone(),
                "lease" => path.with_extension("lease"),
                _ => place.dir.join(".cachekit.lock"),
            };
            planted.put(&target, outside.path());
            works(&place, &what).await;
            assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"not ours", "{what}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
            let kept: Vec<_> = listing(&place.dir).into_iter().filter(|name| name.contains(".aside.")).collect();
            if matches!(planted, Planted::FullDirectory) {
                assert_eq!(kept.len(), 1, "{what}: {kept:?}");
                assert!(place.dir.join(&kept[0]).join("somebody's").exists(), "{what}: it is kept");
            }
            File::open_with_clock(&place.dir, small(), place.clock()).expect(&what);
        }
    }
}

#[test]
fn files_that_this_user_may_not_read_are_fatal_for_no_key() {
    let parent = tempfile::tempdir().unwrap();
    Child::start_unprivileged("meet unreadable files", parent.path()).finish();
}

/// In a child that cannot read them.
pub(super) async fn meet_unreadable_files(dir: &Path) {
    let files = File::open(dir.join("cache"), small()).unwrap();
    let (dir, key) = (dir.join("cache"), key(1));
    files.set(&key, "old".into(), MINUTE).await.unwrap();
    let entry = only_entry(&dir);
    for target in [entry.clone(), entry.with_extension("lease"), dir.join(".cachekit.lock")] {
        fs::write(&target, "").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(fs::read(&target).is_err(), "the child may read everything");
        let found = files.get(&key).await.unwrap();
        assert_eq!(found.is_some(), target != entry, "{target:?}");
        assert!(leased(&files, &key, MINUTE).await.unwrap().is_some(), "{target:?}");
        files.set(&key, "new".into(), MINUTE).await.unwrap();
        assert_eq!(files.get(&key).await.unwrap().as_deref(), Some(&b"new"[..]), "{target:?}");
    }
}

#[tokio::test]
async fn a_directory_for_an_entry_harms_no_count() {
    let (place, path, outside) = with_entry().await;
    for _ in 0..50 {
        Planted::EmptyDirectory.put(&path, outside.path());
        place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    }
    place.clock.advance(Duration::from_secs(31));
    for id in 0..80 {
        place.files.set(&key(id), "v".into(), MINUTE).await.unwrap();
    }
    assert_eq!(place.files.get(&key(0)).await.unwrap().as_deref(), Some(&b"v"[..]), "80 entries are within the cap");
}

#[tokio::test]
async fn a_directory_that_was_replaced_is_checked_before_it_is_used() {
    let (place, _, outside) = with_entry().await;
    let away = place.dir.with_file_name("away");
    let refused = async |why: &str| {
        for kind in [
            place.files.set(&key(1), "secret".into(), MINUTE).await.unwrap_err(),
            place.files.get(&key(1)).await.unwrap_err(),
            leased(&place.files, &key(1), MINUTE).await.unwrap_err(),
            place.files.ping().await.unwrap_err(),
        ] {
            assert!(kind.kind() == ErrorKind::Backend && kind.to_string().contains(why), "{kind}");
        }
    };
    fs::rename(&place.dir, &away).unwrap();
    symlink(outside.path(), &place.dir).unwrap();
    refused("is a symbolic link").await;
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was written there");

    fs::remove_file(&place.dir).unwrap();
    fs::create_dir(&place.dir).unwrap();
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o777)).unwrap();
    refused("writable by others").await;

    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None, "another directory");
    works(&place, "a directory that passes").await;

    fs::remove_dir_all(&place.dir).unwrap();
    fs::rename(&away, &place.dir).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"old"[..]), "the first one is back");
}

#[tokio::test]
async fn directory_writable_by_others_is_refused_until_it_is_closed() {
    let (place, ..) = with_entry().await;
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o722)).unwrap();
    assert_eq!(place.files.set(&key(1), "v".into(), MINUTE).await.unwrap_err().kind(), ErrorKind::Backend);
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o700)).unwrap();
    works(&place, "closed").await;
}

fn limits(entries: u64) -> FileLimits {
    let mut limits = small();
    limits.max_entries = entries;
    limits
}

#[tokio::test]
async fn larger_of_two_limits_wins_and_the_second_process_is_warned() {
    let place = place(limits(400));
    let second = File::open_with_clock(&place.dir, limits(100), place.clock()).unwrap();
    let third = File::open_with_clock(&place.dir, limits(400), place.clock()).unwrap();
    let warned = |files: &File| {
        let builder = CacheBuilder::new().intent(Intent::Minimal).backend(files.clone());
        let warnings = builder.build().unwrap().warnings();
        warnings.iter().filter(|warning| warning.contains("CACHEKIT_FILE_MAX_SIZE_MB")).count()
    };
    assert_eq!([&place.files, &second, &third].map(warned), [0, 1, 0]);

    for id in 0..300 {
        second.set(&key(id), "v".into(), MINUTE * 600).await.unwrap();
    }
    let held = async || {
        let keys: Vec<_> = (0..300).map(key).collect();
        place.files.get_many(&keys).await.unwrap().iter().flatten().count()
    };
    assert_eq!(held().await, 300, "the smaller process throws nothing out");
    place.clock.advance(MINUTE * 61);
    second.set(&key(0), "v".into(), MINUTE * 600).await.unwrap();
    assert!(held().await <= 70, "the larger one has not written for an hour: {}", held().await);
}

#[tokio::test]
async fn of_different_sizes_the_larger_wins() {
    let place = place(small());
    let mut large = small();
    large.max_size = 64 * MIB;
    let larger = File::open_with_clock(&place.dir, large, place.clock()).unwrap();
    for id in 0..8 {
        place.files.set(&key(id), vec![0; 900_000].into(), MINUTE).await.unwrap();
    }
    for id in 0..8 {
        assert!(larger.get(&key(id)).await.unwrap().is_some(), "{id}");
    }
}
