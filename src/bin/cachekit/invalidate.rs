//! Forgets entries.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use cachekit::Environment;
use serde_json::json;

use super::args::{Invalidate, Scope};
use super::connect::{self, Parts};
use super::failure::Failure;
use super::output::Out;

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Invalidate,
) -> Result<ExitCode, Failure> {
    let Invalidate { keys, tags, all, yes } = options;
    let is_whole = *all || keys.is_empty() && tags.is_empty() && scope.domain.is_some();
    if !is_whole && keys.is_empty() && tags.is_empty() {
        return Err(Failure::Refused("say what to forget: keys, --tag, --domain or --all".to_owned()));
    }
    let whole = match &scope.domain {
        Some(domain) => format!("domain {domain} of namespace {}", scope.namespace),
        None => format!("namespace {}", scope.namespace),
    };
    if is_whole && !yes && !confirmed(&whole)? {
        return Err(Failure::Refused("nothing was forgotten".to_owned()));
    }
    let cache = connect::cache(environment, scope)?;
    let what = if is_whole {
        cache.invalidate_namespace().await?;
        whole
    } else if tags.is_empty() {
        for key in keys {
            cache.invalidate(Parts(key)).await?;
        }
        format!("{} keys", keys.len())
    } else {
        cache.invalidate_tags(tags.iter().map(String::as_str)).await?;
        format!("{} tags", tags.len())
    };
    connect::close(&cache).await?;
    if out.json {
        out.json(&json!({ "forgotten": what, "keys": keys, "tags": tags, "whole": is_whole }))?;
    } else {
        out.line(format!("forgotten: {what}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn confirmed(what: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let text = format!("say --yes to forget {what}: there is no terminal to ask at");
        return Err(Failure::Refused(text));
    }
    write!(io::stderr(), "Forget {what}, here and in all processes? [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
