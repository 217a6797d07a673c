//! `[[token]]` rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Reading, flag, text};
use crate::auth::{Digest, Grants, Token, check_token_name};
use crate::config::node::Node;
use crate::config::report::Problem;
use crate::router::Pattern;

pub(super) fn tokens(reading: &mut Reading<'_>) -> Vec<Token> {
    let root = reading.root;
    let mut tokens = Vec::new();
    let mut names = HashMap::new();
    let mut digests = HashMap::new();
    for row in root.get("token").map_or(&[][..], Node::list) {
        for (key, seen) in [("name", &mut names), ("sha256", &mut digests)] {
            let (Some(node), Some(value)) = (row.get(key), text(row, key)) else {
                continue;
            };
            if let Some(first) = seen.insert(value.to_owned(), node.origin.clone()) {
                let problem = Problem::new(
                    node.origin.clone(),
                    format!("two tokens with the same {key}"),
                );
                reading.problems.push(problem.and(first, "the first one"));
            }
        }
        tokens.extend(token(reading, row));
    }
    tokens
}

fn token(reading: &mut Reading<'_>, row: &Node) -> Option<Token> {
    let name: Arc<str> = text(row, "name")?.into();
    let place = row.get("name").unwrap_or(row);
    reading.keep(
        place,
        check_token_name(&name).map_err(|why| format!("token name: {why}")),
    )?;
    let digest = Digest::from_hex(text(row, "sha256")?);
    if digest.is_none() {
        let message = "not a SHA-256: 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints them; \
                       `callway token create NAME --row` makes a whole row";
        reading.problem(row.get("sha256").unwrap_or(row), message);
    }
    let mut grants = |key| patterns(reading, row, key, &name);
    let grants = Grants {
        call: grants("call"),
        serve: grants("serve"),
        publish: grants("publish"),
        subscribe: grants("subscribe"),
    };
    Some(Token {
        digest: digest?,
        grants,
        admin: flag(row, "admin", false),
        name,
    })
}

fn patterns(reading: &mut Reading<'_>, row: &Node, key: &str, name: &str) -> Vec<Pattern> {
    let nodes = row.get(key).map_or(&[][..], Node::list);
    nodes
        .iter()
        .filter_map(|node| {
            let text = node.text()?.replace("{caller}", name);
            reading.keep(node, Pattern::parse(&text))
        })
        .collect()
}
