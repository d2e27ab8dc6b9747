/*
 * startup — from the first packet to the welcome.
 *
 *   GSSENCRequest -> 'N', go on;   SSLRequest -> 'S', TLS, or 'N', go on;   first byte 0x16 -> TLS without being asked
 *   CancelRequest -> cancel.c;   StartupMessage -> clientauth.c -> startup_welcome()
 *
 * A client is told ParameterStatus values as a server with its startup settings would report them.  The first client of a pool
 * with some set of startup settings makes a server tell (which also proves that the settings are valid: PostgreSQL refuses a login
 * with a wrong one); the answer is remembered, so that later logins need no server at all.
 */
#include <netdb.h>

#include "base/clock.h"
#include "base/secret.h"
#include "priv.h"

#define PROTOCOL_NEWEST_MINOR 2
#define CONSOLE_RESERVE 8 /* clients beyond max_clients that may ask the console what is wrong */
#define NAME_BYTES 63u    /* NAMEDATALEN - 1 */
#define SETTINGS_MOST \
	400u /* more than servers have; each costs the more the more there are, and nobody has proved who he is yet */

/* ---- the first packet -------------------------------------------------------------------------------------------------------------- */

static void startup_refuse(struct session *s, const struct err *err)
{
	session_fatal(s, CLOSE_REFUSED, err);
}

static bool startup_is_local(const struct session *s)
{
	const struct addr peer = addr_lengthen(&s->peer);
	return addr_is_unix(&peer);
}

/* A reference, or NULL: not for this client.  Sockets of this machine need none, and PostgreSQL has none there. */
static struct tls_conf *startup_tls_conf(const struct session *s)
{
	struct keyring *k = s->home->env.upstream.keyring;
	bool is_on = session_conf(s)->listen.tls != CONF_CLIENT_TLS_OFF && !startup_is_local(s);
	return k && is_on ? keyring_clients(k) : NULL;
}

/*
 * What came behind the request came without encryption, and must not be taken for what comes through it (CVE-2021-23222): PostgreSQL's
 * words (backend_startup.c).
 */
static bool startup_is_alone(const struct startmsg *m, struct slice in, struct err *err)
{
	if (in.len == m->size)
		return true;
	err_set(err, "08P01", "received unencrypted data after %s request", m->kind == STARTMSG_SSL ? "SSL" : "GSSAPI encryption");
	err_detail(err, "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.");
	return false;
}

static size_t startup_encryption(struct session *s, const struct startmsg *m, struct slice in)
{
	struct session_login *l = s->login;
	uint8_t *asked = m->kind == STARTMSG_SSL ? &l->ssl_asked : &l->gss_asked;
	struct tls_conf *conf = NULL;
	struct err e;
	if ((*asked)++ || s->stream.is_tls) {
		err_set(&e, "08P01", "encryption was requested twice");
		startup_refuse(s, &e);
		return 0;
	}
	if (m->kind == STARTMSG_SSL)
		conf = startup_tls_conf(s);
	if (!startup_is_alone(m, in, &e)) {
		tls_conf_unref(conf);
		startup_refuse(s, &e);
		return 0;
	}
	stream_send(&s->stream, slice_text(conf ? "S" : "N"), NULL);
	if (conf)
		stream_start_tls(&s->stream, &(struct tls_start){ .conf = conf });
	tls_conf_unref(conf);
	return m->size;
}

/* The first byte of a TLS handshake: no packet is long enough to begin with it.  As PostgreSQL 17, only on a fresh connection. */
#define TLS_HANDSHAKE 0x16

static bool startup_is_direct(const struct session *s, struct slice in)
{
	const struct session_login *l = s->login;
	return in.at[0] == TLS_HANDSHAKE && !s->stream.is_tls && !l->ssl_asked && !l->gss_asked;
}

static size_t startup_direct(struct session *s, struct slice in)
{
	struct tls_conf *conf = startup_tls_conf(s);
	if (!conf) {
		log_info(&s->log, "client_refused", KV_STR("reason", "direct TLS where there is none"));
		session_close(s, CLOSE_REFUSED); /* in words that it could read there is nothing to be said */
		return in.len;
	}
	stream_start_tls(&s->stream, &(struct tls_start){ .conf = conf, .is_direct = true, .early = in });
	tls_conf_unref(conf);
	return in.len;
}

/* PostgreSQL's words for a client whom only a hostssl line would let in. */
static bool startup_is_secure_enough(struct session *s, struct err *err)
{
	char host[NI_MAXHOST] = "";
	const struct addr peer = addr_lengthen(&s->peer);
	if (session_conf(s)->listen.tls < CONF_CLIENT_TLS_REQUIRE || stream_tls(&s->stream) || startup_is_local(s))
		return true;
	getnameinfo((const struct sockaddr *)&peer.sa, peer.len, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	return err_set(err, "28000", "no pg_hba.conf entry for host \"%s\", user \"%s\", database \"%s\", no encryption", host,
	               s->user, s->database);
}

/* One startup parameter or option: a setting of the session.  ARG is the set so far. */
static bool startup_add_setting(void *arg, struct slice name, struct slice value, struct err *err)
{
	struct settings **set = arg, *before = *set;
	if (settings_len(before) >= SETTINGS_MOST)
		return err_set(err, "54000", "more than %u settings at the start of a session", SETTINGS_MOST);
	*set = settings_with(before, name, value);
	settings_unref(before);
	return true;
}

static bool is_protocol_word(struct slice name)
{
	static const char *const words[] = { "user", "database", "options", "replication" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (slice_equal(name, slice_text(words[i])))
			return true;
	return name.len >= 5 && memcmp(name.at, "_pq_.", 5) == 0;
}

/* The startup parameters as settings of the session: options first, as PostgreSQL applies them (postinit.c, process_startup_options). */
static bool startup_settings(struct session *s, const struct startmsg *m, struct settings **set, struct err *err)
{
	struct slice options = startmsg_find(m, "options"), rest = m->params, name, value;
	if (options.at && !startmsg_each_option(options, startup_add_setting, set, err))
		return false;
	while (startmsg_param(&rest, &name, &value))
		if (!is_protocol_word(name) && !startup_add_setting(set, name, value, err))
			return false;
	for (size_t i = 0; i < settings_len(*set); i++) {
		const char *of, *is;
		settings_at(*set, i, &of, &is);
		if (!steer_takes_setting(of, is, err))
			return false;
	}
	return true;
}

/* A boolean as PostgreSQL reads one: any unique beginning of these words (parse_bool). */
static bool startup_bool(struct slice v, bool *is)
{
	static const struct {
		const char *word;
		bool is;
		size_t least;
	} words[] = { { "true", true, 1 }, { "false", false, 1 }, { "yes", true, 1 }, { "no", false, 1 },
		          { "on", true, 2 },   { "off", false, 2 },   { "1", true, 1 },   { "0", false, 1 } };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (v.len >= words[i].least && v.len <= strlen(words[i].word) &&
		    strncasecmp((const char *)v.at, words[i].word, v.len) == 0) {
			*is = words[i].is;
			return true;
		}
	return false;
}

static bool startup_replication(struct session *s, const struct startmsg *m, struct err *err)
{
	struct slice v = startmsg_find(m, "replication");
	bool is = false;
	if (!v.at)
		return true;
	if (slice_equal(v, slice_text("database")))
		s->login->start.is_replication_logical = true;
	else if (!startup_bool(v, &is))
		return err_set(err, "22023", "invalid value for parameter \"replication\": \"%.*s\"", (int)v.len, (const char *)v.at);
	s->login->start.is_replication_physical = is;
	s->replicates = is ? 2 : s->login->start.is_replication_logical;
	return true;
}

static void startup_name(struct session *s, struct slice user, struct slice database)
{
	char *before = s->user; /* USER may be in there */
	s->user = mem_alloc(user.len + 1 + database.len + 1);
	s->database = s->user + user.len + 1;
	memcpy(s->user, user.at, user.len);
	memcpy(s->database, database.at, database.len);
	s->who = hash128(slice_of(s->user, user.len + 1 + database.len)).lo;
	mem_free(before);
}

static void startup_keep(struct session *s, const struct startmsg *m)
{
	struct slice user = startmsg_find(m, "user"), database = startmsg_find(m, "database");
	struct session_login *l = s->login;
	if (!database.at || !database.len)
		database = user;
	/* As PostgreSQL does (postmaster.c, ProcessStartupPacket): else a rule for a name would miss what the server takes for that name. */
	user.len = user.len < NAME_BYTES ? user.len : NAME_BYTES;
	database.len = database.len < NAME_BYTES ? database.len : NAME_BYTES;
	startup_name(s, user, database);
	l->start.minor = m->minor;
	if (l->start.is_replication_logical || l->start.is_replication_physical) {
		l->startup = mem_copy(m->params.at, m->params.len ? m->params.len : 1);
		l->startup_len = m->params.len;
	}
}

static bool startup_has_user(const struct startmsg *m, struct err *err)
{
	struct slice user = startmsg_find(m, "user");
	return user.len || err_set(err, "28000", "no PostgreSQL user name specified in startup packet");
}

/*
 * Whoever runs Lunapool comes in whatever is full: he is who can do something about it.  So do a few others who ask for the console; a few, since
 * they have not proved yet who they are.
 */
static bool startup_admit(struct session *s, struct err *err)
{
	struct session_registry *r = s->home->env.registry;
	int64_t most = session_conf(s)->limits.max_clients + (console_is_for(s) ? CONSOLE_RESERVE : 0);
	bool is_owner = console_knows_peer(s);
	if (s->home->is_draining)
		return err_set(err, "57P03", "Lunapool is shutting down");
	if (s->is_over) {
		err_set(err, "53300", "too many connections from this address");
		err_detail(err, "max_clients_per_address is %lld.", (long long)session_conf(s)->limits.max_clients_per_address);
		return false;
	}
	if (!is_owner && atomic_load_explicit(&r->is_full, memory_order_relaxed)) {
		err_set(err, "53200", "out of memory");
		err_detail(err, "memory_limit is reached.");
		return false;
	}
	s->is_counted = 1;
	if (atomic_fetch_add_explicit(&r->clients, 1, memory_order_relaxed) >= most && !is_owner)
		return err_set(err, "53300", "sorry, too many clients already");
	return true;
}

static void startup_negotiate(struct session *s, const struct startmsg *m)
{
	struct writer w;
	if (!startmsg_needs_negotiation(m, PROTOCOL_NEWEST_MINOR))
		return;
	writer_init_grow(&w);
	startmsg_write_negotiation(&w, m, PROTOCOL_NEWEST_MINOR);
	session_send(s, &w);
	writer_fini(&w);
}

static size_t startup_begin(struct session *s, const struct startmsg *m)
{
	struct err e;
	struct settings *set = settings_empty(s->home->env.upstream.settings);
	if (!startup_has_user(m, &e) || !startup_replication(s, m, &e)) {
		settings_unref(set);
		startup_refuse(s, &e);
		return 0;
	}
	startup_keep(s, m);
	if (!startup_admit(s, &e) || !startup_settings(s, m, &set, &e) || !startup_is_secure_enough(s, &e)) {
		settings_unref(set);
		startup_refuse(s, &e);
		return 0;
	}
	vars_begin_life(s, set);
	startup_negotiate(s, m);
	session_enter(s, SESSION_AUTH);
	clientauth_begin(s);
	return m->size;
}

size_t startup_take(struct session *s, struct slice in)
{
	struct startmsg m;
	struct err e;
	if (!s->login)
		s->login = mem_alloc(sizeof *s->login);
	if (startup_is_direct(s, in))
		return startup_direct(s, in);
	switch (startmsg_read(in, &m, &e)) {
	case STARTMSG_SHORT:
		return 0;
	case STARTMSG_BAD:
		startup_refuse(s, &e);
		return 0;
	case STARTMSG_OK:
		break;
	}
	switch (m.kind) {
	case STARTMSG_SSL:
	case STARTMSG_GSSENC:
		return startup_encryption(s, &m, in);
	case STARTMSG_CANCEL:
		cancel_begin(s, &m);
		return in.len;
	case STARTMSG_STARTUP:
		break;
	}
	return startup_begin(s, &m);
}

void startup_free(struct session *s)
{
	struct session_login *l = s->login;
	if (!l)
		return;
	clientauth_free(l);
	mem_free(l->startup);
	secret_wipe(l, sizeof *l);
	mem_free(l);
	s->login = NULL;
}

/* ---- the welcome ---------------------------------------------------------------------------------------------------------------------- */

static void startup_send_welcome(struct session *s)
{
	struct writer w;
	const char *name, *value;
	writer_init_grow(&w);
	for (size_t i = 0; i < settings_len(s->told); i++) {
		settings_at(s->told, i, &name, &value);
		writer_begin(&w, 'S');
		writer_text(&w, name);
		writer_text(&w, value);
		writer_end(&w);
	}
	cancel_mint(s, s->login->start.minor);
	writer_begin(&w, 'K');
	writer_u32(&w, cancel_pid(s));
	writer_bytes(&w, session_key(s));
	writer_end(&w);
	session_send(s, &w);
	writer_fini(&w);
	session_send_ready(s);
}

void startup_finish(struct session *s, enum session_state next)
{
	char text[ADDR_TEXT_MAX];
	const struct addr peer = addr_lengthen(&s->peer);
	startup_send_welcome(s);
	startup_free(s);
	s->welcomed = 1;
	s->held_since_us = 0;
	atomic_fetch_add_explicit(&s->home->env.registry->worker[s->home->env.worker].welcomed, 1, memory_order_relaxed);
	if (s->pool)
		POOL_COUNT(s->pool, logins, 1);
	session_enter(s, next);
	stream_resume(&s->stream);
	loop_timer_stop(session_loop(s), &s->timer);
	patience_watch(s);
	if (session_conf(s)->log_connections)
		log_info(&s->log, "client_welcome", KV_STR("address", addr_text(&peer, text)));
}

static void startup_console(struct session *s)
{
	const char *const facts[][2] = {
		{ "server_version", "15.0" },    { "server_encoding", "UTF8" },
		{ "client_encoding", "UTF8" },   { "DateStyle", "ISO, MDY" },
		{ "TimeZone", "UTC" },           { "standard_conforming_strings", "on" },
		{ "integer_datetimes", "on" },   { "is_superuser", "on" },
		{ "IntervalStyle", "postgres" }, { "default_transaction_read_only", "off" },
		{ "in_hot_standby", "off" },     { "session_authorization", s->user },
	};
	struct err e;
	if (!console_begin(s, &e)) {
		startup_refuse(s, &e);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
		struct settings *before = s->told;
		s->told = settings_with(before, slice_text(facts[i][0]), slice_text(facts[i][1]));
		settings_unref(before);
	}
	startup_finish(s, SESSION_CONSOLE);
}

static bool startup_count_client(struct session *s, struct err *err)
{
	struct limits *l = pool_registry_limits(s->home->env.pool_registry);
	const struct conf_database *d = conf_database(session_conf(s), s->database);
	const struct conf_user *u = conf_user(session_conf(s), s->user);
	struct limit *by_database = limits_named(l, "client_db", s->database), *by_user = limits_named(l, "client_user", s->user);
	if (!limit_take(by_database, d->max_client_connections))
		return err_set(err, "53300", "too many connections for database \"%s\"", s->database);
	s->by_database = by_database;
	if (!limit_take(by_user, u ? u->max_client_connections : 0))
		return err_set(err, "53300", "too many connections for role \"%s\"", s->user);
	s->by_user = by_user;
	return true;
}

/* WELCOME with a server at hand and nothing set up on it: ask for the client's startup settings, alone, with a Sync. */
static void startup_ask_server(struct session *s)
{
	struct err e;
	switch (borrow_server(s, NULL, &e)) {
	case BORROW_OK:
		startup_on_server(s);
		return;
	case BORROW_BLOCKED:
		return;
	case BORROW_FAILED:
		startup_refuse(s, &e);
		return;
	}
}

void startup_move(struct session *s, const char *database)
{
	log_info(&s->log, "client_moved", KV_STR("to", database));
	startup_name(s, slice_text(s->user), slice_text(database));
	clientauth_learn(s);
}

/* The session's database takes clients. */
static bool startup_is_open(const struct session *s, struct err *err)
{
	if (!conf_database(session_conf(s), s->database)) {
		err_set(err, "3D000", "database \"%s\" does not exist", s->database);
		err_hint(err, "Lunapool has no database block for it, nor one for \"*\".");
		return false;
	}
	return !topo_holds(s->home->topo, s->database, TOPO_DISABLED) ||
	       err_set(err, "55000", "database \"%s\" is not currently accepting connections", s->database);
}

void startup_welcome(struct session *s)
{
	struct err e;
	struct settings *told;
	s->told = s->told ? s->told : settings_empty(s->home->env.upstream.settings);
	if (console_is_for(s)) {
		startup_console(s);
		return;
	}
	if (!startup_is_open(s, &e) || !steer_admit(s, &e) || !startup_is_open(s, &e) ||
	    (!s->by_database && !startup_count_client(s, &e))) {
		startup_refuse(s, &e);
		return;
	}
	if (s->login->start.is_replication_logical || s->login->start.is_replication_physical) {
		link_begin(s);
		return;
	}
	borrow_pool(s);
	told = welcome_recall(s);
	if (!told) {
		startup_ask_server(s);
		return;
	}
	settings_unref(s->told);
	s->told = told;
	startup_finish(s, SESSION_READY);
	borrow_give_back(s); /* the answer may have become known while it waited for a server */
}

/* The server has the client's settings: what it reports is what this client, and all like it, are told. */
void startup_on_server(struct session *s)
{
	struct settings *before = s->told;
	s->told = settings_ref(s->srv->up.reported);
	settings_unref(before);
	welcome_learn(s);
	startup_finish(s, SESSION_READY);
	borrow_give_back(s);
}
