//! Says all that is known of one entry.

use std::process::ExitCode;

use cachekit::codec::{Codec as _, Compressed, Json, Postcard};
use cachekit::{CacheBuilder, EntryState, Environment, Error, Explanation, Intent, TierEntry};
use serde_json::{Value, json};

use super::args::{Key, Scope};
use super::connect::{self, Parts};
use super::failure::Failure;
use super::output::{FAINT, Out, STRONG, size, styled};

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Key,
) -> Result<ExitCode, Failure> {
    let cache = connect::cache(environment.clone(), scope)?;
    let stored = cache.stored(Parts(&options.key)).await?;
    // Two caches over one namespace would be told of.
    drop(cache);
    let stack = stored.as_ref().and_then(|stored| stored.stack());
    let why = explain(environment, scope, &options.key, stack.as_deref()).await?;
    let [length, header] = [stored.as_ref().map(|it| it.bytes().len()), stored.as_ref().map(|it| it.header_len())];
    if out.json {
        out.json(&json!({
            "key": options.key, "domain": scope.domain, "stack": stack, "size": length, "header_size": header,
            "backend": why.l2().map(tier), "verdict": verdict(&why), "answered": why.verdict().is_ok(),
            "reason": why.verdict().err().map(|reason| reason.name()),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |title: &str, text: String| format!("{}  {text}", styled(FAINT, format!("{title:<8}")));
    out.line(styled(STRONG, why.key().as_str()))?;
    if let (Some(length), Some(header)) = (length, header) {
        let codecs = stack.unwrap_or_else(|| "none that this library knows".to_owned());
        out.line(row("size", format!("{}, of which {header} B header", size(length))))?;
        out.line(row("codecs", codecs))?;
    }
    if let Some(entry) = why.l2() {
        out.line(row("backend", entry.to_string()))?;
    }
    out.line(row("verdict", verdict(&why)))?;
    if let Some(domain) = domain_in(&options.key, scope) {
        anstream::eprintln!("{}", styled(FAINT, domain));
    }
    Ok(ExitCode::SUCCESS)
}

/// What to say where a key is given as `keys` lists it, with its domain.
fn domain_in(key: &str, scope: &Scope) -> Option<String> {
    let (domain, key) = key.strip_prefix('+').filter(|_| scope.domain.is_none())?.split_once(':')?;
    Some(format!("for the key {key} of the domain {domain} say: -d {domain} {key}"))
}

/// What the cache says that has the codecs of the entry.
async fn explain(
    environment: Environment,
    scope: &Scope,
    key: &str,
    stack: Option<&str>,
) -> Result<Explanation, Error> {
    let builder = CacheBuilder::from_environment(environment).namespace(&scope.namespace).l1_enabled(false);
    macro_rules! asked {
        ($builder:expr) => {{
            let cache = $builder.build()?;
            let cache = scope.domain.as_ref().map_or(Ok(cache.clone()), |domain| cache.domain(domain))?;
            cache.entry(Parts(key)).explain().await
        }};
    }
    let encrypted = stack.is_some_and(|stack| stack.starts_with("encrypted("));
    match stack.and_then(|stack| stack.split('(').next_back()).map(|base| base.trim_end_matches(')')) {
        Some("json") if encrypted => asked!(builder.codec(Compressed::new(Json)).intent(Intent::Secure)),
        Some("json") if stack == Some("json") => asked!(builder.codec(Json).intent(Intent::Minimal)),
        Some("json") if stack == Some("checked(json)") => asked!(builder.codec(Json)),
        Some("json") => asked!(builder.codec(Compressed::new(Json))),
        _ if encrypted => asked!(builder.intent(Intent::Secure)),
        _ if stack == Some("checked(postcard)") => asked!(builder.codec(Postcard)),
        _ if stack == Some(&*Postcard.name()) => asked!(builder.codec(Postcard).intent(Intent::Minimal)),
        _ if stack == Some("compressed(postcard)") => asked!(builder.intent(Intent::Minimal)),
        _ => asked!(builder),
    }
}

fn verdict(why: &Explanation) -> String {
    match why.verdict() {
        Ok(outcome) => format!("a call is answered ({outcome:?})"),
        Err(reason) => format!("a call computes: {reason}"),
    }
}

fn tier(entry: &TierEntry) -> Value {
    let reason = if let EntryState::Missing(reason) = entry.state { Some(reason.name()) } else { None };
    json!({
        "state": entry.state.name(), "reason": reason, "age_seconds": entry.age.as_secs_f64(), "fresh_seconds": entry.fresh_for.as_secs_f64(),
        "remaining_seconds": entry.remaining.as_secs_f64(), "grace_seconds": entry.grace.as_secs_f64(),
        "cost_seconds": entry.cost.as_secs_f64(), "tags": entry.tags.iter().map(|tag| format!("{tag:016x}")).collect::<Vec<_>>(),
        "error": entry.error.as_ref().map(ToString::to_string),
    })
}
