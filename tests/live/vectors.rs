//! The formats that other processes read, byte for byte: what a cache stores, says and names.
//!
//! Programs of different versions share a backend. So each form of bytes that was ever released is written down here, is
//! read by every later version, and is what a version writes for as long as it writes that form at all.
//!
//! A file of vectors has sections: a name in brackets, then lines of bytes in hex, each followed by `#` and what they
//! are. `x12` repeats the byte in front of it. Bytes behind `~` are for each writer to choose, such as a random number:
//! they are read like all others, and not compared with what is written.

mod codecs;
mod entries;
mod files;
mod keys;
mod leases;
mod ledger;
mod messages;
mod shelf;

use std::fmt::Write as _;

/// One section of a file of vectors.
#[derive(Debug, Clone)]
struct Vector {
    name: String,
    bytes: Vec<u8>,
    /// Which of the bytes are for the writer to choose.
    chosen: Vec<bool>,
}

/// What to do when a form has changed.
const CHANGED: &str = "processes of other versions read and write this. A form that is to differ gets a kind or a \
                       version of its own, which older builds take for a miss, and a vector beside this one; the bytes \
                       of this vector stay";

/// The vector of this name in the text of a file.
fn vector(file: &str, name: &str) -> Vector {
    let mut lines = file.lines().skip_while(|line| *line != format!("[{name}]"));
    assert!(lines.next().is_some(), "there is no vector `{name}`");
    let mut vector = Vector { name: name.into(), bytes: Vec::new(), chosen: Vec::new() };
    for line in lines.take_while(|line| !line.starts_with('[')) {
        vector.add(line.split('#').next().unwrap());
    }
    vector
}

impl Vector {
    fn add(&mut self, line: &str) {
        let is_chosen = line.starts_with('~');
        for token in line.trim_start_matches('~').split_whitespace() {
            let more = match token.strip_prefix('x') {
                Some(count) => vec![*self.bytes.last().unwrap(); count.parse::<usize>().unwrap() - 1],
                None => vec![u8::from_str_radix(token, 16).unwrap()],
            };
            self.chosen.extend(more.iter().map(|_| is_chosen));
            self.bytes.extend(more);
        }
    }

    /// The bytes, with these in place of those that are for the writer to choose.
    fn with(&self, chosen: &[u8]) -> Vec<u8> {
        let mut chosen = chosen.iter();
        let pairs = self.bytes.iter().zip(&self.chosen);
        let bytes = pairs.map(|(byte, is_chosen)| if *is_chosen { *chosen.next().unwrap() } else { *byte }).collect();
        assert_eq!(chosen.next(), None, "more than is for the writer to choose");
        bytes
    }

    /// What stands in `written` where the writer may choose. Fails the test if the rest differs from the vector.
    fn check(&self, written: &[u8]) -> Vec<u8> {
        let is_same = |at: usize| self.chosen[at] || self.bytes[at] == written[at];
        let first = (0..self.bytes.len().min(written.len())).find(|at| !is_same(*at));
        let first = first.or((self.bytes.len() != written.len()).then_some(self.bytes.len().min(written.len())));
        if let Some(at) = first {
            let (name, expected, found) = (&self.name, hex(&self.bytes), hex(written));
            panic!("`{name}` is written differently from byte {at} on\n{expected}, it was\n{found}\nnow. {CHANGED}");
        }
        written.iter().zip(&self.chosen).filter(|(_, is_chosen)| **is_chosen).map(|(byte, _)| *byte).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x} ");
        out
    })
}

/// Fails the test unless a name is what it was.
fn same_name(name: &str, expected: &str) {
    assert!(name == expected, "`{expected}` was the name of what is `{name}` now: {CHANGED}");
}

#[test]
fn a_vector_tells_where_what_is_written_differs() {
    let vector = vector("[one]\nff # another\n[two] \n[two]\nC1 00 x3 # magic\n~ 07 # a number\n01\n[three]", "two");
    assert_eq!(vector.bytes, [0xC1, 0, 0, 0, 7, 1]);
    assert_eq!((vector.with(&[9]), vector.check(&[0xC1, 0, 0, 0, 5, 1])), (vec![0xC1, 0, 0, 0, 9, 1], vec![5]));
    for (written, at) in [(&[0xC1, 0, 0, 1, 7, 1][..], 3), (&[0xC1, 0, 0, 0, 7], 5), (&[0xC1, 0, 0, 0, 7, 1, 0], 6)] {
        let panic = std::panic::catch_unwind(|| vector.check(written)).unwrap_err();
        let message = panic.downcast::<String>().unwrap();
        assert!(
            message.contains(&format!("from byte {at} on")) && message.contains("a kind or a version"),
            "{message}"
        );
    }
}
