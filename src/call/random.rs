//! Unguessable bits for what every call needs: its id and its correlation. The generator is asked
//! for many at once, because asking costs more than a call can afford.

use std::cell::RefCell;

/// Bytes asked for at once.
const ROOM: usize = 1024;

struct Pool {
    bytes: [u8; ROOM],
    /// Bytes before this are spent and zero.
    at: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool {
            bytes: [0; ROOM],
            at: ROOM,
        })
    };
}

/// 128 random bits that were never given out before and are kept nowhere; `None` if the system
/// has no random numbers.
pub fn random_bits() -> Option<u128> {
    POOL.with_borrow_mut(|pool| {
        if pool.at == ROOM {
            aws_lc_rs::rand::fill(&mut pool.bytes).ok()?;
            pool.at = 0;
        }
        let (spent, rest) = pool.bytes[pool.at..].split_first_chunk_mut::<16>()?;
        let bits = u128::from_ne_bytes(std::mem::take(spent));
        pool.at = ROOM - rest.len();
        Some(bits)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_comes_twice_on_any_thread() {
        let draw = || (0..10 * ROOM).map(|_| random_bits().unwrap());
        let threads: Vec<_> = (0..3)
            .map(|_| std::thread::spawn(move || draw().collect::<Vec<_>>()))
            .collect();
        let mut seen = HashSet::new();
        for thread in threads {
            for bits in thread.join().unwrap() {
                assert!(bits != 0 && seen.insert(bits));
            }
        }
    }
}
