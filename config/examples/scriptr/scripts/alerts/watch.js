// Called with each event of the channel `telemetry`.
var limits = require("./limits");
var reading = request.body;
if (reading && reading.temperature > limits.temperature()) {
  require("pubsub").getInstance("alerts").publish({ id: "alert", result: reading });
}
