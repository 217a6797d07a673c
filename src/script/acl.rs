//! The ACL of a script, as scriptr.io's repositories have it: `acl.execute` in the file
//! `.NAME.metadata` beside the script. It comes on top of the caller's grants, and only says no.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::config::{Config, Dialect};

/// Bytes of such a file.
const MAX_SIZE: u64 = 64 * 1024;

/// Who may run a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acl {
    /// Whoever has the grant: nothing is said.
    Open,
    /// Ids, and words that stand for many.
    Only(Vec<String>),
    /// Nobody: what is said cannot be read.
    Unreadable,
}

#[derive(Deserialize)]
struct Metadata {
    acl: Option<Lists>,
}

#[derive(Deserialize)]
struct Lists {
    execute: Option<String>,
}

impl Acl {
    /// Where it would stand for a script: `.name.metadata`, also without the script's ending, which
    /// scriptr.io's scripts have not.
    pub fn files(script: &Path) -> [PathBuf; 2] {
        let beside = |name: Option<&std::ffi::OsStr>| {
            let name = name.unwrap_or_default().to_string_lossy();
            script.with_file_name(format!(".{name}.metadata"))
        };
        [beside(script.file_name()), beside(script.file_stem())]
    }

    /// Reads the one that belongs to a script.
    pub async fn of(script: &Path) -> Acl {
        for file in Acl::files(script) {
            match tokio::fs::metadata(&file).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Ok(found) if found.is_file() && found.len() <= MAX_SIZE => {
                    let text = tokio::fs::read(&file).await;
                    return text.map_or(Acl::Unreadable, |text| Acl::parse(&text));
                }
                _ => return Acl::Unreadable,
            }
        }
        Acl::Open
    }

    fn parse(text: &[u8]) -> Acl {
        let Ok(metadata) = serde_json::from_slice::<Metadata>(text) else {
            return Acl::Unreadable;
        };
        match metadata.acl.and_then(|lists| lists.execute) {
            None => Acl::Open,
            Some(list) => Acl::listed(&list),
        }
    }

    /// Of the words in a list that `;` separates.
    pub fn listed(list: &str) -> Acl {
        Acl::Only(list.split(';').map(|one| one.trim().to_owned()).collect())
    }

    /// Whether this caller may run the script.
    pub fn permits(&self, caller: &str, anonymous: &Anonymous) -> bool {
        let Acl::Only(list) = self else {
            return *self == Acl::Open;
        };
        list.iter()
            .any(|one| match one.to_ascii_lowercase().as_str() {
                "anonymous" => true,
                "authenticated" => !anonymous.0.contains(caller),
                _ => one == caller,
            })
    }
}

/// The token rows of those who show no token.
pub struct Anonymous(HashSet<Arc<str>>);

impl Anonymous {
    /// Of endpoints and buses.
    pub fn of(config: &Config) -> Anonymous {
        let endpoints = config.listeners.iter().flat_map(|row| &row.endpoints);
        let of_endpoints = endpoints.filter_map(|endpoint| match &endpoint.dialect {
            Dialect::Scriptr(options) => options.anonymous.clone(),
            _ => None,
        });
        let buses = config.buses.iter();
        let of_buses = buses.filter_map(|bus| bus.common().caller.clone());
        Anonymous(of_endpoints.chain(of_buses).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(text: &str, caller: &str) -> bool {
        let anonymous = Anonymous(HashSet::from(["visitor".into()]));
        Acl::parse(text.as_bytes()).permits(caller, &anonymous)
    }

    #[test]
    fn what_cannot_be_read_permits_nobody() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"acl":"x"}"#,
            r#"{"acl":{"execute":["x"]}}"#,
        ] {
            assert!(!permits(text, "x"), "{text}");
        }
        for text in ["", "nobody", "group:x", "xy", "authenticated; y"] {
            let text = format!(r#"{{"acl":{{"execute":"{text}"}}}}"#);
            assert!(!permits(&text, "visitor"), "{text}");
        }
    }

    #[test]
    fn ids_and_words_permit() {
        let acl = |list: &str| format!(r#"{{"acl":{{"read":"a","execute":"{list}"}},"x":1}}"#);
        assert!(permits(&acl("anonymous"), "visitor"));
        assert!(permits(&acl("AUTHENTICATED"), "device"));
        assert!(permits(&acl("a; device ;b"), "device"));
        assert!(permits(r#"{"contentType":"text/html"}"#, "visitor"));
    }
}
