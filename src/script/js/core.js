// The surface of scriptr's scripts that is more than a function: built-in objects, and modules, which
// it returns.
(function (serve, say, http, publish) {
  "use strict";
  var codes = {
    method_not_found: [404, "CHANNEL_NOT_FOUND"],
    forbidden: [403, "PERMISSION_DENIED"],
    invalid_request: [400, "INVALID_PARAMETER_VALUE"],
    invalid_params: [400, "INVALID_PARAMETER_VALUE"]
  };

  function success(result) {
    var answer = { metadata: { status: "success", statusCode: "200" } };
    if (result !== undefined && result !== null) answer.result = result;
    return answer;
  }
  function failure(status, code, detail) {
    return {
      metadata: { status: "failure", statusCode: status, errorCode: code, errorDetail: detail }
    };
  }
  // Modules answer with a status, as scriptr's do; other errors than faults are thrown.
  function attempt(work) {
    try {
      return success(work());
    } catch (error) {
      if (!error || !error.kind) throw error;
      var code = codes[error.kind] || [500, String(error.kind).toUpperCase()];
      return failure(code[0], code[1], error.message);
    }
  }
  function missing(name, instead) {
    return function () {
      throw new Error(name + " is not provided by callway" + (instead ? "; " + instead : ""));
    };
  }

  function scope(global) {
    function stored(name) {
      return serve("storage.get", { global: global, name: name });
    }
    function names() {
      return serve("storage.names", { global: global });
    }
    function put(name, value) {
      serve("storage.set", { global: global, name: name, value: value });
      return true;
    }
    return new Proxy({}, {
      get: function (_, name) {
        return typeof name === "string" ? stored(name)[0] : undefined;
      },
      has: function (_, name) {
        return typeof name === "string" && stored(name).length > 0;
      },
      set: function (_, name, value) {
        return put(String(name), value === undefined ? null : value);
      },
      deleteProperty: function (_, name) {
        serve("storage.set", { global: global, name: String(name) });
        return true;
      },
      ownKeys: names,
      getOwnPropertyDescriptor: function (_, name) {
        var found = typeof name === "string" ? stored(name) : [];
        if (found.length === 0) return undefined;
        return { value: found[0], writable: true, enumerable: true, configurable: true };
      }
    });
  }
  var storage = Object.freeze({ local: scope(false), global: scope(true) });

  function subscribe(channel, script) {
    return attempt(function () {
      return serve("subscribe", { channel: String(channel), script: String(script) });
    });
  }
  function unsubscribe(channel, script) {
    return attempt(function () {
      return serve("unsubscribe", { channel: String(channel), script: String(script) });
    });
  }
  function publishTo(channel, message, useEnvelope) {
    if (String(useEnvelope) === "true") message = { from: "scriptr", message: message };
    return attempt(function () {
      publish(String(channel), message);
    });
  }
  function getChannel(name) {
    return attempt(function () {
      return serve("channel", { name: String(name) });
    });
  }

  function topic(channel) {
    return {
      publish: function (message, useEnvelope) {
        return publishTo(channel, message, useEnvelope);
      },
      subscribe: function (script) { return subscribe(channel, script); },
      unsubscribe: function (script) { return unsubscribe(channel, script); },
      queue: function (script, params) {
        return attempt(function () {
          if (params === undefined) params = null;
          return serve("queue", { channel: channel, script: String(script), params: params });
        });
      },
      clear: missing("queue.clear", "see `callway spool purge`"),
      peek: missing("queue.peek", "see `callway spool list`"),
      getStatistics: missing("getStatistics", "see /metrics")
    };
  }

  // One level for each script that asks for the module, silent until it is set.
  var levels = ["DEBUG", "INFO", "WARN", "ERROR", "OFF"];
  var level = 4;
  function line(name) {
    return function () {
      if (levels.indexOf(name) >= level) say[name.toLowerCase()].apply(null, arguments);
    };
  }

  var configured = "channels are rows of the configuration";
  var modules = {
    http: { request: http },
    log: {
      setLevel: function (name) {
        var at = levels.indexOf(String(name).toUpperCase());
        if (at >= 0) level = at;
      },
      debug: line("DEBUG"), info: line("INFO"), log: line("INFO"),
      warn: line("WARN"), error: line("ERROR")
    },
    pubsub: {
      getInstance: function (channel) { return topic(String(channel)); },
      publish: publishTo,
      subscribe: subscribe,
      unsubscribe: unsubscribe,
      getChannel: getChannel
    },
    channel: {
      get: getChannel,
      list: function () {
        return attempt(function () { return serve("channels", {}); });
      },
      create: function (name) {
        var found = getChannel(name);
        if (found.metadata.status !== "success") missing("channel.create", configured)();
        var detail = "The channel [" + name + "] already exists.";
        return failure(400, "DUPLICATE_CHANNEL", detail);
      },
      update: missing("channel.update", configured),
      "delete": missing("channel.delete", configured)
    },
    storage: storage,
    mqtt: {
      getInstance: function (endpoint) {
        return {
          publish: function (to, message) {
            serve("mqtt", { bus: String(endpoint), topic: String(to), message: message });
          },
          close: function () {}
        };
      }
    },
    queue: { getInstance: function (channel) { return topic(String(channel)); } }
  };

  var globals = {
    storage: storage,
    subscribe: subscribe,
    schedule: function (script, when) {
      if (when instanceof Date) when = when.toISOString();
      return serve("schedule", { script: String(script), when: String(when) });
    },
    unschedule: function (handle) {
      return attempt(function () {
        serve("unschedule", { handle: String(handle) });
      });
    },
    isIdInAcl: function (id, acl) {
      return serve("acl", { id: String(id), acl: String(acl) });
    },
    // callway adds what its listener allows by itself.
    configuration: { crossDomainHeaders: {} }
  };
  function own(name, value) {
    var property = { value: value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(globalThis, name, property);
  }
  for (var name in globals) own(name, globals[name]);
  // To touch one of these throws; a script may use the name for something of its own.
  [
    "isGroupInAcl", "runAs", "sendMail", "jsonToXml", "xmlToJson", "push", "pushToGroup", "tweet"
  ].forEach(function (name) {
    Object.defineProperty(globalThis, name, {
      get: missing(name),
      set: function (value) { own(name, value); },
      configurable: true
    });
  });
  return modules;
})
