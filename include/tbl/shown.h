/*
 * shown — settings whose value the session knows wherever it is, and those that name the server.  Of all others the primary's value is meant,
 * since servers may be configured differently.
 *
 *   SESSIONS(name)  belongs to the session: any server that it runs on has been told
 *   SERVERS(name)   tells of the server: on a standby it would be another
 *
 * A name with a dot belongs to the session, too.
 */
#ifndef SESSIONS
#define SESSIONS(name)
#endif
#ifndef SERVERS
#define SERVERS(name)
#endif
SESSIONS("application_name")
SESSIONS("client_encoding")
SESSIONS("datestyle")
SESSIONS("intervalstyle")
SESSIONS("is_superuser")
SESSIONS("role")
SESSIONS("search_path")
SESSIONS("server_encoding")
SESSIONS("session_authorization")
SESSIONS("timezone")
SESSIONS("transaction_deferrable")
SESSIONS("transaction_isolation")
SERVERS("archive_mode")
SERVERS("cluster_name")
SERVERS("config_file")
SERVERS("data_directory")
SERVERS("default_transaction_read_only")
SERVERS("external_pid_file")
SERVERS("hba_file")
SERVERS("hot_standby")
SERVERS("ident_file")
SERVERS("in_hot_standby")
SERVERS("listen_addresses")
SERVERS("port")
SERVERS("primary_conninfo")
SERVERS("primary_slot_name")
SERVERS("server_version")
SERVERS("server_version_num")
SERVERS("transaction_read_only")
SERVERS("unix_socket_directories")
#undef SESSIONS
#undef SERVERS
