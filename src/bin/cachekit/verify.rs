//! Opens entries with the keys of this environment.

use std::process::ExitCode;

use cachekit::Environment;
use cachekit::codec::Keyring;
use serde_json::json;

use super::args::{Sampled, Scope};
use super::failure::Failure;
use super::output::{BAD, GOOD, Out, styled};
use super::{connect, get, sample, stats};

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Sampled,
) -> Result<ExitCode, Failure> {
    let keyring = Keyring::from_environment(&environment).ok();
    let cache = connect::cache(environment, scope)?;
    let (entries, more) = sample::take(&cache, options.limit).await?;
    let mut reasons =
        stats::counted(&entries, |entry| get::open(entry, keyring.as_ref()).err().unwrap_or_default().to_owned());
    let readable = reasons.remove("").unwrap_or(0);
    let unreadable = entries.len() - readable;
    if out.json {
        out.json(&json!({
            "entries": entries.len(), "complete": !more, "readable": readable, "unreadable": unreadable,
            "reasons": reasons,
        }))?;
    } else {
        out.line(format!("{} {readable} of {} entries can be read", styled(GOOD, "✓"), entries.len()))?;
        for (reason, count) in &reasons {
            out.line(format!("{} {count}: {reason}", styled(BAD, "✗")))?;
        }
    }
    Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
