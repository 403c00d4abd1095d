//! Whether a backend does what a cache needs: one write, one read, one removal, one lease.

use std::time::Duration;

use cachekit::backends::AnyBackend;
use cachekit::{Backend, Error, ErrorKind, Finding, Key, Lease, LeaseToken};

/// How long what is stored lives, should it not be removed again.
const LIFE: Duration = Duration::from_secs(10);

pub(super) async fn run(backend: &AnyBackend, probe: &Key) -> Vec<Finding> {
    let mut found = Vec::new();
    match stored(backend, probe).await {
        Ok(None) => found.push(Finding::note("a write, a read and a removal work")),
        Ok(Some(odd)) => found.push(odd),
        Err(error) => found.push(Finding::of_error(&error).follows("nothing is stored, and every miss computes")),
    }
    if !backend.capabilities().leases {
        let text =
            format!("the {} backend has no leases: each process computes for itself", backend.capabilities().name);
        found.push(Finding::note(text));
        return found;
    }
    match leased(backend, probe).await {
        Ok(None) => found.push(Finding::note("a lease works")),
        Ok(Some(odd)) => found.push(odd),
        Err(error) => {
            let follows = "several processes may compute a value at the same time";
            let odd = Finding::of_error(&error).follows(follows);
            found.push(if error.kind() == ErrorKind::Unsupported {
                Finding::warning(odd.found, odd.fix).follows(follows)
            } else {
                odd
            });
        }
    }
    found
}

async fn stored(backend: &AnyBackend, probe: &Key) -> Result<Option<Finding>, Error> {
    backend.set(probe, "cachekit".into(), LIFE).await?;
    let read = backend.get(probe).await?;
    backend.remove(probe).await?;
    let gone = backend.get(probe).await?.is_none();
    Ok(match read.as_deref() {
        Some(b"cachekit") if gone => None,
        Some(b"cachekit") => Some(Finding::error(
            "a key that was removed is still there",
            "see whether a proxy or replica answers reads",
        )),
        _ => {
            Some(Finding::error("what was written is not what is read", "see whether a proxy or replica answers reads"))
        }
    })
}

async fn leased(backend: &AnyBackend, probe: &Key) -> Result<Option<Finding>, Error> {
    let (first, second) = (LeaseToken::random(), LeaseToken::random());
    let granted = backend.lease(probe, LIFE, first, None).await?;
    let refused = backend.lease(probe, LIFE, second, None).await;
    let filled = backend.fill(probe, "cachekit".into(), LIFE, first).await;
    backend.remove(probe).await?;
    let works = granted == Lease::Granted && refused? == Lease::Held && filled?;
    Ok((!works).then(|| {
        let fix = "see whether all processes reach the same server, and no proxy answers for it";
        Finding::error("a lease was granted twice, or did not fill", fix)
    }))
}
