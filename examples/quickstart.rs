//! Summaries of every file below a directory, computed once.
//!
//! ```text
//! cargo run --example quickstart [DIRECTORY [CACHE_DIRECTORY]]
//! ```
//! Reads each file, counts its bytes and lines, takes its SHA-256 and its most frequent words, twice: the first pass
//! computes or finds the entries of an earlier run, the second has them in memory. A changed file has another key, so
//! its old summary is simply not asked for.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};
use std::{env, fs, io};

use cachekit::backends::File;
use cachekit::codec::{Checked, Compressed, Postcard};
use cachekit::{Cache, CacheBuilder, Environment, FileLimits, Intent, Stats};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing_subscriber::filter::LevelFilter;

type Summaries = Cache<File, Checked<Compressed<Postcard>>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Summary {
    bytes: u64,
    lines: u64,
    sha256: String,
    words: Vec<(String, u64)>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let environment = Environment::from_env();
    // Whoever has a subscriber hears of warnings as events of level WARN.
    let level: LevelFilter = environment.log_level.to_string().parse()?;
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).init();
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let cache_directory = arguments.next().unwrap_or_else(|| env::temp_dir().join("cachekit-quickstart"));

    let summaries = CacheBuilder::from_environment(environment)
        .codec(Compressed::new(Postcard))
        .backend(File::open(&cache_directory, FileLimits::default())?)
        .intent(Intent::Dev)
        .namespace("summaries")
        .ttl(Duration::from_secs(24 * 3600))
        .build()?;

    let mut files = Vec::new();
    collect(&directory, &mut files)?;
    println!("{} files below {}, entries in {}\n", files.len(), directory.display(), cache_directory.display());
    println!("{:>5} {:>10} {:>10} {:>10} {:>12}", "pass", "computed", "from L1", "from files", "time");
    let mut total = None;
    for pass in 1..=2 {
        let (before, start) = (summaries.stats(), Instant::now());
        total = Some(summarize(&summaries, &files).await?);
        report(pass, before, summaries.stats(), start.elapsed());
    }
    summaries.close(Duration::from_secs(10)).await?;
    if let Some((bytes, lines, words)) = total {
        println!("\n{bytes} bytes in {lines} lines; most frequent words: {}", words.join(", "));
    }
    Ok(())
}

/// The summaries of all files, added up.
async fn summarize(summaries: &Summaries, files: &[PathBuf]) -> Result<(u64, u64, Vec<String>), Box<dyn Error>> {
    let (mut bytes, mut lines, mut counts) = (0, 0, HashMap::<String, u64>::new());
    for path in files {
        let (modified, file) = (modified(path)?, path.clone());
        let key = (path.to_string_lossy().into_owned(), modified);
        let summary = summaries.get_or_compute_arc(key, move || async move { summary(&file) }).await?;
        bytes += summary.bytes;
        lines += summary.lines;
        for (word, count) in &summary.words {
            *counts.entry(word.clone()).or_default() += count;
        }
    }
    Ok((bytes, lines, top(counts, 5).into_iter().map(|(word, count)| format!("{word} ({count})")).collect()))
}

/// The slow part.
fn summary(path: &Path) -> io::Result<Summary> {
    let content = fs::read(path)?;
    let text = String::from_utf8_lossy(&content);
    let mut counts = HashMap::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| word.len() > 3) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let digest = Sha256::digest(&content);
    Ok(Summary {
        bytes: content.len() as u64,
        lines: text.lines().count() as u64,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        words: top(counts, 20),
    })
}

fn top(counts: HashMap<String, u64>, most: usize) -> Vec<(String, u64)> {
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_unstable_by(|(word, count), (other, others)| others.cmp(count).then_with(|| word.cmp(other)));
    words.truncate(most);
    words
}

fn modified(path: &Path) -> io::Result<u64> {
    let since = path.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn report(pass: u32, before: Stats, after: Stats, time: Duration) {
    println!(
        "{pass:>5} {:>10} {:>10} {:>10} {time:>12.2?}",
        after.computed - before.computed,
        after.l1_hits - before.l1_hits,
        after.l2_hits - before.l2_hits,
    );
}
