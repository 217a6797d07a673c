// Asks the Lua script for each reading. The grants of whoever called this one hold here as well.
var readings = request.parameters.celsius || [];
var rows = readings.map(function (celsius) {
  var converted = callway.call("demo/convert", { celsius: celsius });
  return celsius + " °C = " + converted.fahrenheit.toFixed(1) + " °F";
});
console.log("reported " + rows.length + " readings to " + request.user.id);
return { readings: rows };
