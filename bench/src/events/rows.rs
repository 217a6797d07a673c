//! The rows of the table that come of the events.

use super::Side::{Callway, Floor};
use super::{Account, MANY, Rounds, Side, Work};
use crate::calibration::Calibration;
use crate::report::{Row, Sample, Target, median, short};

/// The rows of what was measured.
pub fn rows(rounds: &Rounds, calibration: &Calibration) -> Vec<Row> {
    let samples = |work| rounds.samples.get(&work).map_or(&[][..], Vec::as_slice);
    let pair = |work: fn(Side) -> Work| (samples(work(Callway)), samples(work(Floor)));
    let us = |value: f64| format!("{} us", short(value));
    let per_second = |value: f64| format!("{value:.0} /s");
    let (fan_in, fan_out, to_one, accept) = (
        pair(Work::FanIn),
        pair(|side| Work::FanOut(side, MANY)),
        pair(|side| Work::FanOut(side, 1)),
        pair(Work::Accept),
    );
    let many = samples(Work::AcceptMany);
    let at_least = Target::AtLeast;
    vec![
        Row::beside(
            "MQTT QoS 1 > AMQP confirmed, rate",
            fan_in,
            |s| s.rate,
            per_second,
            at_least(1.0),
        ),
        account_row(&rounds.accounts),
        cpu_row("MQTT QoS 1 > AMQP confirmed", fan_in),
        Row::beside(
            "MQTT > 1,000 ws subscribers, deliveries",
            fan_out,
            |s| s.rate,
            per_second,
            at_least(1.1),
        ),
        cpu_row("MQTT > 1,000 ws subscribers", fan_out),
        Row::beside(
            "MQTT > ws subscriber, p50",
            to_one,
            |s| s.p50,
            us,
            Target::Shown,
        ),
        Row {
            work: "one-way calls accepted, 50 x 16".into(),
            base: format!("calibration loop {} ms", short(calibration.fastest())),
            callway: format!("{} s/10k", short(middle(many, |s| s.cpu))),
            values: many.iter().map(|s| s.rate).collect(),
            target: at_least(20_000.0),
        },
        Row::beside(
            "one-way call accepted, p50",
            accept,
            |s| s.p50,
            us,
            Target::AtMost(2.0),
        ),
    ]
}

fn account_row(accounts: &[Account]) -> Row {
    let sum = |figure: fn(&Account) -> usize| accounts.iter().map(figure).sum::<usize>();
    let acknowledged = sum(|account| account.acknowledged);
    Row {
        work: "MQTT QoS 1 > AMQP confirmed, lost".into(),
        base: String::new(),
        callway: format!("of {acknowledged}, {} twice", sum(|account| account.twice)),
        // Of all rounds together: the middle one tells nothing here.
        values: vec![sum(|account| account.lost) as f64],
        target: Target::AtMost(0.0),
    }
}

/// CPU seconds per 10,000, beside the broker's own without callway.
fn cpu_row(work: &str, (callway, floor): (&[Sample], &[Sample])) -> Row {
    let shown = |value: f64| format!("{} s/10k", short(value));
    Row {
        work: format!("{work}, CPU"),
        base: shown(middle(floor, |s| s.broker_cpu)),
        callway: shown(middle(callway, |s| s.cpu)),
        values: callway.iter().map(|s| s.cpu).collect(),
        target: Target::Shown,
    }
}

fn middle(samples: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    let figures: Vec<f64> = samples.iter().map(figure).collect();
    median(&figures)
}
