// One character speaks to another.
console.log(request.user.id + " was told something by " + request.parameters.sender);
return "Message sent successfully";
