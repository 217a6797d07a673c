//! scriptr's modules and built-in objects, which are written in JavaScript.

use std::rc::Rc;

use rquickjs::{Coerced, Ctx, Error, Function, Value};

use super::globals::{ask, text};
use super::realm::Natives;
use super::script::options;
use crate::script::host::Session;
use crate::script::wire::Ask;

/// What they are found by; each stands for those that contain it.
const NAMES: [&str; 12] = [
    "require",
    "storage",
    "subscribe",
    "schedule",
    "isIdInAcl",
    "configuration",
    "isGroupInAcl",
    "runAs",
    "sendMail",
    "jsonToXml",
    "xmlToJson",
    "tweet",
];

/// Whether a script's text has any of the names. Most scripts do without, and their contexts are
/// smaller by a third then.
pub fn is_wanted(source: &[u8]) -> bool {
    // What is not UTF-8 does not compile.
    let source = std::str::from_utf8(source).unwrap_or_default();
    // Any array has a method of that name.
    let mut pushes = source.match_indices("push");
    NAMES.iter().any(|name| source.contains(name))
        || pushes.any(|(at, _)| !source[..at].ends_with('.'))
}

/// A function that compiles what makes them.
pub fn compiler<'js>(natives: &Natives<'js>) -> Result<Function<'js>, Error> {
    let compile = |ctx: Ctx<'js>| -> Result<Function<'js>, Error> {
        ctx.eval_with_options(include_str!("core.js"), options(""))
    };
    natives.function(compile)
}

/// A function through which they ask the daemon.
pub fn serve<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<Function<'js>, Error> {
    let session = session.clone();
    let serve = move |ctx: Ctx<'js>, name: Coerced<String>, arguments: Value<'js>| {
        let arguments = text(&ctx, Some(arguments))?;
        ask(&ctx, &session, Ask::Service(name.0, arguments.into()))
    };
    natives.function(serve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_and_a_method_is_not_one() {
        for text in [
            "storage.local.a = 1;",
            "var m = require('http');",
            "push('a', 'b');",
            "list.push(1); pushToGroup('g');",
            "unschedule(1)",
        ] {
            assert!(is_wanted(text.as_bytes()), "{text}");
        }
        for text in [&b""[..], b"return 1;", b"list.push(1);", b"\xffstorage"] {
            assert!(!is_wanted(text));
        }
    }
}
