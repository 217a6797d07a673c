return "hello " .. request.parameters.name
