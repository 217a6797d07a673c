// What a script is told about its call. The object is made once and lies ready when a script is
// compiled; a call fills it in. It is the call's own nevertheless, because all is set back.
(function (root) {
  "use strict";
  var isArray = Array.isArray, has = Object.prototype.hasOwnProperty;
  // The order is the one in which scripts see the names. What stands here stays where a call brings
  // nothing else.
  var request = {
    rawBody: "",
    parameters: {},
    body: null,
    headers: {},
    id: "",
    method: "POST",
    pathInfo: "",
    URI: "",
    queryString: "",
    scriptName: "",
    user: { id: "", name: "" },
    files: {},
    account: { accountKey: "" }
  };
  // Header names are looked up whatever their case.
  function headers(fields) {
    return new Proxy(fields, {
      get: function (target, name) {
        var lower = typeof name === "string" ? name.toLowerCase() : name;
        return has.call(target, lower) ? target[lower] : target[name];
      }
    });
  }
  root.offer = function (scriptName) {
    request.scriptName = scriptName;
    globalThis.request = request;
  };
  root.fill = function (body, rawBody, id, uri, caller, account) {
    request.rawBody = rawBody;
    request.body = body;
    if (typeof body === "object" && body !== null && !isArray(body)) request.parameters = body;
    request.id = id;
    request.pathInfo = request.URI = uri;
    request.user.id = request.user.name = caller;
    request.account.accountKey = account;
  };
  root.fillHttp = function (verb, query, fields, files) {
    request.method = verb;
    request.queryString = query;
    request.headers = headers(fields);
    if (files !== undefined) request.files = files;
  };
})
