//! Life and batches, within a process and across two.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use cachekit::ErrorKind;
use cachekit::backends::{Backend, File};

use super::child::Child;
use super::support::{MIB, MINUTE, entries, key, listing, only_entry, patient, place, small};
use harness::support::leased;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn an_entry_without_end_lives_longest() {
    let place = place(small());
    fs::write(place.dir.join("582992d52d563cfc1eec671a3b89bd6e"), b"CK\x01\0\0\0\0\0\0\0\0\0\0\0never ends").unwrap();
    let longest = place.files.capabilities().max_ttl;
    assert_eq!(place.files.ttl(&key(42)).await.unwrap(), Some(longest));
    place.clock.advance(longest);
    assert_eq!(place.files.get(&key(42)).await.unwrap().as_deref(), Some(&b"never ends"[..]));
}

#[tokio::test]
async fn what_get_does_not_find_has_no_ttl() {
    let place = place(small());
    assert_eq!(place.files.ttl(&key(1)).await.unwrap(), None, "never stored");
    place.files.set(&key(1), "a good value".into(), MINUTE).await.unwrap();
    let path = only_entry(&place.dir);
    let good = fs::read(&path).unwrap();

    let mut later = good.clone();
    later[4] = 1;
    let large = [&good[..], &vec![0; MIB as usize]].concat();
    for (name, left) in [("flags of a later version", &later), ("too large", &large)] {
        fs::write(&path, left).unwrap();
        assert_eq!(place.files.ttl(&key(1)).await.unwrap(), None, "{name}");
        assert_eq!(fs::read(&path).unwrap(), *left, "{name}: it is left alone");
    }
    for (name, gone) in [("half a header", &good[..7]), ("no entry", &b"garbage that is no entry"[..])] {
        fs::write(&path, gone).unwrap();
        assert_eq!(place.files.ttl(&key(1)).await.unwrap(), None, "{name}");
        assert!(!path.exists(), "{name}: it is removed");
    }
    let outside = place.dir.with_file_name("outside");
    fs::write(&outside, &good).unwrap();
    symlink(&outside, &path).unwrap();
    assert_eq!(place.files.ttl(&key(1)).await.unwrap(), None, "a link");
    assert!(path.is_symlink() && fs::read(&outside).unwrap() == good);
}

#[tokio::test]
async fn batches_wait_for_the_lock_and_reads_do_not() {
    let place = place(small());
    place.files.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let mut holder = Child::start("hold lock", &place.dir);
    assert_eq!(holder.answer(), "locked");
    let keys = [key(1), key(2)];
    assert_eq!(place.files.remove_many(&keys).await.unwrap_err().kind(), ErrorKind::Timeout);
    let items = vec![(key(2), "w".into())];
    assert_eq!(place.files.set_many(items, HOUR).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(place.files.ttl(&key(1)).await.unwrap(), Some(Duration::from_millis(60_500)));
    assert_eq!(place.files.get_many(&keys).await.unwrap(), [Some("v".into()), None]);
    assert_eq!(listing(&place.dir).len(), 2, "the temporary files are gone");
    holder.finish();
    place.files.remove_many(&keys).await.unwrap();
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

    assert_eq!(child.ask("fill k8 filled"), "true");
    assert_eq!(child.ask("lease k9"), "granted");
    files.remove_many(&[key("k9"), key("absent"), key("k8")]).await.unwrap();
    assert_eq!(child.ask("fill k9 late"), "false", "remove_many does");
    assert!(leased(&files, &key("k9"), MINUTE).await.unwrap().is_some());
    assert_eq!(entries(&place.dir).len(), 17, "all but k4, k8 and k9");
    child.finish();
}
