//! What became of the records of one queue, so that the books can be balanced at every moment:
//! accepted + recovered = done + purged + lost + those that wait.

/// Counted since the spool was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// On disk, and told so.
    pub accepted: u64,
    /// Found when the spool was opened.
    pub recovered: u64,
    /// Delivered, or given up by whoever was to deliver them.
    pub done: u64,
    /// Thrown away by order.
    pub purged: u64,
    /// Damaged on disk.
    pub lost: u64,
}

impl Tally {
    /// Each count with its name.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("accepted", self.accepted),
            ("recovered", self.recovered),
            ("done", self.done),
            ("purged", self.purged),
            ("lost", self.lost),
        ]
    }
}
