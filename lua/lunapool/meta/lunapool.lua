---@meta lunapool
-- What policies may use, for editors that know LuaLS's annotations.  Made by `make docs` from include/tbl/policy.h.

---What plan() sees: what is the same each time the statement comes.
---@class lunapool.Statement
---@field kind string "select", "insert", "begin", "set", "copy_in", …; "multi" for several at once.
---@field is_read boolean It is proven to change nothing, and a standby may answer it.
---@field unknown boolean It was not understood; it may do anything.
---@field locks boolean It locks rows or tables: FOR UPDATE, LOCK and kin.
---@field functions string[] Names of functions that it calls, without their schema.
---@field relations string[] Names of tables and views that it names, without their schema.
---@field user string Who the client is.
---@field database string Which database the client is in: that he asked for, or admit() gave him.
---@field touches fun(self: lunapool.Statement, relation: string): boolean It names this table or view; a schema in front of it is ignored.

---What route() and balance() see.
---@class lunapool.Query: lunapool.Statement
---@field text string The statement as it came, at most 8 kB of it.
---@field in_transaction boolean A transaction was begun before it.
---@field read_only boolean … which is READ ONLY.
---@field wrote boolean … which has written.
---@field stays boolean Its transaction has begun, or a pin keeps the session, in the cluster where it is: another is refused.
---@field ms_since_write number Milliseconds since the session last wrote; math.huge if it has not.
---@field application string The session's application_name.
---@field client_address string Where the client comes from; "" is the unix socket.
---@field class string? The class that admit() gave the session.
---@field hint lunapool.Hint? What a comment in front of it asks for.
---@field parameters integer How many parameters it has.

---What a comment in front of a statement asks for.
---@class lunapool.Hint
---@field route string? The place it asks for; "primary" for NO LOAD BALANCE, too.
---@field node string? The node it asks for.
---@field class string? The class it names.

---What admit() sees.
---@class lunapool.Client
---@field user string Who has logged in.
---@field database string Which database he asks for.
---@field application string His application_name.
---@field client_address string Where he comes from; "" is the unix socket.

---@class lunapool.Cluster
---@field name string As the configuration has it.
---@field epoch integer Grows each time another node becomes the primary, or the primary's timeline grows.
---@field primary lunapool.Node Whoever is the primary when the statement runs; its name is nil while nobody is.
---@field standbys lunapool.Node[] Those that are fit for reads then.
---@field any lunapool.Node[] Those and the primary.
---@field nodes lunapool.Node[] All, in the configuration's order.
---@field node fun(self: lunapool.Cluster, name: string): lunapool.Node? The node of that name; nil if there is none.
---@field candidates fun(self: lunapool.Cluster, filter: fun(node: lunapool.Node): boolean): lunapool.Node[] The standbys that are fit for reads and for which the filter says true.

---@class lunapool.Node
---@field name string? As the configuration has it.
---@field host string? Its host.
---@field port integer? Its port.
---@field role string? "primary", "standby", "foreign" (of another cluster, whatever it says) or "unknown".
---@field status string? "up", "draining" or "down".
---@field weight integer? Its share of the reads, beside the others'; 0: none.
---@field is_fit boolean? A standby that takes reads now: up, receiving, and not too far behind.
---@field timeline integer? PostgreSQL's; 0 while it is not known.
---@field replay_lsn integer? How far a standby has replayed, as a number; 0 while it is not known.
---@field lag_bytes number? Behind the primary; math.huge while it is not known.
---@field lag_ms number? Age of what it shows; math.huge while it is not known.
---@field latency_us number? Of the last probe; math.huge while none was answered.
---@field synchronous string? What the primary says of a standby: "sync", "quorum", "potential" or "async"; nil: not known.
---@field priority integer? Its priority when a new primary is chosen; 0: never.
---@field tags table<string, string|true>? The configuration's tags: of "dc=a", tags.dc is "a"; of "spare", tags.spare is true.
---@field data_dir string? As the configuration has it; "" is not set.
---@field config_dir string? As the configuration has it: where postgresql.conf is, if not in data_dir.
---@field bin_dir string? As the configuration has it, for PostgreSQL's programs.
---@field conninfo string? How others reach it, for pg_rewind and kin: host, port, service_user and service_dbname, without a password.
---@field in_flight integer? Statements that are under way there, of all workers.

---What admit() may return.
---@class lunapool.Admission
---@field database string? The database that he gets, with its pool, as if he had asked for that one.
---@field class string? A name for what he does; his queries have it as query.class.

---What a task is given.
---@class lunapool.Task
---@field name string As it was called.
---@field id integer As SHOW TASKS has it.
---@field args table<string, string|boolean> What was given: --dump=/srv/dump is args.dump; --force is args.force, true.

---What has happened; its name is one of these:
---node_up (node): A node answers that did not.
---node_down (node): A node does not answer any more.
---primary_changed (node, old): A node has become the primary; old is the one before, nil if there was none.
---primary_lost (old): Nobody is the primary any more.
---operation_began (id, kind, node, reason): A failover or a switchover has begun; node is the primary that it is about.
---operation_ended (id, kind, outcome, node, old, reason): It has ended: outcome is "done", and node the primary now, or "aborted".
---node_quarantined (node, reason): A node takes nothing until it follows the primary.
---node_released (node): It does, and is a standby like others again.
---node_detached (node, reason): A node takes nothing until it is attached again.
---node_attached (node): It is.
---maintenance_on (): Nothing is done to the cluster by itself any more.
---maintenance_off (): It is, again.
---notice (id, kind, reason): lp.notify() was called: reason is its text, kind its level, id that of the task in SHOW TASKS.
---@class lunapool.Event
---@field name string Which one it is.
---@field node lunapool.Node? Whom it is about.
---@field old lunapool.Node? Who was the primary.
---@field id integer? The operation's, as SHOW OPERATIONS has it.
---@field kind string? "failover" or "switchover".
---@field outcome string? "done" or "aborted".
---@field reason string? Why.

---What the table every has for each name.
---@class lunapool.Every
---@field seconds number How long after it was called it is called again, from when it has returned.
---@field run fun(cluster: lunapool.Cluster): any, any What is called.

---What lp.sql() returns: a table for each row.
---@class lunapool.Rows: table[]
---@field affected integer How many rows the statement has returned, changed, added or removed.

---What lp.hold() returns.
---@class lunapool.Hold
---@field release fun(self: lunapool.Hold): true?, lunapool.Error? What waits goes on. Nil and an error of kind timeout: it was over already, so that something may have begun meanwhile.

---What an operation tells its hooks.
---@class lunapool.Operation
---@field id integer The same each time that the hook is called for it.
---@field epoch integer In which it began.
---@field kind string "failover" and so on.
---@field step string Which hook this is.
---@field attempt integer Candidates that were tried, with this one.
---@field cluster lunapool.Cluster Whose it is.
---@field node lunapool.Node As the hook is given it.
---@field primary lunapool.Node? Whom the node is to follow, as the hook is given it.
---@field old_primary lunapool.Node? Who was the primary when it began.
---@field evidence string Why it began.

---What failover() is told.
---@class lunapool.Failover
---@field candidates lunapool.Node[] Who may become primary by the rules that no policy loosens; the best first.
---@field refused table<string, string> Why the others may not, by their names.
---@field old_primary lunapool.Node? Who is lost.
---@field evidence string Why that is thought.

---What returning() is told.
---@class lunapool.Returning
---@field state string What it is: "writable", "standby", or "down": its host is there, and nobody listens at its port.
---@field timeline integer? As it says itself.
---@field reason string Why it is in quarantine.
---@field tries integer To rejoin it, that have failed so far.

---What lp.http() returns.
---@class lunapool.Response
---@field status integer Below 400.
---@field body string At most 1 MB.
---@field headers table<string, string> By their names in small letters.

---Why an action failed; tostring() gives its message.
---@class lunapool.Error
---@field kind string "exit", "signal", "timeout", "start": of commands; "sql", "connect"; "http"; "state": it cannot be now; "raised".
---@field message string For people; tostring() of the error is this, too.
---@field output string? What a command has written.
---@field status integer? Its exit status, the signal that ended it, or HTTP's.
---@field sqlstate string? PostgreSQL's word for it.

---What a policy file returns.
---@class lunapool.Policy
---@field api 1 The version of all this.
---@field plan? fun(statement: lunapool.Statement, cluster: lunapool.Cluster): lunapool.Decision, string? Asked once for a statement, user and database. What it returns holds until the next reload, without asking route; nothing means that route is asked each time.
---@field route? fun(query: lunapool.Query, cluster: lunapool.Cluster): lunapool.Decision, string? Asked for each statement outside a transaction, and for a transaction at its first statement. The second value is the reason that EXPLAIN ROUTE shows.
---@field admit? fun(client: lunapool.Client): lunapool.Decision|lunapool.Admission|nil Asked when somebody has logged in: nothing lets him in as he asked, lp.reject() does not.
---@field balance? fun(query: lunapool.Query, nodes: lunapool.Node[]): lunapool.Node? Asked when there is a list to choose from; nothing leaves it to the configured algorithm.
---@field failover? fun(event: lunapool.Failover, cluster: lunapool.Cluster): lunapool.Node[]|lunapool.Node|nil, string? A decision: who shall be the new primary, the best first, of event.candidates; nil and why: nobody. Nothing, or an error, leaves the order as it is.
---@field fence? fun(op: lunapool.Operation, node: lunapool.Node): true?, lunapool.Error|string|nil Sees to it that the old primary takes no writes, before another is promoted; may be called again.
---@field promote? fun(op: lunapool.Operation, node: lunapool.Node): true?, lunapool.Error|string|nil Makes it the primary; may be called again. Whatever it says, the node itself is asked.
---@field follow_primary? fun(op: lunapool.Operation, node: lunapool.Node, primary: lunapool.Node): true?, lunapool.Error|string|nil Makes a standby follow the new primary; may be called again.
---@field returning? fun(event: lunapool.Returning, node: lunapool.Node, cluster: lunapool.Cluster): "rejoin"|"attach"|"quarantine"|nil A decision: what shall be done about a node in quarantine that is back: rejoin, the hook of that name; attach, it is told whom to follow, which only a standby can; quarantine, as nothing and an error: nothing.
---@field rejoin? fun(op: lunapool.Operation, node: lunapool.Node, primary: lunapool.Node): true?, lunapool.Error|string|nil Makes a node that was kept away a standby of the primary; may be called again. Whatever it says, the node stays away until it streams.
---@field recover? fun(op: lunapool.Operation, node: lunapool.Node, primary: lunapool.Node): true?, lunapool.Error|string|nil Builds a node anew, by order of an administrator; else as rejoin.
---@field tasks? table<string, fun(task: lunapool.Task, cluster: lunapool.Cluster): any, any> Procedures that an operator runs by their names: lunapool ctl run NAME.
---@field on? table<string, fun(event: lunapool.Event, cluster: lunapool.Cluster): any, any> What shall be done when something has happened, by the event's name.
---@field every? table<string, lunapool.Every> What shall be done again and again, by a name of its own.
---@field selftest? fun(): boolean?, string? Run whenever the policy is loaded; an error, or false, refuses it.

---A node, a list of nodes, or what lp.reject() and lp.wait() make.
---@alias lunapool.Decision lunapool.Node|lunapool.Node[]|userdata|nil

---@class lunapool
local lp = {}

---A decision: the client gets this error (28000 if no SQLSTATE is given).
---@param text string
---@param sqlstate? string
---@return lunapool.Decision
function lp.reject(text, sqlstate) end

---A decision: wait up to so many milliseconds for a standby that is fresh enough, then the primary.
---@param ms number
---@return lunapool.Decision
function lp.wait(ms) end

---Another cluster of the configuration; nil if there is none.
---@param name string
---@return lunapool.Cluster?
function lp.cluster(name) end

---A number from 0 to 4294967295, the same for the same text in every process (FNV-1a).
---@param text string
---@return integer
function lp.hash(text) end

---A line in the log; each worker writes ten a second at most.
---@param text string
---@param level? "debug"|"info"|"warn"|"error"
function lp.log(text, level) end

---Runs a program, by its path or from PATH, without a shell; returns what it wrote when it ends with 0. After timeout seconds (60) it and whatever it started gets SIGTERM, and 2 s later SIGKILL. Of its output at most so many bytes (65,536) are kept, the first and the last.
---@param argv string[]
---@param options? {timeout?: number, input?: string, env?: table<string, string>, cwd?: string, output?: integer}
---@return string?, lunapool.Error?
function lp.exec(argv, options) end

---As lp.exec, but at the node, by ssh, without a password or a question; each word arrives as it is. err.kind connect: ssh did not get there. The configuration's ssh_host, ssh_user and ssh_options say how. At the deadline ssh ends here; what it has started there may not.
---@param node lunapool.Node
---@param argv string[]
---@param options? {timeout?: number, input?: string, env?: table<string, string>, cwd?: string, output?: integer}
---@return string?, lunapool.Error?
function lp.ssh(node, argv, options) end

---Runs one statement at a node, as service_user, over a connection of its own; $1 and so on are the parameters. Its rows, each a table of values by the columns' names: numbers, booleans, texts, and nothing for NULL. At most rows of them (1,000) and 1 MB; after timeout seconds (10) it is given up. search_path is pg_catalog.
---@param node lunapool.Node
---@param statement string
---@param parameters? (string|number|boolean)[]
---@param options? {timeout?: number, dbname?: string, rows?: integer}
---@return lunapool.Rows?, lunapool.Error?
function lp.sql(node, statement, parameters, options) end

---One request of HTTP: GET, or POST if there is a body. An answer of status 400 or more is an error of kind http. Redirects are not followed; certificates are verified, by those in ca if that is given; after timeout seconds (10) it is given up.
---@param request {url: string, method?: string, headers?: table<string, string>, body?: string, timeout?: number, ca?: string}
---@return lunapool.Response?, lunapool.Error?
function lp.http(request) end

---From now on nothing begins on the primary: it waits, while reads go on at standbys, and so does what has begun. To the hold's release(), to the end of what has asked for it, or for nine tenths of hold_timeout.
---@param cluster lunapool.Cluster
---@return lunapool.Hold?, lunapool.Error?
function lp.hold(cluster) end

---Keeps new transactions away from a standby and waits (60 s) until nobody uses it. To lp.attach(), or to the end of what has asked for it. Of a cluster's only node: its status is "draining", and the policy sends nothing there.
---@param node lunapool.Node
---@param options? {timeout?: number}
---@return true?, lunapool.Error?
function lp.drain(node, options) end

---As DETACH: closes all connections to a standby and makes no new ones until it is attached, also over a restart. While an operation is under way it waits (10 s).
---@param node lunapool.Node
---@param options? {timeout?: number}
---@return true?, lunapool.Error?
function lp.detach(node, options) end

---As ATTACH: takes lp.detach() and lp.drain() back.
---@param node lunapool.Node
---@param options? {timeout?: number}
---@return true?, lunapool.Error?
function lp.attach(node, options) end

---Tells operators: a line in the log, which is never left out, in SHOW TASKS, and the event notice, for a pager. Level warn.
---@param text string
---@param level? "info"|"warn"|"error"
---@return true
function lp.notify(text, level) end

---Sets what SHOW METRICS has under this name; 1,000 of them. False: there is no room.
---@param name string
---@param value number
---@return boolean
function lp.metric(name, value) end

---Waits.
---@param seconds number
---@return true
function lp.sleep(seconds) end

---Calls fn for each, limit of them at a time (all), and returns their values when all have ended. When one has failed (nil and an error, or an error raised): nil and that error, with errors, a table of all; fail = "fast" stops the others at once.
---@param list any[]
---@param fn fun(item: any, at: integer): any
---@param options? {limit?: integer, fail?: "fast"|"late"}
---@return any[]?, lunapool.Error?
function lp.parallel(list, fn, options) end

---What fn returns; nil and an error of kind timeout if that takes longer: what it waits for is stopped.
---@param seconds number
---@param fn fun(): any
---@return any, lunapool.Error?
function lp.deadline(seconds, fn) end

---lp.retry{ tries = 3, delay = 1, backoff = 2 }(fn) calls fn until it returns something, waiting delay seconds, then backoff times as long, in between; what it returned last.
---@param options {tries?: integer, delay?: number, backoff?: number}
---@return fun(fn: fun(try: integer): any): any
function lp.retry(options) end

---Stops PostgreSQL there with pg_ctl (mode fast), if it runs. As the next ones it takes data_dir, bin_dir and lp.ssh, or with here = true lp.exec.
---@param node lunapool.Node
---@param options? {mode?: string, timeout?: number, here?: boolean}
---@return true?, lunapool.Error?
function lp.stop(node, options) end

---Starts it as a standby of primary; true when it says that it is one. options are for postgres itself.
---@param node lunapool.Node
---@param primary lunapool.Node
---@param options? {conninfo?: string, options?: string, timeout?: number, here?: boolean}
---@return true?, lunapool.Error?
function lp.start_standby(node, primary, options) end

---Stops it, and takes back with pg_rewind what it has that primary has not. After one that was cut off it refuses, and so does lp.start_standby.
---@param node lunapool.Node
---@param primary lunapool.Node
---@param options? {conninfo?: string, timeout?: number, here?: boolean}
---@return true?, lunapool.Error?
function lp.rewind(node, primary, options) end

---Puts a new copy of primary in its place, with pg_basebackup, and starts that; what was there is kept beside it until it runs.
---@param op any
---@param node lunapool.Node
---@param primary lunapool.Node
---@param options? {conninfo?: string, options?: string, timeout?: number}
---@return true?, lunapool.Error?
function lp.rebuild(op, node, primary, options) end

---Makes a standby the primary with pg_ctl, if it is not.
---@param node lunapool.Node
---@param options? {timeout?: number, here?: boolean}
---@return true?, lunapool.Error?
function lp.promote(node, options) end

---Lets a standby that runs follow another primary; true when it receives what that writes.
---@param node lunapool.Node
---@param primary lunapool.Node
---@param options? {conninfo?: string, timeout?: number, here?: boolean}
---@return true?, lunapool.Error?
function lp.follow(node, primary, options) end

---Makes an old primary a standby: lp.rewind and lp.start_standby; with rebuild a new copy where pg_rewind cannot help.
---@param op any
---@param node lunapool.Node
---@param primary lunapool.Node
---@param options? {conninfo?: string, options?: string, timeout?: number, here?: boolean, rebuild?: boolean}
---@return true?, lunapool.Error?
function lp.rejoin(op, node, primary, options) end

---In a hook of an operation: calls fn, and keeps what it returns, JSON of at most 4 kB, in the operation's record before it goes on; when the hook runs again for the same operation and node, also after a restart, returns that without calling fn. A step that fails (nil and an error) is not kept. Elsewhere it just calls fn.
---@param name string
---@param fn fun(): any
---@param any 
---@return any, lunapool.Error?
function lp.step(name, fn, any) end

---Calls fn at the end, however that comes about: the last one first, 10 s for all of them.
---@param fn fun()
function lp.defer(fn) end

---What all workers remember together, also across reloads.
lp.kv = {}

---What was kept under this name.
---@param key string
---@return string|number|boolean|nil
function lp.kv.get(key) end

---Keeps a value (a text of at most 1 kB) until it is replaced, or for so long; nil forgets it. False: there is no room.
---@param key string
---@param value string|number|boolean|nil
---@param seconds? number
---@return boolean
function lp.kv.set(key, value, seconds) end

---Adds to a number, which is 0 and gets its time when it is not there; the sum. Nil: there is no room, or it is no number.
---@param key string
---@param by number
---@param seconds? number
---@return number?
function lp.kv.add(key, by, seconds) end

---For scripts of other systems.
lp.compat = {}

---The text of a failover_command or follow_primary_command of Pgpool-II with its %d, %h and so on filled in, each quoted for a shell: for lp.exec { "sh", "-c", text }.
---@param op lunapool.Operation
---@param text string
---@return string
function lp.compat.escapes(op, text) end

return lp
