//! Login by a message that a wallet signed (EIP-4361, EIP-191).

use siwe::Message;

use super::Refusal;
use crate::call::{from_hex, unix_ms};

/// Seconds for which a message without an end of its own is good.
const FRESH: u64 = 600;
/// Seconds that the clock of a client may be ahead.
const AHEAD: u64 = 60;

/// The address that has signed a message for the page at `origin`.
pub fn signer(message: &str, signature: &str, origin: Option<&str>) -> Result<[u8; 20], Refusal> {
    let domain = origin
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, domain)| domain)
        .ok_or_else(|| Refusal::new(400, "invalid origin"))?;
    let message: Message = message
        .parse()
        .map_err(|_| refusal(10004, "bad mvm message"))?;
    if !message.domain.as_str().eq_ignore_ascii_case(domain) {
        return Err(refusal(10002, "bad domain"));
    }
    if !is_good_now(&message) {
        return Err(refusal(
            10004,
            "bad mvm message: not good now, sign a new one",
        ));
    }
    let digits = signature.strip_prefix("0x").unwrap_or(signature);
    let bad = || refusal(10005, "bad mvm signature");
    let signature: [u8; 65] = from_hex(digits).ok_or_else(bad)?;
    message.verify_eip191(&signature).map_err(|_| bad())?;
    Ok(message.address)
}

fn is_good_now(message: &Message) -> bool {
    let now = (unix_ms() / 1000).cast_signed();
    let issued = message.issued_at.as_ref().unix_timestamp();
    let fresh = message.expiration_time.is_some() || now < issued.saturating_add_unsigned(FRESH);
    message.valid_now() && fresh && issued <= now.saturating_add_unsigned(AHEAD)
}

/// With the number that Talkee's login library has for it.
pub(super) fn refusal(number: u16, text: &str) -> Refusal {
    Refusal::new(400, format!("[{number}] {text}"))
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::SigningKey;

    use super::*;
    use crate::call::rfc3339;

    const ORIGIN: Option<&str> = Some("https://chat.example:8443");

    fn text(domain: &str, issued_ms: u64, rest: &str) -> String {
        format!(
            "{domain} wants you to sign in with your Ethereum account:\n\
             0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045\n\nHello\n\n\
             URI: https://{domain}\nVersion: 1\nChain ID: 1\nNonce: 12345678\n\
             Issued At: {}{rest}",
            rfc3339(issued_ms)
        )
    }

    /// The text with the address of this key, and the signature.
    fn sign(text: &str, key: &SigningKey) -> (String, String) {
        // Every signature recovers to some address; the one that it recovers to is the signer's.
        let mut message: Message = text.parse().unwrap();
        message.address = address(key);
        let (signature, recovery) = key
            .sign_prehash_recoverable(&message.eip191_hash().unwrap())
            .unwrap();
        let mut hex: String = signature
            .to_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        hex.push_str(&format!("{:02x}", recovery.to_byte() + 27));
        (message.to_string(), format!("0x{hex}"))
    }

    fn address(key: &SigningKey) -> [u8; 20] {
        let point = key.verifying_key().to_encoded_point(false);
        let hash = <sha3::Keccak256 as sha3::Digest>::digest(&point.as_bytes()[1..]);
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        address
    }

    fn refused(message: &str, signature: &str, origin: Option<&str>) -> String {
        let refusal = signer(message, signature, origin).unwrap_err();
        serde_json::to_string(&refusal).unwrap()
    }

    #[test]
    fn only_the_owner_of_an_address_proves_it() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let other = SigningKey::from_slice(&[8; 32]).unwrap();
        let now = unix_ms();
        let (message, signature) = sign(&text("chat.example:8443", now, ""), &key);
        assert_eq!(signer(&message, &signature, ORIGIN), Ok(address(&key)));

        assert!(refused(&message, &signature, None).contains("invalid origin"));
        let elsewhere = Some("https://evil.example");
        assert!(refused(&message, &signature, elsewhere).contains("[10002]"));
        assert!(refused("hello", &signature, ORIGIN).contains("[10004]"));
        let (_, another) = sign(&message, &other);
        for wrong in ["", "0x00", &another, &format!("{}f", &signature[..131])] {
            assert!(
                refused(&message, wrong, ORIGIN).contains("[10005]"),
                "{wrong}"
            );
        }
        let changed = message.replace("Hello", "Help!");
        assert!(refused(&changed, &signature, ORIGIN).contains("[10005]"));
    }

    #[test]
    fn a_message_is_good_for_a_time() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let now = unix_ms();
        let ended = format!("\nExpiration Time: {}", rfc3339(now - 1000));
        let later = format!("\nExpiration Time: {}", rfc3339(now + 60_000));
        for (issued, rest, good) in [
            (now - 2 * FRESH * 1000, "", false),
            (now + 2 * AHEAD * 1000, "", false),
            (now - 2 * FRESH * 1000, later.as_str(), true),
            (now, ended.as_str(), false),
        ] {
            let (message, signature) = sign(&text("chat.example:8443", issued, rest), &key);
            let proved = signer(&message, &signature, ORIGIN);
            assert_eq!(proved.is_ok(), good, "{message}");
        }
    }
}
