//! Bytes written as hexadecimal digits.

/// Reads exactly this many bytes, two digits of either case each.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_bytes_are_read() {
        assert_eq!(from_hex("00fFa1"), Some([0, 255, 161]));
        for broken in ["", "00", "0", "00ffa", "00ffa1b2", "00fg11", "00ffé"] {
            assert_eq!(from_hex::<3>(broken), None, "{broken}");
        }
    }
}
