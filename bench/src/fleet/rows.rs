//! The rows of the table that come of devices at work.

use super::Side::{self, Callway, Floor};
use super::{Rounds, Shape, Work};
use crate::report::{Row, Sample, Target, median, short};

/// The same work on either side.
type Sided = fn(Side) -> Work;

/// The rows of what was measured.
pub fn rows(rounds: &Rounds) -> Vec<Row> {
    let samples = |work, shape| rounds.0.get(&(work, shape)).map_or(&[][..], Vec::as_slice);
    let us = |value: f64| format!("{} us", short(value));
    let per_second = |value: f64| format!("{value:.0} /s");
    let mut rows = Vec::new();
    let works: [(&str, Sided); 3] = [
        ("device > device QoS 1", |side| Work::Pair(side, true)),
        ("the same, sessions on disk", |side| Work::Pair(side, false)),
        ("MQTT > JavaScript > MQTT", Work::Call),
    ];
    for (name, work) in works {
        let pair = |shape| (samples(work(Callway), shape), samples(work(Floor), shape));
        let beside = |what, shape, figure: fn(&Sample) -> f64, show: fn(f64) -> String| {
            let work = format!("{name}, {what}");
            Row::beside(&work, pair(shape), figure, show, Target::Shown)
        };
        rows.push(beside("p50", Shape::One, |s| s.p50, us));
        rows.push(beside("p99", Shape::One, |s| s.p99, us));
        rows.push(beside("50 x 16", Shape::Many, |s| s.rate, per_second));
        rows.push(match work(Floor) {
            Work::Pair(..) => cpu_row(name, pair(Shape::Many), |s| s.broker_cpu),
            Work::Call(_) => cpu_row(name, pair(Shape::Many), |s| s.cpu),
        });
    }
    rows
}

/// CPU seconds per 10,000, beside those of whoever did the same.
fn cpu_row(name: &str, (callway, floor): (&[Sample], &[Sample]), its: fn(&Sample) -> f64) -> Row {
    let figures = |samples: &[Sample], figure: fn(&Sample) -> f64| {
        samples.iter().map(figure).collect::<Vec<f64>>()
    };
    let shown = |figures: &[f64]| format!("{} s/10k", short(median(figures)));
    let (callway, floor) = (figures(callway, |s| s.cpu), figures(floor, its));
    let ratios = callway.iter().zip(&floor).map(|(one, other)| one / other);
    Row {
        work: format!("{name}, CPU at 50 x 16"),
        base: shown(&floor),
        values: ratios.collect(),
        callway: shown(&callway),
        target: Target::Shown,
    }
}
