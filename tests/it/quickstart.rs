//! The quickstart, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs the example; the rows of its table as (computed, from L1, from files), and its last line.
fn run(directory: &Path, cache: &Path) -> (Vec<[u64; 3]>, String) {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "cachekit-typed", "--all-features", "--example", "quickstart", "--"]);
    command.arg(directory).arg(cache);
    let output = command.env_remove("LOG_LEVEL").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_pass, computed, l1, files, _time] = words[..] else { return None };
        Some([computed.parse().ok()?, l1.parse().ok()?, files.parse().ok()?])
    });
    (rows.collect(), text.lines().last().unwrap().to_owned())
}

#[test]
fn quickstart_computes_once_and_its_next_run_hits_the_files() {
    let place = tempfile::tempdir().unwrap();
    let (source, cache) = (place.path().join("source"), place.path().join("cache"));
    fs::create_dir_all(source.join("below")).unwrap();
    fs::write(source.join("one.txt"), "words words words\nother\n").unwrap();
    fs::write(source.join("below/two.txt"), "words\n").unwrap();
    fs::write(source.join("below/empty.txt"), "").unwrap();
    let summary = "30 bytes in 3 lines; most frequent words: words (4), other (1)";
    assert_eq!(run(&source, &cache), (vec![[3, 0, 0], [0, 3, 0]], summary.to_owned()));
    assert_eq!(run(&source, &cache), (vec![[0, 0, 3], [0, 3, 0]], summary.to_owned()));
    fs::write(source.join("one.txt"), "changed\n").unwrap();
    let (rows, summary) = run(&source, &cache);
    assert_eq!(rows, [[1, 0, 2], [0, 3, 0]], "a changed file has another key");
    assert_eq!(summary, "14 bytes in 2 lines; most frequent words: changed (1), words (1)");
}
