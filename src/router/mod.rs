//! From a method name to an outcome: the routing table and the one way through it.

mod admission;
mod children;
mod dispatch;
mod name;
mod pattern;
mod reverse;
mod table;
mod template;
mod trie;

pub use self::dispatch::Dispatcher;
pub use self::name::{as_segment, check as check_name, check_channel, check_segment, is_reserved};
pub use self::pattern::{Captures, Pattern, Segment};
pub use self::reverse::Reverse;
pub use self::table::{Row, Table};
pub use self::template::{Place, Template};
pub use self::trie::Trie;
