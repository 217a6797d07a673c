//! A QuickJS context that can be set back to how it was.
//!
//! Each call has built-in objects of its own, but making them costs more than most scripts do. So
//! they are made once. All that the engine has lies in one heap, and before each call it is made
//! equal to a copy of it, an image: that undoes whatever the call before has done, to its own
//! objects, to built-in ones, or to the engine.
//!
//! This is the only unsafe code of callway, and it runs in the script hosts alone.

#![expect(
    unsafe_code,
    reason = "setting back memory is beyond what the compiler can check"
)]

mod arena;
mod heap;
mod natives;

use rquickjs::{Context, Ctx, Error, Object, Persistent, Runtime};

use self::heap::Heap;
pub use self::heap::Image;
use self::natives::Held;
pub use self::natives::Natives;

/// A runtime with its context.
pub struct Realm {
    /// What is kept for the one who made the realm.
    root: Persistent<Object<'static>>,
    _natives: Vec<Held>,
    // Ends after what is in it.
    context: Context,
    heap: Heap,
}

impl Realm {
    /// A context with all that `define` makes. What it returns can be had in each call.
    pub fn new(
        set_up: impl FnOnce(&Runtime),
        define: impl for<'js> FnOnce(&Natives<'js>) -> Result<Object<'js>, Error>,
    ) -> Result<Realm, Error> {
        let heap = Heap::new();
        let runtime = Runtime::new_with_alloc(heap.clone())?;
        set_up(&runtime);
        let context = Context::full(&runtime)?;
        let (root, natives) = context.with(|ctx| {
            let natives = Natives::new(ctx.clone());
            let root = Persistent::save(&ctx, define(&natives)?);
            Ok::<_, Error>((root, natives.held()))
        })?;
        runtime.run_gc();
        Ok(Realm {
            root,
            _natives: natives,
            context,
            heap,
        })
    }

    /// What it is now; `None` if it holds anything so large that it cannot be set back to it.
    pub fn image(&self) -> Option<Image> {
        self.heap.image()
    }

    /// Makes it what it was.
    pub fn set(&mut self, image: &Image) {
        // SAFETY: outside of the engine there are the context, the root, our functions and the
        // prototype that the library made for them, which are in every image. Other values live no
        // longer than the closures of `with`, unless they are made persistent, which nobody does
        // outside of this folder. In turn the engine refers to its runtime's own data and to what
        // our functions own, and both live as long as this.
        unsafe { self.heap.set(image) };
    }

    /// Works in the context, with what was returned when it was made.
    pub fn with<R>(
        &mut self,
        work: impl for<'js> FnOnce(&Ctx<'js>, &Object<'js>) -> R,
    ) -> Result<R, Error> {
        let root = self.root.clone();
        self.context
            .with(|ctx| Ok(work(&ctx, &root.restore(&ctx)?)))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn realm() -> Realm {
        let limit = |runtime: &Runtime| runtime.set_memory_limit(8 << 20);
        Realm::new(limit, |natives| Object::new(natives.ctx().clone())).unwrap()
    }

    fn say(realm: &mut Realm, source: &str) -> String {
        let said = realm.with(|ctx, root| {
            ctx.globals().set("root", root.clone())?;
            let text = ctx.eval::<Option<String>, _>(source);
            text.inspect_err(|_| drop(ctx.catch()))
        });
        match said.unwrap() {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn whatever_was_done_is_undone() {
        let mut realm = realm();
        say(&mut realm, "root.kept = {list: [1, 2]}; var own = 'own'; 0");
        let image = realm.image().unwrap();
        for spoil in [
            "root.kept.list.push(3); delete root.kept; own = 'other'; 0",
            "String.prototype.trim = null; Array.prototype[5] = 5; Object.freeze(Object.prototype); 0",
            "JSON.parse = JSON.stringify = null; globalThis.left = Symbol.for('left'); 0",
            "Promise.resolve().then(function () { own = 'later'; }); Promise.reject(1); 0",
            "var a = []; while (true) a.push(new Array(1000).fill('x'));",
            "var text = 'x'; while (true) text += text;",
            "var deep = []; for (var i = 0; i < 1e5; i++) deep = [deep]; root.deep = deep; 0",
            "(function again() { again(); })()",
            "new ArrayBuffer(4 << 20); throw new Error('x'.repeat(300000));",
        ] {
            say(&mut realm, spoil);
            realm.set(&image);
            let look = "[own, JSON.stringify(root), ' x '.trim(), [][5], typeof left].join()";
            assert_eq!(
                say(&mut realm, look),
                r#"own,{"kept":{"list":[1,2]}},x,,undefined"#,
                "{spoil}"
            );
            realm.set(&image);
        }
        assert!(realm.image().is_some(), "something is left outside");
    }

    #[test]
    fn functions_of_ours_outlive_whoever_drops_them() {
        let owned = Rc::new(());
        let seen = Rc::downgrade(&owned);
        let mut realm = Realm::new(
            |_| {},
            |natives| {
                let root = Object::new(natives.ctx().clone())?;
                let ours = natives.function(move || Rc::strong_count(&owned))?;
                root.set("ours", ours)?;
                Ok(root)
            },
        )
        .unwrap();
        let image = realm.image().unwrap();
        for _ in 0..3 {
            assert_eq!(
                say(&mut realm, "root.ours = null; String(root.ours)"),
                "null"
            );
            assert_eq!(seen.strong_count(), 1);
            realm.set(&image);
            assert_eq!(say(&mut realm, "String(root.ours())"), "1");
        }
        drop((realm, image));
        assert_eq!(seen.strong_count(), 0);
    }

    #[test]
    fn one_goes_from_any_image_to_any_other() {
        let mut realm = realm();
        let blank = realm.image().unwrap();
        let mut images = Vec::new();
        for name in ["a", "b", "c"] {
            realm.set(&blank);
            say(
                &mut realm,
                &format!("root.me = function () {{ return '{name}'; }}; 0"),
            );
            images.push((name, realm.image().unwrap()));
        }
        for at in [0, 2, 1, 1, 0, 2] {
            let (name, image) = &images[at];
            realm.set(image);
            assert_eq!(say(&mut realm, "root.me()"), *name);
        }
        realm.set(&blank);
        assert_eq!(say(&mut realm, "typeof root.me"), "undefined");
    }

    #[test]
    fn an_image_of_another_realm_changes_nothing() {
        let (mut one, mut other) = (realm(), realm());
        say(&mut other, "root.mine = 1; 0");
        one.set(&other.image().unwrap());
        assert_eq!(say(&mut one, "typeof root.mine"), "undefined");
    }

    #[test]
    fn there_is_no_image_with_a_block_that_is_too_large() {
        let mut realm = realm();
        let blank = realm.image().unwrap();
        say(&mut realm, "root.text = 'x'.repeat(2 << 20); 0");
        assert!(realm.image().is_none());
        realm.set(&blank);
        assert!(realm.image().is_some());
    }
}
