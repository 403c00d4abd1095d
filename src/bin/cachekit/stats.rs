//! Counts entries.

use std::collections::BTreeMap;
use std::process::ExitCode;

use cachekit::{Environment, Stored};
use serde_json::json;

use super::args::{Sampled, Scope};
use super::failure::Failure;
use super::output::{FAINT, Out, STRONG, size, styled};
use super::{connect, output, sample};

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Sampled,
) -> Result<ExitCode, Failure> {
    let cache = connect::cache(environment, scope)?;
    let report = cache.report();
    let (entries, more) = sample::take(&cache, options.limit).await?;
    let mut sizes: Vec<usize> = entries.iter().map(|entry| entry.bytes().len()).collect();
    sizes.sort_unstable();
    let total: usize = sizes.iter().sum();
    let at =
        |percent: usize| sizes.get((sizes.len() * percent / 100).min(sizes.len().max(1) - 1)).copied().unwrap_or(0);
    let ages = counted(&entries, |entry| sample::state(entry).to_owned());
    let stacks = counted(&entries, |entry| entry.stack().unwrap_or_else(|| "unknown".to_owned()));
    if out.json {
        out.json(&json!({
            "backend": report.backend, "address": report.address, "namespace": scope.namespace, "domain": scope.domain,
            "entries": entries.len(), "complete": !more, "bytes": total,
            "sizes": { "p50": at(50), "p95": at(95), "max": at(100) },
            "ages": ages, "stacks": stacks,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    out.line(format!("{}{}", styled(STRONG, report.backend), output::at(report.address.as_deref())))?;
    let rest = if more { " sampled, of more" } else { "" };
    out.line(format!("entries   {}{rest}, {}", entries.len(), size(total)))?;
    out.line(format!("sizes     p50 {}, p95 {}, largest {}", size(at(50)), size(at(95)), size(at(100))))?;
    for (title, counts) in [("ages", ages), ("codecs", stacks)] {
        for (name, count) in counts {
            let share = 100.0 * count as f64 / entries.len() as f64;
            out.line(format!("{title:<8}  {name} {count} {}", styled(FAINT, format!("({share:.1} %)"))))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn counted(entries: &[Stored], name: impl Fn(&Stored) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    entries.iter().for_each(|entry| *counts.entry(name(entry)).or_default() += 1);
    counts
}
