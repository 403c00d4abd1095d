//! The doctor: everything that can be found out about a setup, and what to do about it.

use std::process::ExitCode;
use std::time::Duration;

use cachekit::backends::AnyBackend;
use cachekit::{Backend, Environment, Error, Finding, Key, Report, Severity, Source};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::args::{Doctor, Scope};
use super::connect;
use super::failure::Failure;
use super::output::{BAD, FAINT, GOOD, ODD, Out, STRONG, at, printable, styled};
use super::spread::Spread;

mod trial;

/// What was found out.
#[derive(Debug, Default)]
struct Examination {
    variables: Vec<&'static str>,
    report: Option<Report>,
    backend: Option<(&'static str, Option<String>)>,
    latency: Option<Spread>,
    findings: Vec<Finding>,
}

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Doctor,
) -> Result<ExitCode, Failure> {
    let found = examine(environment, scope, options).await?;
    if out.json {
        out.json(&found.json())?;
    } else {
        found.show(&mut out)?;
    }
    Ok(match found.worst() {
        Some(Severity::Error) => ExitCode::from(2),
        Some(Severity::Warning) if options.strict => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    })
}

async fn examine(environment: Environment, scope: &Scope, options: &Doctor) -> Result<Examination, Error> {
    let mut found = Examination {
        variables: environment.set_variables().to_vec(),
        findings: environment.findings(),
        ..Examination::default()
    };
    if found.worst() == Some(Severity::Error) {
        found.findings.push(Finding::note("the backend was not asked: mend the variables first"));
        return Ok(found);
    }
    let is_chosen = SELECTORS.iter().any(|name| found.variables.contains(name));
    if !is_chosen {
        let text = "no variable selects a backend, so it is Redis at redis://localhost:6379/0";
        found.findings.push(Finding::note(text));
    }
    let backend = match AnyBackend::from_environment(&environment) {
        Ok(backend) => backend,
        Err(error) => {
            let follows = "no cache can be built from this environment";
            found.findings.push(Finding::of_error(&error).follows(follows));
            return Ok(found);
        }
    };
    found.backend = Some((backend.capabilities().name, backend.address()));
    let told = environment.warnings().to_vec();
    let cache = connect::cache(environment, scope)?;
    found.report = Some(cache.report());
    // It has no L1 for a reason of this command's.
    let odd = cache.warnings().into_iter().filter(|warning| !told.contains(warning));
    found.findings.extend(odd.map(|text| Finding::of_warning(&text)));
    found.ask(&backend, scope, options, is_chosen).await?;
    Ok(found)
}

/// What selects a backend.
const SELECTORS: [&str; 5] =
    ["CACHEKIT_REDIS_URL", "REDIS_URL", "CACHEKIT_MEMCACHED_SERVERS", "CACHEKIT_FILE_CACHE_DIR", "CACHEKIT_API_KEY"];

impl Examination {
    fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Asks the backend itself.
    async fn ask(
        &mut self,
        backend: &AnyBackend,
        scope: &Scope,
        options: &Doctor,
        is_chosen: bool,
    ) -> Result<(), Error> {
        let probe = Key::new(&scope.namespace, format!("cachekit-doctor-{}", std::process::id()))?;
        let mut odd = backend.diagnose(&probe).await;
        let is_reached = backend.ping().await.is_ok();
        if !is_chosen && !is_reached {
            // A program whose variables choose no backend goes on with L1 alone, as it is meant to.
            odd.iter_mut().for_each(|finding| finding.severity = finding.severity.min(Severity::Warning));
        }
        self.findings.extend(odd);
        if !is_reached {
            return Ok(());
        }
        self.latency = Some(round_trips(backend, &probe, options.pings).await?);
        self.findings.extend(trial::run(backend, &probe).await);
        Ok(())
    }

    fn json(&self) -> Value {
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let finding = |finding: &Finding| {
            json!({
                "severity": finding.severity.to_string(), "found": finding.found, "follows": finding.follows,
                "fix": finding.fix,
            })
        };
        let settings = self.report.iter().flat_map(Report::settings);
        let settings: Vec<Value> = settings
            .map(|row| json!({ "name": row.name, "value": row.value, "source": row.source.to_string() }))
            .collect();
        json!({
            "ok": count(Severity::Error) == 0, "errors": count(Severity::Error), "warnings": count(Severity::Warning),
            "backend": self.backend.as_ref().map(|(name, _)| name),
            "address": self.backend.as_ref().and_then(|(_, address)| address.as_ref()),
            "variables": self.variables, "settings": settings,
            "latency": self.latency.as_ref().map(Spread::json),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    fn show(&self, out: &mut Out) -> Result<(), Failure> {
        out.line(styled(STRONG, "Variables"))?;
        let set = if self.variables.is_empty() { "none is set".to_owned() } else { self.variables.join(", ") };
        out.line(format!("  {set}"))?;
        if let Some(report) = &self.report {
            // The namespace and the size of L1 are this command's own.
            let set = report.settings().filter(|row| matches!(row.source, Source::Variable(_)));
            for row in set {
                out.line(format!("  {} = {}  {}", row.name, row.value, styled(FAINT, row.source.to_string())))?;
            }
        }
        if let Some((name, address)) = &self.backend {
            out.line(format!("\n{}", styled(STRONG, "Backend")))?;
            out.line(format!("  {name}{}", at(address.as_deref())))?;
        }
        if let Some(latency) = &self.latency {
            out.line(format!("  {} round trips: {}", latency.len(), latency.text()))?;
        }
        out.line(format!("\n{}", styled(STRONG, "Findings")))?;
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings.into_iter().try_for_each(|finding| show_finding(out, finding))?;
        match self.worst() {
            Some(Severity::Error) => out.line(format!("\n{}", styled(BAD, "It does not work as it is.")))?,
            Some(Severity::Warning) => out.line(format!("\n{}", styled(ODD, "It works, and could be better.")))?,
            _ => out.line(format!("\n{}", styled(GOOD, "All is well.")))?,
        }
        Ok(())
    }
}

fn show_finding(out: &mut Out, finding: &Finding) -> Result<(), Failure> {
    let style = match finding.severity {
        Severity::Error => BAD,
        Severity::Warning => ODD,
        _ => FAINT,
    };
    let follows = if finding.follows.is_empty() { String::new() } else { format!(": {}", finding.follows) };
    let severity = styled(style, format!("{:<8}", finding.severity.to_string()));
    out.line(format!("  {severity} {}{}", printable(&finding.found), printable(&follows)))?;
    if !finding.fix.is_empty() {
        out.line(format!("           {} {}", styled(FAINT, "fix:"), printable(&finding.fix)))?;
    }
    Ok(())
}

/// How long reads of a key take that is not there.
async fn round_trips(backend: &AnyBackend, probe: &Key, count: usize) -> Result<Spread, Error> {
    let mut taken: Vec<Duration> = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        // One that fails is told of by what was tried.
        if backend.get(probe).await.is_err() {
            break;
        }
        taken.push(begun.elapsed());
    }
    Ok(Spread::of(taken))
}
