//! Client certificates of tokens.

use super::defaults::Site;
use crate::auth::Digest;

const ROWS: &str = r#"
    [[listen]]
    address = "127.0.0.1:0"
    tls = { certificate = "fullchain.pem", key = "key.pem", client_ca = "devices.pem" }
    [[listen.endpoint]]
    dialect = "mqtt"
    [[token]]
    name = "d7"
    sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
    certificates = ["HEX"]
"#;

fn rows(certificates: &str) -> String {
    ROWS.replace("[\"HEX\"]", certificates)
}

#[test]
fn a_certificate_is_a_fingerprint_and_stands_for_one_token() {
    let site = Site::new();
    let hex = "a1".repeat(32);
    for (wrong, why) in [
        (rows(r#"["CN=d7"]"#), "not a fingerprint"),
        (
            rows(&format!(r#"["{hex}", "{hex}"]"#)),
            "stands for one token",
        ),
        (
            rows(&format!(r#"["{hex}"]"#)).replace(", client_ca = \"devices.pem\"", ""),
            "client_ca",
        ),
    ] {
        let found = site.problems(&wrong);
        assert!(
            found.iter().any(|problem| problem.contains(why)),
            "{found:?}"
        );
    }
    let other = vec!["B2"; 32].join(":");
    let config = site
        .load(&rows(&format!(r#"["{hex}", "{other}"]"#)))
        .unwrap();
    let certificates: Vec<_> = config.certificates.iter().map(|(one, _)| *one).collect();
    let expected = [hex, "b2".repeat(32)].map(|hex| Digest::from_hex(&hex).unwrap());
    assert_eq!(certificates, expected);
    assert_eq!(&*config.certificates[0].1, "d7");
}
