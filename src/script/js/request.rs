//! What a script is told about its call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rquickjs::{Ctx, Error, Function, Object, String as Text, Value};

use super::realm::Natives;
use super::script::options;
use crate::call::HttpParts;
use crate::script::wire::{Script, WireForm, Work};

/// Makes what [`offer`] and [`fill`] find in `root`.
pub fn define<'js>(natives: &Natives<'js>, root: &Object<'js>) -> Result<(), Error> {
    let source = include_str!("request.js");
    let make: Function = natives.ctx().eval_with_options(source, options(""))?;
    make.call((root.clone(),))
}

/// Lets a script find its `request`, which says nothing of a call yet.
pub fn offer<'js>(root: &Object<'js>, script: &Script) -> Result<(), Error> {
    let offer: Function = root.get("offer")?;
    offer.call((script.path.trim_start_matches('/'),))
}

/// Fills in the `request` of PROTOCOLS' scripts.
pub fn fill<'js>(ctx: &Ctx<'js>, root: &Object<'js>, work: &Work) -> Result<(), Error> {
    let new = |text: &str| Text::from_str(ctx.clone(), text);
    let base64;
    let text = match work.form {
        WireForm::Binary => {
            base64 = BASE64.encode(&work.params);
            base64.as_str()
        }
        _ => std::str::from_utf8(&work.params)?,
    };
    let body: Value = match work.form {
        WireForm::Json => ctx.json_parse(text)?,
        _ => new(text)?.into_value(),
    };
    let http = work.http.as_ref();
    let raw_body = match http.and_then(|http| http.raw_body.as_ref()) {
        Some(raw) => new(&String::from_utf8_lossy(raw))?,
        None => match body.as_string() {
            Some(body) => body.clone(),
            None if body.is_null() => new("")?,
            None => new(text)?,
        },
    };
    let uri = match http {
        Some(http) => new(&http.path)?,
        None => new(&format!("/{}", work.method))?,
    };
    let id = new(&work.call_id.to_string())?;
    let (caller, account) = (new(&work.caller)?, new(&work.account)?);
    let fill: Function = root.get("fill")?;
    fill.call::<_, ()>((body, raw_body, id, uri, caller, account))?;
    http.map_or(Ok(()), |http| fill_http(ctx, root, http))
}

fn fill_http<'js>(ctx: &Ctx<'js>, root: &Object<'js>, http: &HttpParts) -> Result<(), Error> {
    let headers = Object::new(ctx.clone())?;
    for (name, value) in &http.headers {
        headers.set(name.to_ascii_lowercase(), value.as_str())?;
    }
    let files: Option<Value> = match &http.files {
        Some(files) => Some(ctx.json_parse(&files[..])?),
        None => None,
    };
    let fill: Function = root.get("fillHttp")?;
    fill.call((http.verb.as_str(), http.query.as_str(), headers, files))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value as Json, json};

    use super::super::realm::{Image, Realm};
    use super::*;
    use crate::call::CallId;

    const ID: &str = "01a21e2d-a4bb-7ad4-81f2-5c16d659ea21";

    /// A realm in which `/a/b.js` is ready to be called.
    fn realm() -> (Realm, Image) {
        let realm = Realm::new(
            |_| {},
            |natives| {
                let root = Object::new(natives.ctx().clone())?;
                define(natives, &root)?;
                Ok(root)
            },
        );
        let mut realm = realm.unwrap();
        let script = Script {
            number: 1,
            path: "/a/b.js".into(),
            source: Default::default(),
        };
        let offered = realm.with(|_, root| offer(root, &script)).unwrap();
        offered.unwrap();
        let image = realm.image().unwrap();
        (realm, image)
    }

    /// What an expression says in a call.
    fn say((realm, image): &mut (Realm, Image), work: &Work, source: &str) -> Json {
        let said = realm.with(|ctx, root| {
            fill(ctx, root, work).unwrap();
            let value: Value = ctx.eval(source).unwrap();
            let text = ctx.json_stringify(value).unwrap().unwrap();
            serde_json::from_str(&text.to_string().unwrap()).unwrap()
        });
        realm.set(image);
        said.unwrap()
    }

    fn work(form: WireForm, params: &'static str) -> Work {
        Work {
            form,
            params: params.into(),
            call_id: CallId::parse(ID).unwrap(),
            method: "shop/buy".into(),
            caller: "anna".into(),
            account: "acme".into(),
            ..Work::default()
        }
    }

    fn http() -> Work {
        Work {
            http: Some(Arc::new(HttpParts {
                verb: "PUT".into(),
                path: "/shop/buy/7".into(),
                query: "a=1".into(),
                headers: vec![
                    ("X-Own".into(), "v".into()),
                    ("accept".into(), "*/*".into()),
                ],
                raw_body: Some(b"raw \xff"[..].into()),
                files: Some(r#"{"f":[1]}"#.into()),
            })),
            ..work(WireForm::Json, r#"{"a":1}"#)
        }
    }

    #[test]
    fn a_call_is_told_field_by_field_and_in_order() {
        let mut realm = realm();
        let call = work(WireForm::Json, r#"{"b": 1, "a": [2]}"#);
        let told = say(&mut realm, &call, "JSON.stringify(request)");
        assert_eq!(
            told.as_str().unwrap(),
            concat!(
                r#"{"rawBody":"{\"b\": 1, \"a\": [2]}","parameters":{"b":1,"a":[2]},"#,
                r#""body":{"b":1,"a":[2]},"headers":{},"id":"01a21e2d-a4bb-7ad4-81f2-5c16d659ea21","method":"POST","#,
                r#""pathInfo":"/shop/buy","URI":"/shop/buy","queryString":"","#,
                r#""scriptName":"a/b.js","user":{"id":"anna","name":"anna"},"files":{},"#,
                r#""account":{"accountKey":"acme"}}"#
            )
        );
        let told = say(&mut realm, &http(), "JSON.stringify(request)");
        assert_eq!(
            told.as_str().unwrap(),
            concat!(
                r#"{"rawBody":"raw �","parameters":{"a":1},"body":{"a":1},"#,
                r#""headers":{"x-own":"v","accept":"*/*"},"id":"01a21e2d-a4bb-7ad4-81f2-5c16d659ea21","method":"PUT","#,
                r#""pathInfo":"/shop/buy/7","URI":"/shop/buy/7","queryString":"a=1","#,
                r#""scriptName":"a/b.js","user":{"id":"anna","name":"anna"},"files":{"f":[1]},"#,
                r#""account":{"accountKey":"acme"}}"#
            )
        );
        let header = "[request.headers['X-OWN'], request.headers.Accept, request.headers.none]";
        assert_eq!(say(&mut realm, &http(), header), json!(["v", "*/*", null]));
    }

    #[test]
    fn only_an_object_is_also_the_parameters_and_a_text_is_its_own_raw_body() {
        let mut realm = realm();
        let look = "[request.body, request.rawBody, request.parameters, \
                    request.parameters === request.body]";
        for (form, params, told) in [
            (WireForm::Json, "{}", json!([{}, "{}", {}, true])),
            (WireForm::Json, "[1]", json!([[1], "[1]", {}, false])),
            (WireForm::Json, "null", json!([null, "", {}, false])),
            (WireForm::Json, "1.50", json!([1.5, "1.50", {}, false])),
            (WireForm::Json, r#""\u00fc""#, json!(["ü", "ü", {}, false])),
            (WireForm::Text, "{}", json!(["{}", "{}", {}, false])),
            (WireForm::Binary, "{}", json!(["e30=", "e30=", {}, false])),
        ] {
            assert_eq!(say(&mut realm, &work(form, params), look), told, "{params}");
        }
    }

    #[test]
    fn it_is_a_plain_object_of_the_call_alone() {
        let mut realm = realm();
        let call = work(WireForm::Json, "[]");
        let spoil = "request.user.id = 'eve'; request.files.f = request.parameters.p = 1; \
             request.headers.h = 1; delete request.account; request = null; \
             Object.prototype.user = 1; Object.freeze(Object.prototype)";
        let plain = "var names = ['rawBody', 'scriptName', 'user', 'account'].map(function (name) {
               var it = Object.getOwnPropertyDescriptor(request, name);
               return it.writable && it.enumerable && it.configurable;
             });
             var parts = ['parameters', 'headers', 'user', 'files', 'account'];
             var prototypes = parts.map(function (name) {
               return Object.getPrototypeOf(request[name]) === Object.prototype;
             });
             names.concat(prototypes, Object.keys(globalThis).indexOf('request') >= 0)";
        let before = say(&mut realm, &call, "request");
        say(&mut realm, &call, spoil);
        assert_eq!(say(&mut realm, &call, "request"), before);
        assert_eq!(say(&mut realm, &call, plain), json!(vec![true; 10]));
    }
}
