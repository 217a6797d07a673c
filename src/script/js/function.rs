//! Functions of ours, as scripts see them.

use rquickjs::class::Class;
use rquickjs::function::{IntoJsFunc, Params, RustFunction};
use rquickjs::object::{AsProperty, PropertyFlags};
use rquickjs::{Ctx, Error, Function, Value, qjs};

/// A function of this context.
///
/// `Function::new` gives it the prototype that the first context of the runtime had. That keeps
/// the first context, and what its script left in it, within reach of every later one.
pub fn function<'js, F, P>(ctx: &Ctx<'js>, f: F) -> Result<Function<'js>, Error>
where
    F: IntoJsFunc<'js, P> + 'js,
{
    let call = move |params: Params<'_, 'js>| {
        params.check_params(F::param_requirements())?;
        f.call(params)
    };
    let prototype = Function::prototype(ctx.clone());
    let class = Class::instance_proto(RustFunction(Box::new(call)), prototype)?;
    let function = class.into_inner().into_value().into_function();
    let function = function.ok_or(Error::Unknown)?;
    function.with_length(F::param_requirements().min())
}

/// A configurable property that is read and set by functions.
pub struct Accessor<'js> {
    pub get: Function<'js>,
    pub set: Function<'js>,
}

impl<'js> AsProperty<'js, ()> for Accessor<'js> {
    fn config(
        self,
        ctx: &Ctx<'js>,
    ) -> Result<(PropertyFlags, Value<'js>, Value<'js>, Value<'js>), Error> {
        let flags = qjs::JS_PROP_HAS_GET
            | qjs::JS_PROP_HAS_SET
            | qjs::JS_PROP_HAS_CONFIGURABLE
            | qjs::JS_PROP_CONFIGURABLE;
        let none = Value::new_undefined(ctx.clone());
        Ok((
            flags as PropertyFlags,
            none,
            self.get.into_value(),
            self.set.into_value(),
        ))
    }
}
