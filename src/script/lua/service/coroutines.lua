-- Coroutines: the main one, and those of events, `async` and calls. Each but the main one has
-- globals of its own, which begin with what the top level of the script assigns.
local native, traceback, rt = ...
local error, type, rawget, setmetatable, pcall, xpcall, select = error, type, rawget, setmetatable, pcall, xpcall, select
local raw_resume, raw_yield, status = coroutine.resume, coroutine.yield, coroutine.status
local create, close, freeze, pack, unpack = coroutine.create, coroutine.close, table.freeze, table.pack, table.unpack

local WAITS = freeze({}) -- yielded first by one that waits for callway
local ENDS = freeze({}) -- yielded first by one that is over
local FRAME = 1 / 60
local MOST = 1000

local alive, count, last = {}, 0, 0
local asks, asked = {}, 0
local handlers = {}
local main, main_env, current
-- "first" or "again" while the top level of the script runs.
local place = nil

local step

local function finish(co, ok, value)
	if co.over then return end
	co.over, alive[co.id] = true, nil
	count -= 1
	if co.ask then
		asks[co.ask] = nil
		native.drop(co.ask)
	end
	if co.call then
		native.replied(co.call, ok, value)
	elseif co == main then
		native.ended(ok, value)
	elseif not ok then
		native.failed(value)
	end
	for _, waiter in co.waiters do
		step(waiter)
	end
end

-- Calls a function of the host in the name of one of the script: why it failed is said as text.
local function calm(what, f, ...)
	local ok, value = pcall(f, ...)
	if ok then return value end
	error(`{what}: {native.reason(value)}`, 0)
end
rt.calm = calm

local function ask(co, what, kind, ...)
	calm(what, native.ask, asked + 1, co.call, co.hops, kind, ...)
	asked += 1
	asks[asked], co.ask = co, asked
end

function step(co, ...)
	if co.over then return end
	local before = current
	current = co
	local resumed, tag, value = raw_resume(co.thread, ...)
	current, place = before, nil
	if status(co.thread) ~= "suspended" then
		-- What xpcall returned; or, without it, why there was nothing to return.
		if resumed then finish(co, tag, value) else finish(co, false, { value = tag, stack = "" }) end
	elseif co.over or tag == ENDS then
		close(co.thread)
		finish(co, true)
	elseif tag ~= WAITS then
		ask(co, "coroutine.yield", "Wait", FRAME) -- the script's own coroutine.yield
	end
end

local function raised(e)
	return { value = e, stack = traceback(nil, 2) }
end

local function spawn(hops, call, body, ...)
	if count >= MOST then
		native.full()
		return nil
	end
	last += 1
	count += 1
	local co = { id = last, hops = hops, call = call, waiters = {} }
	local arguments = pack(...)
	co.thread = create(function()
		return xpcall(body, raised, co, unpack(arguments, 1, arguments.n))
	end)
	alive[last] = co
	return co
end

local function top_level(co, which)
	co.env = setmetatable({}, rt.globals)
	co.env._G = co.env
	if which == "first" then
		main_env = co.env
		main_env.data = {} -- what `save` keeps is there before anything is loaded
	end
	place = which
	local result = native.chunk(co.env)()
	place = nil
	return result
end

local function named(co, name, ...)
	top_level(co, "again")
	local f = rawget(co.env, name)
	if type(f) ~= "function" then
		error(`there is no global function {name} in this script`, 0)
	end
	return f(...)
end

-- Refuses at the top level of the script, which waits for nothing.
local function inside(what)
	if place then
		error(`{what}: not at the top level of a script; use it in the function that the script returns`, 0)
	end
end

-- Asks callway and waits: whether it was done, and its value or fault.
function rt.await(what, kind, ...)
	inside(what)
	ask(current, what, kind, ...)
	return raw_yield(WAITS)
end

-- Whether this is the top level of the script, gone through again for another coroutine: then what
-- it does was done before.
function rt.again()
	return place == "again"
end

function rt.hops()
	return current and current.hops or 0
end

function rt.has_function(name)
	-- At the top level it may still come.
	return place ~= nil or type(rawget(current.env, name)) == "function"
end

function rt.main_globals()
	return main_env
end

function rt.handle(event, handler)
	handlers[event] = handler
end

-- Tells the handler of an event, if there is one.
function rt.fire(event, hops, ...)
	local handler = handlers[event]
	local co = handler and spawn(hops, nil, named, handler, ...)
	if co then step(co) end
end

function rt.async(name)
	inside("async")
	local co = spawn(current.hops, nil, named, name)
	if not co then
		error(`async: there are {MOST} coroutines already`, 3)
	end
	step(co)
	return co.id
end

function rt.wait_for(id)
	inside("waitForAsync")
	local co = alive[id]
	if co and co ~= current then
		co.waiters[#co.waiters + 1] = current
		raw_yield(WAITS)
	end
end

function rt.stop(id)
	local co = alive[id]
	if not co or co == main then return end
	finish(co, true)
	if status(co.thread) == "suspended" then
		close(co.thread)
	elseif co == current then
		raw_yield(ENDS)
	end
end

function rt.break_off()
	inside("yieldBreak")
	raw_yield(ENDS)
end

function rt.pause()
	inside("keepAlive")
	raw_yield(WAITS)
end

-- What the host does.
function rt.start()
	main = spawn(0, nil, function(co)
		local f = top_level(co, "first")
		if type(f) ~= "function" then
			error("the script must end with `return function() … end`", 0)
		end
		return f()
	end)
	step(main)
end

function rt.answer(number, ok, value)
	local co = asks[number]
	asks[number] = nil
	if co then
		co.ask = nil
		step(co, ok, value)
	end
end

function rt.call(call, hops, handler, params, about)
	local co = spawn(hops, call, named, handler, params, about)
	if co then
		step(co)
	else
		native.replied(call, false, { value = `there are {MOST} coroutines already`, stack = "" })
	end
end

function rt.cancel(call)
	for id, co in alive do
		if co.call == call then
			co.call = nil
			rt.stop(id)
			return
		end
	end
end

-- A coroutine that the script makes by itself hands on what it yields to callway.
local function hand_on(thread, ok, tag, ...)
	if ok and (tag == WAITS or tag == ENDS) then
		return hand_on(thread, raw_resume(thread, raw_yield(tag)))
	end
	return ok, tag, ...
end

function coroutine.resume(thread, ...)
	return hand_on(thread, raw_resume(thread, ...))
end

function coroutine.wrap(f)
	local thread = create(f)
	local function returned(ok, ...)
		if not ok then error((...), 0) end
		return ...
	end
	return function(...)
		return returned(hand_on(thread, raw_resume(thread, ...)))
	end
end
