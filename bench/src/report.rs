//! Medians, spreads, verdicts, and the table.

use std::fmt;

use crate::load::{Load, Measured};

/// What one measurement of one round came to.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    /// Microseconds.
    pub p50: f64,
    /// Microseconds.
    pub p99: f64,
    /// Per second.
    pub rate: f64,
    /// CPU seconds of callway per 10,000 calls.
    pub cpu: f64,
    /// CPU seconds of the broker per 10,000 calls.
    pub broker_cpu: f64,
}

impl Sample {
    /// Of one load, and the CPU seconds that callway and the broker used for it.
    pub fn new(measured: &Measured, load: Load, used: (f64, f64)) -> Sample {
        // The warm-up used CPU time as well.
        let all = measured.rate() * (load.time + load.warm_up).as_secs_f64();
        let per_10k = |used: f64| used / all * 10_000.0;
        Sample {
            p50: measured.percentile(0.5),
            p99: measured.percentile(0.99),
            rate: measured.rate(),
            cpu: per_10k(used.0),
            broker_cpu: per_10k(used.1),
        }
    }
}

/// What a value must be.
#[derive(Clone, Copy)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Shown, not judged.
    Shown,
}

impl Target {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Target::AtMost(bound) if value <= bound => "pass",
            Target::AtLeast(bound) if value >= bound => "pass",
            Target::Shown => "",
            _ => "FAIL",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtMost(bound) => write!(f, "<= {bound}"),
            Target::AtLeast(bound) => write!(f, ">= {bound}"),
            Target::Shown => Ok(()),
        }
    }
}

/// One line of the table.
pub struct Row {
    /// What was done.
    pub work: String,
    /// What it is compared with, as shown.
    pub base: String,
    /// What callway did, as shown.
    pub callway: String,
    /// The judged value of each round.
    pub values: Vec<f64>,
    /// What its median must be.
    pub target: Target,
}

impl Row {
    /// callway's figure by that of the same round beside it.
    pub fn beside(
        work: &str,
        (callway, base): (&[Sample], &[Sample]),
        figure: fn(&Sample) -> f64,
        show: fn(f64) -> String,
        target: Target,
    ) -> Row {
        let figures = |samples: &[Sample]| samples.iter().map(figure).collect::<Vec<f64>>();
        let (callway, base) = (figures(callway), figures(base));
        Row {
            work: work.into(),
            base: show(median(&base)),
            callway: show(median(&callway)),
            values: callway.iter().zip(&base).map(|(c, b)| c / b).collect(),
            target,
        }
    }

    /// Whether its target was missed.
    pub fn failed(&self) -> bool {
        self.target.verdict(median(&self.values)) == "FAIL"
    }
}

/// Prints the table; returns whether every target was reached.
pub fn print(rows: &[Row]) -> bool {
    let heading = ["work", "beside", "callway", "value", "spread", "target", ""];
    let mut lines = vec![heading.map(str::to_owned)];
    for row in rows {
        let value = median(&row.values);
        let (low, high) = bounds(&row.values);
        lines.push([
            row.work.clone(),
            row.base.clone(),
            row.callway.clone(),
            short(value),
            format!("{}..{}", short(low), short(high)),
            row.target.to_string(),
            row.target.verdict(value).to_owned(),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    println!();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", cells.join("  ").trim_end());
    }
    !rows.iter().any(Row::failed)
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => (sorted[length / 2 - 1] + sorted[length / 2]) / 2.0,
    }
}

/// The smallest and the largest value.
pub fn bounds(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

/// Three significant digits or so.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
