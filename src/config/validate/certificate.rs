//! Client certificates that stand for tokens.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Reading, rows, text};
use crate::auth::Digest;
use crate::config::report::Problem;

/// Each fingerprint, with the name of the token that it stands for.
pub(super) fn certificates(reading: &mut Reading<'_>) -> Vec<(Digest, Arc<str>)> {
    let root = reading.root;
    let asked = rows(root, "listen").iter().any(|row| {
        let tls = row.get("tls");
        tls.is_some_and(|tls| tls.get("client_ca").is_some())
    });
    let mut certificates = Vec::new();
    let mut seen = HashMap::new();
    for row in rows(root, "token") {
        let (Some(place), Some(name)) = (row.get("certificates"), text(row, "name")) else {
            continue;
        };
        if !asked {
            let message = "no listener asks for client certificates: add tls.client_ca, the \
                           authorities that they are from";
            reading.problem(place, message);
        }
        for node in place.list() {
            let Some(digest) = node.text().and_then(Digest::from_fingerprint) else {
                let message = "not a fingerprint: 64 hexadecimal digits, with or without colons, \
                               as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints";
                reading.problem(node, message);
                continue;
            };
            if let Some(first) = seen.insert(digest, node.origin.clone()) {
                let message = "a certificate stands for one token";
                let problem = Problem::new(node.origin.clone(), message);
                reading.problems.push(problem.and(first, "the first one"));
            }
            certificates.push((digest, name.into()));
        }
    }
    certificates
}
