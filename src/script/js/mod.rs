//! JavaScript: QuickJS, a fresh runtime for each call.
//!
//! Nothing of one call can be seen by the next, because nothing is shared: not the built-in
//! objects, not the memory they live in. The next runtime is made ahead, with the script that ran
//! last compiled in it, while nobody waits.

mod names;
mod world;

use std::rc::Rc;

use self::world::World;
use super::host::Session;
use super::wire::{End, Problem, Script, Work};

/// Runs JavaScript.
pub struct Engine {
    session: Rc<Session>,
    next: Option<World>,
    last: Option<Script>,
}

impl Engine {
    /// Without a runtime yet.
    pub fn new(session: Rc<Session>) -> Engine {
        Engine {
            session,
            next: None,
            last: None,
        }
    }

    /// Makes the next runtime.
    pub fn prepare(&mut self) {
        if self.next.is_none() {
            self.session.budget.begin();
            // If it fails now it fails when a call needs it, and is reported there.
            self.next = World::new(&self.session, self.last.as_ref()).ok();
        }
    }

    /// Runs a script to its result as JSON text.
    pub fn run(&mut self, work: &Work, script: &Script) -> Result<Vec<u8>, End> {
        let world = match self.next.take() {
            Some(world) => world,
            None => World::new(&self.session, None).map_err(|_| self.session.out_of_memory())?,
        };
        let result = world.run(work, script);
        if self.last.as_ref().map(|last| last.number) != Some(script.number) {
            self.last = Some(script.clone());
        }
        result
    }
}

/// Compiles without running.
pub fn check(path: &str, source: &[u8]) -> Result<(), Problem> {
    World::check(path, source)
}
