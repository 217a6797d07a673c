-- The application, its users and its chat. What would only draw on a screen is one object that
-- does nothing.
local native, traceback, rt = ...
local error, type, tostring, setmetatable, pairs = error, type, tostring, setmetatable, pairs
local want, words, again, await, unwrap, calm = rt.want, rt.words, rt.again, rt.await, rt.unwrap, rt.calm

local MOST_PEOPLE = 10000
local LONGEST_NAME = 256 -- bytes

-- The one object: callable, indexable, counted by name.
local nothing = {}
local function ignored(name)
	native.ignored(name)
	return nothing
end
local function number(value) return if value == nothing then 0 else value end
local function text(value) return if value == nothing then "" else value end
setmetatable(nothing, table.freeze({
	__index = function(_, key)
		if key == "x" or key == "y" then return 0 end
		return ignored(tostring(key))
	end,
	__newindex = function(_, key) ignored(tostring(key)) end,
	__call = function() return nothing end,
	__tostring = function() return "" end,
	__concat = function(a, b) return text(a) .. text(b) end,
	__add = function(a, b) return number(a) + number(b) end,
	__sub = function(a, b) return number(a) - number(b) end,
	__mul = function(a, b) return number(a) * number(b) end,
	__div = function(a, b) return number(a) / number(b) end,
	__unm = function() return 0 end,
}))
table.freeze(nothing)
for _, name in { "getBackground", "getScriptableBlocks", "getAvatar", "getAllAvatars", "applyImage", "waitForAnimation" } do
	rt.base[name] = function() return ignored(name) end
end

function setupBankController()
	error("setupBankController: not provided; callway keeps the balances, see getCurrency and addCurrency", 2)
end

-- Chat. What is said goes to the channel and comes back from there, to every service that has it.
local function say(event)
	if not again() then calm("chat", native.say, rt.hops(), event) end
end

function writeChat(message)
	say({ message = words(message, "writeChat", 1) })
end

-- Users: those that were heard of since the service started.
local people, known = {}, 0
local streamer = { id = "streamer", displayName = rt.name }

local function forget_one()
	local oldest
	for _, person in people do
		if not oldest or person.heard < oldest.heard then oldest = person end
	end
	people[oldest.id] = nil
	known -= 1
end

-- What a user can do, by name.
local can = {
	runCommand = function(person, command)
		say({ user = { id = person.id, name = person.displayName }, message = words(command, "User.runCommand", 1) })
	end,
	saveUserData = function(person, name, data)
		want(name, "string", "User.saveUserData", 1)
		unwrap(await("User.saveUserData", "KeepUser", person.id, name, data))
	end,
	loadUserData = function(person, name)
		return unwrap(await("User.loadUserData", "RecallUser", person.id, want(name, "string", "User.loadUserData", 1)))
	end,
}
local facts = {
	channelName = function(person) return person.displayName end,
	isActive = function(person) return person.active == true end,
	isFake = function() return false end,
	lastActiveDate = function(person) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(person.heard or 0)) end,
	secondsSinceLastActive = function(person) return native.now() - (person.heard or 0) end,
	follower = function(person) return person.follower == true end,
	vip = function(person) return person.vip == true end,
	subscriber = function(person) return person.subscriber == true end,
	moderator = function(person) return person.moderator == true end,
	platformModerator = function(person) return person.moderator == true end,
	platform = function() return "lua" end,
	streamer = function(person) return person.id == streamer.id end,
}

local function same(a, b) return a.id == b.id end
local function user(person)
	return setmetatable({ id = person.id, displayName = person.displayName }, {
		__index = function(_, key)
			if facts[key] then return facts[key](person) end
			local act = can[key]
			if act then
				return function(...) return act(person, ...) end
			end
			return ignored(`User.{key}`)
		end,
		__newindex = function(_, key) ignored(`User.{key}`) end,
		__eq = same,
		__metatable = false,
	})
end

-- Takes up what an event says of a user; says whether it is a new one.
local function meet(about)
	local id = tostring(about.id)
	local person, fresh = people[id], false
	if not person then
		if known >= MOST_PEOPLE then forget_one() end
		person, fresh = { id = id, displayName = id }, true
		people[id] = person
		known += 1
	end
	if type(about.name) == "string" and #about.name <= LONGEST_NAME then person.displayName = about.name end
	for _, mark in { "follower", "subscriber", "moderator", "vip" } do
		if type(about[mark]) == "boolean" then person[mark] = about[mark] end
	end
	if about.streamer == true then streamer = person end
	person.heard, person.active = native.now(), true
	return person, fresh
end

local happens = {
	leave = function(person) person.active = false end,
	follower = function(person, event, hops) rt.fire("follower", hops, user(person)) end,
	raid = function(person, event, hops) rt.fire("raid", hops, user(person)) end,
	subscriber = function(person, event, hops)
		rt.fire("subscriber", hops, user(person), event.count or 1, event.tier or "1")
	end,
	donation = function(person, event, hops)
		rt.fire("platformDonation", hops, user(person), { amount_donated = event.amount or 0 })
	end,
	redemption = function(person, event, hops)
		local said = if type(event.message) == "string" then ` {event.message}` else ""
		rt.fire("customCommand", hops, user(person), tostring(event.title) .. said)
	end,
}

-- An event of the chat's channel.
function rt.chat(hops, event)
	if type(event) ~= "table" then return end
	local about, message = event.user, event.message
	if type(about) ~= "table" or about.id == nil then
		if type(message) == "string" then rt.fire("luaPlatformOutput", hops, message) end
		return
	end
	if #tostring(about.id) > LONGEST_NAME then
		native.failed({ value = `the chat: a user's id has more than {LONGEST_NAME} bytes, so the event is passed over`, stack = "" })
		return
	end
	local person, fresh = meet(about)
	if fresh then rt.fire("newViewer", hops, user(person)) end
	local happened = happens[event.event]
	if happened then
		happened(person, event, hops)
	elseif event.event == nil and type(message) == "string" then
		rt.fire("chatMessage", hops, user(person), message)
		if string.sub(message, 1, 1) == "!" then rt.fire("customCommand", hops, user(person), message) end
	end
end

function runCommand(command)
	command = words(command, "runCommand", 1)
	say({ user = { id = streamer.id, name = streamer.displayName, streamer = true }, message = command })
end

local function by_name(name)
	local lower = string.lower(name)
	for _, person in people do
		if string.lower(person.displayName) == lower then return person end
	end
	return nil
end

function getUserById(id)
	local person = people[tostring(id)]
	return person and user(person)
end

function getUser(name)
	local person = people[tostring(name)] or by_name(tostring(name))
	return person and user(person)
end

function getUsers()
	local active = {}
	for _, person in people do
		if person.active then active[#active + 1] = user(person) end
	end
	return active
end

-- Balances, of users by object, id or name.
local function account(whose, what)
	if type(whose) == "table" and whose.id ~= nil then return tostring(whose.id) end
	if type(whose) ~= "string" and type(whose) ~= "number" then
		error(`{what}: argument 1 must be a user, not {type(whose)}`, 3)
	end
	local name = tostring(whose)
	local person = people[name] or by_name(name)
	return if person then person.id else name
end
local function amount(value, what)
	want(value, "number", what, 2)
	if value ~= value or math.abs(value) > 2 ^ 53 then error(`{what}: argument 2 is no amount`, 3) end
	return value
end
local function change(what, whose, kind, value)
	local result = unwrap(await(what, "Currency", whose, kind, value))
	return result.success, result.balance
end

function getCurrency(whose)
	local _, balance = change("getCurrency", account(whose, "getCurrency"), "Look")
	return balance
end
function addCurrency(whose, value)
	return change("addCurrency", account(whose, "addCurrency"), "Add", amount(value, "addCurrency"))
end
function removeCurrency(whose, value)
	return change("removeCurrency", account(whose, "removeCurrency"), "Add", -amount(value, "removeCurrency"))
end
function adjustCurrency(whose, value)
	return change("adjustCurrency", account(whose, "adjustCurrency"), "Set", amount(value, "adjustCurrency"))
end

-- A chat platform of the script's own: what it tells of is an event of the chat.
local function about(id, name) return { id = tostring(id), name = name and tostring(name) } end
local function mark(name, event)
	return function(id, value)
		local it = about(id)
		it[name] = value == true
		say({ user = it, event = if value == true then event or "marks" else "marks" })
	end
end
local platform = {
	SetStreamer = function(id, name)
		local it = about(id, name)
		it.streamer = true
		say({ user = it, event = "join" })
	end,
	SetUserJoin = function(id, name) say({ user = about(id, name), event = "join" }) end,
	SetUserLeave = function(id) say({ user = about(id), event = "leave" }) end,
	AddMessage = function(id, name, message) say({ user = about(id, name), message = tostring(message) }) end,
	SetFollower = mark("follower", "follower"),
	SetSubscriber = mark("subscriber", "subscriber"),
	SetModerator = mark("moderator"),
	PlatformCurrencyDonation = function(id, name, given, lifetime)
		say({ user = about(id, name), event = "donation", amount = given, lifetime = lifetime })
	end,
	CustomCommandRedemption = function(id, name, title, input)
		say({ user = about(id, name), event = "redemption", title = tostring(title), message = input and tostring(input) })
	end,
}

local function titled(title, what)
	if type(title) == "number" then return tostring(title) end
	if type(title) ~= "string" then
		error(`{what}: argument 1 must be the title of a socket, not {type(title)}`, 3)
	end
	if #title > LONGEST_NAME then
		error(`{what}: the title of a socket has at most {LONGEST_NAME} bytes`, 3)
	end
	return title
end

-- Names and values in turn; a name without a value is left out.
local function pairs_of(list)
	local found = json.array({})
	for i = 2, #list, 2 do
		found[#found + 1] = json.array({ tostring(list[i - 1]), tostring(list[i]) })
	end
	return found
end

local app = {
	createWebsocket = function(title, url, protocols)
		if again() then return end
		title = titled(title, "app.createWebsocket")
		want(url, "string", "app.createWebsocket", 2)
		if protocols ~= nil then want(protocols, "table", "app.createWebsocket", 3) end
		calm("app.createWebsocket", native.open, title, url, pairs_of(protocols or {}))
	end,
	sendWebsocketMessage = function(title, message)
		if again() then return end
		title = titled(title, "app.sendWebsocketMessage")
		message = words(message, "app.sendWebsocketMessage", 2)
		if #message > rt.message then
			error(`app.sendWebsocketMessage: the message has {#message} bytes, limits.message allows {rt.message}`, 2)
		end
		calm("app.sendWebsocketMessage", native.send, title, message)
	end,
	removeWebSocket = function(title)
		if not again() then calm("app.removeWebSocket", native.remove, titled(title, "app.removeWebSocket")) end
	end,
	addEvent = addEvent,
	removeEvent = removeEvent,
	sha256_base64 = function(value) return native.sha256(want(value, "string", "app.sha256_base64", 1)) end,
	platformServiceSettings = table.freeze(platform),
	getStreamerUser = function() return user(streamer) end,
	getUserFromData = getUser,
	getIdsFromData = function()
		local ids = {}
		for id in people do ids[#ids + 1] = id end
		return ids
	end,
	getResolution = function() return { x = 1920, y = 1080 } end,
	convertPercentToPosition = function() return { x = 0, y = 0 } end,
	convertPositionToPercent = function() return { x = 0, y = 0 } end,
}
app.removeWebsocket = app.removeWebSocket
app.getStreamer = app.getStreamerUser
setmetatable(app, table.freeze({
	__index = function(_, key) return ignored(`app.{key}`) end,
	__newindex = function(_, key) ignored(`app.{key}`) end,
}))
table.freeze(app)

function getApp() return app end
