//! Several files, and what follows from what stands elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Config, Environment, LoadError, load, parse};

/// Writes files and reads the ones that do not lie in conf.d.
fn loaded(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    let mut given: Vec<PathBuf> = Vec::new();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        if !name.starts_with("conf.d/") {
            given.push(path);
        }
    }
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment: Environment = environment.iter().map(text).collect();
    load(&given, &environment).map_err(|error| match error {
        LoadError::Invalid(errors) => vec![errors.to_string()],
        other => panic!("{other}"),
    })
}

#[test]
fn two_files_beside_each_other_share_one_conf_d() {
    let row = "[[route]]\nmethod = \"a\"\nworker = {}\n";
    let config = loaded(
        &[("a.toml", ""), ("b.toml", ""), ("conf.d/r.toml", row)],
        &[],
    )
    .unwrap();
    assert_eq!(config.routes.len(), 1);
}

#[test]
fn a_name_that_stands_in_two_files_is_shown_at_both() {
    let bus = "[bus.field]\nurl = \"mqtt://h\"\n";
    let token = format!(
        "[[token]]\nname = \"ada\"\nsha256 = \"{}\"\n",
        "0".repeat(64)
    );
    let route = "[[route]]\nmethod = \"a\"\nworker = {}\n";
    for text in [bus, &token, route] {
        let errors = loaded(&[("a.toml", text), ("conf.d/b.toml", text)], &[]).unwrap_err();
        assert!(
            errors[0].contains("a.toml:") && errors[0].contains("b.toml:"),
            "{errors:?}"
        );
    }
}

#[test]
fn a_variable_finds_its_bus_whatever_its_case() {
    let file = [(
        "a.toml",
        "[bus.Field]\nurl = \"mqtt://h\"\npassword = \"${SECRET}\"\n",
    )];
    let variables = [("CALLWAY__BUS__FIELD__PROTOCOL", "4"), ("SECRET", "00123")];
    let config = loaded(&file, &variables).unwrap();
    assert_eq!(config.buses.len(), 1);
    let errors = loaded(
        &file,
        &[("SECRET", "x"), ("CALLWAY__BUS__FIELD__PREFETCH", "x")],
    );
    assert!(errors.unwrap_err()[0].contains("CALLWAY__BUS__FIELD__PREFETCH"));
}

fn problems(text: &str) -> Vec<String> {
    match parse(text, Path::new("/nonexistent")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.lines(),
    }
}

#[test]
fn one_mistake_is_one_error() {
    // What refers to something that is wrong itself is not wrong for that.
    for text in [
        "[bus.b]\nurl = \"mqtt://h?x=1\"\n[[route]]\nmethod = \"a\"\nmqtt = { bus = \"b\", topic = \"t\" }\n",
        "[bus.b]\nurl = \"kafka://h\"\n[[route]]\nmethod = \"a\"\nmqtt = { bus = \"b\", topic = \"t\" }\n",
        "[[token]]\nname = \"t\"\nsha256 = \"x\"\n[bus.b]\nurl = \"mqtt://h\"\ncaller = \"t\"\n",
        "[limits]\ntimout = \"1s\"\n[[route]]\nmethod = \"a\"\nworker = {}\n",
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
    }
}

#[test]
fn mistakes_of_every_sort_come_together_in_the_order_of_the_text() {
    let found = problems(
        "[log]\nlevel = \"inof\"\n[limits]\ntimout = \"1s\"\nping = \"0s\"\n\
         [[route]]\nmethod = \"a/{b\"\nworker = {}\n[bus.b]\nurl = \"mqtt://h\"\nidentity = \"none\"\n",
    );
    let lines: Vec<_> = found
        .iter()
        .map(|line| line.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["2", "4", "5", "7", "11"], "{found:#?}");
}

#[test]
fn more_that_is_refused() {
    let listen = |rest: &str| {
        format!(
            "[[listen]]\naddress = \"{rest}\"\n[[listen.endpoint]]\npath = \"/\"\ndialect = \"http\"\n"
        )
    };
    for (text, words) in [
        (listen("127.0.0.1:9464"), "taken already"),
        (listen("127.0.0.1:80") + &listen("127.0.0.1:80"), "taken already"),
        (listen("0.0.0.0:80"), "plaintext = true"),
        (
            listen("127.0.0.1:80") + "[[route]]\nmethod = \"calls/{x}\"\nworker = {}\n",
            "of its own",
        ),
        ("[bus.b]\nurl = \"mqtt://h/prefix\"\n".into(), "no path"),
        ("[bus.b]\nurl = \"amqp://h?heartbeat=1\"\n".into(), "neither"),
        ("[bus.b]\nurl = \"mqtt://h\"\nidentity = \"user_id\"\n".into(), "no verified user"),
        ("[limits]\ndrain = \"999d\"\n".into(), "longer than a year"),
        ("[[route]]\nmethod = \"a\"\nworker = { x = 1 }\n".into(), "this table is empty"),
        (
            "[bus.b]\nurl = \"amqp://h\"\n[[route]]\nmethod = \"a\"\nmqtt = { bus = \"b\", topic = \"t\" }\n".into(),
            "is one of AMQP",
        ),
        ("[admin]\naddress = \"0.0.0.0:1\"\n".into(), "loopback"),
        (
            "[[route]]\nmethod = \"a\"\nworker = {}\nschema = { params = { type = 7 } }\n".into(),
            "not a JSON Schema",
        ),
        ("[log]\nlevel = \"callway=loud\"\n".into(), "levels are"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|line| line.contains(words)), "{text}: {found:#?}");
    }
}
