//! Whether the machine was quiet enough for the figures to mean anything.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::process::Machine;
use crate::report::{bounds, short};

/// Between rounds the same loop may take this much longer than at its fastest.
const SPREAD: f64 = 1.15;
/// Others may use this share of the machine while the bench does nothing.
const OTHERS: f64 = 0.10;

/// Readings between rounds.
#[derive(Default)]
pub struct Calibration {
    loops: Vec<f64>,
    others: Vec<f64>,
}

impl Calibration {
    /// Takes one reading, about half a second.
    pub async fn read(&mut self) {
        let before = Machine::now();
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.others.push(before.busy_until(&Machine::now()));
        // The best of several, so that a short interruption does not count.
        let once = || {
            let begin = Instant::now();
            let mut number = 1_u64;
            for step in 0..20_000_000_u64 {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005) ^ step);
            }
            black_box(number);
            begin.elapsed().as_secs_f64() * 1000.0
        };
        let best = (0..5).map(|_| once()).fold(f64::INFINITY, f64::min);
        self.loops.push(best);
    }

    /// Milliseconds that the loop takes at its fastest.
    pub fn fastest(&self) -> f64 {
        bounds(&self.loops).0
    }

    /// Prints the readings; returns whether the machine was quiet.
    pub fn verdict(&self) -> bool {
        let (low, high) = bounds(&self.loops);
        let (_, others) = bounds(&self.others);
        let quiet = high <= low * SPREAD && others <= OTHERS;
        println!(
            "\ncalibration loop {}..{} ms; others used up to {:.0} % of the machine between rounds",
            short(low),
            short(high),
            others * 100.0
        );
        if !quiet {
            println!("the machine was TOO BUSY TO TELL: repeat when nothing else runs");
        }
        quiet
    }
}
