//! Writers killed at any moment.

use std::time::Duration;

use cachekit::backends::{Backend, File};

use super::child::Child;
use super::support::{MIB, MINUTE, assert_whole, entries, key, listing, make_older, patient, place, sealed, small};

const ROUNDS: usize = 50;

#[tokio::test]
async fn no_kill_leaves_half_an_entry() {
    let place = place(small());
    // On the system's clock, like the children.
    let files = File::open(&place.dir, patient()).unwrap();
    let mut seen = 0;
    for round in 0..ROUNDS {
        let mut child = Child::start("scribble", &place.dir);
        for _ in 0..=fastrand::usize(..12) {
            assert_eq!(child.answer(), "written");
        }
        for _ in 0..fastrand::usize(..200_000) {
            std::hint::spin_loop();
        }
        child.kill();
        for id in 0..20 {
            let name = format!("k{id}");
            if let Some(value) = files.get(&key(&name)).await.unwrap() {
                assert_whole(&name, &value);
                seen += 1;
            }
        }
        files.set(&key("after"), sealed("after", round), MINUTE).await.unwrap();
        assert_whole("after", &files.get(&key("after")).await.unwrap().unwrap());
        let bytes: u64 = entries(&place.dir).iter().map(|(_, length)| length).sum();
        assert!(bytes <= 2 * MIB, "{bytes} bytes");
    }
    assert!(seen > ROUNDS, "{seen} entries seen");

    let is_temp = |name: &String| name.contains(".tmp.");
    for name in listing(&place.dir).iter().filter(|name| is_temp(name)) {
        make_older(&place.dir.join(name), Duration::from_secs(61));
    }
    File::open(&place.dir, small()).unwrap();
    assert!(!listing(&place.dir).iter().any(is_temp), "what the killed left is cleaned up");
}
