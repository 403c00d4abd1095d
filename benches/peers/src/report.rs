//! The report: medians, and ratios to the reference.

use crate::contender::Kind;
use crate::load::Sample;

/// What was measured of one case.
pub(crate) struct Report {
    case: String,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    kind: Kind,
    samples: Vec<Sample>,
}

impl Report {
    pub(crate) fn new(case: String, ways: impl Iterator<Item = (&'static str, Kind)>) -> Self {
        Self { case, rows: ways.map(|(name, kind)| Row { name, kind, samples: Vec::new() }).collect() }
    }

    /// Adds what one turn of the way with this index brought.
    pub(crate) fn add(&mut self, index: usize, sample: Sample) {
        self.rows[index].samples.push(sample);
    }

    /// Prints a table, and a line of tab-separated fields for each way.
    pub(crate) fn print(&self) {
        let reference = self.reference();
        println!("\n{}   (ratios to: {})", self.case, reference.map_or("nothing", |row| row.name));
        println!(
            "{:<28} {:>10} {:>9} {:>9} {:>8}   {:>6} {:>6} {:>6} {:>6}",
            "", "ops/s", "p50 us", "p99 us", "cpu us", "ops", "p50", "p99", "cpu"
        );
        for row in &self.rows {
            let [rate, p50, p99, cpu] = row.medians();
            let ratios = FIELDS.map(|field| reference.map_or(f64::NAN, |other| row.ratio(other, field)));
            let [ops, mid, tail, work] = ratios;
            println!(
                "{:<28} {rate:>10.0} {p50:>9.1} {p99:>9.1} {cpu:>8.2}   {ops:>6.2} {mid:>6.2} {tail:>6.2} {work:>6.2}",
                row.name
            );
            println!(
                "RESULT\t{}\t{}\t{rate:.0}\t{p50:.1}\t{p99:.1}\t{cpu:.3}\t{ops:.3}\t{mid:.3}\t{tail:.3}\t{work:.3}",
                self.case, row.name
            );
        }
    }

    /// The fastest of those that may be.
    fn reference(&self) -> Option<&Row> {
        let rows = self.rows.iter().filter(|row| row.kind == Kind::Reference);
        rows.max_by(|one, other| one.median(|sample| sample.rate).total_cmp(&other.median(|sample| sample.rate)))
    }
}

type Field = fn(&Sample) -> f64;

const FIELDS: [Field; 4] = [|sample| sample.rate, |sample| sample.p50, |sample| sample.p99, |sample| sample.cpu];

impl Row {
    fn medians(&self) -> [f64; 4] {
        FIELDS.map(|field| self.median(field))
    }

    fn median(&self, field: Field) -> f64 {
        median(self.samples.iter().map(field).collect())
    }

    /// The median of the rounds' ratios: what disturbed a round disturbed both.
    fn ratio(&self, other: &Self, field: Field) -> f64 {
        median(self.samples.iter().zip(&other.samples).map(|(own, other)| field(own) / field(other)).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64) -> Sample {
        Sample { rate, p50: 1.0, p99: 2.0, cpu: 3.0 }
    }

    #[test]
    fn ratios_are_of_the_same_round_and_to_the_fastest_reference() {
        let ways = [("slow", Kind::Reference), ("fast", Kind::Reference), ("other", Kind::Compared)];
        let mut report = Report::new(String::from("case"), ways.into_iter());
        for noise in [1.0, 0.1, 1.0] {
            report.add(0, sample(10.0 * noise));
            report.add(1, sample(20.0 * noise));
            report.add(2, sample(30.0 * noise));
        }
        let reference = report.reference().unwrap();
        assert_eq!(reference.name, "fast");
        assert!((report.rows[2].ratio(reference, FIELDS[0]) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
