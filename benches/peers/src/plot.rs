//! Plots: bars with labels, as SVG.

use std::fmt::Write;

use crate::numbers::short;
use crate::report::{Better, Case, Report};

/// Where bars begin, how long the longest is, and how much room there is in all.
const LEFT: usize = 250;
const LONGEST: f64 = 520.0;
const WIDTH: usize = 900;
/// From bar to bar, and above a case.
const STEP: usize = 18;
const GAP: usize = 30;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}.head{font-weight:600}.ours{fill:#0969da}.other{fill:#8c959f}\
@media(prefers-color-scheme:dark){text{fill:#d1d7de}.ours{fill:#4493f8}.other{fill:#6e7681}}";

/// The first figure of each candidate, case by case. Bars of one case share a scale.
pub(crate) fn svg(report: &Report) -> String {
    let metric = report.metrics[0];
    let better = if metric.better == Better::Less { "shorter" } else { "longer" };
    let rows: usize = report.cases.iter().map(|case| case.rows.len()).sum();
    let height = 40 + report.cases.len() * GAP + rows * STEP + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\
         <style>{STYLE}</style>\n<text class=\"head\" x=\"10\" y=\"24\">{}: {}, {better} is better</text>\n",
        escaped(report.suite),
        escaped(metric.name)
    );
    let mut top = 40;
    for case in &report.cases {
        group(&mut svg, case, top);
        top += GAP + case.rows.len() * STEP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn group(svg: &mut String, case: &Case, top: usize) {
    let _ = writeln!(svg, "<text class=\"head\" x=\"10\" y=\"{}\">{}</text>", top + 18, escaped(&case.name));
    let longest = case.rows.iter().map(|row| row.median(0)).fold(0.0, f64::max);
    for (index, row) in case.rows.iter().enumerate() {
        let (value, top) = (row.median(0), top + GAP + index * STEP);
        let length = if value > 0.0 { value / longest * LONGEST } else { 0.0 };
        let class = if row.name.starts_with("cachekit ") { "ours" } else { "other" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            LEFT - 8,
            top + 11,
            escaped(row.name),
            STEP - 4,
            LEFT as f64 + length + 6.0,
            top + 11,
            short(value)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
