// Answers one message: { threadId, speech, originator, metadata, attachment?, clientId }. A string
// becomes one text; an object with `messages` is sent as it is; null says nothing.
var message = request.body;
if (message.attachment && message.attachment.type === "event") {
  return {
    messages: [{
      fallback: "Hello " + message.originator.name,
      responses: [{
        type: "text",
        payload: {
          text: "Hello " + message.originator.name + ", what can I do for you?",
          quickReplies: [{ type: "text", label: "Opening hours", value: "When are you open?" }]
        }
      }]
    }]
  };
}
if (/open/i.test(message.speech)) return "We are open from nine to five.";
return "You said: " + message.speech;
