-- The route's schema has made sure that this is a number.
local celsius = request.parameters.celsius
if celsius < -273.15 then
  error("nothing is colder than -273.15 degrees Celsius")
end
return {
  celsius = celsius,
  fahrenheit = celsius * 9 / 5 + 32,
  kelvin = celsius + 273.15,
}
