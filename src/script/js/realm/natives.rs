//! Functions of ours, as scripts see them.

use std::cell::RefCell;

use rquickjs::function::IntoJsFunc;
use rquickjs::{Ctx, Error, Function, Persistent};

/// Makes the functions of a realm.
///
/// What a function of ours owns lies outside of the heap and is freed with the last reference to it.
/// A script may well drop all that it sees, and setting back would bring them back: so one more of
/// each is held here.
pub struct Natives<'js> {
    ctx: Ctx<'js>,
    held: RefCell<Vec<Held>>,
}

pub(super) type Held = Persistent<Function<'static>>;

impl<'js> Natives<'js> {
    pub(super) fn new(ctx: Ctx<'js>) -> Natives<'js> {
        Natives {
            ctx,
            held: RefCell::default(),
        }
    }

    /// The context they are for.
    pub fn ctx(&self) -> &Ctx<'js> {
        &self.ctx
    }

    /// A function that lives as long as the realm.
    pub fn function<F, P>(&self, f: F) -> Result<Function<'js>, Error>
    where
        F: IntoJsFunc<'js, P> + 'js,
    {
        let function = Function::new(self.ctx.clone(), f)?;
        let held = Persistent::save(&self.ctx, function.clone());
        self.held.borrow_mut().push(held);
        Ok(function)
    }

    pub(super) fn held(self) -> Vec<Held> {
        self.held.into_inner()
    }
}
