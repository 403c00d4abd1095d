//! Files that are no entries.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::PathBuf;

use cachekit::backends::Backend;

use super::support::{MIB, MINUTE, Place, key, only_entry, place, small};

/// A backend with one good entry under key 1, and its path.
async fn with_entry() -> (Place, PathBuf, Vec<u8>) {
    let place = place(small());
    place.files.set(&key(1), "a good value".into(), MINUTE).await.unwrap();
    let path = only_entry(&place.dir);
    let bytes = fs::read(&path).unwrap();
    (place, path, bytes)
}

#[tokio::test]
async fn a_foreign_header_is_a_miss_and_removed() {
    let (place, path, good) = with_entry().await;
    for (at, byte) in [(0, 0x44), (1, 0x4C), (2, 0), (2, 2), (2, 0xFF)] {
        let mut bad = good.clone();
        bad[at] = byte;
        fs::write(&path, bad).unwrap();
        assert_eq!(place.files.get(&key(1)).await.unwrap(), None, "byte {at} = {byte}");
        assert!(!path.exists(), "byte {at} = {byte}");
    }
}

#[tokio::test]
async fn flags_of_a_later_version_are_a_miss_and_left() {
    let (place, path, good) = with_entry().await;
    for at in 3..6 {
        let mut later = good.clone();
        later[at] = 1;
        fs::write(&path, &later).unwrap();
        assert_eq!(place.files.get(&key(1)).await.unwrap(), None, "byte {at}");
        assert_eq!(fs::read(&path).unwrap(), later, "byte {at}");
    }
    place.files.set(&key(1), "ours".into(), MINUTE).await.unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"ours"[..]));
}

#[tokio::test]
async fn truncation_is_a_miss_within_the_header_and_a_prefix_beyond() {
    let (place, path, good) = with_entry().await;
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        let found = place.files.get(&key(1)).await.unwrap();
        // The header tells no length: beyond it, what is missing is for the codec to notice.
        assert_eq!(found.as_deref(), good[..length].get(14..), "{length} bytes");
        assert_eq!(path.exists(), length >= 14, "{length} bytes");
    }
}

#[tokio::test]
async fn corrupt_files_harm_no_others() {
    let place = place(small());
    for id in 0..20 {
        place.files.set(&key(id), format!("value {id}").into(), MINUTE).await.unwrap();
    }
    let damaged = [3, 7, 11];
    for id in damaged {
        let value = format!("value {id}");
        let is_it = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.ends_with(value.as_bytes()));
        let path = fs::read_dir(&place.dir).unwrap().map(|item| item.unwrap().path()).find(is_it).unwrap();
        fs::write(path, "garbage that is no entry").unwrap();
    }
    for id in 0..20 {
        let expected = (!damaged.contains(&id)).then(|| format!("value {id}").into());
        assert_eq!(place.files.get(&key(id)).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_link_is_never_followed() {
    let (place, path, good) = with_entry().await;
    let outside = place.dir.with_file_name("outside");
    fs::write(&outside, &good).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&outside, &path).unwrap();

    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    assert!(path.is_symlink(), "reading leaves it");
    place.files.set(&key(1), "mine".into(), MINUTE).await.unwrap();
    assert!(!path.is_symlink(), "writing replaces it");
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"mine"[..]));
    fs::remove_file(&path).unwrap();
    symlink(&outside, &path).unwrap();
    place.files.remove(&key(1)).await.unwrap();
    assert!(!path.is_symlink());
    assert_eq!(fs::read(&outside).unwrap(), good, "its target is untouched");
}

#[tokio::test]
async fn what_is_no_regular_file_is_a_miss_and_does_not_block() {
    let (place, path, _) = with_entry().await;
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    place.files.remove(&key(1)).await.unwrap();

    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    place.files.remove(&key(1)).await.unwrap();

    fs::create_dir(&path).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    place.files.remove(&key(1)).await.unwrap();
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[tokio::test]
async fn a_file_above_max_value_is_a_miss_and_left() {
    let (place, path, _) = with_entry().await;
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(MIB + 14).unwrap();
    file.write_all_at(b"!", MIB + 13).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap().map(|value| value.len() as u64), Some(MIB));
    file.set_len(MIB + 15).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    // Sparse: the disk holds little of it, memory would have to hold all.
    file.set_len(1 << 40).unwrap();
    assert_eq!(place.files.get(&key(1)).await.unwrap(), None);
    assert!(path.exists());
}

#[tokio::test]
async fn foreign_files_are_left_alone() {
    let place = place(small());
    let foreign = place.dir.join("notes.txt");
    fs::write(&foreign, vec![0; 3 << 20]).unwrap();
    for id in 0..100 {
        place.files.set(&key(id), "v".into(), MINUTE).await.unwrap();
    }
    assert_eq!(fs::metadata(foreign).unwrap().len(), 3 << 20);
}
