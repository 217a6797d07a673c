//! Killed at any point, nothing is lost that anybody was told is kept.

use std::collections::BTreeSet;

use super::disks::Mortal;
use super::*;

/// What a process did before it was killed.
#[derive(Default)]
struct Ledger {
    /// Told to be kept.
    kept: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

/// Appends and delivers until the disk dies, or for a while.
async fn live(spool: &Spool, dice: &mut Dice) -> Ledger {
    let mut ledger = Ledger::default();
    let mut consumer = spool.consume(QUEUE);
    let mut out = Vec::new();
    let mut number = 0;
    for _ in 0..60 {
        let mut appended = Vec::new();
        for _ in 0..=dice.below(8) {
            number += 1;
            let lane = Lane::Named(dice.below(5) as u64);
            // Refused at once behind what could not be kept.
            appended.extend(spool.append(QUEUE, lane, body(number)));
        }
        for appended in appended {
            let id = appended.id();
            match appended.await {
                Ok(()) => ledger.kept.insert(id),
                Err(_) => return ledger,
            };
        }
        while dice.below(5) > 0 && out.len() < ledger.kept.len() - ledger.done.len() {
            out.push(next(&mut consumer).await);
        }
        // The first ones stay out for long, so that they have to be copied.
        for _ in 0..dice.below(8) {
            if out.len() > 3 {
                let item = out.remove(3 + dice.below(out.len() - 3));
                ledger.done.insert(item.id);
                item.done();
            }
        }
        if dice.below(10) == 0 {
            out.clear();
        }
    }
    ledger
}

async fn crash(seed: u64, power: bool) -> u64 {
    let mut dice = Dice(seed);
    let ground = Ground::new();
    let disk = Mortal::new(dice.below(60_000));
    let spool = ground.open_on(disk.clone());
    let ledger = live(&spool, &mut dice).await;
    spool.close().await;
    if power {
        disk.lose_power(&mut dice);
    }
    let spool = ground.open();
    let found = waiting(&spool);
    for id in ledger.kept.difference(&ledger.done) {
        assert!(found.contains_key(id), "{id} is lost, seed {seed}");
    }
    for (id, found) in found {
        assert_eq!(found, body(id), "seed {seed}");
    }
    // And it goes on.
    keep(&spool, Lane::Own, [1]).await;
    ledger.kept.len() as u64
}

#[tokio::test]
async fn killed_anywhere_nothing_is_lost() {
    let mut kept = 0;
    for seed in 0..100 {
        kept += crash(seed, false).await;
    }
    assert!(kept > 5000, "{kept} records are too few to tell");
}

#[tokio::test]
async fn without_power_anywhere_nothing_is_lost() {
    let mut kept = 0;
    for seed in 1000..1100 {
        kept += crash(seed, true).await;
    }
    assert!(kept > 5000, "{kept} records are too few to tell");
}
