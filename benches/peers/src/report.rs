//! The report of a suite: medians, ratios, spreads.

use std::fmt::Write;

use crate::numbers::{median, short, spread};

/// Cells whose rounds lie further apart than this are marked.
const NOISY: f64 = 0.3;

/// Which way a figure is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// A column of figures. The first one of a suite is what ratios and plots are of.
#[derive(Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) better: Better,
}

pub(crate) const fn less(name: &'static str) -> Metric {
    Metric { name, better: Better::Less }
}

pub(crate) const fn more(name: &'static str) -> Metric {
    Metric { name, better: Better::More }
}

/// What a suite measured.
pub(crate) struct Report {
    pub(crate) suite: &'static str,
    pub(crate) about: &'static str,
    pub(crate) metrics: Vec<Metric>,
    /// Beginnings of names: the best candidate of a case with such a name is what the others are compared to.
    pub(crate) references: Vec<&'static str>,
    pub(crate) cases: Vec<Case>,
    pub(crate) remarks: Vec<String>,
}

/// One load, and what came of it for each candidate.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
    /// Who failed, and how.
    pub(crate) failed: Vec<String>,
}

impl Case {
    /// One in which all brought figures.
    pub(crate) fn new(name: impl Into<String>, rows: Vec<Row>) -> Self {
        Self { name: name.into(), rows, failed: Vec::new() }
    }
}

/// The figures of a candidate, by round and metric.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Vec<f64>>,
}

impl Row {
    fn figures(&self, metric: usize) -> impl Iterator<Item = f64> + Clone {
        self.rounds.iter().map(move |figures| figures.get(metric).copied().unwrap_or(f64::NAN))
    }

    /// The median over the rounds.
    pub(crate) fn median(&self, metric: usize) -> f64 {
        median(self.figures(metric))
    }

    fn is_noisy(&self, metric: usize) -> bool {
        spread(self.figures(metric)) > NOISY
    }
}

impl Report {
    /// How many times as good as `other` a row is by the first metric: the median of the rounds' ratios, because what
    /// disturbed a round disturbed both.
    fn ratio(&self, row: &Row, other: &Row) -> f64 {
        let pairs = row.figures(0).zip(other.figures(0));
        median(pairs.map(|(own, other)| match self.metrics[0].better {
            Better::Less => other / own,
            Better::More => own / other,
        }))
    }

    /// The best row of a case whose name begins so.
    fn reference<'a>(&self, case: &'a Case, name: &str) -> Option<&'a Row> {
        let rows = case.rows.iter().filter(|row| row.name.starts_with(name) && !row.median(0).is_nan());
        rows.min_by(|one, other| {
            let order = one.median(0).total_cmp(&other.median(0));
            if self.metrics[0].better == Better::Less { order } else { order.reverse() }
        })
    }

    /// A table in Markdown, which is read on a terminal as well.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n", self.suite, self.about);
        let mut lines = vec![self.head()];
        for case in &self.cases {
            lines.extend(case.rows.iter().enumerate().map(|(index, row)| self.line(case, index, row)));
        }
        text.push_str(&aligned(&lines));
        let _ = writeln!(
            text,
            "\nMedians over the rounds. A ratio is of {}, from the same rounds, and above 1 better. `~` marks a figure whose \
             rounds lie more than 30 % apart; `spread` is that of the first figure.",
            self.metrics[0].name
        );
        for failure in self.cases.iter().flat_map(|case| &case.failed) {
            let _ = writeln!(text, "\nFailed: {failure}");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "\n{remark}");
        }
        text
    }

    fn head(&self) -> Vec<String> {
        let names = self.metrics.iter().map(|metric| metric.name.to_owned());
        let ratios = self.references.iter().map(|name| format!("x {name}"));
        let names = names.chain(ratios).chain([String::from("spread")]);
        [String::from("case"), String::from("candidate")].into_iter().chain(names).collect()
    }

    fn line(&self, case: &Case, index: usize, row: &Row) -> Vec<String> {
        let mut line = vec![if index == 0 { case.name.clone() } else { String::new() }, row.name.to_owned()];
        line.extend((0..self.metrics.len()).map(|metric| {
            let noise = if row.is_noisy(metric) { "~" } else { "" };
            format!("{noise}{}", short(row.median(metric)))
        }));
        line.extend(self.references.iter().map(|name| {
            let other = self.reference(case, name);
            other.map_or_else(|| String::from("-"), |other| short(self.ratio(row, other)))
        }));
        line.push(format!("{:.0} %", spread(row.figures(0)) * 100.0));
        line
    }
}

/// The first line is the head; the first two columns are text.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if column < 2 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text.push_str("|\n");
        if index == 0 {
            text.extend((0..line.len()).map(|column| if column < 2 { "|---" } else { "|--:" }));
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round_and_to_the_best_reference() {
        let row = |name, speed: f64| Row { name, rounds: [1.0, 0.1, 1.0].map(|noise| vec![speed * noise]).into() };
        let rows = vec![row("raw slow", 10.0), row("raw fast", 20.0), row("other", 30.0)];
        let case = Case::new("case", rows);
        let mut report = Report {
            suite: "suite",
            about: "",
            metrics: vec![more("ops/s")],
            references: vec!["raw"],
            cases: Vec::new(),
            remarks: Vec::new(),
        };
        let best = report.reference(&case, "raw").unwrap();
        assert_eq!(best.name, "raw fast");
        assert!((report.ratio(&case.rows[2], best) - 1.5).abs() < 1e-9);
        report.metrics = vec![less("ns")];
        assert_eq!(report.reference(&case, "raw").unwrap().name, "raw slow");
        assert!(case.rows[0].is_noisy(0) && report.line(&case, 0, &case.rows[0])[2].starts_with('~'));
    }
}
