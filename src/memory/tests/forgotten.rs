//! What is forgotten, expired or cleared.

use super::*;

fn labels(tags: &[u64]) -> Labels {
    Labels { tags: tags.into(), validator: None }
}

#[test]
fn what_was_forgotten_gives_way_before_what_lives() {
    for tagged in [false, true] {
        let orders = Orders::new(None, 0);
        let l1 = L1::with_shards(MIB, 1..=1, Arc::clone(&orders));
        let old = |n: u64| Entry { labels: labels(if tagged { &[1] } else { &[] }), ..entry(n, 400) };
        (0..).take_while(|n| l1.len() == *n as usize).for_each(|n| assert!(l1.put(&key(n), old(n), 0, || true)));
        let full = l1.len() as u64;
        for _ in 0..3 {
            // Reads of the past buy nothing.
            (0..full).for_each(|n| _ = read(&l1, &key(n)));
        }
        if tagged {
            orders.forget_tag(1)
        } else {
            orders.forget_all()
        }
        let fresh: Vec<_> = (10_000..10_000 + full).map(key).collect();
        for key in &fresh {
            assert!(l1.put(key, Entry { since: orders.latest(), ..entry(7, 400) }, 0, || true));
        }
        let kept = fresh.iter().filter(|key| read(&l1, key).is_some()).count();
        // The keys of the new ones are a little longer.
        assert!(kept as u64 >= full * 98 / 100, "{kept} of {full} newcomers are left (tagged: {tagged})");
        l1.validate(MIB);
    }
}

#[test]
fn one_key_expires_and_its_grace_begins() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let at = |n: u64, now| l1.get(key(n).name(), now).map(|hit| (hit.age, hit.times.expires));
    let with_grace = || Entry { fresh_until: 50, expires: 100, gone: 130, ..entry(1, 100) };
    for n in 1..=3 {
        l1.put(&key(n), with_grace(), 0, || true);
    }
    l1.expire(&key(1), 20);
    l1.expire(&key(1), 40);
    l1.expire(&key(2), 110);
    l1.expire(&key(9), 20);
    assert_eq!((at(1, 40), at(1, 49), at(1, 50)), (Some((Age::Expired, 20)), Some((Age::Expired, 20)), None));
    assert_eq!((at(2, 129), at(2, 130)), (Some((Age::Expired, 100)), None), "it had expired before");
    assert_eq!(at(3, 49), Some((Age::Fresh, 100)));
    l1.put(&key(4), until(100), 0, || true);
    l1.expire(&key(4), 20);
    assert_eq!(l1.len(), 1, "what has no grace leaves at once");
    l1.validate(MIB);
}

#[test]
fn an_expired_text_of_one_hash_is_not_another() {
    let l1 = L1::new(MIB, Orders::new(None, 0));
    let [a, b] = ["t:a", "t:b"].map(|text| Key::with_hash(text, 42));
    put(&l1, &a, 1, 100);
    l1.expire(&b, 0);
    assert_eq!(read(&l1, &a), Some(1));
}

#[test]
fn everything_expires_at_once_and_the_grace_of_each_begins() {
    let orders = Orders::new(None, 0);
    let l1 = L1::new(MIB, Arc::clone(&orders));
    let at = |n: u64, now| l1.get(key(n).name(), now).map(|hit| (hit.age, hit.times.expires));
    let with_grace = |since| Entry { fresh_until: 50, expires: 100, gone: 130, since, ..entry(1, 100) };
    l1.put(&key(1), with_grace(orders.latest()), 0, || true);
    l1.put(&key(2), with_grace(orders.latest()), 0, || true);
    orders.expire_all(20);
    l1.put(&key(3), with_grace(orders.latest()), 20, || true);
    assert_eq!((at(1, 25), at(1, 49)), (Some((Age::Expired, 25)), Some((Age::Expired, 49))));
    orders.expire_all(40);
    assert_eq!((at(1, 50), at(2, 50), l1.len()), (None, None, 1));
    assert_eq!((at(3, 69).map(|hit| hit.0), at(3, 70)), (Some(Age::Expired), None));
}

#[test]
fn clear_drops_values_outside_all_locks_and_frees_the_budget() {
    let l1 = Arc::new(L1::with_shards(MIB, 16..=16, Orders::new(None, 0)));
    let locked = Arc::new(AtomicBool::new(false));
    for n in 0..500 {
        let held = held(Nosy { l1: Arc::downgrade(&l1), locked: Arc::clone(&locked) });
        l1.put(&key(n), Entry { held, ..entry(0, 500) }, 0, || true);
    }
    assert!(put(&l1, &key(9_999), 1, MIB / 9));
    l1.clear();
    // Of what dropped values put.
    assert!(l1.len() <= 1 && !locked.load(Ordering::Relaxed));
    l1.validate(MIB);
    l1.clear();
    assert_eq!((l1.len(), l1.weight()), (0, 0));
    (0..4_000).for_each(|n| assert!(put(&l1, &key(n), n, 300)));
    assert!(l1.weight() > MIB * 9 / 10, "all of the budget is usable");
    l1.validate(MIB);
}

#[test]
fn reclaim_removes_forgotten_entries_in_steps_and_keeps_order() {
    let orders = Orders::new(None, 0);
    let l1 = L1::with_shards(MIB, 1..=1, Arc::clone(&orders));
    for n in 0..1_000 {
        let labels = labels(if n % 2 == 0 { &[1] } else { &[] });
        assert!(l1.put(&key(n), Entry { labels, ..entry(n, 400) }, 0, || true));
    }
    orders.forget_tag(1);
    let (mut progress, mut steps, mut done) = (Progress::default(), 0, false);
    while !done {
        let before = l1.len();
        done = l1.reclaim(&mut progress, 0);
        assert!(before - l1.len() <= 64);
        steps += 1;
    }
    assert_eq!((l1.len(), steps), (500, 1_000usize.div_ceil(64)));
    l1.validate(MIB);
    // What came first goes first.
    for n in 1_000.. {
        l1.put(&key(n), Entry { since: orders.latest(), ..entry(n, 400) }, 0, || true);
        if l1.len() < 500 + (n as usize - 999) - 100 {
            break;
        }
    }
    let kept: Vec<bool> = (0..1_000).filter(|n| n % 2 == 1).map(|n| read(&l1, &key(n)).is_some()).collect();
    assert!(kept.contains(&false) && kept.is_sorted(), "{kept:?}");
}
