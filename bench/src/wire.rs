//! What a load connection speaks: bytes in, bytes out, no I/O. A connection keeps some requests
//! under way; each has a slot, by which its reply is known again.

use crate::Failure;

/// About a hundred bytes of JSON, as a device would send them.
pub const PARAMS: &str = r#"{"device":"pump-7","temperature":21.5,"humidity":43,"state":"running","since":1700000000123}"#;

/// A request/response protocol.
pub trait Wire {
    /// Appends the request of a slot.
    fn request(&mut self, slot: usize, out: &mut Vec<u8>);

    /// Reads what came in: pushes the slots that have their reply, appends what the protocol
    /// itself must answer, and returns how many bytes were used up.
    fn replies(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<usize>,
    ) -> Result<usize, Failure>;
}

/// Where `needle` begins.
pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|part| part == needle)
}

/// The decimal number at the beginning.
pub fn number(digits: &[u8]) -> usize {
    digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// What a request carries beside its body, where no bridge makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extras {
    /// What its reply needs.
    Few,
    /// All that a request of callway's carries; over AMQP it is mandatory and confirmed as well.
    All,
}

/// The call ids of such requests are as long as this one.
pub const CALL_ID: &str = "01a21e2d-a4bb-7ad4-81f2-5c16d659ea21";
