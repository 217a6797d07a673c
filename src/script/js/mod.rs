//! JavaScript: QuickJS, in which nothing of one call can be seen by the next.
//!
//! A host has one context. Of each script that ran in it there is an image: the context with that
//! script compiled in it and not run yet. A call begins with its script's image, whatever the call
//! before it has left behind, be it a polyfill, a promise, or an engine out of memory.

mod core;
mod globals;
mod images;
mod modules;
mod names;
mod outcome;
mod realm;
mod request;
mod script;

use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::{Context, Error, Runtime};

use self::images::Images;
use self::realm::Realm;
use super::host::Session;
use super::wire::{End, Problem, Script, Work};

/// What a context takes up before a script does anything.
const OWN_MEMORY: usize = 1 << 20;
const MAX_STACK: usize = 512 * 1024;
/// Garbage below this is not collected in a call; afterwards it is gone anyway.
const LITTER: usize = 2 << 20;
/// Time and memory for compiling one script.
const CHECK: (Duration, usize) = (Duration::from_secs(1), 64 << 20);

/// Runs JavaScript.
pub struct Engine {
    session: Rc<Session>,
    world: Option<(Realm, Images)>,
}

impl Engine {
    /// Without a context yet.
    pub fn new(session: Rc<Session>) -> Engine {
        Engine {
            session,
            world: None,
        }
    }

    /// Sets back what the last call did, so that the next one of the same script need not wait.
    pub fn prepare(&mut self) {
        match &mut self.world {
            Some((realm, images)) => images.go_back(realm),
            None => {
                self.session.budget.begin();
                // If it fails now it fails when a call needs it, and is reported there.
                self.world = world(&self.session);
            }
        }
    }

    /// Runs a script to its result as JSON text.
    pub fn run(&mut self, work: &Work, script: &Script) -> Result<Vec<u8>, End> {
        let session = &self.session;
        if self.world.is_none() {
            self.world = world(session);
        }
        let Some((realm, images)) = &mut self.world else {
            return Err(session.out_of_memory());
        };
        if !images.go_to(realm, script.number) {
            // What is compiled is kept for others, so it has nothing of the call in it.
            let load = || realm.with(|ctx, root| script::load(ctx, root, session, script));
            session
                .alone(load)
                .map_err(|error| broken(session, &error))??;
            images.keep(realm, script.number);
        }
        let result = realm.with(|ctx, root| script::run(ctx, root, session, work));
        result.map_err(|error| broken(session, &error))?
    }
}

impl Drop for Engine {
    /// The engine wants to end as orderly as it began.
    fn drop(&mut self) {
        if let Some((realm, images)) = &mut self.world {
            images.go_back(realm);
        }
    }
}

/// The engine is not to be had, which no script can bring about.
fn broken(session: &Session, error: &Error) -> End {
    session.threw(Problem {
        message: error.to_string(),
        ..Problem::default()
    })
}

/// A context with what every script finds in it, and its image.
fn world(session: &Rc<Session>) -> Option<(Realm, Images)> {
    let set_up = |runtime: &Runtime| {
        runtime.set_gc_threshold(LITTER);
        runtime.set_memory_limit(session.memory + OWN_MEMORY);
        runtime.set_max_stack_size(MAX_STACK);
        let budget = session.budget.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || budget.over())));
    };
    let realm = Realm::new(set_up, |natives| script::define(natives, session)).ok()?;
    let images = Images::new(realm.image()?);
    Some((realm, images))
}

/// Compiles without running.
///
/// A file that closes the function around it runs nevertheless before it is refused. It does so
/// within bounds, and finds nothing but the language.
pub fn check(path: &str, source: &[u8]) -> Result<(), Problem> {
    let own = |error: Error| Problem {
        message: error.to_string(),
        ..Problem::default()
    };
    let runtime = Runtime::new().map_err(own)?;
    let (time, memory) = CHECK;
    runtime.set_memory_limit(memory);
    runtime.set_max_stack_size(MAX_STACK);
    let started = Instant::now();
    runtime.set_interrupt_handler(Some(Box::new(move || started.elapsed() > time)));
    let context = Context::full(&runtime).map_err(own)?;
    script::check(&context, path, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_function_and_nothing_beside_it() {
        for source in [
            "return request.body;",
            "'use strict';\r\nvar a = '}'; // ü }\r\nreturn a",
            "function f() { return `${'}'}`; }\nreturn f; /* } */ //",
        ] {
            assert!(check("/a.js", source.as_bytes()).is_ok(), "{source}");
        }
        for source in [
            "}); var found = 1; (function () { return found;",
            "}, function () {",
            "return 1; }) && (function (require) { return 2;",
            "}); ({",
        ] {
            let problem = check("/a.js", source.as_bytes()).unwrap_err();
            assert!(problem.message.contains("a `}` too many"), "{problem:?}");
        }
        assert!(check("/a.js", b"return }").is_err());
    }
}
