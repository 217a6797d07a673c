// What to do at this temperature.
return { window: request.parameters.celsius > 30 ? "open" : "closed" };
