//! Existence, life, touch and batches, within a process and across two.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use cachekit::ErrorKind;
use cachekit::backends::{Backend, File};

use super::child::Child;
use super::support::{
    MIB, MINUTE, Place, START, assert_whole, entries, key, listing, only_entry, patient, place, sealed, small,
};
use crate::support::leased;

const HOUR: Duration = Duration::from_secs(3_600);

/// What exists, ttl and touch say of key 1.
async fn life(place: &Place) -> (bool, Option<Duration>, bool) {
    let files = &place.files;
    let (exists, ttl) = (files.exists(&key(1)).await.unwrap(), files.ttl(&key(1)).await.unwrap());
    (exists, ttl, files.touch(&key(1), HOUR).await.unwrap())
}

#[tokio::test]
async fn a_touch_changes_the_eight_bytes_of_the_expiry_and_nothing_else() {
    let place = place(small());
    let value = sealed("k", 100_000);
    place.files.set(&key(1), value.clone(), MINUTE).await.unwrap();
    let before = fs::read(only_entry(&place.dir)).unwrap();
    let ledger = fs::read(place.dir.join(".cachekit.lock")).unwrap();
    assert_eq!(place.files.ttl(&key(1)).await.unwrap(), Some(Duration::from_millis(60_500)), "rounded up to 61 s");

    assert!(place.files.touch(&key(1), HOUR).await.unwrap());
    let after = fs::read(only_entry(&place.dir)).unwrap();
    assert_eq!((&after[..6], &after[14..]), (&before[..6], &before[14..]));
    assert_eq!(after[6..14], (START / 1_000 + 3_601).to_be_bytes());
    assert_eq!(place.files.ttl(&key(1)).await.unwrap(), Some(Duration::from_millis(3_600_500)));
    assert_eq!(place.files.get(&key(1)).await.unwrap(), Some(value));
    assert_eq!(listing(&place.dir).len(), 2, "the entry and the lock, no temporary file");
    assert_eq!(fs::read(place.dir.join(".cachekit.lock")).unwrap(), ledger, "the directory holds as much as before");

    assert!(place.files.touch(&key(1), Duration::from_millis(1)).await.unwrap());
    place.clock.set(START + 499);
    assert!(place.files.exists(&key(1)).await.unwrap());
    place.clock.set(START + 500);
    assert_eq!(life(&place).await, (false, None, false));
    assert_eq!(listing(&place.dir), [".cachekit.lock"], "an expired entry is removed");
}

#[tokio::test]
async fn an_entry_without_end_lives_longest_until_it_is_touched() {
    let place = place(small());
    fs::write(place.dir.join("582992d52d563cfc1eec671a3b89bd6e"), b"CK\x01\0\0\0\0\0\0\0\0\0\0\0never ends").unwrap();
    let longest = place.files.capabilities().max_ttl;
    assert_eq!(place.files.ttl(&key(42)).await.unwrap(), Some(longest));
    assert!(place.files.touch(&key(42), MINUTE).await.unwrap());
    assert_eq!(place.files.get(&key(42)).await.unwrap().as_deref(), Some(&b"never ends"[..]));
    place.clock.advance(2 * MINUTE);
    assert_eq!(place.files.get(&key(42)).await.unwrap(), None);
}

#[tokio::test]
async fn what_get_does_not_find_neither_exists_nor_is_touched() {
    let place = place(small());
    assert_eq!(life(&place).await, (false, None, false), "never stored");
    place.files.set(&key(1), "a good value".into(), MINUTE).await.unwrap();
    let path = only_entry(&place.dir);
    let good = fs::read(&path).unwrap();

    let mut later = good.clone();
    later[4] = 1;
    let large = [&good[..], &vec![0; MIB as usize]].concat();
    for (name, left) in [("flags of a later version", &later), ("too large", &large)] {
        fs::write(&path, left).unwrap();
        assert_eq!(life(&place).await, (false, None, false), "{name}");
        assert_eq!(fs::read(&path).unwrap(), *left, "{name}: it is left alone");
    }
    for (name, gone) in [("half a header", &good[..7]), ("no entry", &b"garbage that is no entry"[..])] {
        fs::write(&path, gone).unwrap();
        assert_eq!(life(&place).await, (false, None, false), "{name}");
        assert!(!path.exists(), "{name}: it is removed");
    }
    let outside = place.dir.with_file_name("outside");
    fs::write(&outside, &good).unwrap();
    symlink(&outside, &path).unwrap();
    assert_eq!(life(&place).await, (false, None, false), "a link");
    assert!(path.is_symlink() && fs::read(&outside).unwrap() == good);
}

#[tokio::test]
async fn touch_waits_for_the_lock_and_the_others_do_not() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let mut holder = Child::start("hold lock", &place.dir);
    assert_eq!(holder.answer(), "locked");
    let keys = [key(1), key(2)];
    assert_eq!(place.files.touch(&key(1), HOUR).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(place.files.remove_many(&keys).await.unwrap_err().kind(), ErrorKind::Timeout);
    let items = vec![(key(2), "w".into())];
    assert_eq!(place.files.set_many(items, HOUR).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(place.files.exists(&key(1)).await.unwrap());
    assert_eq!(place.files.ttl(&key(1)).await.unwrap(), Some(Duration::from_millis(60_500)));
    assert_eq!(place.files.get_many(&keys).await.unwrap(), [Some("v".into()), None]);
    assert_eq!(listing(&place.dir).len(), 2, "the temporary files are gone");
    holder.finish();
    assert!(place.files.touch(&key(1), HOUR).await.unwrap());
}

#[tokio::test]
async fn batches_are_one_store_with_another_process() {
    let place = place(small());
    let files = File::open(&place.dir, patient()).unwrap();
    let mut child = Child::start("serve", &place.dir);
    let items = (0..20).map(|id| (key(format!("k{id}")), format!("v{id}").into())).collect();
    files.set_many(items, MINUTE).await.unwrap();
    assert_eq!(child.ask("get k7"), r#"Some(b"v7")"#);
    assert_eq!(child.ask("lease k8"), "granted");
    assert_eq!(child.ask("set k3 new"), "done");
    assert_eq!(child.ask("remove k4"), "done");
    let keys = ["k3", "k4", "k5"].map(key);
    assert_eq!(files.get_many(&keys).await.unwrap(), [Some("new".into()), None, Some("v5".into())]);

    assert_eq!(child.ask("touch k5 7200"), "true");
    assert_eq!(child.ask("touch k4 7200"), "false");
    let left = files.ttl(&key("k5")).await.unwrap().unwrap();
    assert!(left > HOUR && left <= Duration::from_secs(7_201), "{left:?}");
    assert!(files.touch(&key("k8"), MINUTE).await.unwrap());
    assert_eq!(child.ask("fill k8 filled"), "true", "a touch ends no lease");
    assert_eq!(child.ask("lease k9"), "granted");
    files.remove_many(&[key("k9"), key("absent"), key("k8")]).await.unwrap();
    assert_eq!(child.ask("fill k9 late"), "false", "remove_many does");
    assert!(leased(&files, &key("k9"), MINUTE).await.unwrap().is_some());
    assert_eq!(entries(&place.dir).len(), 17, "all but k4, k8 and k9");
    child.finish();
}

#[tokio::test]
async fn a_touch_beside_writers_and_readers_neither_hides_an_entry_nor_brings_an_old_one_back() {
    let place = place(small());
    let files = File::open(&place.dir, patient()).unwrap();
    files.set(&key("k"), sealed("k", 5_000), MINUTE).await.unwrap();
    let mut child = Child::start("touch", &place.dir);
    assert_eq!(child.answer(), "touched");
    for round in 0..200 {
        let value = sealed("k", 1_000 + round);
        files.set(&key("k"), value.clone(), MINUTE).await.unwrap();
        for _ in 0..10 {
            let found = files.get(&key("k")).await.unwrap().expect("an entry that is touched is there");
            assert_whole("k", &found);
            assert_eq!(found.len(), value.len(), "round {round}: an old value is back");
            assert!(files.exists(&key("k")).await.unwrap());
        }
    }
    assert_eq!(child.answer(), "touched", "meanwhile, too");
    child.kill();
}
