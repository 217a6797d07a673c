//! JSON to Lua values and back.
//!
//! Objects become tables whose `null` members are absent; arrays become sequences in which
//! `null` is `json.null`. On the way back a table with the keys 1…n is an array, an empty one is
//! an object unless it came from `[]` or `json.array`, any other is an object.

mod read;
mod write;

pub use self::read::read;
pub use self::write::write;
