// Called with each temperature that a device publishes.
var celsius = request.body;
if (celsius > 40) {
  publish("alarms", { too_hot: celsius });
}
