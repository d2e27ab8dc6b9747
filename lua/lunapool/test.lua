-- The module lunapool.test: cases, what they expect, and the simulated cluster that each of them is given.
--
-- Called once for each file of tests, with what C gives: the methods of a simulation, and functions that only stand behind others.

local methods, native = ...

local M = {}

-- ---- cases ------------------------------------------------------------------------------------------------------------

function M.case(name, fn)
  if type(name) ~= "string" or type(fn) ~= "function" then
    error("a case has a name and a function: t.case(\"…\", function(sim) … end)", 2)
  end
  native.case(name, fn)
end

-- ---- what is expected -------------------------------------------------------------------------------------------------

local function shown(value)
  return type(value) == "string" and string.format("%q", value) or tostring(value)
end

local function say(text, name)
  return name and name .. ": " .. text or text
end

function M.ok(value, name)
  if not value then
    error(say("it is " .. shown(value), name), 2)
  end
  return value
end

function M.is(got, expected, name)
  if got ~= expected then
    error(say("it is " .. shown(got) .. ", and " .. shown(expected) .. " was expected", name), 2)
  end
end

function M.like(got, pattern, name)
  if type(got) ~= "string" or not got:find(pattern) then
    error(say("it is " .. shown(got) .. ", which is not like " .. shown(pattern), name), 2)
  end
end

-- A number of seconds or bytes, or a text as "500ms", "64MB".
function M.at_most(got, most, name)
  local limit = type(most) == "string" and native.amount(most) or most
  if type(got) ~= "number" or type(limit) ~= "number" then
    error(say("numbers are compared, or texts such as \"500ms\" and \"64MB\"", name), 2)
  elseif got > limit then
    error(say("it is " .. shown(got) .. ", and at most " .. shown(most) .. " was expected", name), 2)
  end
end

local function list_of(nodes)
  return type(nodes) == "table" and nodes or { nodes }
end

function M.called(sim, hook, ...)
  for _, node in ipairs(select("#", ...) > 0 and { ... } or { false }) do
    if sim:calls(hook, node or nil) == 0 then
      error(hook .. " was not called" .. (node and " for " .. node or ""), 2)
    end
  end
end

function M.not_called(sim, hook, ...)
  for _, node in ipairs(select("#", ...) > 0 and { ... } or { false }) do
    if sim:calls(hook, node or nil) > 0 then
      error(hook .. " was called" .. (node and " for " .. node or ""), 2)
    end
  end
end

-- expected: to, a node's name or several; or refused, a pattern of the error; as: user, database.
function M.routes(sim, sql, expected)
  for key in pairs(expected) do
    if key ~= "to" and key ~= "refused" and key ~= "user" and key ~= "database" then
      error("t.routes knows to, refused, user and database, and no " .. tostring(key), 2)
    end
  end
  local may = {}
  for _, name in ipairs(list_of(expected.to)) do
    may[name] = true
  end
  for _, route in ipairs(native.routes(expected.database or "app", expected.user or "app", sql)) do
    if expected.refused then
      if not route.refused or not route.refused:find(expected.refused) then
        error("it is not refused with " .. shown(expected.refused) .. ":\n" .. route.story, 2)
      end
    elseif not may[route.node or ""] then
      error("it runs on " .. (route.node or "no node") .. ", not on " .. table.concat(list_of(expected.to), " or ") .. ":\n" .. route.story, 2)
    end
  end
end

-- ---- the cluster --------------------------------------------------------------------------------------------------------

local function setting(name, value)
  local kind = type(value)
  if type(name) ~= "string" or not name:find("^[%a_]+$") then
    error("settings have names, not " .. shown(name), 4)
  elseif kind == "number" or kind == "boolean" then
    return name .. " = " .. tostring(value) .. "\n"
  elseif kind == "string" then
    if value:find("['%c]") then
      error("a setting's text has no quotes and line ends: " .. name, 4)
    end
    return name .. " = '" .. value .. "'\n"
  elseif kind == "table" then
    return name .. " = { '" .. table.concat(value, "', '") .. "' }\n"
  end
  error("a setting is a text, a number, a boolean or a list of texts: " .. name, 4)
end

local function settings(from, without)
  local names, text = {}, ""
  for name in pairs(from or {}) do
    if not without[name] then
      names[#names + 1] = name
    end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    text = text .. setting(name, from[name])
  end
  return text
end

local function is_there(path)
  local file = io.open(path)
  return file and file:close()
end

-- main.lua for main_test.lua
local function policy_of(options)
  local folder, file = native.path:match("^(.-)([^/]*)$")
  if options.policy == false then
    return nil
  elseif options.policy then
    return options.policy:sub(1, 1) == "/" and options.policy or folder .. options.policy
  end
  local beside = folder .. file:gsub("_test%.lua$", ".lua")
  return beside ~= native.path and is_there(beside) and beside or nil
end

local OURS = { name = true, primary = true, standbys = true, nodes = true, policy = true, sync = true, clients = true }

-- As C takes it.  TAKEN: names of nodes that others have.
local function cluster_of(options, taken)
  local names, texts, known = { options.primary or "pg1" }, {}, {}
  for _, name in ipairs(options.standbys or { "pg2", "pg3" }) do
    names[#names + 1] = name
  end
  for i, name in ipairs(names) do
    texts[i] = settings(options.nodes and options.nodes[name], {})
    if taken[name] then
      error("two nodes are called " .. tostring(name) .. ": a test needs a name for each, in all clusters", 3)
    end
    known[name], taken[name] = true, true
  end
  for name in pairs(options.nodes or {}) do
    if not known[name] then
      error("nodes: " .. tostring(name) .. " is neither the primary nor a standby", 3)
    end
  end
  return { name = options.name, names = names, texts = texts, settings = settings(options, OURS), policy = policy_of(options),
           sync = options.sync, is_quiet = options.clients == false }
end

function methods:cluster(options)
  local wrong = native.begin { cluster_of(options or {}, {}) }
  if wrong then
    error(wrong, 2)
  end
end

-- The clusters of a configuration, as they stand there; tables in the options are about the cluster of that name.
function methods:configured(options)
  options = options or {}
  local starts, quiet, path = {}, options.clients == false, native.conf
  for name, value in pairs(options) do
    if type(value) == "table" then
      starts[#starts + 1] = { cluster = name, primary = value.primary, sync = value.sync, is_quiet = quiet }
    elseif name ~= "path" and name ~= "clients" then
      error("sim:configured knows path, clients, and tables by clusters' names, not " .. tostring(name), 2)
    end
  end
  starts[#starts + 1] = { cluster = "*", is_quiet = quiet }
  if options.path then
    path = options.path:sub(1, 1) == "/" and options.path or native.path:match("^(.-)[^/]*$") .. options.path
  end
  if not path then
    error("which configuration? lunapool test -c PATH, or sim:configured { path = \"…\" }", 2)
  end
  local wrong = native.configured(path, starts)
  if wrong then
    error(wrong, 2)
  end
end

function methods:clusters(list)
  local all, taken, names = {}, {}, {}
  for i, options in ipairs(list) do
    if type(options.name) ~= "string" or names[options.name] then
      error("each of several clusters has a name of its own: { name = \"orders\", primary = … }", 2)
    end
    names[options.name] = true
    all[i] = cluster_of(options, taken)
  end
  local wrong = native.begin(all)
  if wrong then
    error(wrong, 2)
  end
end

return M
