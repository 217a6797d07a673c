//! What must hold of the MQTT listener's packet path whatever comes: each target is a function of
//! bytes that panics where it does not. `tests/fuzz` lets libFuzzer look for such bytes.

mod choices;
pub mod decode;
mod reader;
pub mod session;
pub mod topics;
mod writer;

use peak_alloc::PeakAlloc;

/// Counts what is taken, so that a target can say how much that may be.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
