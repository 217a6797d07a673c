// Params that are an object are found in request.parameters, whatever the transport.
var name = request.parameters.name || "world";
return { greeting: "Hello, " + name + "!", from: "JavaScript" };
