//! Lists entries.

use std::process::ExitCode;

use cachekit::{Environment, Stored};
use serde_json::json;

use super::args::{Sampled, Scope};
use super::duration::short;
use super::failure::Failure;
use super::output::{FAINT, Out, printable, size, styled};
use super::{connect, sample};

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Sampled,
) -> Result<ExitCode, Failure> {
    let cache = connect::cache(environment, scope)?;
    let (entries, more) = sample::take(&cache, options.limit).await?;
    if out.json {
        let rows: Vec<_> = entries.iter().map(|entry| row(entry, scope)).collect();
        out.json(&json!({ "namespace": scope.namespace, "domain": scope.domain, "complete": !more, "entries": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<String> = entries.iter().map(|entry| printable(connect::name(entry.key(), scope))).collect();
    let width = names.iter().map(String::len).max().unwrap_or(3).min(60);
    if !entries.is_empty() {
        out.line(styled(FAINT, format!("{:width$}  {:>10}  {:>9}  state", "key", "size", "remaining")))?;
    }
    for (entry, name) in entries.iter().zip(&names) {
        let (bytes, left) = (size(entry.bytes().len()), short(entry.remaining()));
        out.line(format!("{name:width$}  {bytes:>10}  {left:>9}  {}", sample::state(entry)))?;
    }
    if entries.is_empty() {
        anstream::eprintln!("{}", styled(FAINT, "nothing is stored there: -n names a namespace, -d a domain of it"));
    }
    let rest = if more { ", and there are more: raise --limit" } else { "" };
    out.line(styled(FAINT, format!("{} entries{rest}", entries.len())))?;
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &Stored, scope: &Scope) -> serde_json::Value {
    json!({
        "key": connect::name(entry.key(), scope),
        "size": entry.bytes().len(),
        "remaining_seconds": entry.remaining().as_secs_f64(),
        "state": sample::state(entry),
        "stack": entry.stack(),
        "tags": entry.tags(),
    })
}
