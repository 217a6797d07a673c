// Plans itself: `/alerts/report?at=30 7 ? * MON-FRI` runs it every weekday at half past seven.
if (request.parameters.at) {
  return schedule("alerts/report", request.parameters.at);
}
publish("alerts", { limit: require("./limits").temperature() });
