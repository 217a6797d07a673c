//! The commands around a configuration, as a shell sees them: output, errors, exit codes.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs callway in an environment that says nothing.
fn callway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callway"))
        .args(arguments)
        .env_remove("CALLWAY_CONFIG")
        .env_remove("CALLWAY_TOKEN")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A directory with this configuration, and the path of the file.
fn configuration(toml: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("callway.toml");
    std::fs::write(&file, toml).unwrap();
    let file = file.display().to_string();
    (directory, file)
}

#[test]
fn without_a_configuration_run_says_what_helps() {
    let output = callway(&["run", "--config", "/nowhere/callway.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let error = text(&output.stderr);
    assert!(
        error.contains("callway demo") && error.contains("callway config default"),
        "{error}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn check_shows_every_mistake_to_people_and_programs() {
    let (_directory, file) = configuration("[limits]\ntimout = \"5s\"\n[log]\nformat = \"xml\"\n");
    let output = callway(&["check", "--config", &file]);
    assert_eq!(output.status.code(), Some(78));
    let error = text(&output.stderr);
    for words in [
        ":2:1",
        "did you mean `timeout`",
        "^^^^^^",
        ":4:10",
        "2 errors",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let output = callway(&["check", "--json", "--config", &file]);
    assert_eq!(output.status.code(), Some(78));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["valid"], false);
    assert_eq!(
        (&shown["errors"][1]["line"], &shown["errors"][1]["column"]),
        (&4.into(), &10.into())
    );
}

#[test]
fn what_is_printed_as_default_is_accepted() {
    let default = callway(&["config", "default"]);
    let (_directory, file) = configuration(&text(&default.stdout));
    assert_eq!(
        callway(&["check", "--config", &file]).status.code(),
        Some(0)
    );
    let schema = callway(&["config", "schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(
        schema["properties"]["limits"]["additionalProperties"],
        false
    );
}

#[test]
fn a_bus_that_is_away_fails_the_live_check_alone() {
    let (_directory, file) = configuration("[bus.field]\nurl = \"mqtt://127.0.0.1:1\"\n");
    assert_eq!(
        callway(&["check", "--config", &file]).status.code(),
        Some(0)
    );
    let output = callway(&["check", "--live", "--json", "--config", &file]);
    assert_eq!(output.status.code(), Some(69));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["buses"][0]["works"], false);
}

#[test]
fn routes_shows_the_table_and_explains_a_name() {
    let row = "[[route]]\nmethod = \"a/{rest...}\"\nworker = {}\n[[route]]\nmethod = \"a/{x}\"\n\
               http = { url = \"http://127.0.0.1:9/{x}\" }\n";
    let (_directory, file) = configuration(row);
    let table = text(&callway(&["routes", "--config", &file]).stdout);
    assert!(
        table.contains("a/{rest...}") && table.contains("POST http://127.0.0.1:9/{x}"),
        "{table}"
    );
    let output = callway(&["routes", "a/b c", "--json", "--config", &file]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["to"]["url"], "http://127.0.0.1:9/b%20c");
    assert_eq!(shown["beats"][0], "a/{rest...}");
    assert_eq!(
        callway(&["routes", "nobody", "--config", &file])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn wrong_use_ends_with_64() {
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["token", "create", "ada", "--row", "--expires", "90d"],
        &["dead", "retry"],
        &["token", "create", "a/b", "--row"],
        &["token", "create", "ada", "--row", "--call", "a//b"],
    ] {
        assert_eq!(callway(arguments).status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn without_a_daemon_commands_end_with_69() {
    let (directory, file) = configuration("[admin]\nsocket = \"admin.sock\"\n");
    for arguments in [
        &["token", "create", "ada"][..],
        &["token", "list"],
        &["spool", "list"],
        &["spool", "purge"],
        &["dead", "list"],
        &["dead", "retry", "7"],
    ] {
        let output = callway(&[arguments, &["--config", &file]].concat());
        assert_eq!(output.status.code(), Some(69), "{arguments:?}");
        let error = text(&output.stderr);
        let socket = directory.path().join("admin.sock");
        assert!(error.contains(&socket.display().to_string()), "{error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let (_directory, none) = configuration("[admin]\nsocket = \"\"\n");
    let output = callway(&["token", "list", "--config", &none]);
    assert_eq!(output.status.code(), Some(69));
    let missing = callway(&["token", "list", "--config", "/nowhere/callway.toml"]);
    assert_eq!(missing.status.code(), Some(78));
}

#[test]
fn the_socket_is_found_where_only_the_daemon_has_all_that_it_needs() {
    let (_directory, file) = configuration(
        "[admin]\nsocket = \"admin.sock\"\n[bus.field]\nurl = \"mqtt://127.0.0.1\"\n\
         password_file = \"${CREDENTIALS_DIRECTORY}/field\"\n",
    );
    let output = callway(&["token", "list", "--config", &file]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

#[test]
fn a_row_that_is_made_is_a_row_that_is_read() {
    let output = callway(&["token", "create", "ada", "--row", "--call", "log/{caller}"]);
    assert_eq!(output.status.code(), Some(0));
    let (_directory, file) = configuration(&text(&output.stdout));
    assert_eq!(
        callway(&["check", "--config", &file]).status.code(),
        Some(0)
    );
    let token = text(&output.stderr)
        .split_whitespace()
        .last()
        .unwrap()
        .to_owned();
    assert!(token.starts_with("cw_"), "{token}");
    assert!(text(&output.stdout).contains(&callway::auth::digest(&token).to_string()));
}

#[test]
fn a_reader_that_goes_away_is_no_defect() {
    let (_directory, file) = configuration("[limits]\nhops = 4\n");
    for arguments in [
        &["check", "--config", &file][..],
        &["completions", "bash"],
        &["config", "schema"],
        &["token", "create", "pump", "--row"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_callway"))
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
}
