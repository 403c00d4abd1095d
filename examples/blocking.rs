//! A program without async, whose threads share a cache.
//!
//! ```text
//! cargo run --example blocking --features blocking
//! ```

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use cachekit::backends::NoBackend;
use cachekit::blocking::TypedCache;
use cachekit::codec::{Checked, Postcard};
use cachekit::{CacheBuilder, ComputeError, Loaded};

/// Texts by their ids. They are long, so they are not cloned for the cache.
struct Library {
    texts: Vec<String>,
    counted: AtomicU32,
}

impl Library {
    /// The slow part.
    fn words(&self, id: usize) -> io::Result<usize> {
        let text = self.texts.get(id).ok_or(io::ErrorKind::NotFound)?;
        self.counted.fetch_add(1, Relaxed);
        thread::sleep(Duration::from_millis(20));
        Ok(text.split_whitespace().count())
    }
}

type Counts = TypedCache<usize, usize, NoBackend, Checked<Postcard>>;

/// One text. The closure runs on this thread and borrows the library; threads that ask for the same text wait for it.
fn count(counts: &Counts, library: &Library, id: usize) -> Result<usize, ComputeError<io::Error>> {
    counts.get_or_compute(&id, || library.words(id))
}

/// Several texts: the closure is asked for all that have to be counted.
fn count_all(counts: &Counts, library: &Library) -> Result<usize, ComputeError<io::Error>> {
    let found = counts.get_or_compute_many(0..library.texts.len(), |missing| {
        let mut loaded = Loaded::new();
        for id in missing {
            match library.words(id) {
                Ok(words) => loaded.insert(id, words),
                Err(error) => loaded.insert_error(id, error),
            }
        }
        Ok(loaded)
    });
    found.into_iter().map(|words| Ok(words?.unwrap_or_default())).sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    let cache = CacheBuilder::new().namespace("library").ttl(Duration::from_secs(60)).build_blocking()?;
    let counts = cache.typed("words")?;
    let texts = ["one", "one two", "one two three"].map(str::to_owned).to_vec();
    let library = Library { texts, counted: AtomicU32::new(0) };

    let answers: Vec<Result<usize, ComputeError<io::Error>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| count(&counts, &library, 2))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let words = answers.into_iter().sum::<Result<usize, _>>()?;
    println!("16 threads have got {words} words; counted {} text", library.counted.swap(0, Relaxed));
    let words = count_all(&counts, &library)?;
    println!("all texts have {words} words; counted {} more", library.counted.swap(0, Relaxed));
    match count(&counts, &library, 7) {
        Err(ComputeError::Failed(error)) => println!("text 7: {error}"),
        other => println!("text 7: {} words", other?),
    }
    cache.close(Duration::from_secs(10))?;
    Ok(())
}
