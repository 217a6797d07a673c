// Modules: what they put into exports, or else their top-level functions and variables.
(function (load, script) {
  "use strict";
  var loaded = Object.create(null), core = Object.create(null);
  function requireFrom(from) {
    return function require(path) {
      path = String(path);
      if (core[path]) return core[path];
      var found = load(path, from);
      if (found.core) return core[path] = found.core;
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
