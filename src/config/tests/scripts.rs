//! Scripts are compiled when a configuration is read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::config::parse;

fn problems(directory: &Path, route: &str) -> Vec<String> {
    let text = format!(
        "[scripts]\ndirectory = \"scripts\"\n[[route]]\nmethod = \"a/{{x...}}\"\n{route}\n"
    );
    match parse(&text, directory) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.lines(),
    }
}

#[cfg(feature = "js")]
#[test]
fn a_slip_in_a_script_is_shown_in_the_script() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = directory.path().join("scripts");
    fs::create_dir_all(scripts.join("deep")).unwrap();
    fs::write(scripts.join("good.js"), "return 1;").unwrap();
    fs::write(scripts.join("deep/bad.js"), "var a = 1;\nvar b = ;\n").unwrap();
    assert!(problems(directory.path(), "script = \"good.js\"").is_empty());
    for route in ["script = \"deep/bad.js\"", "script = \"{x}.js\""] {
        let found = problems(directory.path(), route);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("deep/bad.js:2:"), "{found:?}");
    }
    assert!(
        problems(directory.path(), "script = \"other/{x}.js\"").is_empty(),
        "only what the route can reach"
    );
}

#[test]
fn a_link_out_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = directory.path().join("scripts");
    fs::create_dir(&scripts).unwrap();
    fs::write(directory.path().join("outside.js"), "return 1;").unwrap();
    symlink(directory.path().join("outside.js"), scripts.join("link.js")).unwrap();
    let found = problems(directory.path(), "script = \"link.js\"");
    assert!(found[0].contains("leads out of"), "{found:?}");
    let found = problems(directory.path(), "script = \"none.js\"");
    assert!(
        found.len() == 1 && found[0].contains("none.js"),
        "{found:?}"
    );
}
