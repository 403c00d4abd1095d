//! All targets on their corpora, and on mutations of them, for a while.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::TARGETS;

/// The longest input.
const LONGEST: usize = 4 << 10;

/// How long all of them take together: as `FUZZ_SECONDS` says, else a few seconds.
fn time() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").map(|text| text.parse().expect("FUZZ_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(4))
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| fs::read(file.expect("it is listed").path()).expect("it can be read")).collect()
}

/// Another input, made of those there are.
fn mutated(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut bytes = random.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..random.u8(1..=6) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len());
        match random.u8(..7) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
            1 => bytes.insert(at, random.u8(..)),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let other = random.choice(corpus).map_or(&[][..], |other| other);
                let from = random.usize(..=other.len());
                let to = random.usize(from..=other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            4 => {
                let number =
                    [0, 1, 127, 1 << 16, 104_857_600, 1 << 31, 1 << 63, u64::MAX][random.usize(..8)].to_be_bytes();
                let width = [1, 2, 4, 8][random.usize(..4)];
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, number[8 - width..].iter().copied());
            }
            5 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => bytes.truncate(at),
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

#[test]
fn no_bytes_from_outside_break_a_promise() {
    let share = time() / TARGETS.len() as u32;
    for (name, target) in TARGETS {
        let (corpus, begun, mut random) = (corpus(name), Instant::now(), Rng::new());
        corpus.iter().for_each(|bytes| target(bytes));
        let (mut executions, mut longest) = (corpus.len(), Duration::ZERO);
        while begun.elapsed() < share {
            let (bytes, started) = (mutated(&corpus, &mut random), Instant::now());
            let ended = std::panic::catch_unwind(|| target(&bytes));
            assert!(ended.is_ok(), "`{name}` fails on the bytes \"{}\"", bytes.escape_ascii());
            longest = longest.max(started.elapsed());
            executions += 1;
        }
        println!("{name:>18} {executions:>9} executions, the longest {longest:?}");
    }
}
