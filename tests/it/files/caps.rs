//! The caps on entries and bytes, by one process and by several.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cachekit::ErrorKind;
use cachekit::backends::{Backend, File};

use super::child::Child;
use super::support::{MIB, MINUTE, Place, entries, key, make_older, only_entry, place, small};

fn bytes(dir: &Path) -> u64 {
    entries(dir).iter().map(|(_, length)| length).sum()
}

#[tokio::test]
async fn a_hundred_sets_under_a_cap_of_a_hundred_leave_seventy_nine() {
    let place = place(small());
    for id in 0..100 {
        place.files.set(&key(id), "v".into(), MINUTE).await.unwrap();
        assert!(entries(&place.dir).len() <= 90, "after set {id}");
        assert_eq!(place.files.get(&key(id)).await.unwrap().as_deref(), Some(&b"v"[..]), "just written");
    }
    // The 91st goes down to 70, nine more follow.
    assert_eq!(entries(&place.dir).len(), 79);
}

#[tokio::test]
async fn the_oldest_go_and_the_newest_stay() {
    let place = place(small());
    for id in 0..90 {
        place.files.set(&key(id), format!("value {id}").into(), MINUTE).await.unwrap();
        for (name, _) in entries(&place.dir) {
            let path = place.dir.join(name);
            if fs::read(&path).unwrap().ends_with(format!("value {id}").as_bytes()) {
                make_older(&path, Duration::from_secs(1_000 - id));
            }
        }
    }
    place.files.set(&key("last"), "v".into(), MINUTE).await.unwrap();
    for id in 0..90 {
        let expected = (id >= 21).then(|| format!("value {id}").into());
        assert_eq!(place.files.get(&key(id)).await.unwrap(), expected, "{id}");
    }
}

#[tokio::test]
async fn file_being_replaced_is_not_evicted_though_it_is_the_oldest() {
    let place = place(small());
    place.files.set(&key("big"), vec![0; 1_000].into(), MINUTE).await.unwrap();
    make_older(&only_entry(&place.dir), Duration::from_secs(1_000));
    for id in 0..17 {
        place.files.set(&key(id), vec![0; 100_000].into(), MINUTE).await.unwrap();
    }
    assert_eq!(entries(&place.dir).len(), 18);
    place.files.set(&key("big"), vec![1; 900_000].into(), MINUTE).await.unwrap();
    assert_eq!(place.files.get(&key("big")).await.unwrap().unwrap(), vec![1; 900_000]);
    assert!(bytes(&place.dir) <= 2 * MIB * 70 / 100);
    assert_eq!(entries(&place.dir).len(), 6, "five of 100,000 bytes fit beside it");
}

#[tokio::test]
async fn bytes_are_capped_too() {
    let place = place(small());
    for id in 0..60 {
        place.files.set(&key(id), vec![0; fastrand::usize(..200_000)].into(), MINUTE).await.unwrap();
        assert!(bytes(&place.dir) <= 2 * MIB * 90 / 100, "after set {id}");
    }
    place.files.set(&key("most"), vec![0; 1 << 20].into(), MINUTE).await.unwrap();
    assert!(bytes(&place.dir) <= 2 * MIB * 90 / 100);
}

#[tokio::test]
async fn replacing_and_removing_are_accounted_for() {
    let place = place(small());
    for _ in 0..10 {
        for id in 0..8 {
            place.files.set(&key(id), vec![0; 200_000].into(), MINUTE).await.unwrap();
        }
        for id in 0..8 {
            place.files.set(&key(id), vec![0; 220_000].into(), MINUTE).await.unwrap();
        }
        assert_eq!(entries(&place.dir).len(), 8, "eight of them fit, so none is evicted");
        for id in 0..8 {
            place.files.remove(&key(id)).await.unwrap();
        }
    }
    for id in 0..8 {
        place.files.set(&key(id), vec![0; 200_000].into(), Duration::from_secs(1)).await.unwrap();
    }
    place.clock.advance(MINUTE / 6);
    for id in 0..8 {
        assert_eq!(place.files.get(&key(id)).await.unwrap(), None);
        place.files.set(&key((id, "next")), vec![0; 220_000].into(), MINUTE).await.unwrap();
    }
    assert_eq!(entries(&place.dir).len(), 8, "expired ones made room");
}

#[tokio::test]
async fn value_above_max_value_is_refused_before_any_file_is_written() {
    let place = place(small());
    let refused = place.files.set(&key(1), vec![0; (1 << 20) + 1].into(), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(entries(&place.dir), []);
    place.files.set(&key(1), vec![0; 1 << 20].into(), MINUTE).await.unwrap();
}

#[tokio::test]
async fn what_foreign_writers_left_is_counted_after_half_a_minute() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    for id in 0_u128..200 {
        fs::write(place.dir.join(format!("{id:032x}")), b"CK\x01").unwrap();
    }
    place.clock.advance(MINUTE / 2);
    place.files.set(&key(2), "v".into(), MINUTE).await.unwrap();
    assert_eq!(entries(&place.dir).len(), 70);
}

#[tokio::test]
async fn a_damaged_or_missing_ledger_is_counted_anew() {
    let place = place(small());
    let lock = place.dir.join(".cachekit.lock");
    let damages: [&dyn Fn(); 4] = [
        &|| fs::write(&lock, "").unwrap(),
        &|| fs::write(&lock, [0; 48]).unwrap(),
        &|| fs::write(&lock, [0xFF; 4_096]).unwrap(),
        &|| fs::remove_file(&lock).unwrap(),
    ];
    for damage in damages {
        for id in 0_u128..91 {
            fs::write(place.dir.join(format!("{id:032x}")), b"CK\x01").unwrap();
        }
        damage();
        place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
        assert_eq!(entries(&place.dir).len(), 70);
        assert!(lock.exists());
    }
}

#[test]
fn the_caps_hold_with_eight_writers_in_each_of_two_processes() {
    let place = place(small());
    let mut children = [Child::start("crowd", &place.dir), Child::start("crowd", &place.dir)];
    let lock = fs::File::options().read(true).write(true).open(place.dir.join(".cachekit.lock")).unwrap();
    let mut looks = 0;
    while !children.iter_mut().all(Child::has_ended) {
        // Under the lock the directory holds still, so a listing is exact.
        lock.lock().unwrap();
        let found = entries(&place.dir);
        lock.unlock().unwrap();
        let bytes: u64 = found.iter().map(|(_, length)| length).sum();
        assert!(found.len() <= 90, "{} entries", found.len());
        assert!(bytes <= 2 * MIB * 90 / 100, "{bytes} bytes");
        looks += 1;
    }
    for child in children {
        child.finish();
    }
    assert!(looks > 10, "looked {looks} times");
    assert!(!entries(&place.dir).is_empty());
}

/// A directory of `entries` files that another program has left, and a backend for so many.
fn crowded(entries: u128, max_entries: u64) -> (Place, File) {
    let mut limits = small();
    limits.max_entries = max_entries;
    let place = place(limits);
    for id in 0..entries {
        fs::write(place.dir.join(format!("{id:032x}")), b"CK\x01").unwrap();
    }
    fs::remove_file(place.dir.join(".cachekit.lock")).unwrap();
    let files = File::open_with_clock(&place.dir, limits, place.clock()).unwrap();
    (place, files)
}

/// Sets new keys until the directory is as asked, for half a minute at most. Returns how many entries one of them removed
/// at most.
async fn set_until(files: &File, dir: &Path, is_so: impl Fn(usize) -> bool) -> usize {
    let held = || fs::read_dir(dir).unwrap().filter(|item| item.as_ref().unwrap().file_name().len() == 32).count();
    let (begun, mut most, mut before) = (Instant::now(), 0, held());
    for id in 0.. {
        files.set(&key(("more", id)), "v".into(), MINUTE).await.unwrap();
        let now = held();
        most = most.max((before + 1).saturating_sub(now));
        before = now;
        if is_so(now) {
            return most;
        }
        assert!(begun.elapsed() < MINUTE / 2, "{now} entries");
    }
    unreachable!()
}

#[tokio::test]
async fn of_many_entries_a_few_go_with_each_set() {
    let (place, files) = crowded(1_350, 1_500);
    let most = set_until(&files, &place.dir, |entries| entries <= 1_100).await;
    assert!((1..=64).contains(&most), "{most} entries went with one set");
    // It ends at about 70 %, until the directory is full again.
    set_until(&files, &place.dir, |entries| entries > 1_110).await;
    assert!(entries(&place.dir).len() < 1_120);
}

#[tokio::test]
async fn the_oldest_of_many_go_and_the_newest_stay() {
    let (place, files) = crowded(1_349, 1_500);
    for id in 0_u128..1_349 {
        make_older(&place.dir.join(format!("{id:032x}")), Duration::from_secs(10_000 - id as u64));
    }
    set_until(&files, &place.dir, |entries| entries <= 1_200).await;
    let left = entries(&place.dir);
    let planted: Vec<_> = left.iter().filter(|(_, length)| *length == 3).map(|(name, _)| name.clone()).collect();
    let expected: Vec<_> = (1_349 - planted.len()..1_349).map(|id| format!("{id:032x}")).collect();
    assert_eq!(planted, expected);
}

#[tokio::test]
async fn a_value_that_needs_room_at_once_gets_it() {
    let mut limits = small();
    (limits.max_entries, limits.max_size, limits.max_value) = (10_000, 40 * MIB, 20 * MIB);
    let place = place(limits);
    for id in 0_u128..2_200 {
        fs::write(place.dir.join(format!("{id:032x}")), [&b"CK\x01"[..], &[0; 16 << 10]].concat()).unwrap();
    }
    fs::remove_file(place.dir.join(".cachekit.lock")).unwrap();
    let files = File::open_with_clock(&place.dir, limits, place.clock()).unwrap();
    files.set(&key(1), vec![0; 20 << 20].into(), MINUTE).await.unwrap();
    assert!(bytes(&place.dir) <= 40 * MIB, "{} bytes", bytes(&place.dir));
    assert_eq!(files.get(&key(1)).await.unwrap().map(|value| value.len()), Some(20 << 20));
}

#[tokio::test]
async fn what_foreign_writers_left_among_many_is_counted_apart() {
    let (place, files) = crowded(2_000, 10_000);
    let counted = || {
        let ledger = fs::read(place.dir.join(".cachekit.lock")).unwrap();
        u64::from_be_bytes(ledger[16..24].try_into().unwrap())
    };
    let set = async || files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    set().await;
    assert_eq!(counted(), 2_001);
    for id in 2_000_u128..3_000 {
        fs::write(place.dir.join(format!("{id:032x}")), b"CK\x01").unwrap();
    }
    set().await;
    assert_eq!(counted(), 2_001, "young enough to be believed");
    place.clock.advance(MINUTE / 2);
    set().await;
    let begun = Instant::now();
    while counted() != 3_001 {
        assert!(begun.elapsed() < MINUTE / 2, "{} entries", counted());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
