//! JavaScript: QuickJS, a fresh context for each call.
//!
//! Nothing of one call can be seen by the next: each has its own built-in objects. What contexts
//! of one process have in common is their runtime, which is memory and a queue of jobs. After each
//! call the context goes and its memory is collected; a runtime in which anything is left, or in
//! which a budget ran out, is thrown away. The next context is made ahead, with the script that
//! ran last compiled in it, while nobody waits.

mod core;
mod function;
mod globals;
mod modules;
mod names;
mod world;

use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::{Context, Error, Runtime};

use self::world::World;
use super::host::Session;
use super::wire::{End, Problem, Script, Work};

/// What a context takes up before a script does anything.
const OWN_MEMORY: usize = 1 << 20;
const MAX_STACK: usize = 512 * 1024;
/// Garbage below this is collected after the call instead of in it.
const LITTER: usize = 2 << 20;
/// A runtime with more than this in it than at first is not used again.
const LEFT_OVER: i64 = 64 * 1024;
/// What a call may leave, until it is collected, beside the making of the next context.
const ROOM: i64 = 512 * 1024;
/// Time and memory for compiling one script.
const CHECK: (Duration, usize) = (Duration::from_secs(1), 64 << 20);

/// Runs JavaScript.
pub struct Engine {
    session: Rc<Session>,
    next: Option<World>,
    /// Where a call has run, until it is cleaned away; and whether a budget ran out.
    used: Option<(World, bool)>,
    last: Option<Script>,
    /// Goes after the contexts in it; and what it holds with a fresh one.
    runtime: Option<(Runtime, i64)>,
}

impl Engine {
    /// Without a runtime yet.
    pub fn new(session: Rc<Session>) -> Engine {
        Engine {
            session,
            next: None,
            used: None,
            last: None,
            runtime: None,
        }
    }

    /// Cleans up after the last call and makes the next context.
    pub fn prepare(&mut self) {
        if self.next.is_none() {
            self.session.budget.begin();
            // If it fails now it fails when a call needs it, and is reported there.
            self.next = self.world().ok();
            if let (Some(next), Some(last)) = (&mut self.next, &self.last) {
                next.make_ready(last);
            }
        }
    }

    /// Runs a script to its result as JSON text.
    pub fn run(&mut self, work: &Work, script: &Script) -> Result<Vec<u8>, End> {
        let mut world = match self.next.take() {
            Some(world) => world,
            None => self.world().map_err(|_| self.session.out_of_memory())?,
        };
        let result = world.run(work, script);
        let spoiled = self.session.budget.stop().is_some() || matches!(result, Err(End::Limit(_)));
        self.used = Some((world, spoiled));
        if self.last.as_ref().map(|last| last.number) != Some(script.number) {
            self.last = Some(script.clone());
        }
        result
    }

    fn world(&mut self) -> Result<World, Error> {
        let used = self.used.take();
        if let (Some((used, false)), Some((runtime, clean))) = (used, self.runtime.take())
            && let Some(world) = follow(&runtime, clean, used, &self.session)
        {
            self.runtime = Some((runtime, clean));
            return Ok(world);
        }
        let runtime = runtime(&self.session)?;
        let world = World::new(&runtime, &self.session)?;
        let clean = runtime.memory_usage().malloc_size;
        self.runtime = Some((runtime, clean));
        Ok(world)
    }
}

/// A fresh context in the place of one in which a call has run; `None` if anything is left of it.
fn follow(runtime: &Runtime, clean: i64, used: World, session: &Rc<Session>) -> Option<World> {
    let held = || runtime.memory_usage().malloc_size;
    runtime.set_gc_threshold(LITTER);
    let mut used = Some(used);
    if held() > clean + ROOM {
        used = None;
        runtime.run_gc();
        if held() > clean {
            return None;
        }
    }
    // As long as the last context is there, the names of built-in objects need not be made anew.
    let world = World::new(runtime, session).ok()?;
    drop(used);
    runtime.run_gc();
    // The order matters: collecting may have put jobs into the queue.
    (!runtime.is_job_pending() && held() <= clean + LEFT_OVER).then_some(world)
}

impl Drop for Engine {
    fn drop(&mut self) {
        (self.next, self.used) = (None, None);
    }
}

fn runtime(session: &Session) -> Result<Runtime, Error> {
    let runtime = Runtime::new()?;
    runtime.set_gc_threshold(LITTER);
    runtime.set_memory_limit(session.memory + OWN_MEMORY);
    runtime.set_max_stack_size(MAX_STACK);
    let budget = session.budget.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || budget.over())));
    Ok(runtime)
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
    world::check(&context, path, source)
}
