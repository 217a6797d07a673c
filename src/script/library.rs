//! The scripts of `scripts.directory`: found, kept inside, read once while they stay the same.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::acl::Acl;
use super::wire::Script;

/// The endings of scripts that this build can run.
pub const ENDINGS: &[&str] = &[
    #[cfg(feature = "js")]
    ".js",
    #[cfg(feature = "lua")]
    ".lua",
];

/// How long a script is believed to be the same without a look at its file.
const BELIEVED: Duration = Duration::from_secs(1);
/// Bytes of a script.
const MAX_SIZE: u64 = 1 << 20;
/// scriptr.io's modules, which scripts from there ask for.
const CORE: [&str; 18] = [
    "http",
    "log",
    "document",
    "pubsub",
    "channel",
    "bridge",
    "device",
    "user",
    "group",
    "queue",
    "mqtt",
    "schema",
    "store",
    "ts",
    "acl",
    "file",
    "notification",
    "script",
];

/// Why there is no such script; a sentence.
pub type Missing = String;

/// What was read so far.
pub struct Library {
    directory: PathBuf,
    known: Mutex<HashMap<String, Entry>>,
    next: AtomicU32,
}

struct Entry {
    script: Arc<Script>,
    acl: Arc<Acl>,
    stamp: Stamp,
    looked: Instant,
}

type Stamp = (u64, Option<SystemTime>);

impl Library {
    /// Of a directory whose links are resolved.
    pub fn new(directory: &Path) -> Library {
        Library {
            directory: directory.to_owned(),
            known: Mutex::default(),
            next: AtomicU32::new(1),
        }
    }

    /// The script at a path below the directory. A file that was changed is read again.
    pub async fn get(&self, path: &str) -> Result<Arc<Script>, Missing> {
        self.with_acl(path).await.map(|(script, _)| script)
    }

    /// The same, and who may run it.
    pub async fn with_acl(&self, path: &str) -> Result<(Arc<Script>, Arc<Acl>), Missing> {
        let path = path.trim_start_matches('/');
        let before = match self.known.lock().get(path) {
            Some(entry) if entry.looked.elapsed() < BELIEVED => {
                return Ok((entry.script.clone(), entry.acl.clone()));
            }
            entry => entry.map(|entry| (entry.stamp, entry.script.clone())),
        };
        // In memory of its own: few calls have to look.
        Box::pin(self.look(path, before)).await
    }

    /// Reads a script, unless it is still what it was `before`.
    async fn look(
        &self,
        path: &str,
        before: Option<(Stamp, Arc<Script>)>,
    ) -> Result<(Arc<Script>, Arc<Acl>), Missing> {
        let (file, name) = self.find(path).await?;
        let stamp = stamp(&file)
            .await
            .map_err(|error| unreadable(path, &error))?;
        let script = match before {
            Some((old, script)) if old == stamp => script,
            _ => {
                let source = tokio::fs::read(&file).await;
                let source = source.map_err(|error| unreadable(path, &error))?;
                Arc::new(Script {
                    number: self.next.fetch_add(1, Ordering::Relaxed),
                    path: name,
                    source: source.into(),
                })
            }
        };
        let acl = Arc::new(Acl::of(&file).await);
        let entry = Entry {
            script: script.clone(),
            acl: acl.clone(),
            stamp,
            looked: Instant::now(),
        };
        self.known.lock().insert(path.to_owned(), entry);
        Ok((script, acl))
    }

    /// The file and its name below the directory, links resolved: they may not lead outside.
    async fn find(&self, path: &str) -> Result<(PathBuf, String), Missing> {
        if !ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            return Err(format!("/{path} does not end in {}", ENDINGS.join(" or ")));
        }
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let missing = || format!("there is no script /{path} below scripts.directory");
        if !plain || path.contains('\0') {
            return Err(missing());
        }
        let file = tokio::fs::canonicalize(self.directory.join(path))
            .await
            .map_err(|_| missing())?;
        // Where a link leads is nobody's business outside.
        let name = file.strip_prefix(&self.directory).map_err(|_| missing())?;
        Ok((file.clone(), format!("/{}", name.display())))
    }

    /// The script that `require(path)` in the script `from` means.
    pub async fn module(&self, path: &str, from: &str) -> Result<Arc<Script>, Missing> {
        let ending = from.rfind('.').map_or("", |at| &from[at..]);
        let Some(target) = resolve(path, from) else {
            return Err(format!("require({path:?}) leads out of scripts.directory"));
        };
        let candidates = match target.ends_with(ending) {
            true => [target.clone(), format!("{target}{ending}")],
            false => [format!("{target}{ending}"), target.clone()],
        };
        for candidate in candidates.iter().filter(|c| c.ends_with(ending)) {
            if let Ok(script) = self.get(candidate).await {
                return Ok(script);
            }
        }
        let core = path.trim_start_matches('/');
        if CORE.contains(&core) {
            return Err(format!(
                "require({path:?}): callway has no core module of this name; scripts have request, \
                 response, console, callway.call and http.request without require"
            ));
        }
        Err(format!(
            "require({path:?}): there is no script {target}{} below scripts.directory",
            if target.ends_with(ending) { "" } else { ending }
        ))
    }
}

/// A path below the directory, from an absolute one or one relative to the script `from`.
fn resolve(path: &str, from: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if !path.starts_with('/') {
        parts.extend(from.split('/').filter(|part| !part.is_empty()));
        parts.pop();
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

async fn stamp(file: &Path) -> std::io::Result<Stamp> {
    let metadata = tokio::fs::metadata(file).await?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    if metadata.len() > MAX_SIZE {
        return Err(std::io::Error::other(format!(
            "longer than {MAX_SIZE} bytes"
        )));
    }
    Ok((metadata.len(), metadata.modified().ok()))
}

fn unreadable(path: &str, error: &std::io::Error) -> Missing {
    format!("the script /{path} cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_from_where_they_are_wanted() {
        assert_eq!(resolve("/lib/x", "/a/b.js").as_deref(), Some("/lib/x"));
        assert_eq!(resolve("x", "/a/b.js").as_deref(), Some("/a/x"));
        assert_eq!(resolve("./x.js", "/a/b.js").as_deref(), Some("/a/x.js"));
        assert_eq!(resolve("../x", "/a/b.js").as_deref(), Some("/x"));
        assert_eq!(resolve("../../etc/passwd", "/a/b.js"), None);
    }

    #[cfg(feature = "js")]
    #[tokio::test]
    async fn nothing_outside_is_a_script() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret.js"), "return 1").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let directory = inside.path().canonicalize().unwrap();
        std::fs::write(directory.join("a.js"), "return 1").unwrap();
        let secret = outside.path().join("secret.js");
        std::os::unix::fs::symlink(&secret, directory.join("link.js")).unwrap();
        std::os::unix::fs::symlink("a.js", directory.join("alias.js")).unwrap();
        let library = Library::new(&directory);
        assert_eq!(library.get("a.js").await.unwrap().path, "/a.js");
        assert_eq!(library.get("alias.js").await.unwrap().path, "/a.js");
        for path in [
            "link.js",
            "../a.js",
            "b.js",
            "",
            "a",
            "//../a.js",
            "a.js/../../x.js",
        ] {
            assert!(library.get(path).await.is_err(), "{path}");
        }
        let message = library.module("document", "/a.js").await.unwrap_err();
        assert!(message.contains("core module"), "{message}");
        assert!(library.module("/a", "/x/y.js").await.is_ok());
        assert!(library.module("/a", "/x/y.lua").await.is_err());
    }
}
