// Reads parameters wherever they come from: a socket, a query, a form, a topic.
var temperature = Number(request.parameters.temperature);
var humidity = Number(request.parameters.humidity);
if (isNaN(temperature) || isNaN(humidity)) {
  return { errorCode: "INVALID_PARAMETER_VALUE", errorDetail: "temperature and humidity are numbers" };
}
console.log("read by " + request.user.id);
storage.local.readings = (storage.local.readings || 0) + 1;
publish("telemetry", { device: request.user.id, temperature: temperature, humidity: humidity });
return { temperature: temperature, humidity: humidity, readings: storage.local.readings };
