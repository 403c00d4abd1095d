//! Batches of a blocking cache.

use std::time::Instant;

use cachekit::testing::{Chaos, Fault};
use cachekit::{ComputeError, Loaded, Operation};

use super::*;

type Found = Loaded<u32, u32, Broken>;

#[test]
fn closure_of_a_batch_borrows_and_is_asked_once_for_what_is_missing() {
    let cache = cache();
    cache.set(1u32, 10u32).unwrap();
    let (factor, mut asked) = (Rc::new(10), Vec::new());
    let found = cache.get_or_compute_many([3u32, 1, 2, 3, 4], |missing| {
        asked.extend(missing.clone());
        let mut found: Found = missing.iter().filter(|key| **key < 4).map(|key| (*key, key * *factor)).collect();
        found.insert_error(4, Broken("no row"));
        Ok(found)
    });
    let [three, one, two, again, four] = <[_; 5]>::try_from(found).unwrap();
    assert_eq!([three, one, two, again].map(|found| found.unwrap()), [Some(30), Some(10), Some(20), Some(30)]);
    assert_eq!(four.unwrap_err().failed(), Some(&Broken("no row")));
    asked.sort_unstable();
    assert_eq!(asked, [2, 3, 4]);
    let typed = cache.typed::<u32, u32>("typed").unwrap();
    let found = typed
        .get_or_compute_many([1, 2], |keys| Ok::<Found, Broken>(keys.into_iter().map(|key| (key, key + 4)).collect()));
    assert_eq!(found.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Some(5), Some(6)]);
    assert_eq!(typed.get_many([2, 1]).unwrap(), [Some(6), Some(5)]);
}

#[test]
fn batches_of_many_threads_compute_each_key_once() {
    let (cache, computed) = (cache(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for start in 0..16u32 {
            let (cache, computed) = (&cache, &computed);
            scope.spawn(move || {
                let found = cache.get_or_compute_many(start..start + 50, |missing| {
                    computed.fetch_add(missing.len(), SeqCst);
                    thread::sleep(Duration::from_millis(20));
                    Ok::<Found, Broken>(missing.into_iter().map(|key| (key, key)).collect())
                });
                let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
                assert_eq!(found, (start..start + 50).map(Some).collect::<Vec<_>>());
            });
        }
    });
    assert_eq!(computed.load(SeqCst), 65);
}

#[test]
fn panic_of_a_batch_is_one_of_its_caller() {
    let cache = cache();
    let panics = || cache.get_or_compute_many([1u32, 2], |_| -> Result<Found, Broken> { panic!("no luck") });
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"no luck"));
    let found = cache.get_or_compute_many([1u32], |_| Err::<Found, _>(Broken("down")));
    assert!(matches!(&found[0], Err(ComputeError::Failed(error)) if **error == Broken("down")));
}

#[test]
fn what_was_answered_waits_for_nothing_that_goes_on_behind_it() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let cache = CacheBuilder::new().backend(chaos.clone()).intent(Intent::Production).build_blocking().unwrap();
    cache.set("found", 1u32).unwrap();
    // Writes hang, and so do leases that are given back.
    for operation in [Operation::Set, Operation::Remove] {
        chaos.control().inject(operation, Fault::Hang);
    }
    let begun = Instant::now();
    for key in 0..40u32 {
        cache.get_or_compute(key, || Ok::<_, Broken>(key)).unwrap();
        assert_eq!(cache.entry("found").skip_l1_read().get_or_compute(|| Ok::<_, Broken>(2u32)).unwrap(), 1);
        let keys = 100 + key * 2..102 + key * 2;
        let found = cache.get_or_compute_many(keys, |keys| Ok::<Found, Broken>(keys.into_iter().zip(1..).collect()));
        assert!(found.into_iter().all(|value| value.unwrap().is_some()));
    }
    assert!(begun.elapsed() < Duration::from_millis(250) * 40, "{:?}", begun.elapsed());
    chaos.control().heal();
}
