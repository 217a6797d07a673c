//! The commented default and the examples are configurations that work.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::config::{Config, DEFAULT, Environment, Limits, LoadError, load, parse, schema};

/// A directory with all that the commented default names.
pub(super) struct Site(TempDir);

impl Site {
    pub(super) fn new() -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        fs::create_dir(site.0.path().join("scripts")).unwrap();
        for file in [
            "fullchain.pem",
            "key.pem",
            "devices.pem",
            "broker-ca.pem",
            "field-password",
            "action-key",
            "webhook-token",
            "talkee-secret",
        ] {
            fs::write(site.0.path().join(file), "x").unwrap();
        }
        let script = site.0.path().join("scripts/overlay.lua");
        fs::write(script, "return function() end").unwrap();
        site
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("callway.toml")
    }

    pub(super) fn load(&self, text: &str) -> Result<Config, LoadError> {
        fs::write(self.file(), text).unwrap();
        let credentials = self.0.path().display().to_string();
        let environment: Environment = vec![
            ("CREDENTIALS_DIRECTORY".into(), credentials),
            ("OFFICE_PASSWORD".into(), "guest".into()),
            ("GAME_KEY".into(), "key".into()),
            ("WEBHOOK_TOKEN".into(), "hook".into()),
        ];
        load(&[self.file()], &environment)
    }

    /// What is wrong with a text; nothing if nothing is.
    pub(super) fn problems(&self, text: &str) -> Vec<String> {
        match self.load(text) {
            Ok(_) => Vec::new(),
            Err(LoadError::Invalid(errors)) => errors.lines(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The default with every setting that is commented out; prose has a space behind its `#`.
pub(super) fn uncommented() -> String {
    let lines = DEFAULT.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every key of the schema, as `limits.hops` or `route.mqtt.qos`.
pub(super) fn keys(schema: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    if let Some(items) = schema.get("items") {
        keys(items, prefix, found);
    }
    if schema["additionalProperties"].is_object() {
        keys(&schema["additionalProperties"], prefix, found);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        keys(property, &format!("{path}."), found);
        found.insert(path);
    }
}

fn is_set(table: &toml::Value, path: &[&str]) -> bool {
    match (table, path) {
        (_, []) => true,
        (toml::Value::Array(rows), _) => rows.iter().any(|row| is_set(row, path)),
        (toml::Value::Table(table), ["bus", rest @ ..]) if !rest.is_empty() => {
            let buses = table.get("bus").and_then(toml::Value::as_table);
            buses.is_some_and(|buses| buses.values().any(|bus| is_set(bus, rest)))
        }
        (toml::Value::Table(table), [first, rest @ ..]) => {
            table.get(*first).is_some_and(|value| is_set(value, rest))
        }
        _ => false,
    }
}

#[test]
fn the_default_is_valid_as_it_is() {
    let config = parse(DEFAULT, Path::new("/nonexistent")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.listeners[0].endpoints.len(), 3);
    assert!(config.tokens.is_empty() && config.routes.is_empty() && config.buses.is_empty());
}

#[test]
fn the_default_shows_every_key() {
    let table: toml::Value = toml::from_str(&uncommented()).unwrap();
    let mut all = BTreeSet::new();
    keys(&schema(), "", &mut all);
    assert!(all.len() > 80, "the schema was read: {all:?}");
    let path = |key: &str| key.split('.').map(str::to_owned).collect::<Vec<_>>();
    let missing: Vec<_> = all
        .iter()
        .filter(|key| {
            let path = path(key);
            !is_set(&table, &path.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_commented_out_works_too_and_states_the_defaults() {
    let config = Site::new()
        .load(&uncommented())
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((config.buses.len(), config.routes.len()), (2, 5));
    assert_eq!((config.channels.len(), config.services.len()), (3, 1));
    let (shown, default) = (config.limits, Limits::default());
    assert_eq!(format!("{shown:?}"), format!("{default:?}"));
}

#[test]
fn every_example_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut count = 0;
    for entry in fs::read_dir(root).unwrap() {
        let file = entry.unwrap().path().join("callway.toml");
        load(std::slice::from_ref(&file), &Environment::new())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        count += 1;
    }
    assert_eq!(count, 7, "tell this test how many examples there are");
}
