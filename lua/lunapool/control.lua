-- What of the control plane's library is written in Lua, over what C gives.
--
-- Called once for each VM, with the module lunapool, to which it adds, and the functions that only stand behind others.

local lp, native, json = ...

function lp.deadline(seconds, fn)
  local values, err = native.deadline(seconds, fn)
  if values then
    return unpack(values, 1, values.n)
  elseif values == nil then
    return nil, err
  end
  error(err, 0) -- raised in a coroutine of its own, it goes on here
end

function lp.parallel(list, fn, options)
  options = options or {}
  local limit = options.limit
  if limit ~= nil and (type(limit) ~= "number" or limit < 1) then
    error("limit is a number from 1 on", 2)
  end
  local items = {}
  for i, item in ipairs(list) do
    items[i] = item
  end
  local results, errors = native.parallel(items, fn, limit, options.fail == "fast")
  for i = 1, #items do
    local err = errors[i]
    if err ~= nil then
      local kind = type(err) == "table" and err.kind or "raised"
      return nil, native.error { kind = kind, message = tostring(err), errors = errors, results = results }
    end
  end
  return results
end

function lp.retry(options)
  local tries, delay, backoff = options.tries or 3, options.delay or 1, options.backoff or 1
  return function(fn)
    for try = 1, tries do
      local value, err = fn(try)
      if value or try == tries then
        return value, err
      end
      lp.sleep(delay)
      delay = delay * backoff
    end
  end
end

-- What needs the primary waits, until it is released; the run's end is the latest.
function lp.hold(cluster)
  local id, err = native.hold(cluster)
  if not id then
    return nil, err
  end
  return { release = function() return native.release(id) end }
end

-- What FN returns, or returned when it was done for this operation before: each finished step is in the journal before the hook goes on.
function lp.step(name, fn)
  if type(name) ~= "string" or #name == 0 or #name > 60 or type(fn) ~= "function" then
    error("lp.step takes a name of at most 60 bytes and a function", 2)
  end
  local is_new, is_kept, known = native.known_step(name)
  if not is_new then
    error("there was a step " .. name .. " already: each has a name of its own", 2)
  elseif known then
    return json.decode(known)
  end
  local value, err = fn()
  if not value and err ~= nil or not is_kept then
    return value, err
  end
  local is_json, text = pcall(json.encode, value)
  if not is_json then
    error("step " .. name .. ": " .. tostring(text), 2)
  end
  local is_done, why = native.finish_step(name, text)
  if not is_done then
    return nil, why
  end
  return json.decode(text)
end

-- ---- programs at nodes ------------------------------------------------------------------------------------------------

local function quoted(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

function lp.ssh(node, argv, options)
  local where = native.ssh(node)
  if where.host == "local" then
    return lp.exec(argv, options)
  elseif where.host:sub(1, 1) == "/" or where.host:sub(1, 1) == "@" then
    local why = "ssh does not know where " .. node.name .. " is, which has the directory of a socket for a host: set ssh_host"
    return nil, native.error { kind = "start", message = why }
  end
  local ssh, words = { "ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10" }, {}
  for _, option in ipairs(where.options) do
    ssh[#ssh + 1] = option
  end
  if where.user ~= "" then
    ssh[#ssh + 1] = "-l"
    ssh[#ssh + 1] = where.user
  end
  for i, word in ipairs(argv) do -- the other side gives one text to a shell
    words[i] = quoted(word)
  end
  ssh[#ssh + 1] = "--"
  ssh[#ssh + 1] = where.host
  ssh[#ssh + 1] = table.concat(words, " ")
  local output, err = lp.exec(ssh, options)
  if err and err.status == 255 then
    err.kind = "connect"
  elseif err then
    err.message = tostring(argv[1]):match("[^/]*$") .. " at " .. node.name .. err.message:gsub("^ssh", "", 1)
  end
  return output, err
end

local function program(node, name)
  return node.bin_dir == "" and name or node.bin_dir .. "/" .. name
end

-- BELOW: how many functions are between it and the one whose caller is to be told of.
local function data_dir(node, below)
  if node.data_dir == "" then
    error("node " .. node.name .. " has no data_dir in the configuration", 3 + (below or 0))
  end
  return (node.data_dir:gsub("(.)/+$", "%1")) -- other names are made of it
end

-- What pg_ctl is given: it finds the data from there.
local function config_dir(node)
  local dir = data_dir(node, 1)
  return node.config_dir == "" and dir or node.config_dir
end

-- ---- what is done to servers ------------------------------------------------------------------------------------------

-- At the node; with options.here on this machine, which is the node's, or reaches its files.
local function at(node, options, argv, limits)
  if options.here then
    return lp.exec(argv, limits)
  end
  return lp.ssh(node, argv, limits)
end

-- Stops PostgreSQL, if it runs.
function lp.stop(node, options)
  options = options or {}
  local dir, timeout = config_dir(node), options.timeout or 60
  local output, err = at(node, options, { program(node, "pg_ctl"), "status", "-D", dir })
  if not output then
    return err.status == 3 and true or nil, err -- 3: it does not run
  end
  local stop = { program(node, "pg_ctl"), "stop", "-w", "-D", dir, "-m", options.mode or "fast", "-t", tostring(timeout) }
  output, err = at(node, options, stop, { timeout = timeout + 10 })
  return output and true, err
end

-- Who has a primary_slot_name gets nothing without such a slot at the primary; told to read its settings, it tries again at once.
local make_slot = "select pg_create_physical_replication_slot($1, true) " ..
  "where not exists (select from pg_replication_slots where slot_name = $1)"

local function give_slot(node, primary)
  local rows, err = lp.sql(node, "select current_setting('primary_slot_name') as name")
  if rows and rows[1].name ~= "" then
    rows, err = lp.sql(primary, make_slot, { rows[1].name })
    if rows and #rows > 0 then
      rows, err = lp.sql(node, "select pg_reload_conf()")
    end
  end
  if not rows then
    lp.log(node.name .. " may have no slot at " .. primary.name .. ": " .. err.message, "warn")
  end
end

-- A standby's settings are written with the server down: the last line of a name in postgresql.auto.conf counts.
local write_settings = [[
set -e
[ ! -e "$1.rewinding" ] || { echo "a rewind of $1 was cut off: it is not started" >&2; exit 1; }
touch "$1/standby.signal"
printf '\n%s\n' "$2" >> "$1/postgresql.auto.conf"]]

local function make_standby(node, primary, options)
  local setting = "primary_conninfo = '" .. (options.conninfo or primary.conninfo):gsub("\\", "\\\\"):gsub("'", "''") .. "'"
  return at(node, options, { "sh", "-c", write_settings, "sh", data_dir(node), setting })
end

-- Starts it as a standby of PRIMARY.  True when it says that it is one.
function lp.start_standby(node, primary, options)
  options = options or {}
  local dir, timeout = data_dir(node), options.timeout or 60
  local output, err = make_standby(node, primary, options)
  if not output then
    return nil, err
  end
  local start = { program(node, "pg_ctl"), "start", "-w", "-D", config_dir(node), "-l", dir .. "/start.log", "-t", tostring(timeout) }
  if options.options then
    start[#start + 1] = "-o"
    start[#start + 1] = options.options
  end
  output, err = at(node, options, start, { timeout = timeout + 10 })
  if not output then
    return nil, err
  end
  return lp.retry { tries = 50, delay = 0.2 } (function()
    local rows, why = lp.sql(node, "select pg_is_in_recovery() as is_standby")
    if not rows then
      return nil, why
    elseif not rows[1].is_standby then
      return nil, native.error { kind = "state", message = node.name .. " runs, but not as a standby" }
    end
    give_slot(node, primary)
    return true
  end)
end

-- A rewind that was cut off leaves what is neither the old nor the new: beside the directory it says so until it is done.  What pg_rewind refuses
-- it refuses before it has read the list of files, and nothing has changed then.  (A standby that crashed recovers as a single user only without its signal.)
-- Whoever reads what it says may have been killed meanwhile: SIGPIPE must not end it before it has noted that all is done.
-- What comes from the other node has its settings, too; two standbys cannot share a slot, so each keeps its own primary_slot_name.
local own_slot = [[
get_slot() { slot=$(grep -hs '^ *primary_slot_name *=' "$1/postgresql.auto.conf" | tail -n 1); }
put_slot() {
  [ ! -e "$1/postgresql.auto.conf" ] || sed -i '/^ *primary_slot_name *=/d' "$1/postgresql.auto.conf"
  [ -z "$slot" ] || printf '\n%s\n' "$slot" >>"$1/postgresql.auto.conf"
}
]]
local rewind_once = own_slot .. [[
dir=$1; shift
trap '' PIPE
if [ -e "$dir.rewinding" ]; then
  exec 9>>"$dir.rewinding"
  flock -n 9 || { echo "$dir is being rewound, by an earlier call" >&2; exit 1; }
  echo "an earlier rewind of $dir was cut off: only a new copy helps" >&2; exit 1
fi
exec 9>"$dir.rewinding" && flock -n 9 || exit 1
rm -f "$dir/standby.signal"
get_slot "$dir"
said=$(LC_ALL=C "$@" 2>&1); status=$?
if [ $status -eq 0 ]; then
  put_slot "$dir"
  rm -f "$dir.rewinding"
elif [ $status -le 127 ] && ! printf '%s\n' "$said" | grep -Eq 'file list|need to copy|kB [(][0-9]'; then
  rm -f "$dir.rewinding"
fi
printf '%s\n' "$said" >&2 # maybe nobody reads it any more, which ends us
exit $status]]

-- The third value: pg_rewind cannot help.
local function rewind(node, primary, options)
  local dir = data_dir(node)
  local ok, err = lp.stop(node, options)
  if not ok then
    return nil, err
  end
  ok, err = lp.sql(primary, "checkpoint", nil, { timeout = 300 }) -- so that its control file knows its new timeline
  if not ok then
    return nil, err
  end
  local words = { "sh", "-c", rewind_once, "sh", dir, program(node, "pg_rewind"), "--progress", "--target-pgdata=" .. dir,
    "--source-server=" .. (options.conninfo or primary.conninfo) }
  if node.config_dir ~= "" then
    words[#words + 1] = "--config-file=" .. node.config_dir .. "/postgresql.conf"
  end
  ok, err = at(node, options, words, { timeout = options.timeout or 600 })
  if err then
    err.message = err.message:gsub("^sh", "pg_rewind", 1)
  end
  return ok and true, err, err and err.kind ~= "connect" and err.kind ~= "start"
end

-- Takes back what NODE has that PRIMARY has not.  It is down afterwards.
function lp.rewind(node, primary, options)
  local ok, err = rewind(node, primary, options or {})
  return ok, err
end

-- The copy is made beside what is there, and takes its place when it is complete; what was there is kept until the copy has run.  One that never
-- did has a mark in it, and is not kept in the place of what was there before it.
local make_room = [[
set -e
if [ -e "$1.rewinding" ]; then
  exec 9>>"$1.rewinding"
  flock -n 9 || { echo "$1 is being rewound, by an earlier call" >&2; exit 1; }
fi
if [ ! -e "$1" ] && [ -e "$1.before" ]; then mv "$1.before" "$1"; fi
rm -rf "$1.copy" "$1.failed"]]
local take_place = own_slot .. [[
set -e
get_slot "$1" || true
put_slot "$1.copy"
: >"$1.copy/lunapool.copy"
if [ -e "$1/lunapool.copy" ] && [ -e "$1.before" ]; then
  mv "$1" "$1.failed"
elif [ -e "$1" ]; then
  rm -rf "$1.before"
  mv "$1" "$1.before"
fi
mv "$1.copy" "$1"
rm -rf "$1.rewinding" "$1.failed"]]
local clear_up = [[rm -f "$1/lunapool.copy" && rm -rf "$1.before"]]

-- A new copy of PRIMARY in the place of what NODE has.
function lp.rebuild(op, node, primary, options)
  options = options or {}
  local dir = data_dir(node)
  local ok, err = lp.stop(node, { here = options.here })
  if not ok and err.status ~= 4 then -- 4: there is no such directory
    return nil, err
  end
  local copy = { program(node, "pg_basebackup"), "-D", dir .. ".copy", "-d", options.conninfo or primary.conninfo, "-X", "stream", "-c", "fast" }
  ok, err = at(node, options, { "sh", "-c", make_room, "sh", dir }, { timeout = 3600 })
  if ok then
    ok, err = at(node, options, copy, { timeout = options.timeout or 6 * 3600 })
  end
  if ok then
    ok, err = at(node, options, { "sh", "-c", take_place, "sh", dir }, { timeout = 3600 })
  end
  if not ok then
    return nil, err
  end
  ok, err = lp.start_standby(node, primary, options)
  if ok then
    at(node, options, { "sh", "-c", clear_up, "sh", dir }, { timeout = 3600 })
  end
  return ok, err
end

-- Makes a standby the primary.  pg_ctl says of one that is none any more that it cannot be promoted, so that is asked first.
function lp.promote(node, options)
  options = options or {}
  local rows = lp.sql(node, "select pg_is_in_recovery() as is_standby", nil, { timeout = 2 })
  if rows and not rows[1].is_standby then
    return true
  end
  local timeout = options.timeout or 60
  local promote = { program(node, "pg_ctl"), "promote", "-w", "-D", config_dir(node), "-t", tostring(timeout) }
  local output, err = at(node, options, promote, { timeout = timeout + 10 })
  return output and true, err
end

local timeline_of_primary = "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline"
local timeline_received = "select max(received_tli) as timeline from pg_stat_wal_receiver where status = 'streaming'"

-- Lets a standby that runs follow PRIMARY from now on.  True when it receives what that writes.
function lp.follow(node, primary, options)
  options = options or {}
  give_slot(node, primary)
  local output, err = make_standby(node, primary, options)
  if output then
    output, err = at(node, options, { program(node, "pg_ctl"), "reload", "-D", config_dir(node) })
  end
  if not output then
    return nil, err
  end
  local tries = math.ceil((options.timeout or 10) / 0.1)
  return lp.retry { tries = tries, delay = 0.1 } (function()
    local is, why = lp.sql(primary, timeline_of_primary)
    local has
    if is then
      has, why = lp.sql(node, timeline_received)
    end
    if not has then
      return nil, why
    elseif has[1].timeline ~= is[1].timeline then
      return nil, native.error { kind = "state", message = node.name .. " does not receive what " .. primary.name .. " writes" }
    end
    return true
  end)
end

-- An old primary becomes a standby of the new one; what it has alone is gone then.  With options.rebuild it gets a new copy where pg_rewind cannot help.
function lp.rejoin(op, node, primary, options)
  options = options or {}
  local ok, err, is_hopeless = rewind(node, primary, options)
  if ok then
    return lp.start_standby(node, primary, options)
  elseif is_hopeless and options.rebuild then
    lp.log("pg_rewind cannot help " .. node.name .. ", which gets a new copy: " .. err.message, "warn")
    return lp.rebuild(op, node, primary, { conninfo = options.conninfo, options = options.options, here = options.here })
  end
  return nil, err
end

-- ---- other systems' habits ----------------------------------------------------------------------------------------------

-- Pgpool-II's letters, for a failover_command that is to be kept.  It numbers nodes as they stand in the configuration, from 0.
local function number_of(cluster, node)
  for i, other in ipairs(cluster.nodes) do
    if node and other.name == node.name then
      return i - 1
    end
  end
  return -1
end

local compat = {}
lp.compat = setmetatable({}, { __index = compat, __newindex = function() error("modules do not change", 2) end, __metatable = false })

function compat.escapes(op, text)
  local cluster, failed, new, old = op.cluster, op.old_primary, op.node, op.old_primary
  if op.primary then -- of follow_primary: the node that is to follow
    failed, new = op.node, op.primary
  end
  local function of(node, field)
    return node and node[field] or ""
  end
  local values = {
    d = number_of(cluster, failed), h = of(failed, "host"), p = of(failed, "port"), D = of(failed, "data_dir"),
    m = number_of(cluster, new), H = of(new, "host"), r = of(new, "port"), R = of(new, "data_dir"),
    M = number_of(cluster, old), P = number_of(cluster, old), N = of(old, "host"), S = of(old, "port"),
  }
  return (text:gsub("%%(.)", function(letter)
    if letter == "%" then
      return "%"
    end
    return values[letter] and quoted(values[letter]) or "" -- as there, what is no letter of these vanishes
  end))
end
