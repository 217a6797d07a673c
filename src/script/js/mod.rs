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
        let found = images.go_to(realm, script.number);
        images.leave();
        if !found {
            let loaded = realm.with(|ctx, root| script::load(ctx, root, session, script));
            loaded.map_err(|error| broken(session, &error))??;
            images.keep(realm, script.number);
        }
        let result = realm.with(|ctx, root| script::run(ctx, root, session, work, script));
        result.map_err(|error| broken(session, &error))?
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
    let realm = Realm::new(set_up, |ctx| script::define(ctx, session)).ok()?;
    let images = Images::new(realm.image()?);
    Some((realm, images))
}

/// Compiles without running.
///
/// A file that closes the function around it would run nevertheless. It does so within bounds,
/// and finds nothing but the language.
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
