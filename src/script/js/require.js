// Modules: what they put into exports, or else their top-level functions and variables.
(function (load, compileCore, serve) {
  "use strict";
  var textOf = Function.prototype.toString;
  var loaded = Object.create(null), has = Object.prototype.hasOwnProperty;
  var say = console, request = http.request, publishBare = publish;
  var own;
  // The built-in objects, and the modules that there are without a file.
  function core() {
    return own || (own = compileCore()(serve, say, request, publishBare));
  }
  function requireFrom(from) {
    return function require(path) {
      path = String(path);
      if (has.call(core(), path)) return own[path];
      var found = load(path, from, textOf);
      if (loaded[found.path]) return loaded[found.path].exports;
      if (found.wantsCore) core();
      var module = loaded[found.path] = { exports: {} };
      var before = module.exports;
      var names = found.code.call(module.exports, requireFrom(found.path), module.exports, module);
      if (module.exports === before && Object.keys(before).length === 0 && names) {
        Object.defineProperties(before, names);
      }
      return module.exports;
    };
  }
  return { __proto__: null, core: core, requireFrom: requireFrom, textOf: textOf };
})
