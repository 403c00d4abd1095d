//! Which server has which key.
//!
//! Rendezvous hashing as the Python original does it, bit for bit, so that both find what the other stored: the score of
//! a server is the murmur3 hash of `host:port-key`, the highest wins, of equal ones the larger name. A server that
//! leaves takes only its own keys along.

/// The names of the servers, `host:port` without brackets.
#[derive(Debug)]
pub(super) struct Ring(Vec<String>);

impl Ring {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// The index of the server of `key`, of those that `serve`.
    pub(super) fn choose(&self, key: &str, serve: impl Fn(usize) -> bool) -> Option<usize> {
        let mut text = Vec::with_capacity(64 + key.len());
        let candidates = self.0.iter().enumerate().filter(|(index, _)| serve(*index));
        let scored = candidates.map(|(index, name)| {
            text.clear();
            text.extend_from_slice(name.as_bytes());
            text.push(b'-');
            text.extend_from_slice(key.as_bytes());
            (murmur3(&text), name, index)
        });
        scored.max_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))).map(|(.., index)| index)
    }
}

/// murmur3_x86_32 with seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, tail) = bytes.as_chunks();
    let mut hash = blocks.iter().fold(0u32, |hash, block| {
        (hash ^ scramble(u32::from_le_bytes(*block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let rest = tail.iter().rev().fold(0u32, |rest, byte| rest << 8 | u32::from(*byte));
    hash ^= scramble(rest);
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn three() -> Ring {
        Ring::new((1..=3).map(|host| format!("10.0.0.{host}:11211")).collect())
    }

    #[test]
    fn scores_are_those_of_the_original() {
        assert_eq!(murmur3(b""), 0);
        assert_eq!(murmur3(b"abc"), 0xb3dd_93fa);
        assert_eq!(murmur3(b"10.0.0.1:11211-foo"), 0xa84b_1a5f);
        assert_eq!(murmur3(b"10.0.0.2:11211-foo"), 0x35e3_a3b3);
    }

    #[test]
    fn servers_are_those_of_the_original() {
        for (key, server) in [("foo", 3), ("bar", 2), ("k0", 1), ("k1", 1), ("k2", 1), ("k3", 1)] {
            assert_eq!(three().choose(key, |_| true), Some(server - 1), "{key}");
        }
    }

    #[test]
    fn of_equal_scores_the_larger_name_wins() {
        // Two names of one score can only be the same name; the later one is found to be no smaller.
        let twins = Ring::new(vec!["a:1".into(), "a:1".into()]);
        assert_eq!(twins.choose("k", |_| true), Some(1));
        assert_eq!(three().choose("k", |_| false), None);
    }

    #[test]
    fn a_server_that_leaves_takes_only_its_own_keys() {
        for seed in 0..200 {
            let mut rng = Rng::with_seed(seed);
            let count = rng.usize(2..8);
            let left = rng.usize(..count);
            let ring = Ring::new((0..count).map(|host| format!("mc{host}:11211")).collect());
            for _ in 0..100 {
                let key = format!("users:{:x}/{}", rng.u64(..), "%".repeat(rng.usize(..20)));
                let before = ring.choose(&key, |_| true).unwrap();
                let after = ring.choose(&key, |index| index != left).unwrap();
                assert!(after != left && (before == left || before == after), "seed {seed}: {key}");
            }
        }
    }

    #[test]
    fn each_server_has_its_share() {
        let ring = three();
        let mut shares = [0; 3];
        for key in 0..3_000 {
            shares[ring.choose(&format!("users:{key}"), |_| true).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| (850..1_150).contains(share)), "{shares:?}");
    }
}
