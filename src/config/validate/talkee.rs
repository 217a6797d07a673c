//! The options of `talkee` endpoints.

use std::sync::Arc;

use super::{Reading, flag, has_row, names_token, rows, text};
use crate::auth::Secret;
use crate::call::from_hex;
use crate::config::node::Node;
use crate::config::report::Problem;
use crate::config::{TalkeeOptions, TalkeeUser, secret, values};
use crate::router::{Pattern, Template};

pub(super) fn options(reading: &mut Reading<'_>, node: &Node) -> Option<TalkeeOptions> {
    let jwt_secret = match node.get("jwt_secret_file") {
        Some(file) => Some(jwt_secret(reading, file)?),
        None => None,
    };
    Some(TalkeeOptions {
        channel: channel(reading, node)?,
        bare_lists: text(node, "messages") == Some("array"),
        anonymous_read: flag(node, "anonymous_read", false),
        jwt_secret,
        users: users(reading, node),
    })
}

/// Rooms need a row, or every message would be refused.
fn channel(reading: &mut Reading<'_>, node: &Node) -> Option<Template> {
    let written = text(node, "channel").unwrap_or("talkee/{site_id}/{slug}");
    let place = node.get("channel").unwrap_or(node);
    let pattern = reading.keep(place, Pattern::parse(written))?;
    let mut captures: Vec<_> = pattern.capture_names().map(|name| &**name).collect();
    captures.sort_unstable();
    if captures != ["site_id", "slug"] || written.contains("...}") {
        let message =
            "`channel` holds {site_id} and {slug} once each, such as \"rooms/{site_id}/{slug}\"";
        reading.problem(place, message);
        return None;
    }
    if !has_row(reading.root, &pattern) {
        let message = format!(
            "no [[channel]] row takes the rooms {pattern}; add one with that name and a history"
        );
        reading.problem(place, message);
    }
    reading.keep(place, Template::parse(written))
}

fn jwt_secret(reading: &mut Reading<'_>, file: &Node) -> Option<Secret> {
    let read = secret::from_file(file, &reading.directory(file), reading.environment);
    let secret = read
        .map_err(|problem| reading.problems.push(problem))
        .ok()?;
    if secret.expose().is_empty() {
        reading.problem(
            file,
            "this file is empty; `openssl rand -hex 32` makes a secret",
        );
        return None;
    }
    Some(secret)
}

fn users(reading: &mut Reading<'_>, node: &Node) -> Vec<TalkeeUser> {
    let mut users: Vec<(TalkeeUser, &Node)> = Vec::new();
    for row in rows(node, "users") {
        let Some(user) = user(reading, row) else {
            continue;
        };
        let same = |other: &TalkeeUser| {
            let same_address = user.address.is_some() && other.address == user.address;
            other.id == user.id || other.token == user.token || same_address
        };
        if let Some((_, first)) = users.iter().find(|(other, _)| same(other)) {
            let message = "two users with the same id, token or address";
            let problem = Problem::new(row.origin.clone(), message);
            reading
                .problems
                .push(problem.and(first.origin.clone(), "the first one"));
            continue;
        }
        users.push((user, row));
    }
    users.into_iter().map(|(user, _)| user).collect()
}

fn user(reading: &mut Reading<'_>, row: &Node) -> Option<TalkeeUser> {
    let token: Arc<str> = text(row, "token")?.into();
    if !names_token(reading.root, &token) {
        let message = format!("there is no token {token:?}");
        reading.problem(row.get("token").unwrap_or(row), message);
    }
    let address = match row.get("address") {
        Some(place) => {
            let message = "an address has 0x and 40 hexadecimal digits";
            let digits = place.text()?.strip_prefix("0x").and_then(from_hex);
            Some(reading.keep(place, digits.ok_or(message))?)
        }
        None => None,
    };
    Some(TalkeeUser {
        id: u64::try_from(values::integer(row.get("id")?)?).ok()?,
        full_name: text(row, "full_name").unwrap_or(&token).to_owned(),
        avatar_url: text(row, "avatar_url").unwrap_or_default().to_owned(),
        token,
        address,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn what_cannot_work_is_said_at_load() {
        const ROW: &str = "[[channel]]\nname = \"talkee/{site}/{slug}\"";
        let read = |options: &str, row: &str| {
            let toml = format!(
                r#"
                [[listen]]
                address = "127.0.0.1:1"
                [[listen.endpoint]]
                path = "/"
                dialect = "talkee"
                {options}
                [[token]]
                name = "web"
                sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
                {row}
                "#
            );
            let read = parse(&toml, Path::new("/nonexistent"));
            read.map(drop).map_err(|errors| errors.to_string())
        };
        read("", ROW).unwrap();
        for (options, row, says) in [
            ("", "", "no [[channel]] row takes the rooms"),
            (
                r#"channel = "rooms/{site_id}/{slug}""#,
                ROW,
                "no [[channel]] row takes the rooms",
            ),
            (
                r#"channel = "talkee/{slug}""#,
                ROW,
                "holds {site_id} and {slug}",
            ),
            (
                r#"channel = "talkee/{site_id}/{slug...}""#,
                ROW,
                "holds {site_id} and {slug}",
            ),
            (
                r#"users = [{ id = 1, token = "nobody" }]"#,
                ROW,
                "there is no token \"nobody\"",
            ),
            (
                r#"users = [{ id = 1, token = "web", address = "0x1" }]"#,
                ROW,
                "40 hexadecimal digits",
            ),
            (
                r#"users = [{ id = 1, token = "web" }, { id = 2, token = "web" }]"#,
                ROW,
                "two users with the same",
            ),
        ] {
            let said = read(options, row).expect_err(says);
            assert!(said.contains(says), "{options}: {said}");
        }
    }
}
