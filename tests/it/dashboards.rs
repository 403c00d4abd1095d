//! The dashboard and the alert rules name metrics and labels that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cachekit::{METRICS, Metric, MetricKind, MissReason};
use serde_json::Value;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

/// The metric that a name in an expression stands for: of a distribution there are three series.
fn metric(name: &str) -> Option<&'static Metric> {
    let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    METRICS.iter().find(|metric| match metric.kind {
        MetricKind::Histogram => Some(metric.name) == series,
        _ => metric.name == name,
    })
}

/// Checks each metric of an expression, and the labels that select of it; the metrics.
fn check(expression: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (start, _) in expression.match_indices("cachekit_") {
        let rest = &expression[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let metric = metric(&rest[..end]).unwrap_or_else(|| panic!("{} in {expression}", &rest[..end]));
        found.insert(metric.name);
        let Some(selector) = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()) else { continue };
        for label in selector.split(',').filter_map(|part| part.split(['=', '!']).next()) {
            let is_known = ["namespace", "domain"].contains(&label) || metric.labels.contains(&label);
            assert!(is_known, "{label} of {} in {expression}", metric.name);
        }
    }
    found
}

#[test]
fn the_dashboard_shows_every_metric_but_warnings() {
    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown: BTreeSet<_> = targets.flat_map(|target| check(target["expr"].as_str().unwrap())).collect();
    let hidden = METRICS.iter().map(|metric| metric.name).filter(|name| !shown.contains(name)).collect::<Vec<_>>();
    assert_eq!(hidden, ["cachekit_breaker_opened_total", "cachekit_warnings_total"]);
}

#[test]
fn alert_rules_ask_for_what_there_is() {
    let rules = file("alerts.yml");
    let alerts = rules.lines().filter(|line| line.trim_start().starts_with("- alert: ")).count();
    let expressions = rules.split("expr: ").skip(1).map(|rest| rest.split("labels:").next().unwrap());
    let asked: Vec<_> = expressions.map(check).collect();
    assert!(alerts >= 9 && asked.len() == alerts && asked.iter().all(|metrics| !metrics.is_empty()), "{asked:?}");
}

/// The table of the guide, as it is made of [`METRICS`].
fn table() -> String {
    let mut table = "| metric | kind | labels | says |\n|---|---|---|---|\n".to_owned();
    for Metric { name, kind, labels, help, .. } in METRICS {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        table += &format!("| `{name}` | {} | {} | {help} |\n", format!("{kind:?}").to_lowercase(), labels.join(", "));
    }
    table
}

#[test]
fn the_guide_lists_every_metric_and_every_reason() {
    let guide = file("metrics.md");
    assert!(guide.contains(&table()), "put this table into docs/metrics.md:\n{}", table());
    for reason in MissReason::ALL {
        assert!(guide.contains(&format!("| `{reason}` |")), "{reason}");
    }
}
