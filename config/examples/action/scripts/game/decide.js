// What a character says to a message. A real game would ask a model here, with `http.request` or
// by a route to a worker; the prompt is what the account was registered with.
var account = request.parameters.account;
var message = request.parameters.message;
if (/^(hello|hi)\b/i.test(message)) {
  return account.name + ": Hello to you!";
}
return account.name + " (" + account.prompt + "): " + message + " Let me think about it.";
