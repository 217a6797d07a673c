//! `[store]`.

use std::path::PathBuf;

use super::Reading;
use crate::config::Store;
use crate::config::secret;

const NAME: &str = "callway.db";

/// Where the database is: as it says, else in `$STATE_DIRECTORY`, which systemd sets, else in a
/// directory beside the first file that is named after it.
pub(super) fn store(reading: &mut Reading<'_>) -> Option<Store> {
    let root = reading.root;
    let table = root.get("store");
    let Some(node) = table.and_then(|store| store.get("url")) else {
        return Some(Store {
            database: usual_place(reading).join(NAME),
        });
    };
    let url = reading.keep(node, secret::expand(node.text()?, reading.environment))?;
    let path = url.strip_prefix("sqlite:").filter(|path| !path.is_empty());
    let path = reading.keep(node, path.ok_or("a store has the URL sqlite:PATH"))?;
    Some(Store {
        database: reading.directory(node).join(path),
    })
}

fn usual_place(reading: &Reading<'_>) -> PathBuf {
    let given = reading.environment.iter();
    let mut given = given.filter(|(name, value)| name == "STATE_DIRECTORY" && !value.is_empty());
    if let Some((_, directory)) = given.next() {
        // systemd separates several by colons; the unit names one.
        return PathBuf::from(directory.split(':').next().unwrap_or_default());
    }
    let Some(source) = reading.sources.first() else {
        return PathBuf::from(".");
    };
    let stem = source.name.rsplit('/').next().unwrap_or_default();
    let stem = stem.strip_suffix(".toml").unwrap_or(stem);
    source.directory.join(format!("{stem}.state"))
}
