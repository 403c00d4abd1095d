//! Shows what processes tell one another.

use std::process::ExitCode;
use std::time::Duration;

use cachekit::{Environment, Notice, Told};
use serde_json::json;
use tokio::time::Instant;

use super::args::{Scope, Watch};
use super::connect;
use super::failure::Failure;
use super::output::{FAINT, Out, STRONG, printable, styled};

/// The longest one question to the bus lasts.
const TURN: Duration = Duration::from_secs(1);

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Watch,
) -> Result<ExitCode, Failure> {
    let cache = connect::cache(environment, scope)?;
    let mut watch = cache.watch()?;
    let end = options.limit.map(|limit| Instant::now() + limit);
    watch.next(Duration::ZERO).await?;
    if !out.json {
        anstream::eprintln!("{}", styled(FAINT, format!("listening to namespace {}", scope.namespace)));
    }
    loop {
        let left = end.map_or(TURN, |end| end.saturating_duration_since(Instant::now()).min(TURN));
        let heard = tokio::select! {
            heard = watch.next(left) => heard?,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        heard.iter().try_for_each(|notice| show(&mut out, notice, scope, &options.tags))?;
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn show(out: &mut Out, notice: &Notice, scope: &Scope, named: &[String]) -> Result<(), Failure> {
    let (what, about) = match &notice.what {
        Told::Changed(key) => ("changed", connect::name(key, &namespace_of(scope)).to_owned()),
        Told::Expired(key) => ("expired", connect::name(key, &namespace_of(scope)).to_owned()),
        Told::Released(key) => ("computed", connect::name(key, &namespace_of(scope)).to_owned()),
        Told::Tags(tags) => ("tags", tags.iter().map(|tag| tag_name(*tag, scope, named)).collect::<Vec<_>>().join(" ")),
        Told::Everything => ("everything", String::new()),
        Told::EverythingExpired => ("everything-expired", String::new()),
        _ => ("gap", "something was told that was not heard".to_owned()),
    };
    let source = format!("{:016x}", notice.source);
    if out.json {
        out.json_line(&json!({ "what": what, "about": about, "source": source }))?;
    } else {
        let by = styled(FAINT, format!("by {}", &source[..8]));
        out.line(format!("{} {}  {by}", styled(STRONG, format!("{what:<10}")), printable(&about)))?;
    }
    Ok(())
}

/// Keys are told of for the whole namespace, with their domains.
fn namespace_of(scope: &Scope) -> Scope {
    Scope { namespace: scope.namespace.clone(), domain: None }
}

/// The name of a tag is not told: those of the domain in question, and of the tags that are `named`, are known.
fn tag_name(tag: u64, scope: &Scope, named: &[String]) -> String {
    if let Some(domain) = scope.domain.as_ref().filter(|domain| Told::domain(domain) == tag) {
        return format!("domain:{domain}");
    }
    match named.iter().find(|name| Told::tag(name) == tag) {
        Some(name) => name.clone(),
        None => format!("#{tag:016x}"),
    }
}
