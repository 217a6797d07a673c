-- What every script finds, made once per machine and read-only from then on.
local native, traceback, is_array, fallback = ...
local error, type, select, rawget, xpcall, setmetatable = error, type, select, rawget, xpcall, setmetatable
local lower, concat, randomseed = string.lower, table.concat, math.randomseed

local function say(level)
	return function(...)
		local parts = {}
		for i = 1, select("#", ...) do
			parts[i] = native.show((select(i, ...)))
		end
		native.log(level, concat(parts, " "))
	end
end

console = {
	log = say("info"), info = say("info"), warn = say("warn"), error = say("error"), debug = say("debug"),
	setLevel = native.level,
}
print = console.log

-- Faults are tables with kind, message and data; as text they are "kind: message".
local fault = table.freeze({
	__tostring = function(self) return `{self.kind}: {self.message}` end,
})

local function unwrap(ok, value)
	if ok then return value end
	error(setmetatable(value, fault), 0)
end

callway = {
	call = function(method, params) return unwrap(native.call(method, params)) end,
	publish = function(channel, payload) return unwrap(native.publish(channel, payload)) end,
}
local function serve(name, arguments) return unwrap(native.serve(name, arguments)) end
local function publish(channel, message) return unwrap(native.say(channel, message)) end
http = { request = function(options) return unwrap(native.http(options)) end }
json = {
	parse = native.parse,
	serialize = native.serialize,
	null = native.null,
	array = function(t) return setmetatable(t or {}, is_array) end,
}
response = {
	setStatus = native.status,
	setHeader = function(name, value) native.header(name, tostring(value), true) end,
	addHeaders = function(headers)
		for name, value in headers do native.header(name, tostring(value), false) end
	end,
	write = function(text) native.write(type(text) == "string" and text or native.show(text)) end,
	flush = function() end,
	close = native.close,
}
atob, btoa = native.atob, native.btoa

local function missing(name)
	return function() error(`{name} is not provided by callway`, 2) end
end

local function scope(global)
	return setmetatable({}, table.freeze({
		__index = function(_, name)
			return serve("storage.get", { global = global, name = tostring(name) })[1]
		end,
		__newindex = function(_, name, value)
			serve("storage.set", { global = global, name = tostring(name), value = value })
		end,
		__metatable = false,
	}))
end
storage = { ["local"] = scope(false), global = scope(true) }

function schedule(script, when) return serve("schedule", { script = script, when = when }) end
function unschedule(handle) return serve("unschedule", { handle = handle }) end
function isIdInAcl(id, acl) return serve("acl", { id = id, acl = acl }) end
function subscribe(channel, script) serve("subscribe", { channel = channel, script = script }) end

-- scriptr's modules, for `require`. They raise faults instead of answering with a status.
local function topic(channel)
	return {
		publish = function(message, envelope)
			if envelope then message = { from = "scriptr", message = message } end
			return publish(channel, message)
		end,
		subscribe = function(script) subscribe(channel, script) end,
		unsubscribe = function(script)
			serve("unsubscribe", { channel = channel, script = script })
		end,
		queue = function(script, params)
			return serve("queue", { channel = channel, script = script, params = params })
		end,
		clear = missing("queue.clear"),
		peek = missing("queue.peek"),
		getStatistics = missing("getStatistics"),
	}
end

local core = {
	http = http,
	log = console,
	storage = storage,
	pubsub = { getInstance = topic },
	queue = { getInstance = topic },
	channel = {
		get = function(name) return serve("channel", { name = name }) end,
		list = function() return serve("channels", {}) end,
		create = missing("channel.create"),
		update = missing("channel.update"),
		delete = missing("channel.delete"),
	},
	mqtt = {
		getInstance = function(endpoint)
			return {
				publish = function(to, message)
					serve("mqtt", { bus = endpoint, topic = to, message = message })
				end,
				close = function() end,
			}
		end,
	},
}
for _, module in core do table.freeze(module) end
table.freeze(core)

local case_insensitive = table.freeze({
	__index = function(self, name)
		return type(name) == "string" and rawget(self, lower(name)) or nil
	end,
	__metatable = false,
})

-- The globals of a call. Made here because a table of known shape costs one step here and one
-- for each field from outside.
local function environment(
	seed, body, raw, parameters, headers, id, method, uri, query, script, user, files, account
)
	randomseed(seed)
	local request = {
		body = body, rawBody = raw, parameters = parameters or {},
		headers = setmetatable(headers or {}, case_insensitive),
		id = id, method = method, pathInfo = uri, URI = uri, queryString = query,
		scriptName = script, user = { id = user, name = user }, files = files or {},
		account = { accountKey = account },
	}
	local globals = { request = request, _G = false, require = false }
	globals._G = globals
	return setmetatable(globals, fallback)
end

local function raised(e)
	return { value = e, stack = traceback(nil, 2) }
end

-- Runs a script; an error comes back with the stack at the place where it was raised.
local function run(f)
	return xpcall(f, raised)
end

return run, environment, core
