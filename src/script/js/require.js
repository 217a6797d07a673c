// Modules: what they put into exports, or else their top-level functions and variables.
(function (load, script) {
  "use strict";
  var loaded = Object.create(null);
  function requireFrom(from) {
    return function require(path) {
      var found = load(String(path), from);
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
  return requireFrom(script);
})
