//! What a script is told about its call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rquickjs::{Ctx, Error, Function, Object, Value};

use crate::script::wire::{Script, WireForm, Work};

/// Header names are looked up whatever their case.
pub const HEADERS: &str = r#"(function (fields) {
  var has = Object.prototype.hasOwnProperty;
  return new Proxy(fields, {
    get: function (target, name) {
      var lower = typeof name === "string" ? name.toLowerCase() : name;
      return has.call(target, lower) ? target[lower] : target[name];
    }
  });
})"#;

/// The `request` of PROTOCOLS' scripts.
pub fn request<'js>(
    ctx: &Ctx<'js>,
    root: &Object<'js>,
    work: &Work,
    script: &Script,
) -> Result<Object<'js>, Error> {
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
        _ => rquickjs::String::from_str(ctx.clone(), text)?.into_value(),
    };
    let http = work.http.as_ref();
    let request = Object::new(ctx.clone())?;
    match http.and_then(|http| http.raw_body.as_ref()) {
        Some(raw) => request.set("rawBody", String::from_utf8_lossy(raw).as_ref())?,
        None if body.is_string() => request.set("rawBody", body.clone())?,
        None if body.is_null() => request.set("rawBody", "")?,
        None => request.set("rawBody", text)?,
    }
    match body.as_object() {
        Some(object) if !body.is_array() => request.set("parameters", object.clone())?,
        _ => request.set("parameters", Object::new(ctx.clone())?)?,
    }
    request.set("body", body)?;
    let mut headers = Object::new(ctx.clone())?;
    for (name, value) in http.map(|http| &http.headers).into_iter().flatten() {
        headers.set(name.to_ascii_lowercase(), value.as_str())?;
    }
    if http.is_some() {
        let wrap: Function = root.get("headers")?;
        headers = wrap.call((headers,))?;
    }
    request.set("headers", headers)?;
    request.set("id", work.call_id.to_string())?;
    request.set("method", http.map_or("POST", |http| http.verb.as_str()))?;
    let uri = http.map_or_else(|| format!("/{}", work.method), |http| http.path.clone());
    request.set("pathInfo", uri.as_str())?;
    request.set("URI", uri)?;
    request.set("queryString", http.map_or("", |http| http.query.as_str()))?;
    request.set("scriptName", script.path.trim_start_matches('/'))?;
    let user = Object::new(ctx.clone())?;
    user.set("id", &*work.caller)?;
    user.set("name", &*work.caller)?;
    request.set("user", user)?;
    let files = match http.and_then(|http| http.files.as_ref()) {
        Some(files) => ctx.json_parse(&files[..])?,
        None => Object::new(ctx.clone())?.into_value(),
    };
    request.set("files", files)?;
    let account = Object::new(ctx.clone())?;
    account.set("accountKey", &*work.account)?;
    request.set("account", account)?;
    Ok(request)
}
