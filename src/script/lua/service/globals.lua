-- The global functions of a service script.
local native, traceback, rt = ...
local error, type, tostring, setmetatable, rawget, ipairs = error, type, tostring, setmetatable, rawget, ipairs
local find, sub, random, concat = string.find, string.sub, math.random, table.concat
local is_array, again, await, calm = rt.array, rt.again, rt.await, rt.calm

-- Refuses an argument of another type, in the name of the function.
local function want(value, kind, what, position)
	if type(value) ~= kind then
		error(`{what}: argument {position} must be a {kind}, not {type(value)}`, 3)
	end
	return value
end
rt.want = want

-- A text, or a number as text.
local function words(value, what, position)
	if type(value) == "number" then return tostring(value) end
	if type(value) ~= "string" then
		error(`{what}: argument {position} must be a string, not {type(value)}`, 3)
	end
	return value
end
rt.words = words

local function handler(value, what, position)
	if type(value) ~= "string" then
		error(`{what}: argument {position} must be the name of a global function, not a {type(value)}`, 3)
	end
	if not rt.has_function(value) then
		error(`{what}: there is no global function {value} in this script`, 3)
	end
	return value
end

-- Faults are tables with kind, message and data; as text they are "kind: message".
local fault = table.freeze({
	__tostring = function(self) return `{self.kind}: {self.message}` end,
})
local function unwrap(ok, value)
	if ok then return value end
	error(setmetatable(value, fault), 0)
end
rt.unwrap = unwrap

function log(...)
	if again() then return end
	local parts = {}
	for i = 1, select("#", ...) do
		parts[i] = native.show((select(i, ...)))
	end
	native.log(concat(parts, " "))
end
print = log

-- Time and coroutines.
function wait(seconds)
	want(seconds, "number", "wait", 1)
	if seconds ~= seconds then error("wait: argument 1 is not a number of seconds", 2) end
	await("wait", "Wait", math.clamp(seconds, 1 / 60, 1e9))
end

function yield()
	local before = native.now()
	await("yield", "Wait", 1 / 60)
	return native.now() - before
end

function yieldBreak() rt.break_off() end
function keepAlive() rt.pause() end
function async(name) return rt.async(handler(name, "async", 1)) end
function stopAsync(id) rt.stop(want(id, "number", "stopAsync", 1)) end
function waitForAsync(id) rt.wait_for(want(id, "number", "waitForAsync", 1)) end
waitForCoroutine = waitForAsync

-- The globals of the main coroutine, from whichever one.
local function copy(value, what)
	if type(value) == "table" then
		return calm(what, native.copy, value)
	elseif value == nil or type(value) == "string" or type(value) == "number" or type(value) == "boolean" then
		return value
	end
	error(`{what}: a {type(value)} cannot be copied`, 3)
end

function get(name)
	want(name, "string", "get", 1)
	local globals = rt.main_globals()
	return globals and copy(rawget(globals, name), "get")
end

function set(name, value)
	if again() then return end
	want(name, "string", "set", 1)
	local globals = rt.main_globals()
	if globals then globals[name] = copy(value, "set") end
end

-- Events.
local HAPPEN = table.freeze({
	chatMessage = true, customCommand = true, websocket = true, luaPlatformOutput = true, newViewer = true,
	follower = true, subscriber = true, raid = true, platformDonation = true,
})

function addEvent(event, name)
	if again() then return end
	want(event, "string", "addEvent", 1)
	handler(name, "addEvent", 2)
	if not HAPPEN[event] then native.ignored(`event {event}`) end
	rt.handle(event, name)
end

function removeEvent(event)
	if again() then return end
	rt.handle(want(event, "string", "removeEvent", 1), nil)
end

-- What lasts.
local saved = rt.saved

function save()
	local globals = rt.main_globals()
	local text = calm("save", native.serialize, globals and rawget(globals, "data"))
	unwrap(await("save", "Save", text))
	saved = text
end

function load()
	if again() then return end
	local globals = rt.main_globals()
	if globals and saved then
		local data = native.parse(saved)
		globals.data = if data == native.null then nil else data
	end
	if globals and rawget(globals, "data") == nil then globals.data = {} end
end

function setProperty(properties, key, default)
	want(properties, "table", "setProperty", 1)
	if properties[key] == nil then properties[key] = default end
end

json = {
	parse = function(text) return calm("json.parse", native.parse, want(text, "string", "json.parse", 1)) end,
	serialize = function(value) return calm("json.serialize", native.serialize, value) end,
	null = native.null,
	array = function(t) return setmetatable(t or {}, is_array) end,
}

-- The web. Headers are a table by name, or a list of names and values in turn.
local function headers(given, what, position)
	local named = {}
	if given == nil then return named end
	want(given, "table", what, position)
	if given[1] ~= nil then
		-- A name without a value is left out.
		for i = 2, #given, 2 do named[tostring(given[i - 1])] = tostring(given[i]) end
	else
		for name, value in given do named[tostring(name)] = tostring(value) end
	end
	return named
end
rt.headers = headers

local function request(what, options)
	return unwrap(await(what, "Fetch", options))
end

http = { request = function(options) return request("http.request", want(options, "table", "http.request", 1)) end }

local function fetched(what, options)
	local answer = request(what, options)
	if answer.timeout then unwrap(false, { kind = "timeout", message = `{what}: no answer in time` }) end
	return answer
end

function getWebRequest(url, given, body)
	want(url, "string", "getWebRequest", 1)
	if body ~= nil then want(body, "string", "getWebRequest", 3) end
	return fetched("getWebRequest", { url = url, headers = headers(given, "getWebRequest", 2), bodyString = body }).body
end

function postWebRequest(url, given, body)
	want(url, "string", "postWebRequest", 1)
	if body ~= nil then want(body, "string", "postWebRequest", 3) end
	local answer = fetched("postWebRequest", {
		url = url, method = "POST", headers = headers(given, "postWebRequest", 2), bodyString = body or "",
	})
	return answer.body, answer.headers
end

-- The rest of callway.
callway = {
	call = function(method, params)
		return unwrap(await("callway.call", "Call", want(method, "string", "callway.call", 1), params))
	end,
	publish = function(channel, payload)
		return unwrap(await("callway.publish", "Publish", want(channel, "string", "callway.publish", 1), payload))
	end,
	subscribe = function(channel, name)
		want(channel, "string", "callway.subscribe", 1)
		handler(name, "callway.subscribe", 2)
		rt.handle("channel " .. channel, name)
		return unwrap(await("callway.subscribe", "Subscribe", channel))
	end,
	unsubscribe = function(channel)
		want(channel, "string", "callway.unsubscribe", 1)
		rt.handle("channel " .. channel, nil)
		unwrap(await("callway.unsubscribe", "Unsubscribe", channel))
	end,
	serve = function(methods, name)
		want(methods, "string", "callway.serve", 1)
		unwrap(await("callway.serve", "Serve", methods, handler(name, "callway.serve", 2)))
	end,
}

-- Small helpers. A cooldown is a global of the main coroutine, named.
local function cooldown(name, what)
	local globals = rt.main_globals()
	local found = globals and rawget(globals, want(name, "string", what, 1))
	if type(found) ~= "table" or type(found.ready_at) ~= "number" then
		error(`{what}: the main coroutine has no cooldown {name}`, 3)
	end
	return found
end

helper = {
	createCooldown = function(seconds, ready)
		want(seconds, "number", "helper.createCooldown", 1)
		return { seconds = seconds, ready_at = native.now() + (if ready then 0 else seconds) }
	end,
	checkCooldown = function(name)
		return native.now() >= cooldown(name, "helper.checkCooldown").ready_at
	end,
	setCooldown = function(name)
		local found = cooldown(name, "helper.setCooldown")
		found.ready_at = native.now() + found.seconds
	end,
	cooldownTimeLeft = function(name)
		return math.max(0, cooldown(name, "helper.cooldownTimeLeft").ready_at - native.now())
	end,
	startsWith = function(text, prefix)
		want(text, "string", "helper.startsWith", 1)
		return sub(text, 1, #want(prefix, "string", "helper.startsWith", 2)) == prefix
	end,
	replace = function(text, old, new)
		want(text, "string", "helper.replace", 1)
		want(old, "string", "helper.replace", 2)
		return concat(if old == "" then { text } else string.split(text, old), want(new, "string", "helper.replace", 3))
	end,
	split = function(text, separator)
		want(text, "string", "helper.split", 1)
		return string.split(text, want(separator, "string", "helper.split", 2))
	end,
	randomElement = function(values)
		want(values, "table", "helper.randomElement", 1)
		return if #values > 0 then values[random(#values)] else nil
	end,
	hasValue = function(values, wanted)
		for _, value in want(values, "table", "helper.hasValue", 1) do
			if value == wanted then return true end
		end
		return false
	end,
	matchRegex = function(pattern, text)
		want(pattern, "string", "helper.matchRegex", 1)
		return calm("helper.matchRegex", native.regex, pattern, want(text, "string", "helper.matchRegex", 2))
	end,
}
