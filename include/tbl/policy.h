/*
 * policy — what a policy may define and what it sees: the C side, the LuaLS stubs and their test are made from these rows.
 *
 *   FIELD(name, type, when, sentence)         read-only; answered by <class>_<name>() in policy/
 *   METHOD(name, parameters, returns, when, sentence)
 *   FUNCTION(name, parameters, returns, sentence)   of the module lunapool: lp_<name>() in policy/
 *   HOOK(name, parameters, returns, sentence)
 *   TABLE(name, type, sentence)               a table of a policy, whose functions the control plane calls
 *   EVENT(name, fields, sentence)             a key of the table `on`; fields: what the event has beside name, cluster and time
 *
 * when: SAME, the same each time a statement comes, so that plan() may ask; NOW, of this moment: not in plan(), whose answer is kept.
 * A parameter: "name: type", with ? behind the name if it may be left out.
 */
#ifndef TBL_POLICY_H
#define TBL_POLICY_H

#define POLICY_HOOK_TABLE(HOOK)                                                                                               \
	HOOK(plan, "statement: lunapool.Statement, cluster: lunapool.Cluster", "lunapool.Decision, string?",                      \
	     "Asked once for a statement, user and database. What it returns holds until the next reload, without asking route; " \
	     "nothing means that route is asked each time.")                                                                      \
	HOOK(route, "query: lunapool.Query, cluster: lunapool.Cluster", "lunapool.Decision, string?",                             \
	     "Asked for each statement outside a transaction, and for a transaction at its first statement. The second value is " \
	     "the reason that EXPLAIN ROUTE shows.")                                                                              \
	HOOK(admit, "client: lunapool.Client", "lunapool.Decision|lunapool.Admission|nil",                                        \
	     "Asked when somebody has logged in: nothing lets him in as he asked, lp.reject() does not.")                         \
	HOOK(balance, "query: lunapool.Query, nodes: lunapool.Node[]", "lunapool.Node?",                                          \
	     "Asked when there is a list to choose from; nothing leaves it to the configured algorithm.")

/* Called by operations, in the control plane: decisions at once, actions as coroutines. */
#define POLICY_CONTROL_HOOKS(HOOK)                                                                                               \
	HOOK(failover, "event: lunapool.Failover, cluster: lunapool.Cluster", "lunapool.Node[]|lunapool.Node|nil, string?",          \
	     "A decision: who shall be the new primary, the best first, of event.candidates; nil and why: nobody. Nothing, or an "   \
	     "error, leaves the order as it is.")                                                                                    \
	HOOK(fence, "op: lunapool.Operation, node: lunapool.Node", "true?, lunapool.Error|string|nil",                               \
	     "Sees to it that the old primary takes no writes, before another is promoted; may be called again.")                    \
	HOOK(promote, "op: lunapool.Operation, node: lunapool.Node", "true?, lunapool.Error|string|nil",                             \
	     "Makes it the primary; may be called again. Whatever it says, the node itself is asked.")                               \
	HOOK(follow_primary, "op: lunapool.Operation, node: lunapool.Node, primary: lunapool.Node",                                  \
	     "true?, lunapool.Error|string|nil", "Makes a standby follow the new primary; may be called again.")                     \
	HOOK(returning, "event: lunapool.Returning, node: lunapool.Node, cluster: lunapool.Cluster",                                 \
	     "\"rejoin\"|\"attach\"|\"quarantine\"|nil",                                                                             \
	     "A decision: what shall be done about a node in quarantine that is back: rejoin, the hook of that name; attach, it is " \
	     "told whom to follow, which only a standby can; quarantine, as nothing and an error: nothing.")                         \
	HOOK(rejoin, "op: lunapool.Operation, node: lunapool.Node, primary: lunapool.Node", "true?, lunapool.Error|string|nil",      \
	     "Makes a node that was kept away a standby of the primary; may be called again. Whatever it says, the node stays away " \
	     "until it streams.")                                                                                                    \
	HOOK(recover, "op: lunapool.Operation, node: lunapool.Node, primary: lunapool.Node", "true?, lunapool.Error|string|nil",     \
	     "Builds a node anew, by order of an administrator; else as rejoin.")

#define POLICY_TABLES(TABLE)                                                                     \
	TABLE(tasks, "table<string, fun(task: lunapool.Task, cluster: lunapool.Cluster): any, any>", \
	      "Procedures that an operator runs by their names: lunapool ctl run NAME.")             \
	TABLE(on, "table<string, fun(event: lunapool.Event, cluster: lunapool.Cluster): any, any>",  \
	      "What shall be done when something has happened, by the event's name.")                \
	TABLE(every, "table<string, lunapool.Every>", "What shall be done again and again, by a name of its own.")

#define POLICY_EVENTS(EVENT)                                                                                            \
	EVENT(node_up, "node", "A node answers that did not.")                                                              \
	EVENT(node_down, "node", "A node does not answer any more.")                                                        \
	EVENT(primary_changed, "node, old", "A node has become the primary; old is the one before, nil if there was none.") \
	EVENT(primary_lost, "old", "Nobody is the primary any more.")                                                       \
	EVENT(operation_began, "id, kind, node, reason",                                                                    \
	      "A failover or a switchover has begun; node is the primary that it is about.")                                \
	EVENT(operation_ended, "id, kind, outcome, node, old, reason",                                                      \
	      "It has ended: outcome is \"done\", and node the primary now, or \"aborted\".")                               \
	EVENT(node_quarantined, "node, reason", "A node takes nothing until it follows the primary.")                       \
	EVENT(node_released, "node", "It does, and is a standby like others again.")                                        \
	EVENT(node_detached, "node, reason", "A node takes nothing until it is attached again.")                            \
	EVENT(node_attached, "node", "It is.")                                                                              \
	EVENT(maintenance_on, "", "Nothing is done to the cluster by itself any more.")                                     \
	EVENT(maintenance_off, "", "It is, again.")                                                                         \
	EVENT(notice, "id, kind, reason",                                                                                   \
	      "lp.notify() was called: reason is its text, kind its level, id that of the task in SHOW TASKS.")

/* What lp.hold() returns. */
#define POLICY_HOLD(FIELD)                                                                                               \
	FIELD(release, "fun(self: lunapool.Hold): true?, lunapool.Error?", NOW,                                              \
	      "What waits goes on. Nil and an error of kind timeout: it was over already, so that something may have begun " \
	      "meanwhile.")
/* Of the tables that the control plane gives. */
#define POLICY_TASK(FIELD)                             \
	FIELD(name, "string", NOW, "As it was called.")    \
	FIELD(id, "integer", NOW, "As SHOW TASKS has it.") \
	FIELD(args, "table<string, string|boolean>", NOW,  \
	      "What was given: --dump=/srv/dump is args.dump; --force is args.force, true.")
#define POLICY_EVENT(FIELD)                                                   \
	FIELD(name, "string", NOW, "Which one it is.")                            \
	FIELD(node, "lunapool.Node?", NOW, "Whom it is about.")                   \
	FIELD(old, "lunapool.Node?", NOW, "Who was the primary.")                 \
	FIELD(id, "integer?", NOW, "The operation's, as SHOW OPERATIONS has it.") \
	FIELD(kind, "string?", NOW, "\"failover\" or \"switchover\".")            \
	FIELD(outcome, "string?", NOW, "\"done\" or \"aborted\".")                \
	FIELD(reason, "string?", NOW, "Why.")
#define POLICY_EVERY(FIELD)                                                                                      \
	FIELD(seconds, "number", NOW, "How long after it was called it is called again, from when it has returned.") \
	FIELD(run, "fun(cluster: lunapool.Cluster): any, any", NOW, "What is called.")
/* What lp.sql() returns, beside the rows themselves. */
#define POLICY_ROWS(FIELD) FIELD(affected, "integer", NOW, "How many rows the statement has returned, changed, added or removed.")
/* What an operation tells its hooks. */
#define POLICY_OPERATION(FIELD)                                                                   \
	FIELD(id, "integer", NOW, "The same each time that the hook is called for it.")               \
	FIELD(epoch, "integer", NOW, "In which it began.")                                            \
	FIELD(kind, "string", NOW, "\"failover\" and so on.")                                         \
	FIELD(step, "string", NOW, "Which hook this is.")                                             \
	FIELD(attempt, "integer", NOW, "Candidates that were tried, with this one.")                  \
	FIELD(cluster, "lunapool.Cluster", NOW, "Whose it is.")                                       \
	FIELD(node, "lunapool.Node", NOW, "As the hook is given it.")                                 \
	FIELD(primary, "lunapool.Node?", NOW, "Whom the node is to follow, as the hook is given it.") \
	FIELD(old_primary, "lunapool.Node?", NOW, "Who was the primary when it began.")               \
	FIELD(evidence, "string", NOW, "Why it began.")
#define POLICY_FAILOVER(FIELD)                                                                                               \
	FIELD(candidates, "lunapool.Node[]", NOW, "Who may become primary by the rules that no policy loosens; the best first.") \
	FIELD(refused, "table<string, string>", NOW, "Why the others may not, by their names.")                                  \
	FIELD(old_primary, "lunapool.Node?", NOW, "Who is lost.")                                                                \
	FIELD(evidence, "string", NOW, "Why that is thought.")
#define POLICY_RETURNING(FIELD)                                                                                     \
	FIELD(state, "string", NOW,                                                                                     \
	      "What it is: \"writable\", \"standby\", or \"down\": its host is there, and nobody listens at its port.") \
	FIELD(timeline, "integer?", NOW, "As it says itself.")                                                          \
	FIELD(reason, "string", NOW, "Why it is in quarantine.")                                                        \
	FIELD(tries, "integer", NOW, "To rejoin it, that have failed so far.")
/* What lp.http() returns. */
#define POLICY_RESPONSE(FIELD)                  \
	FIELD(status, "integer", NOW, "Below 400.") \
	FIELD(body, "string", NOW, "At most 1 MB.") \
	FIELD(headers, "table<string, string>", NOW, "By their names in small letters.")
/* Why an action did not do what it should: the second value, behind nil. */
#define POLICY_ERROR(FIELD)                                                                                                     \
	FIELD(kind, "string", NOW,                                                                                                  \
	      "\"exit\", \"signal\", \"timeout\", \"start\": of commands; \"sql\", \"connect\"; \"http\"; \"state\": it cannot be " \
	      "now; \"raised\".")                                                                                                   \
	FIELD(message, "string", NOW, "For people; tostring() of the error is this, too.")                                          \
	FIELD(output, "string?", NOW, "What a command has written.")                                                                \
	FIELD(status, "integer?", NOW, "Its exit status, the signal that ended it, or HTTP's.")                                     \
	FIELD(sqlstate, "string?", NOW, "PostgreSQL's word for it.")

#define POLICY_STATEMENT(FIELD, METHOD)                                                                                       \
	FIELD(kind, "string", SAME, "\"select\", \"insert\", \"begin\", \"set\", \"copy_in\", …; \"multi\" for several at once.") \
	FIELD(is_read, "boolean", SAME, "It is proven to change nothing, and a standby may answer it.")                           \
	FIELD(unknown, "boolean", SAME, "It was not understood; it may do anything.")                                             \
	FIELD(locks, "boolean", SAME, "It locks rows or tables: FOR UPDATE, LOCK and kin.")                                       \
	FIELD(functions, "string[]", SAME, "Names of functions that it calls, without their schema.")                             \
	FIELD(relations, "string[]", SAME, "Names of tables and views that it names, without their schema.")                      \
	FIELD(user, "string", SAME, "Who the client is.")                                                                         \
	FIELD(database, "string", SAME, "Which database the client is in: that he asked for, or admit() gave him.")               \
	METHOD(touches, "relation: string", "boolean", SAME, "It names this table or view; a schema in front of it is ignored.")

/* What a query has beyond its statement. */
#define POLICY_QUERY(FIELD, METHOD)                                                                                 \
	FIELD(text, "string", NOW, "The statement as it came, at most 8 kB of it.")                                     \
	FIELD(in_transaction, "boolean", NOW, "A transaction was begun before it.")                                     \
	FIELD(read_only, "boolean", NOW, "… which is READ ONLY.")                                                       \
	FIELD(wrote, "boolean", NOW, "… which has written.")                                                            \
	FIELD(stays, "boolean", NOW,                                                                                    \
	      "Its transaction has begun, or a pin keeps the session, in the cluster where it is: another is refused.") \
	FIELD(ms_since_write, "number", NOW, "Milliseconds since the session last wrote; math.huge if it has not.")     \
	FIELD(application, "string", NOW, "The session's application_name.")                                            \
	FIELD(client_address, "string", NOW, "Where the client comes from; \"\" is the unix socket.")                   \
	FIELD(class, "string?", NOW, "The class that admit() gave the session.")                                        \
	FIELD(hint, "lunapool.Hint?", NOW, "What a comment in front of it asks for.")                                   \
	FIELD(parameters, "integer", NOW, "How many parameters it has.")

/* Of a comment: lunapool: route=standby, node=pg2, class=batch */
#define POLICY_HINT(FIELD, METHOD)                                                               \
	FIELD(route, "string?", NOW, "The place it asks for; \"primary\" for NO LOAD BALANCE, too.") \
	FIELD(node, "string?", NOW, "The node it asks for.")                                         \
	FIELD(class, "string?", NOW, "The class it names.")

#define POLICY_CLIENT(FIELD, METHOD)                              \
	FIELD(user, "string", NOW, "Who has logged in.")              \
	FIELD(database, "string", NOW, "Which database he asks for.") \
	FIELD(application, "string", NOW, "His application_name.")    \
	FIELD(client_address, "string", NOW, "Where he comes from; \"\" is the unix socket.")

/* Of the table that admit() may return. */
#define POLICY_ADMISSION(FIELD)                                                                                   \
	FIELD(database, "string?", NOW, "The database that he gets, with its pool, as if he had asked for that one.") \
	FIELD(class, "string?", NOW, "A name for what he does; his queries have it as query.class.")

#define POLICY_CLUSTER(FIELD, METHOD)                                                                                         \
	FIELD(name, "string", SAME, "As the configuration has it.")                                                               \
	FIELD(epoch, "integer", NOW, "Grows each time another node becomes the primary, or the primary's timeline grows.")        \
	FIELD(primary, "lunapool.Node", SAME, "Whoever is the primary when the statement runs; its name is nil while nobody is.") \
	FIELD(standbys, "lunapool.Node[]", SAME, "Those that are fit for reads then.")                                            \
	FIELD(any, "lunapool.Node[]", SAME, "Those and the primary.")                                                             \
	FIELD(nodes, "lunapool.Node[]", SAME, "All, in the configuration's order.")                                               \
	METHOD(node, "name: string", "lunapool.Node?", SAME, "The node of that name; nil if there is none.")                      \
	METHOD(candidates, "filter: fun(node: lunapool.Node): boolean", "lunapool.Node[]", NOW,                                   \
	       "The standbys that are fit for reads and for which the filter says true.")

#define POLICY_NODE(FIELD, METHOD)                                                                                              \
	FIELD(name, "string?", SAME, "As the configuration has it.")                                                                \
	FIELD(host, "string?", SAME, "Its host.")                                                                                   \
	FIELD(port, "integer?", SAME, "Its port.")                                                                                  \
	FIELD(role, "string?", NOW, "\"primary\", \"standby\", \"foreign\" (of another cluster, whatever it says) or \"unknown\".") \
	FIELD(status, "string?", NOW, "\"up\", \"draining\" or \"down\".")                                                          \
	FIELD(weight, "integer?", SAME, "Its share of the reads, beside the others'; 0: none.")                                     \
	FIELD(is_fit, "boolean?", NOW, "A standby that takes reads now: up, receiving, and not too far behind.")                    \
	FIELD(timeline, "integer?", NOW, "PostgreSQL's; 0 while it is not known.")                                                  \
	FIELD(replay_lsn, "integer?", NOW, "How far a standby has replayed, as a number; 0 while it is not known.")                 \
	FIELD(lag_bytes, "number?", NOW, "Behind the primary; math.huge while it is not known.")                                    \
	FIELD(lag_ms, "number?", NOW, "Age of what it shows; math.huge while it is not known.")                                     \
	FIELD(latency_us, "number?", NOW, "Of the last probe; math.huge while none was answered.")                                  \
	FIELD(synchronous, "string?", NOW,                                                                                          \
	      "What the primary says of a standby: \"sync\", \"quorum\", \"potential\" or \"async\"; nil: not known.")              \
	FIELD(priority, "integer?", SAME, "Its priority when a new primary is chosen; 0: never.")                                   \
	FIELD(tags, "table<string, string|true>?", SAME,                                                                            \
	      "The configuration's tags: of \"dc=a\", tags.dc is \"a\"; of \"spare\", tags.spare is true.")                         \
	FIELD(data_dir, "string?", SAME, "As the configuration has it; \"\" is not set.")                                           \
	FIELD(config_dir, "string?", SAME, "As the configuration has it: where postgresql.conf is, if not in data_dir.")            \
	FIELD(bin_dir, "string?", SAME, "As the configuration has it, for PostgreSQL's programs.")                                  \
	FIELD(conninfo, "string?", SAME,                                                                                            \
	      "How others reach it, for pg_rewind and kin: host, port, service_user and service_dbname, without a password.")       \
	FIELD(in_flight, "integer?", NOW, "Statements that are under way there, of all workers.")

#define POLICY_LP(FUNCTION)                                                                                               \
	FUNCTION(reject, "text: string, sqlstate?: string", "lunapool.Decision",                                              \
	         "A decision: the client gets this error (28000 if no SQLSTATE is given).")                                   \
	FUNCTION(wait, "ms: number", "lunapool.Decision",                                                                     \
	         "A decision: wait up to so many milliseconds for a standby that is fresh enough, then the primary.")         \
	FUNCTION(cluster, "name: string", "lunapool.Cluster?", "Another cluster of the configuration; nil if there is none.") \
	FUNCTION(hash, "text: string", "integer",                                                                             \
	         "A number from 0 to 4294967295, the same for the same text in every process (FNV-1a).")                      \
	FUNCTION(log, "text: string, level?: \"debug\"|\"info\"|\"warn\"|\"error\"", "",                                      \
	         "A line in the log; each worker writes ten a second at most.")

/* What waits: in the control plane only, in tasks and kin. */
#define POLICY_ACTIONS(FUNCTION)                                                                                                 \
	FUNCTION(                                                                                                                    \
	    exec,                                                                                                                    \
	    "argv: string[], options?: {timeout?: number, input?: string, env?: table<string, string>, cwd?: string, output?: "      \
	    "integer}",                                                                                                              \
	    "string?, lunapool.Error?",                                                                                              \
	    "Runs a program, by its path or from PATH, without a shell; returns what it wrote when it ends with 0. After timeout "   \
	    "seconds (60) it and whatever it started gets SIGTERM, and 2 s later SIGKILL. Of its output at most so many bytes "      \
	    "(65,536) are kept, the first and the last.")                                                                            \
	FUNCTION(ssh,                                                                                                                \
	         "node: lunapool.Node, argv: string[], options?: {timeout?: number, input?: string, env?: table<string, string>, "   \
	         "cwd?: string, output?: integer}",                                                                                  \
	         "string?, lunapool.Error?",                                                                                         \
	         "As lp.exec, but at the node, by ssh, without a password or a question; each word arrives as it is. err.kind "      \
	         "connect: ssh did "                                                                                                 \
	         "not get there. The configuration's ssh_host, ssh_user and ssh_options say how. At the deadline ssh ends here; "    \
	         "what it has started there may not.")                                                                               \
	FUNCTION(                                                                                                                    \
	    sql,                                                                                                                     \
	    "node: lunapool.Node, statement: string, parameters?: (string|number|boolean)[], options?: {timeout?: number, dbname?: " \
	    "string, rows?: integer}",                                                                                               \
	    "lunapool.Rows?, lunapool.Error?",                                                                                       \
	    "Runs one statement at a node, as service_user, over a connection of its own; $1 and so on are the parameters. Its "     \
	    "rows, "                                                                                                                 \
	    "each a table of values by the columns' names: numbers, booleans, texts, and nothing for NULL. At most rows of them "    \
	    "(1,000) and 1 MB; after timeout seconds (10) it is given up. search_path is pg_catalog.")                               \
	FUNCTION(http,                                                                                                               \
	         "request: {url: string, method?: string, headers?: table<string, string>, body?: string, timeout?: number, ca?: "   \
	         "string}",                                                                                                          \
	         "lunapool.Response?, lunapool.Error?",                                                                              \
	         "One request of HTTP: GET, or POST if there is a body. An answer of status 400 or more is an error of kind http. "  \
	         "Redirects are not "                                                                                                \
	         "followed; certificates are verified, by those in ca if that is given; after timeout seconds (10) it is given up.") \
	FUNCTION(hold, "cluster: lunapool.Cluster", "lunapool.Hold?, lunapool.Error?",                                               \
	         "From now on nothing begins on the primary: it waits, while reads go on at standbys, and so does what has begun. "  \
	         "To the "                                                                                                           \
	         "hold's release(), to the end "                                                                                     \
	         "of what has asked for it, or for nine tenths of hold_timeout.")                                                    \
	FUNCTION(drain, "node: lunapool.Node, options?: {timeout?: number}", "true?, lunapool.Error?",                               \
	         "Keeps new transactions away from a standby and waits (60 s) until nobody uses it. To lp.attach(), or to the end "  \
	         "of what has asked "                                                                                                \
	         "for it. Of a cluster's only node: its status is \"draining\", and the policy sends nothing there.")                \
	FUNCTION(detach, "node: lunapool.Node, options?: {timeout?: number}", "true?, lunapool.Error?",                              \
	         "As DETACH: closes all connections to a standby and makes no new ones until it is attached, also over a restart. "  \
	         "While an "                                                                                                         \
	         "operation is under way it waits (10 s).")                                                                          \
	FUNCTION(attach, "node: lunapool.Node, options?: {timeout?: number}", "true?, lunapool.Error?",                              \
	         "As ATTACH: takes lp.detach() and lp.drain() back.")                                                                \
	FUNCTION(notify, "text: string, level?: \"info\"|\"warn\"|\"error\"", "true",                                                \
	         "Tells operators: a line in the log, which is never left out, in SHOW TASKS, and the event notice, for a pager. "   \
	         "Level warn.")                                                                                                      \
	FUNCTION(metric, "name: string, value: number", "boolean",                                                                   \
	         "Sets what SHOW METRICS has under this name; 1,000 of them. False: there is no room.")                              \
	FUNCTION(sleep, "seconds: number", "true", "Waits.")                                                                         \
	FUNCTION(                                                                                                                    \
	    parallel, "list: any[], fn: fun(item: any, at: integer): any, options?: {limit?: integer, fail?: \"fast\"|\"late\"}",    \
	    "any[]?, lunapool.Error?",                                                                                               \
	    "Calls fn for each, limit of them at a time (all), and returns their values when all have ended. When one has failed "   \
	    "(nil and an error, or an error raised): nil and that error, with errors, a table of all; fail = \"fast\" stops the "    \
	    "others at once.")                                                                                                       \
	FUNCTION(deadline, "seconds: number, fn: fun(): any", "any, lunapool.Error?",                                                \
	         "What fn returns; nil and an error of kind timeout if that takes longer: what it waits for is stopped.")            \
	FUNCTION(                                                                                                                    \
	    retry, "options: {tries?: integer, delay?: number, backoff?: number}", "fun(fn: fun(try: integer): any): any",           \
	    "lp.retry{ tries = 3, delay = 1, backoff = 2 }(fn) calls fn until it returns something, waiting delay seconds, then "    \
	    "backoff times as long, in between; what it returned last.")                                                             \
	FUNCTION(stop, "node: lunapool.Node, options?: {mode?: string, timeout?: number, here?: boolean}", "true?, lunapool.Error?", \
	         "Stops PostgreSQL there with pg_ctl (mode fast), if it runs. As the next ones it takes data_dir, bin_dir and "      \
	         "lp.ssh, or with here = true lp.exec.")                                                                             \
	FUNCTION(start_standby,                                                                                                      \
	         "node: lunapool.Node, primary: lunapool.Node, options?: {conninfo?: string, options?: string, timeout?: number, "   \
	         "here?: boolean}",                                                                                                  \
	         "true?, lunapool.Error?",                                                                                           \
	         "Starts it as a standby of primary; true when it says that it is one. options are for postgres itself.")            \
	FUNCTION(rewind,                                                                                                             \
	         "node: lunapool.Node, primary: lunapool.Node, options?: {conninfo?: string, timeout?: number, here?: boolean}",     \
	         "true?, lunapool.Error?",                                                                                           \
	         "Stops it, and takes back with pg_rewind what it has that primary has not. After one that was cut off it refuses, " \
	         "and so does lp.start_standby.")                                                                                    \
	FUNCTION(rebuild,                                                                                                            \
	         "op: any, node: lunapool.Node, primary: lunapool.Node, options?: {conninfo?: string, options?: string, timeout?: "  \
	         "number}",                                                                                                          \
	         "true?, lunapool.Error?",                                                                                           \
	         "Puts a new copy of primary in its place, with pg_basebackup, and starts that; what was there is kept beside it "   \
	         "until it runs.")                                                                                                   \
	FUNCTION(promote, "node: lunapool.Node, options?: {timeout?: number, here?: boolean}", "true?, lunapool.Error?",             \
	         "Makes a standby the primary with pg_ctl, if it is not.")                                                           \
	FUNCTION(                                                                                                                    \
	    follow, "node: lunapool.Node, primary: lunapool.Node, options?: {conninfo?: string, timeout?: number, here?: boolean}",  \
	    "true?, lunapool.Error?", "Lets a standby that runs follow another primary; true when it receives what that writes.")    \
	FUNCTION(rejoin,                                                                                                             \
	         "op: any, node: lunapool.Node, primary: lunapool.Node, options?: {conninfo?: string, options?: string, timeout?: "  \
	         "number, here?: boolean, rebuild?: boolean}",                                                                       \
	         "true?, lunapool.Error?",                                                                                           \
	         "Makes an old primary a standby: lp.rewind and lp.start_standby; with rebuild a new copy where pg_rewind cannot "   \
	         "help.")                                                                                                            \
	FUNCTION(step, "name: string, fn: fun(): any, any", "any, lunapool.Error?",                                                  \
	         "In a hook of an operation: calls fn, and keeps what it returns, JSON of at most 4 kB, in the operation's record "  \
	         "before it goes on; when the hook runs again for the same "                                                         \
	         "operation and node, also after a restart, returns that without calling fn. A step that fails (nil and an error) "  \
	         "is not kept. Elsewhere it just calls fn.")                                                                         \
	FUNCTION(defer, "fn: fun()", "", "Calls fn at the end, however that comes about: the last one first, 10 s for all of them.")

/* lunapool.compat: for scripts of other systems. */
#define POLICY_COMPAT(FUNCTION)                                                                                                 \
	FUNCTION(escapes, "op: lunapool.Operation, text: string", "string",                                                         \
	         "The text of a failover_command or follow_primary_command of Pgpool-II with its %d, %h and so on filled in, each " \
	         "quoted for a shell: for "                                                                                         \
	         "lp.exec { \"sh\", \"-c\", text }.")

/* lunapool.kv: what all workers remember together, also across reloads; 100,000 entries. */
#define POLICY_KV(FUNCTION)                                                                                                      \
	FUNCTION(get, "key: string", "string|number|boolean|nil", "What was kept under this name.")                                  \
	FUNCTION(                                                                                                                    \
	    set, "key: string, value: string|number|boolean|nil, seconds?: number", "boolean",                                       \
	    "Keeps a value (a text of at most 1 kB) until it is replaced, or for so long; nil forgets it. False: there is no room.") \
	FUNCTION(add, "key: string, by: number, seconds?: number", "number?",                                                        \
	         "Adds to a number, which is 0 and gets its time when it is not there; the sum. Nil: there is no room, or it is no " \
	         "number.")

#endif
