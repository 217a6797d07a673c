// What every script finds, made anew for each call.
(function (native, globals) {
  "use strict";
  var parse = JSON.parse, stringify = JSON.stringify;

  function show(value) {
    if (typeof value === "string") return value;
    if (value instanceof Error) return value.stack ? value + "\n" + value.stack : String(value);
    if (typeof value === "object" && value !== null) {
      try { return stringify(value); } catch (error) { return String(value); }
    }
    return String(value);
  }

  function say(level) {
    return function () { native.log(level, Array.prototype.map.call(arguments, show).join(" ")); };
  }

  function text(value) {
    var json = stringify(value);
    return json === undefined ? "null" : json;
  }

  function answer(json) { return json === "" ? undefined : parse(json); }

  globals.console = {
    log: say("info"), info: say("info"), warn: say("warn"), error: say("error"), debug: say("debug"),
    setLevel: function (level) { native.level(String(level)); }
  };
  globals.callway = {
    call: function (method, params) { return answer(native.call(String(method), text(params))); }
  };
  globals.http = {
    request: function (options) { return answer(native.http(text(options))); }
  };
  globals.response = {
    setStatus: function (status) { native.status(Number(status)); },
    setHeader: function (name, value) { native.header(String(name), String(value), true); },
    addHeaders: function (headers) {
      for (var name in headers) native.header(name, String(headers[name]), false);
    },
    write: function (value) { native.write(show(value)); },
    flush: function () {},
    close: function () { native.close(); }
  };
  globals.atob = function (value) { return native.atob(String(value)); };
  globals.btoa = function (value) { return native.btoa(String(value)); };

  // Modules: what they put into exports, or else their top-level functions and variables.
  var loaded = Object.create(null);
  function requireFrom(from) {
    return function require(path) {
      var found = native.load(String(path), from);
      if (loaded[found.path]) return loaded[found.path].exports;
      var module = loaded[found.path] = { exports: {} };
      var before = module.exports;
      var names = found.code.call(module.exports, requireFrom(found.path), module.exports, module);
      if (module.exports === before && Object.keys(before).length === 0 && names) {
        Object.defineProperties(before, names);
      }
      return module.exports;
    };
  }

  return {
    require: requireFrom,
    // Header names are looked up whatever their case.
    headers: function (fields) {
      return new Proxy(fields, {
        get: function (target, name) {
          return typeof name === "string" && Object.prototype.hasOwnProperty.call(target, name.toLowerCase())
            ? target[name.toLowerCase()] : target[name];
        }
      });
    }
  };
})
