//! The invariants of docs/ARCHITECTURE.md that can be read off the source: which folder may name
//! which library, one sentence at the top of each file, no file that outgrew its idea.

use std::path::{Path, PathBuf};

const TRANSPORTS: [&str; 9] = [
    "tokio::net",
    "tungstenite",
    "rumqttc",
    "lapin",
    "hyper",
    "axum",
    "reqwest",
    "tokio_rustls",
    "rustls::",
];
/// No transport in these: they are the same for all.
const PURE: [&str; 5] = ["call/", "auth/", "router/", "dialect/", "channel/"];
/// A library, or what it takes care to use, and the only folders that may name it.
const BOUND: [(&str, &[&str]); 12] = [
    ("rumqttc", &["link/"]),
    ("lapin", &["link/"]),
    ("tungstenite", &["ingress/", "client/"]),
    ("rquickjs", &["script/"]),
    ("mlua", &["script/"]),
    ("seccompiler", &["script/"]),
    ("unsafe", &["script/js/realm/"]),
    ("Persistent", &["script/js/realm/"]),
    ("Function::new", &["script/js/realm/"]),
    ("Class::", &["script/js/realm/"]),
    ("ArrayBuffer", &["script/js/realm/"]),
    ("rusqlite", &["store/"]),
];
const LONGEST: usize = 450;

/// Each source file: its path below src/, and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 50, "the source was found");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let read = |path: &PathBuf| (name(path), std::fs::read_to_string(path).unwrap());
    files.iter().map(read).collect()
}

/// Whether code names this, comments and what stands in quotes left out.
fn names(text: &str, what: &str) -> bool {
    let code = text.lines().map(str::trim_start);
    let mut code = code.filter(|line| !line.starts_with("//"));
    code.any(|line| line.split('"').step_by(2).any(|code| code.contains(what)))
}

#[test]
fn libraries_stay_in_their_folders() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let within = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        if within(&PURE) {
            let found = TRANSPORTS.iter().filter(|library| names(&text, library));
            wrong.extend(found.map(|library| format!("{path} names {library}")));
        }
        for (library, folders) in BOUND {
            if !within(folders) && names(&text, library) {
                wrong.push(format!("{path} names {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_have_one_idea_and_say_it() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            wrong.push(format!("{path} does not begin with a sentence"));
        }
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{path} has {lines} lines"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_cryptography_provider() {
    let root = env!("CARGO_MANIFEST_DIR");
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build"])
        .args(["--prefix", "none"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{tree:?}");
    let tree = String::from_utf8(tree.stdout).unwrap();
    let has = |name: &str| {
        tree.lines()
            .any(|line| line.starts_with(&format!("{name} v")))
    };
    assert!(has("aws-lc-rs"), "the tree was read");
    assert!(
        !has("ring"),
        "aws-lc-rs is the one provider; some feature drew in ring"
    );
    assert!(!has("openssl"), "rustls is the one TLS");
}
