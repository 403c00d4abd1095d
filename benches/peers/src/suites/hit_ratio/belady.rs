//! Belady's optimum: of what is there, the entry goes that is asked for last.

use std::collections::BinaryHeap;

/// Never asked for again.
const NEVER: u32 = u32::MAX;

/// The hits of the best cache of so many entries of one size. Keys are numbers below `distinct`.
///
/// A new entry counts as one that may go at once: a cache need not keep what it computes.
pub(super) fn hits(requests: &[u32], distinct: usize, capacity: usize) -> usize {
    let next = next_uses(requests, distinct);
    // When each key is used next, if it is there.
    let mut there: Vec<Option<u32>> = vec![None; distinct];
    let mut heap: BinaryHeap<(u32, u32)> = BinaryHeap::new();
    let (mut held, mut hits) = (0, 0);
    for (key, next) in requests.iter().zip(next) {
        let slot = &mut there[*key as usize];
        if slot.is_some() {
            hits += 1;
        } else {
            held += 1;
        }
        *slot = Some(next);
        heap.push((next, *key));
        while held > capacity {
            let Some((when, last)) = heap.pop() else { break };
            // What was asked for since then has a later line of its own in the heap.
            if there[last as usize] == Some(when) {
                there[last as usize] = None;
                held -= 1;
            }
        }
    }
    hits
}

/// For each request, when its key is asked for again.
fn next_uses(requests: &[u32], distinct: usize) -> Vec<u32> {
    let mut seen = vec![NEVER; distinct];
    let mut next = vec![NEVER; requests.len()];
    for (when, key) in requests.iter().enumerate().rev() {
        next[when] = std::mem::replace(&mut seen[*key as usize], when as u32);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries everything.
    fn best(requests: &[u32], there: &[u32], capacity: usize) -> usize {
        let [key, rest @ ..] = requests else { return 0 };
        if there.contains(key) {
            return 1 + best(rest, there, capacity);
        }
        let all: Vec<u32> = there.iter().copied().chain([*key]).collect();
        if all.len() <= capacity {
            return best(rest, &all, capacity);
        }
        let without = |gone: &u32| all.iter().copied().filter(|key| key != gone).collect::<Vec<_>>();
        all.iter().map(|gone| best(rest, &without(gone), capacity)).max().unwrap_or(0)
    }

    #[test]
    fn no_choice_of_what_goes_has_more_hits() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..300 {
            let requests: Vec<u32> = (0..10).map(|_| random.u32(..5)).collect();
            for capacity in 1..4 {
                assert_eq!(hits(&requests, 5, capacity), best(&requests, &[], capacity), "{requests:?} {capacity}");
            }
        }
    }
}
