//! Whether bytes can shrink, told without compressing them.
//!
//! Zlib saves in two ways: bytes that are frequent get short codes, and what came within the last 32 KiB is named by
//! its place. An image, an archive or what is encrypted offers neither, and compressing it takes longer than anything
//! else that happens to a value.

/// How many bytes are counted at most, in pieces that are spread over all.
const SAMPLE: usize = 4_096;
const PIECE: usize = 64;
/// How far back zlib looks.
const WINDOW: usize = 32 * 1024;
/// How many bytes tell a place that comes again.
const WORD: usize = 8;
const SLOTS: usize = 1_024;

/// Whether zlib may save more than about a hundredth.
pub(super) fn may_shrink(bytes: &[u8]) -> bool {
    is_uneven(bytes) || repeats(bytes)
}

/// Whether some bytes are more frequent than others: whether two are equal more often than two random ones, by a tenth.
fn is_uneven(bytes: &[u8]) -> bool {
    let mut counts = [0u64; 256];
    let mut count = |piece: &[u8]| piece.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let total = bytes.len().min(SAMPLE) as u64;
    if bytes.len() <= SAMPLE {
        count(bytes);
    } else {
        let (pieces, room) = (SAMPLE / PIECE, bytes.len() - PIECE);
        (0..pieces).map(|piece| room / (pieces - 1) * piece).for_each(|at| count(&bytes[at..at + PIECE]));
    }
    let equal: u64 = counts.iter().map(|count| count * count.saturating_sub(1)).sum();
    equal * 256 * 10 > total * total.saturating_sub(1) * 11
}

/// Whether a sixteenth of the bytes came before, no longer ago than zlib remembers.
///
/// One place in about 64 is looked at, chosen by its own bytes, so that what comes again is looked at again wherever it
/// lies.
fn repeats(bytes: &[u8]) -> bool {
    let mut last = [0u32; SLOTS];
    let (mut places, mut again) = (0u32, 0u32);
    for (at, word) in bytes.windows(WORD).enumerate() {
        let hash =
            u64::from_le_bytes(word.try_into().expect("a window has eight bytes")).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if hash >> 58 != 0 {
            continue;
        }
        places += 1;
        let slot = &mut last[(hash >> 40) as usize % SLOTS];
        let before = *slot as usize;
        again += u32::from(before < at && at - before <= WINDOW && bytes[before..before + WORD] == *word);
        *slot = at as u32;
    }
    again * 16 >= places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..len).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn random_bytes_do_not_shrink() {
        for len in [1_025, 4_097, 16 << 10, 256 << 10, 1 << 20] {
            assert!(!may_shrink(&noise(len)), "{len} bytes");
        }
    }

    #[test]
    fn text_does_and_so_does_a_fifth_of_it_among_random_bytes() {
        let text: String = (0..4_000).map(|n| format!("{{\"id\":{n},\"name\":\"user {}\"}}", n * 7 % 977)).collect();
        assert!(is_uneven(text.as_bytes()) && is_uneven(&text.as_bytes()[..1_025]));
        let mixed = [noise(100_000), text.as_bytes()[..25_000].to_vec()].concat();
        assert!(is_uneven(&mixed));
    }

    #[test]
    fn random_bytes_that_come_again_shrink_if_zlib_remembers_them() {
        let twice = |apart: usize| [noise(20_000), noise(apart).split_off(20_000), noise(20_000)].concat();
        assert!(!is_uneven(&twice(20_000)), "only where it comes again tells that it shrinks");
        assert!(repeats(&twice(20_000)) && repeats(&twice(30_000)));
        assert!(!repeats(&twice(60_000)), "too long ago");
        assert!(repeats(&noise(2_000).repeat(3)));
    }

    #[test]
    fn short_bytes_are_no_special_case() {
        for len in 0..2 * WORD {
            assert!(may_shrink(&vec![0; len]), "so few that compressing them costs little: {len}");
        }
        assert!(may_shrink(&[0; 1_025]));
    }
}
