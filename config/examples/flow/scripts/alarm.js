// Whatever is published to a thread reaches its user at once.
var reading = request.body;
if (reading.celsius > 30) publish("flow/jane.doe", "It is " + reading.celsius + " °C in the greenhouse.");
