/*
 * params — every setting once: parsing, defaults, bounds, SHOW CONFIG, the manual and the sample files are made from these rows.
 *
 *   X(field, type, default, minimum, maximum, when, sentence)
 *
 * type: INT BOOL TEXT LIST (of texts), SECRET (a text that is never shown), PATH (a file or folder; relative ones start at the folder of
 * the file that they stand in), OCTAL (permissions), DURATION (microseconds; written "200ms", "5s", "2min", "1h"), SIZE (bytes; "10MB"),
 * MODE (pool mode), LEVEL (log level), FORMAT (log format), ENGINE, CLIENT_TLS, SERVER_TLS (what is asked of either side), TLS_START,
 * PROTOCOL (of TLS), BALANCE (how reads are spread), FAILOVER (who decides), SCOPE (how often), FRESHNESS (whose writes they show).  The default is the text as a file would have it; "" is "not set", and a
 * setting whose default is not "" cannot be set to "".  INT fields of database and user blocks with default -1 mean "as the pool block
 * has it".  minimum and maximum count in microseconds, bytes or the number itself.
 * when: RELOAD or RESTART.
 */
#ifndef TBL_PARAMS_H
#define TBL_PARAMS_H

#define PARAMS_GLOBAL(X)                                                                                                         \
	X(workers, INT, "0", 0, 256, RESTART, "Worker threads; 0 means one per core.")                                               \
	X(engine, ENGINE, "auto", 0, 0, RESTART,                                                                                     \
	  "How sockets are served: io_uring (Linux 6.1 and newer, where it is allowed), epoll, or auto: io_uring if the kernel "     \
	  "grants it.")                                                                                                              \
	X(log_level, LEVEL, "info", 0, 0, RELOAD, "Least level that is logged: debug, info, warn or error.")                         \
	X(log_format, FORMAT, "kv", 0, 0, RELOAD, "Log lines as key=value (kv) or JSON objects (json).")                             \
	X(stats_period, DURATION, "1min", 100000, 86400000000, RELOAD,                                                               \
	  "Averages in SHOW STATS are over the last one to two of these.")                                                           \
	X(log_routes, SHARE, "0", 0, 1000000, RELOAD,                                                                                \
	  "Share of the statements of which is logged where they ran and why, with their shape but without any constant: 0.01 is "   \
	  "one in a hundred, 1 each.")                                                                                               \
	X(log_connections, BOOL, "true", 0, 0, RELOAD, "Log each client's login and end.")                                           \
	X(memory_limit, SIZE, "0", 0, 1099511627776, RELOAD,                                                                         \
	  "Memory that the process may have in use: beyond it, clients that hold most are closed, and if nobody holds much, no new " \
	  "ones come in; 0 is no limit.")                                                                                            \
	X(statement_cache, SIZE, "16MB", 65536, 1073741824, RESTART, "Memory for classified statements, per worker.")                \
	X(drain_timeout, DURATION, "0", 0, 86400000000, RELOAD,                                                                      \
	  "After SIGTERM: how long clients may go on before they are closed; 0 waits for the last one to leave.")                    \
	X(auth_threads, INT, "4", 1, 64, RESTART, "Threads that wait for LDAP and PAM; started when the first login needs them.")    \
	X(control_socket, PATH, "", 0, 0, RELOAD,                                                                                    \
	  "Unix socket for --takeover and --dry-run; empty for .s.LUNAPOOL.<port> in unix_socket_dir, if that is set.")              \
	X(takeover_idle_timeout, DURATION, "5s", 0, 86400000000, RELOAD,                                                             \
	  "When another process has taken over: a client that stays idle outside a transaction for this long is closed; 0 never.")   \
	X(state_dir, PATH, "", 0, 0, RESTART,                                                                                        \
	  "Folder, of this Lunapool alone, for what it must remember: who is primary, what is being done about it. Empty: it "       \
	  "remembers nothing, and takes what nodes say.")                                                                            \
	X(http_address, TEXT, "127.0.0.1", 0, 0, RELOAD,                                                                             \
	  "Where monitoring may ask: a numeric address, a host name, or * for all. There is no login.")                              \
	X(http_port, INT, "-1", -1, 65535, RELOAD,                                                                                   \
	  "TCP port of HTTP for monitoring: GET /metrics (Prometheus) and /health; 0 lets the kernel choose, -1 is none.")           \
	X(catalog_refresh, DURATION, "1min", 100000, 86400000000, RELOAD,                                                            \
	  "How often each database in use is asked whether its functions and triggers have changed.")                                \
	X(catalog_wait, DURATION, "2s", 0, 60000000, RELOAD,                                                                         \
	  "How long a statement waits to learn what the functions that it calls do; then they count as unknown.")

/* Of both sides. */
#define PARAMS_TLS(X)                                                                                                      \
	X(tls_crl, PATH, "", 0, 0, RELOAD,                                                                                     \
	  "Certificates that were revoked: a PEM file with a list of each authority; needs tls_ca.")                           \
	X(tls_min_protocol, PROTOCOL, "TLSv1.2", 0, 0, RELOAD, "Least version of TLS: TLSv1.2 or TLSv1.3.")                    \
	X(tls_ciphers, TEXT, "ECDHE+AESGCM:ECDHE+CHACHA20", 0, 0, RELOAD, "Ciphers of TLS 1.2, as OpenSSL names them.")        \
	X(tls13_ciphers, TEXT, "", 0, 0, RELOAD, "Cipher suites of TLS 1.3, as OpenSSL names them; empty for its own choice.") \
	X(tls_groups, TEXT, "X25519:P-256:P-384", 0, 0, RELOAD, "Groups for the exchange of keys, the best first.")

#define PARAMS_LISTEN(X)                                                                                                      \
	X(address, LIST, "*", 0, 0, RELOAD, "Addresses to listen on: numeric, a host name, or * for all of IPv4 and IPv6.")       \
	X(port, INT, "6432", 0, 65535, RELOAD, "TCP port, and the number in the unix socket's name; 0 lets the kernel choose.")   \
	X(unix_socket_dir, PATH, "", 0, 0, RELOAD, "Directory of the unix socket .s.PGSQL.<port>; empty for none.")               \
	X(unix_socket_mode, OCTAL, "0777", 0, 0777, RELOAD, "Permissions of the unix socket file.")                               \
	X(backlog, INT, "1024", 1, 65535, RELOAD, "Connections that the kernel queues until they are accepted.")                  \
	X(tls, CLIENT_TLS, "off", 0, 0, RELOAD,                                                                                   \
	  "TLS with clients: off; allow, for those who ask for it; require, except on the unix socket; verify: require, and a "   \
	  "certificate of tls_ca.")                                                                                               \
	X(tls_cert, PATH, "", 0, 0, RELOAD,                                                                                       \
	  "Certificate that is shown to clients, followed by those that it rests on; PEM. Read again at each reload, as are the " \
	  "files below.")                                                                                                         \
	X(tls_key, PATH, "", 0, 0, RELOAD, "Its private key, which nobody else may read.")                                        \
	X(tls_ca, PATH, "", 0, 0, RELOAD,                                                                                         \
	  "Authorities of clients' certificates. With it, each client is asked for one, and what it shows must be good.")         \
	PARAMS_TLS(X)

#define PARAMS_AUTH(X)                                                                                                           \
	X(hba_file, PATH, "", 0, 0, RELOAD, "Who may come in, in pg_hba.conf's syntax; required.")                                   \
	X(admin_users, LIST, "", 0, 0, RELOAD,                                                                                       \
	  "Users who may do anything in the console (database lunapool), once they have logged in to it.")                           \
	X(stats_users, LIST, "", 0, 0, RELOAD, "Users who may look in the console: everything that SHOW shows.")                     \
	X(ident_file, PATH, "", 0, 0, RELOAD, "User-name maps for peer and cert, in pg_ident.conf's syntax.")                        \
	X(users_file, PATH, "", 0, 0, RELOAD,                                                                                        \
	  "Secrets of users, a line each: \"name\" \"secret\"; clear text, md5… or SCRAM-SHA-256$…. Also used to log in to "     \
	  "servers.")                                                                                                                \
	X(query, TEXT, "", 0, 0, RELOAD,                                                                                             \
	  "Asks the primary for the secret of a user, $1, who is not in users_file: a row of name, secret and, if there is a third " \
	  "column, "                                                                                                                 \
	  "the time until which it is valid. Empty: nobody is asked.")                                                               \
	X(query_user, TEXT, "", 0, 0, RELOAD,                                                                                        \
	  "Role that runs the query and looks up members of roles; empty for the cluster's service_user.")                           \
	X(query_password, SECRET, "", 0, 0, RELOAD, "Password of query_user; empty for what users_file has in clear text.")          \
	X(query_dbname, TEXT, "", 0, 0, RELOAD, "Database that the query runs in; empty for the cluster's service_dbname.")          \
	X(query_ttl, DURATION, "30s", 0, 86400000000, RELOAD,                                                                        \
	  "How long an answer of the query is remembered, and that there is none; after a wrong password it is asked again.")        \
	X(query_timeout, DURATION, "5s", 1000, 3600000000, RELOAD,                                                                   \
	  "A login that waited this long for an answer of the servers fails.")                                                       \
	X(query_recheck, DURATION, "1s", 0, 86400000000, RELOAD,                                                                     \
	  "A login asks anew when the answer is older than this; if nobody can be asked, the old one counts until query_ttl is "     \
	  "over.")                                                                                                                   \
	X(scram_iterations, INT, "4096", 1, 10000000, RELOAD,                                                                        \
	  "As the servers' scram_iterations: shown to users who have no SCRAM secret, so that nobody can tell them from those who "  \
	  "have.")                                                                                                                   \
	X(scram_salt, SECRET, "", 0, 0, RELOAD,                                                                                      \
	  "Text of at least 16 characters that salts of users without a SCRAM secret are made from; the same in all Lunapools that " \
	  "a client may meet, or they show different ones. Empty: a new one at each start.")                                         \
	X(helper_queue, INT, "200", 1, 100000, RELOAD,                                                                               \
	  "Logins that may wait for a helper thread; those that come beyond are refused.")                                           \
	X(helper_timeout, DURATION, "10s", 1000, 3600000000, RELOAD,                                                                 \
	  "A login that waited this long for LDAP, PAM or a host's name fails.")                                                     \
	X(pam_dir, PATH, "", 0, 0, RELOAD, "Folder of PAM's service files; empty for the system's.")

#define PARAMS_CLUSTER(X)                                                                                                     \
	X(service_user, TEXT, "", 0, 0, RELOAD,                                                                                   \
	  "Role that asks who is primary, needed as soon as there are two nodes, and what functions do.")                         \
	X(service_password, SECRET, "", 0, 0, RELOAD, "Its password, if the nodes ask for one.")                                  \
	X(service_dbname, TEXT, "postgres", 0, 0, RELOAD, "Database that the service role connects to.")                          \
	X(probe_interval, DURATION, "200ms", 10000, 60000000, RELOAD,                                                             \
	  "How often each node is asked what it is and how far it has come.")                                                     \
	X(max_lag, SIZE, "0", 0, 1099511627776, RELOAD,                                                                           \
	  "A standby that has this much yet to replay of what the primary has written gets no reads, until it is half; 0 is no "  \
	  "limit.")                                                                                                               \
	X(max_lag_time, DURATION, "10s", 0, 86400000000, RELOAD,                                                                  \
	  "A standby that shows the primary's data as they were so long ago gets no reads, until it is half; 0 is no limit.")     \
	X(read_your_writes, FRESHNESS, "session", 0, 0, RELOAD,                                                                   \
	  "What a read on a standby must show, beside max_lag: session, what its own session has written; cluster, what any "     \
	  "client of this Lunapool has; off, neither.")                                                                           \
	X(read_write_split, BOOL, "true", 0, 0, RELOAD,                                                                           \
	  "Statements that only read may run on standbys; false: all run on the primary.")                                        \
	X(balance, BALANCE, "p2c", 0, 0, RELOAD,                                                                                  \
	  "How reads are spread over the nodes that may take them: random, by weight; round-robin; least, fewest statements in "  \
	  "flight; p2c, of two drawn by weight the less busy and slow.")                                                          \
	X(balance_scope, SCOPE, "statement", 0, 0, RELOAD,                                                                        \
	  "How often a node is chosen: statement, for each read; session, once, until that node may not take a read or does not " \
	  "show yet what it must.")                                                                                               \
	X(slow_start, DURATION, "10s", 0, 3600000000, RELOAD,                                                                     \
	  "A standby that comes back takes its share of the reads step by step over this time; 0: at once.")                      \
	X(hold_timeout, DURATION, "30s", 0, 3600000000, RELOAD, "How long a statement waits while no primary is known.")          \
	X(failover, FAILOVER, "external", 0, 0, RELOAD,                                                                           \
	  "Who promotes a standby when the primary is lost: external, somebody else, and Lunapool follows; auto: Lunapool; "      \
	  "manual: Lunapool, when it is told to: FAILOVER. Both need state_dir.")                                                 \
	X(restart_grace, DURATION, "0", 0, 3600000000, RELOAD,                                                                    \
	  "How long nobody may listen at a primary's port before it is lost, for those that are started again at once.")          \
	X(recovery_grace, DURATION, "5s", 0, 3600000000, RELOAD,                                                                  \
	  "How long a primary may say that it starts up, recovers or shuts down before it is lost.")                              \
	X(crash_budget, INT, "5", 0, 15, RELOAD,                                                                                  \
	  "How often a primary may crash, or be restarted, within crash_window before it is lost, though it is back each time; "  \
	  "0 is no limit.")                                                                                                       \
	X(crash_window, DURATION, "1min", 1000000, 86400000000, RELOAD, "The time that crash_budget is for.")                     \
	X(hung_timeout, DURATION, "2s", 100000, 3600000000, RELOAD,                                                               \
	  "How long a primary may take connections, but answer nobody, before it is lost.")                                       \
	X(unreachable_timeout, DURATION, "800ms", 100000, 3600000000, RELOAD,                                                     \
	  "How long there may be no way to a primary, for us nor for its standbys, before it is lost.")                           \
	X(hung_accept_timeout, DURATION, "30s", 0, 3600000000, RELOAD,                                                            \
	  "How long a primary may let nobody in, while those who are in are served, before it is lost; 0 is no limit.")           \
	X(write_probe_interval, DURATION, "1s", 0, 3600000000, RELOAD,                                                            \
	  "How often a primary must be seen to commit while clients use it: where nobody commits for so long, or a statement "    \
	  "fails for its disk, Lunapool writes something itself; 0: never.")                                                      \
	X(write_probe_timeout, DURATION, "5s", 0, 3600000000, RELOAD,                                                             \
	  "How long a primary may answer and commit nothing, or refuse to for its disk, before it is lost; 0 is no limit.")       \
	X(promote_timeout, DURATION, "10s", 100000, 3600000000, RELOAD, "How long a promotion may take before it has failed.")    \
	X(fence_required, BOOL, "false", 0, 0, RELOAD,                                                                            \
	  "Promote nobody before the policy's hook fence has said that the old primary is off.")                                  \
	X(follow_timeout, DURATION, "10s", 100000, 86400000000, RELOAD,                                                           \
	  "How long the others may take to follow a new primary; the operation is open until then.")                              \
	X(rejoin_timeout, DURATION, "1h", 100000, 86400000000, RELOAD, "How long the policy's hook rejoin may take.")             \
	X(recover_timeout, DURATION, "6h", 100000, 604800000000, RELOAD, "How long the policy's hook recover may take.")          \
	X(node_drain_timeout, DURATION, "1min", 10000, 86400000000, RELOAD,                                                       \
	  "How long DRAIN waits for a standby's transactions to end, if it says nothing else.")                                   \
	X(switchover_timeout, DURATION, "2s", 10000, 3600000000, RELOAD,                                                          \
	  "How long a switchover waits for running transactions to end, and for the candidate to have it all; then nothing "      \
	  "happens.")                                                                                                             \
	X(max_loss, SIZE, "16MB", 0, 1099511627776, RELOAD,                                                                       \
	  "WAL that may be lost by an automatic failover without synchronous standbys, as far as is known; 0 is no limit.")       \
	X(policy, PATH, "", 0, 0, RELOAD,                                                                                         \
	  "Lua file that decides where each statement runs: docs/policies.md. Empty for built-in routing.")                       \
	X(ssh_user, TEXT, "", 0, 0, RELOAD, "Whom lp.ssh logs in as; empty: as ssh's configuration says.")                        \
	X(ssh_options, LIST, "", 0, 0, RELOAD, "Its further options: { \"-i\", \"/etc/lunapool/id_ed25519\" }.")                  \
	X(tls, SERVER_TLS, "prefer", 0, 0, RELOAD,                                                                                \
	  "TLS with the nodes, but for those on unix sockets: off; allow, where a node refuses to do without; prefer, where it "  \
	  "offers it; require; verify-ca: its certificate is of tls_ca; verify-full: and for its host.")                          \
	X(tls_negotiation, TLS_START, "postgres", 0, 0, RELOAD,                                                                   \
	  "How TLS begins: postgres asks the node first; direct does not, which takes PostgreSQL 17 and saves a round trip. The " \
	  "service role always asks.")                                                                                            \
	X(tls_sni, BOOL, "true", 0, 0, RELOAD, "Tell the node its own host name (SNI), which a proxy in between may need.")       \
	X(tls_ca, PATH, "", 0, 0, RELOAD, "Authorities of the nodes' certificates. With it, require is as verify-ca.")            \
	X(tls_cert, PATH, "", 0, 0, RELOAD, "Certificate that is shown to nodes that ask for one.")                               \
	X(tls_key, PATH, "", 0, 0, RELOAD, "Its private key, which nobody else may read.")                                        \
	X(cleartext_password, BOOL, "false", 0, 0, RELOAD,                                                                        \
	  "Send a server that asks for it the password in clear text even where somebody on the way could read it: over TCP "     \
	  "without TLS, or with TLS but without tls_ca, when anybody can say that he is the server.")                             \
	X(require_channel_binding, BOOL, "false", 0, 0, RELOAD,                                                                   \
	  "Log in to servers by SCRAM-SHA-256-PLUS only, which nobody in the middle can pass on; needs TLS.")                     \
	PARAMS_TLS(X)

#define PARAMS_NODE(X)                                                                                                      \
	X(host, TEXT, "", 0, 0, RELOAD, "Numeric address, host name, or the directory of a unix socket; required.")             \
	X(port, INT, "5432", 1, 65535, RELOAD, "Port of the node.")                                                             \
	X(max_connections, INT, "0", 0, 100000, RELOAD, "Server connections to this node, all pools together; 0 is no limit.")  \
	X(priority, INT, "100", 0, 1000000, RELOAD,                                                                             \
	  "Of nodes that have come as far, the one with the highest becomes primary; 0: never.")                                \
	X(weight, INT, "100", 0, 1000000, RELOAD,                                                                               \
	  "Share of the reads, beside the other nodes' weights; 0: none of those that are spread.")                             \
	X(tags, LIST, "", 0, 0, RELOAD, "Words that policies see as node.tags: \"dc=a\" has a value, \"spare\" is just there.") \
	X(data_dir, TEXT, "", 0, 0, RELOAD, "PostgreSQL's data directory there, for policies: node.data_dir.")                  \
	X(config_dir, TEXT, "", 0, 0, RELOAD,                                                                                   \
	  "Folder of its postgresql.conf, where that is not the data directory, for policies: node.config_dir.")                \
	X(bin_dir, TEXT, "", 0, 0, RELOAD, "Folder of PostgreSQL's programs there, for policies: node.bin_dir.")                \
	X(ssh_host, TEXT, "", 0, 0, RELOAD, "Where lp.ssh of policies finds the node; empty: at its host; local: here, without ssh.")

#define PARAMS_REDIRECT(X)                                                                                                  \
	X(database, LIST, "", 0, 0, RELOAD,                                                                                     \
	  "Databases that it is about, as clients name them; * in a name is any run of characters. Empty: all.")                \
	X(user, LIST, "", 0, 0, RELOAD, "Users that it is about, the same way.")                                                \
	X(application, LIST, "", 0, 0, RELOAD, "Values of application_name that it is about, the same way.")                    \
	X(to, LIST, "", 0, 0, RELOAD,                                                                                           \
	  "Where their reads run: primary, standby, any, or names of nodes, also several; required. If none of these may take " \
	  "a read, the primary does.")                                                                                          \
	X(share, INT, "100", 0, 100, RELOAD,                                                                                    \
	  "Of a hundred reads (or sessions, with balance_scope = session) so many; the others go on to the next redirect.")

#define PARAMS_POOL(X)                                                                                                         \
	X(mode, MODE, "transaction", 0, 0, RELOAD, "When a server goes back to the pool: session, transaction or statement.")      \
	X(size, INT, "20", 1, 100000, RELOAD, "Server connections for each node, database and user.")                              \
	X(min_size, INT, "0", 0, 100000, RELOAD, "Server connections that are kept open while a pool has clients.")                \
	X(reserve_size, INT, "0", 0, 100000, RELOAD, "Connections beyond size for those who waited reserve_timeout.")              \
	X(reserve_timeout, DURATION, "5s", 0, 3600000000, RELOAD, "Wait that opens the reserve.")                                  \
	X(max_connecting, INT, "4", 1, 1000, RELOAD, "Logins that a pool has under way at once.")                                  \
	X(max_pinned, INT, "-1", -1, 100000, RELOAD,                                                                               \
	  "Servers that sessions may keep because of state that cannot be replayed; -1 is half of size, at least 1.")              \
	X(query_wait_timeout, DURATION, "2min", 0, 86400000000, RELOAD,                                                            \
	  "A statement that waited this long for a server fails; 0 never.")                                                        \
	X(query_wait_notify, DURATION, "5s", 0, 86400000000, RELOAD,                                                               \
	  "A client that waited this long is told so by a NOTICE; 0 never.")                                                       \
	X(connect_timeout, DURATION, "15s", 1000, 3600000000, RELOAD, "Connecting and logging in to a server may take this long.") \
	X(server_lifetime, DURATION, "1h", 0, 31536000000000, RELOAD, "Age at which a server connection is replaced; 0 never.")    \
	X(server_idle_timeout, DURATION, "10min", 0, 31536000000000, RELOAD,                                                       \
	  "Idle time after which a server connection is closed; 0 never.")                                                         \
	X(reset_timeout, DURATION, "10s", 1000, 3600000000, RELOAD,                                                                \
	  "Time for cancel, rollback and DISCARD ALL after a client left something behind; then the server is closed.")            \
	X(safe_functions, LIST, "", 0, 0, RELOAD,                                                                                  \
	  "Functions, without their schema, that leave nothing behind in the session although the catalogue cannot tell.")         \
	X(max_server_statements, INT, "200", 1, 100000, RELOAD,                                                                    \
	  "Prepared statements kept on a server connection; the least recently used go.")

/* database "name" and user "name" blocks. */
#define PARAMS_DATABASE(X)                                                                                                       \
	X(cluster, TEXT, "", 0, 0, RELOAD, "Cluster that serves this database; may be left out when there is only one.")             \
	X(dbname, TEXT, "", 0, 0, RELOAD, "Name of the database on the servers; empty for the same name.")                           \
	X(user, TEXT, "", 0, 0, RELOAD,                                                                                              \
	  "User as whom all clients of this database are logged in to the servers, in one pool; empty: each as himself.")            \
	X(password, SECRET, "", 0, 0, RELOAD, "Password of that user; empty for what users_file has.")                               \
	X(auth_query, TEXT, "", 0, 0, RELOAD, "As auth query, for clients of this database.")                                        \
	X(auth_user, TEXT, "", 0, 0, RELOAD, "As auth query_user, for clients of this database; his password stands in users_file.") \
	X(auth_dbname, TEXT, "", 0, 0, RELOAD, "As auth query_dbname, for clients of this database.")                                \
	X(read_your_writes, FRESHNESS, "", 0, 0, RELOAD, "As the cluster's read_your_writes, for this database.")                    \
	X(pool_mode, MODE, "", 0, 0, RELOAD, "As pool mode, for this database.")                                                     \
	X(pool_size, INT, "-1", -1, 100000, RELOAD, "As pool size, for this database.")                                              \
	X(min_pool_size, INT, "-1", -1, 100000, RELOAD, "As pool min_size, for this database.")                                      \
	X(reserve_pool_size, INT, "-1", -1, 100000, RELOAD, "As pool reserve_size, for this database.")                              \
	X(max_connections, INT, "0", 0, 100000, RELOAD, "Server connections for this database, all users together; 0 is no limit.")  \
	X(max_client_connections, INT, "0", 0, 1000000, RELOAD, "Clients of this database; 0 is no limit.")                          \
	X(read_until_write, BOOL, "false", 0, 0, RELOAD,                                                                             \
	  "A READ COMMITTED transaction reads on a standby until its first statement that is not proven to be a read, and goes on "  \
	  "from there on the primary.")

#define PARAMS_USER(X)                                                                                                          \
	X(pool_mode, MODE, "", 0, 0, RELOAD, "As pool mode, for this user; wins over the database's.")                              \
	X(pool_size, INT, "-1", -1, 100000, RELOAD, "As pool size, for this user; wins over the database's.")                       \
	X(reserve_pool_size, INT, "-1", -1, 100000, RELOAD, "As pool reserve_size, for this user; wins over the database's.")       \
	X(max_connections, INT, "0", 0, 100000, RELOAD, "Server connections for this user, all databases together; 0 is no limit.") \
	X(max_client_connections, INT, "0", 0, 1000000, RELOAD, "Clients of this user; 0 is no limit.")                             \
	X(query_timeout, DURATION, "", 0, 86400000000, RELOAD, "As limits query_timeout, for this user.")                           \
	X(idle_transaction_timeout, DURATION, "", 0, 86400000000, RELOAD, "As limits idle_transaction_timeout, for this user.")     \
	X(client_idle_timeout, DURATION, "", 0, 86400000000, RELOAD, "As limits client_idle_timeout, for this user.")               \
	X(transaction_timeout, DURATION, "", 0, 86400000000, RELOAD, "As limits transaction_timeout, for this user.")

#define PARAMS_LIMITS(X)                                                                                                        \
	X(max_clients, INT, "10000", 1, 1000000, RELOAD, "Client connections, all together.")                                       \
	X(max_clients_per_address, INT, "0", 0, 1000000, RELOAD,                                                                    \
	  "Client connections from one address, or from one IPv6 network of 64 bits, counted from their first byte on; 0 is no "    \
	  "limit.")                                                                                                                 \
	X(login_timeout, DURATION, "1min", 1000, 3600000000, RELOAD, "A client must have logged in by then.")                       \
	X(auth_failure_delay, DURATION, "100ms", 0, 10000000, RELOAD,                                                               \
	  "A client that failed to prove who it is is told so after this time, however it failed; each further failure from its "   \
	  "address within a "                                                                                                       \
	  "minute doubles it, up to 16 times.")                                                                                     \
	X(auth_failures_per_address, INT, "0", 0, 1000000, RELOAD,                                                                  \
	  "Failed logins of an address within a minute after which further ones are refused unheard, until a minute has passed; 0 " \
	  "is no limit.")                                                                                                           \
	X(client_idle_timeout, DURATION, "0", 0, 86400000000, RELOAD,                                                               \
	  "A client idle outside a transaction for this long is closed; 0 never.")                                                  \
	X(idle_transaction_timeout, DURATION, "0", 0, 86400000000, RELOAD,                                                          \
	  "A client idle in a transaction for this long is closed; 0 never.")                                                       \
	X(query_timeout, DURATION, "0", 0, 86400000000, RELOAD,                                                                     \
	  "A statement that runs this long is cancelled; the client stays; 0 never.")                                               \
	X(transaction_timeout, DURATION, "0", 0, 86400000000, RELOAD,                                                               \
	  "A transaction that lasts this long is rolled back and its client closed; also one that is a single statement; 0 never.") \
	X(max_message_size, SIZE, "0", 0, 1073741824, RELOAD,                                                                       \
	  "A longer message from a client, without its header, fails; the client stays; 0 is the protocol's limit, 1 GB.")          \
	X(max_row_size, SIZE, "0", 0, 1073741824, RELOAD,                                                                           \
	  "A statement that returns a longer row fails; the client stays; 0 is the protocol's limit, 1 GB.")                        \
	X(max_held, INT, "10000", 0, 1000000, RELOAD,                                                                               \
	  "Statements that wait for a primary while there is none, all together; those beyond fail at once; 0 is no limit.")        \
	X(max_held_bytes, SIZE, "64MB", 0, 1099511627776, RELOAD, "Memory for what they have sent; 0 is no limit.")                 \
	X(client_statement_bytes, SIZE, "10MB", 1024, 1073741824, RELOAD, "Text of prepared statements that one client may hold.")  \
	X(tcp_user_timeout, DURATION, "3s", 0, 3600000000, RELOAD,                                                                  \
	  "Unacknowledged data to a server for this long ends the connection; 0 is the system's default.")

/* every block: B(block, list macro, title, sentence) in the manual's order; title TITLED or PLAIN */
#define PARAMS_BLOCKS(B)                                                                                              \
	B(global, PARAMS_GLOBAL, PLAIN, "Settings outside any block.")                                                    \
	B(listen, PARAMS_LISTEN, PLAIN, "Where clients connect.")                                                         \
	B(auth, PARAMS_AUTH, PLAIN, "Who may come in, and how they prove it.")                                            \
	B(cluster, PARAMS_CLUSTER, TITLED,                                                                                \
	  "PostgreSQL servers that hold the same data: one primary and its standbys. There is at least one.")             \
	B(node, PARAMS_NODE, TITLED, "One PostgreSQL server; stands inside its cluster block.")                           \
	B(redirect, PARAMS_REDIRECT, TITLED,                                                                              \
	  "Where reads of some databases, users or applications run; stands inside a cluster block. The first that is "   \
	  "about a read decides.")                                                                                        \
	B(pool, PARAMS_POOL, PLAIN, "What holds for each pool: server connections of one node, database and user.")       \
	B(database, PARAMS_DATABASE, TITLED,                                                                              \
	  "A database that clients may ask for; \"*\" is every one that has no block of its own. There is at least one.") \
	B(user, PARAMS_USER, TITLED, "What is different for one user.")                                                   \
	B(limits, PARAMS_LIMITS, PLAIN, "What clients may take.")

#endif
