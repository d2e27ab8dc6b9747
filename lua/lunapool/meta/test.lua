---@meta lunapool.test
-- What tests of policies may use (lunapool test), for editors that know LuaLS's annotations.

---A time: "500ms", "10s", "2min", "1h", or a number of seconds.
---@alias lunapool.test.Time string|number

---@class lunapool.test
local t = {}

---A case: its own cluster, run once for each seed.
---@param name string
---@param fn fun(sim: lunapool.test.Sim)
function t.case(name, fn) end

---Fails unless value is true, or anything but nil and false.
---@param value any
---@param name? string
---@return any value
function t.ok(value, name) end

---@param got any
---@param expected any
---@param name? string
function t.is(got, expected, name) end

---@param got any
---@param pattern string One of Lua's.
---@param name? string
function t.like(got, pattern, name) end

---Of seconds or bytes: t.at_most(sim:write_outage(), "1s").
---@param got number
---@param most string|number
---@param name? string
function t.at_most(got, most, name) end

---The hook was called for each of the nodes; without nodes, for any. Where the policy has none, what Lunapool does in its stead counts.
---@param sim lunapool.test.Sim
---@param hook string
---@param ... string
function t.called(sim, hook, ...) end

---@param sim lunapool.test.Sim
---@param hook string
---@param ... string
function t.not_called(sim, hook, ...) end

---Where a statement runs, sent now by a session of its own; where chance may choose, it is asked 16 times.
---@param sim lunapool.test.Sim
---@param sql string
---@param expected {to?: string|string[], refused?: string, user?: string, database?: string} to: any of these nodes; refused: a pattern of the error.
function t.routes(sim, sql, expected) end

---@class lunapool.test.Request
---@field method string
---@field url string
---@field body? string

---@class lunapool.test.Sim
local sim = {}

---Begins; first of all. Whatever else stands in the table is a setting of the block cluster. policy: relative to the test's file; false: none;
---without it main.lua is that of main_test.lua, if it is there. sync: synchronous_standby_names. clients = false: nobody reads and writes.
---@param options? {primary?: string, standbys?: string[], nodes?: table<string, table<string, any>>, policy?: string|false, sync?: string, clients?: boolean, [string]: any}
function sim:cluster(options) end
---The clusters of a configuration, as they stand there: that of lunapool test -c PATH, or path, relative to the test's file. A table by a cluster's
---name says who its primary is (its first node) and what its synchronous_standby_names are.
---@param options? {path?: string, clients?: boolean, [string]: {primary?: string, sync?: string}}
function sim:configured(options) end
---Several, each with a name of its own, and nodes that have names of their own; the first one is meant where none is named.
---@param list table[] Each as sim:cluster() takes it, with name.
function sim:clusters(list) end

---Time goes on; fails when something was violated.
---@param time lunapool.test.Time
function sim:run(time) end

---@return number seconds Since the cluster began.
function sim:now() end

---SIGKILL of all its processes.
---@param node string
function sim:kill(node) end
---It comes up as what it was.
---@param node string
function sim:start(node) end
---kill, and start.
---@param node string
function sim:restart(node) end
---It comes up out of recovery, whatever it was.
---@param node string
function sim:return_as_primary(node) end
---SIGSTOP of all its processes: connections are taken, and nothing is answered.
---@param node string
function sim:freeze(node) end
---@param node string
function sim:thaw(node) end
---There is no way to it, nor from it to others.
---@param node string
---@param other? string A node, or "lunapool".
function sim:partition(node, other) end
---Takes partition, refuse, hang, disk_full, slow and lag back.
---@param node string
function sim:heal(node) end
---Lunapool is killed, and finds its journal damaged.
function sim:tear_journal() end
---Clients use a connection to it for so long.
---@param node string
---@param time lunapool.test.Time
function sim:busy(node, time) end
---Bytes: the primary writes so much, and the node stays so far behind; a time: it replays so much later.
---@param node string
---@param how string "64MB", "10s"
function sim:lag(node, how) end
---Each answer comes so much later.
---@param node string
---@param time lunapool.test.Time
function sim:slow(node, time) end
---It is full: new connections are refused with 53300.
---@param node string
function sim:refuse(node) end
---Its disk hangs: reads are answered, no write ends.
---@param node string
function sim:hang(node) end
---Writes are refused with 53100.
---@param node string
function sim:disk_full(node) end
---The hook fails the next times (always), for that node (any); where the policy has none, what Lunapool does in its stead.
---@param hook string
---@param node? string
---@param times? integer
function sim:hook_fails(hook, node, times) end
---… does not end before its deadline.
---@param hook string
---@param node? string
---@param times? integer
function sim:hook_hangs(hook, node, times) end
---SIGKILL of Lunapool at this step of the next operation, once; it is started again.
---@param step "confirm"|"hold"|"drain"|"fence"|"choose"|"promote"|"publish"|"follow"|"work"|"verify"
function sim:leader_dies_at(step) end

---Somebody else promotes it.
---@param node string
function sim:promote(node) end
---Somebody else has it follow that one.
---@param node string
---@param primary string
function sim:follow(node, primary) end
---Somebody else makes a new copy of the recorded primary of it, which was down, and starts that.
---@param node string
function sim:rebuild(node) end
---@param node? string
---@return true?, string? why
---@param cluster? string
function sim:switchover(node, cluster) end
---@param node string
---@return true?, string? why
function sim:detach(node) end
---It begins: the node is detached when no client uses it any more. Without a time, the configured one.
---@param node string
---@param time? lunapool.test.Time
---@return true?, string? why
function sim:drain(node, time) end
---@param node string
---@return true?, string? why
function sim:attach(node) end
---@param on boolean
---@return true?, string? why
---@param cluster? string
function sim:maintenance(on, cluster) end

---A task of the policy's, to its end; time goes on meanwhile, an hour at most.
---@param name string
---@param args? table<string, string|true>
---@return true?, string output What it has said, or why it failed.
---@param cluster? string
function sim:task(name, args, cluster) end

---What a program does that hooks run: called with its words in a line, if the pattern is found there; returns its status (0) and what it writes.
---@param pattern string
---@param fn fun(line: string): integer?, string?
function sim:program(pattern, fn) end

---Who answers lp.http(), where the pattern is found in the address: returns status and body, or nil and why there is no answer; and the seconds it takes.
---@param pattern string
---@param fn fun(request: lunapool.test.Request): integer?, string?, number?
function sim:http(pattern, fn) end
---What a node (nil: each) answers to statements of lp.sql() that have this text in them.
---@param node string?
---@param sql string
---@param rows table<string, string|number|boolean>[]
function sim:answers(node, sql, rows) end

---@return string? node Where writes are sent now.
---@param cluster? string
function sim:primary(cluster) end
---@return number seconds The longest time without a write that was acknowledged.
---@param cluster? string
function sim:write_outage(cluster) end
---@return number n Acknowledged so far.
---@param cluster? string
function sim:writes(cluster) end
---@return number n … that the recorded primary has not.
---@param cluster? string
function sim:lost_writes(cluster) end
---@return number n That have happened.
---@param cluster? string
function sim:promotions(cluster) end
---@return number n Grows with each other primary.
---@param cluster? string
function sim:epoch(cluster) end
---@param hook string
---@param node? string
---@return number n How often it was called.
function sim:calls(hook, node) end
---@param node string
---@return boolean
function sim:is_up(node) end
---@param node string
---@return boolean is Up and out of recovery, whatever Lunapool thinks of it.
function sim:is_writable(node) end
---@param node string
---@return boolean is A standby that receives.
function sim:is_streaming(node) end
---@param node string
---@return boolean, string? why It is kept away: in quarantine, or detached.
function sim:is_quarantined(node) end

return t
