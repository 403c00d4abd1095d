//! Files: the backend in a directory of 10,000 entries, beside bare files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachekit::backends::{AnyBackend, File};
use cachekit::{FileLimits, Intent};

use super::redis::{bytes, workers};
use crate::Failure;
use crate::arguments::Arguments;
use crate::remote::way::{Operation, Pages, check};
use crate::remote::{Contender, Load, beside, metrics, ours};
use crate::report::Report;
use crate::rounds::Candidate;
use crate::threads::{self, Blocking};

const ABOUT: &str = "A directory with 10,000 entries of 200 bytes, or 1,000 of 16 KiB, in the temporary directory. Ours are \
    whole caches without L1 over `File`, with limits that leave room. Bare files: a thread for each task reads a file, or \
    writes one under another name and renames it; they keep no dates, no limits and no order of use.";
const TURN: Duration = Duration::from_millis(500);

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let runtime = workers()?;
    let mut cases = Vec::new();
    let sizes: &[(usize, usize)] = if arguments.quick { &[(200, 10_000)] } else { &[(200, 10_000), (16 << 10, 1_000)] };
    for (size, keys) in sizes {
        let (ours_in, bare_in) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let all = runtime.block_on(contenders(ours_in.path(), *keys, *size))?;
        let bare = Bare { directory: bare_in.path().to_owned(), pages: Pages::new("bare", *keys, *size) };
        (0..*keys).try_for_each(|id| bare.set(id))?;
        for (name, operation) in [("read", Operation::Get), ("write", Operation::Set)] {
            for tasks in [1, 16] {
                let load = Load { operation, tasks, keys: *keys, time: arguments.turn(TURN) };
                let bare = Candidate::new("bare std::fs", || threads::drive(&bare, load));
                cases.push(beside(&runtime, &all, bare, &format!("{name}, {}", bytes(*size)), load, arguments.rounds)?);
            }
        }
    }
    let remarks = Vec::new();
    Ok(Report { suite: "file", about: ABOUT, metrics: metrics(), references: vec!["bare"], cases, remarks })
}

async fn contenders(directory: &Path, keys: usize, size: usize) -> Result<Vec<Contender>, Failure> {
    let mut limits = FileLimits::default();
    limits.max_entries = 100_000;
    let open = |name: &str| Ok::<_, Failure>(AnyBackend::new(File::open(directory.join(name), limits)?));
    let production = ours::builder(open("production")?, Intent::Production).build()?;
    let minimal = ours::builder(open("minimal")?, Intent::Minimal).build()?;
    ours::both(production, minimal, keys, size).await
}

/// A file for each key.
struct Bare {
    directory: PathBuf,
    pages: Pages,
}

impl Blocking for Bare {
    fn get(&self, id: usize) -> Result<(), Failure> {
        check(&fs::read(self.directory.join(self.pages.name(id)))?, id)
    }

    fn set(&self, id: usize) -> Result<(), Failure> {
        let draft = self.directory.join(format!("draft-{:?}", std::thread::current().id()));
        fs::write(&draft, postcard::to_stdvec(self.pages.page(id))?)?;
        Ok(fs::rename(draft, self.directory.join(self.pages.name(id)))?)
    }
}
