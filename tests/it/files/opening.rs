//! Opening a directory: what is refused, what is cleaned.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachekit::backends::File;
use cachekit::{ErrorKind, FileLimits};

use super::support::{MIB, MINUTE, START, key, listing, make_older, place, small};
use harness::support::leased;

type Change = fn(&mut FileLimits);

fn refusal(dir: impl Into<PathBuf>, limits: FileLimits) -> String {
    let error = File::open(dir, limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    error.to_string()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn missing_parents_are_created_for_the_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    File::open(&dir, small()).unwrap();
    for made in ["a", "a/b"] {
        let mode = fs::metadata(parent.path().join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{made}");
    }
}

#[test]
fn what_is_not_a_directory_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refusal(&file, small()).contains("is not a directory"));
    assert!(refusal(file.join("below"), small()).contains("cannot be"));
    assert!(refusal("", small()).contains("empty name"));
}

#[test]
fn a_link_to_a_directory_is_refused_however_it_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let (real, link) = (parent.path().join("real"), parent.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    for written in [link.clone(), link.join(""), link.join(".")] {
        assert!(refusal(written, small()).contains("is a symbolic link"));
    }
    assert_eq!(fs::read_dir(real).unwrap().count(), 0, "nothing was written through the link");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("shared");
    fs::create_dir(&dir).unwrap();
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        chmod(&dir, mode);
        assert!(refusal(&dir, small()).contains("chmod go-w"), "{mode:o}");
    }
    chmod(&dir, 0o755);
    File::open(&dir, small()).unwrap();
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("theirs");
    fs::create_dir(&dir).unwrap();
    let foreign = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&dir, Some(12_345), None).unwrap();
        dir
    } else {
        PathBuf::from("/")
    };
    assert!(refusal(foreign, small()).contains("belongs to another user"));
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, below) = if rustix::process::geteuid().is_root() {
        (PathBuf::from("/proc"), PathBuf::from("/proc/cachekit"))
    } else {
        chmod(parent.path(), 0o500);
        (parent.path().to_owned(), parent.path().join("below"))
    };
    assert!(refusal(dir, small()).contains("cannot be written to"));
    assert!(refusal(below, small()).contains("cannot be created"));
    chmod(parent.path(), 0o700);
}

#[test]
fn symlink_in_place_of_the_lock_is_moved_aside_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    let outside = parent.path().join("outside");
    let dir = parent.path().join("cache");
    fs::create_dir(&dir).unwrap();
    symlink(&outside, dir.join(".cachekit.lock")).unwrap();
    File::open(&dir, small()).unwrap();
    assert!(fs::symlink_metadata(dir.join(".cachekit.lock")).unwrap().is_file());
    assert!(!outside.exists());
}

#[test]
fn limits_out_of_range_are_refused_all_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("never");
    let with = |change: Change| {
        let mut limits = small();
        change(&mut limits);
        limits
    };
    let accepted: [Change; 7] = [
        |limits| limits.max_size = 1_000_000 * MIB,
        |limits| limits.max_value = MIB,
        |limits| limits.max_entries = 100,
        |limits| limits.max_entries = 1_000_000,
        |limits| limits.lock_timeout = Duration::from_millis(500),
        |limits| limits.lock_timeout = Duration::from_secs(30),
        |limits| *limits = FileLimits::default(),
    ];
    for change in accepted {
        File::open(parent.path().join("cache"), with(change)).unwrap();
    }
    let refused: [(&str, Change); 9] = [
        ("max_size", |limits| limits.max_size = MIB - 1),
        ("max_size", |limits| limits.max_size = 1_000_000 * MIB + 1),
        ("max_value", |limits| limits.max_value = MIB - 1),
        ("max_value", |limits| limits.max_value = MIB + 1),
        ("max_value", |limits| limits.max_size = 2 * MIB - 1),
        ("max_entries", |limits| limits.max_entries = 99),
        ("max_entries", |limits| limits.max_entries = 1_000_001),
        ("lock_timeout", |limits| limits.lock_timeout = Duration::from_millis(499)),
        ("lock_timeout", |limits| limits.lock_timeout = Duration::from_millis(30_001)),
    ];
    for (name, change) in refused {
        let said = refusal(&dir, with(change));
        assert!(said.starts_with(name) && said.contains("CACHEKIT_FILE_"), "{said}");
    }
    let all = with(|limits| {
        (limits.max_size, limits.max_value) = (0, 0);
        (limits.max_entries, limits.lock_timeout) = (0, Duration::ZERO);
    });
    assert_eq!(refusal(&dir, all).lines().count(), 4);
    assert!(!dir.exists(), "nothing is created for limits that are wrong");
}

#[tokio::test]
async fn stale_temporary_files_are_removed_and_fresh_ones_kept() {
    let place = place(small());
    let hash = "00c0ffee00c0ffee00c0ffee00c0ffee";
    let [stale, python, fresh, foreign] =
        [format!("{hash}.tmp.1.1"), format!("{hash}.tmp.9.1700000000"), format!("{hash}.tmp.2.2"), "x.tmp.1.1".into()];
    for name in [&stale, &python, &fresh, &foreign] {
        fs::write(place.dir.join(name), "half").unwrap();
    }
    for name in [&stale, &python, &foreign] {
        make_older(&place.dir.join(name), Duration::from_secs(61));
    }
    make_older(&place.dir.join(&fresh), Duration::from_secs(30));
    File::open(&place.dir, small()).unwrap();
    assert_eq!(listing(&place.dir), [".cachekit.lock", &fresh, &foreign]);
}

#[tokio::test]
async fn ended_leases_are_removed_with_the_temporary_files() {
    let place = place(small());
    let _ = leased(&place.files, &key(1), MINUTE).await.unwrap();
    let _ = leased(&place.files, &key(2), 3 * MINUTE).await.unwrap();
    place.clock.set(START + 60_000);
    File::open_with_clock(&place.dir, small(), place.clock()).unwrap();
    let leases = listing(&place.dir).into_iter().filter(|name| name.ends_with(".lease")).count();
    assert_eq!(leases, 1);
}
