/*
 * upstream — one PostgreSQL connection that we open: from a host's name to the first ReadyForQuery.
 *
 *                   ┌───────────────────────┐ allow: a server that refuses to do without TLS is asked again, with it
 *                   ▼                       │
 *   resolving ──► connecting ──► [securing] ──► login ──► ready
 *       │          │  ▲   │          │        │         │
 *       │          └──┘ next address │        │         │        the edges to closed: step_failed() and upstream_close()
 *       └──────────┴──────┴──────────┴────────┴─────────┴──► closed
 *
 * What happens (an answer of the resolver, the stream's callbacks, the timer) is noted in struct upstream_login and the state's step
 * is deferred to the end of the turn: steps and the owner's callbacks run from the loop, never from inside a stream's callback, so the
 * owner may free everything in them.
 *
 * Always: `login` is there exactly in resolving, connecting and login, and until on_ready() or on_failed() is called;
 *         the stream is open only in connecting, securing, login and ready;  a login begins in the clear only where the mode of TLS allows
 *         that and, with prefer, the server itself has said that it has none;  state is written by upstream_enter() alone.
 */
#include "upstream/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/secret.h"

/* The largest thing that we send during a login is the StartupMessage. */
#define ANSWERS_MAX 4096u /* a password, or what belongs to SCRAM */
#define ANSWER_MAX (STARTMSG_MAX + 64u)

enum upstream_event { NOTHING, TRY_NEXT, CONNECTED, SECURED, HAS_NO_TLS, LOGGED_IN, FAILED };

struct upstream_login {
	struct upstream *up;
	struct log log;
	struct loop_defer step;
	struct loop_timer timer; /* of this attempt, or of the whole when it is the last */
	struct loop_timer again; /* a login that has much to compute goes on in the next turn */
	struct resolve_question *question;
	struct resolve_answer found;
	unsigned tried; /* addresses of `found` */
	uint64_t deadline_us;
	enum upstream_event event; /* since the last step */
	struct err err;
	struct login login;
	bool has_login;
	/* The target. */
	char *host, *database, *user, *password, *md5;
	bool cleartext_password, requires_binding;
	struct upstream_keys *keys;
	uint8_t *startup;
	size_t startup_len;
	uint16_t port;
	unsigned tcp_user_timeout_ms;
	struct upstream_tls tls; /* its conf is a reference */
	bool wants_tls;          /* of this attempt */
};

static const char *const state_names[] = { "resolving", "connecting", "securing", "login", "ready", "closed" };

static struct loop *loop_of(const struct upstream *up)
{
	return engine_loop(up->env.engine);
}

static unsigned who(const struct log *log, struct log_kv *out, unsigned max)
{
	const struct upstream_login *l = CONTAINER_OF(log, struct upstream_login, log);
	if (max < 4)
		return 0;
	out[0] = KV_STR("host", l->host);
	out[1] = KV_INT("port", l->port);
	out[2] = KV_STR("server_user", l->user);
	out[3] = KV_STR("server_db", l->database);
	return 4;
}

static bool may_enter(enum upstream_state from, enum upstream_state to)
{
	return to == UPSTREAM_CLOSED || to == from + 1 || (from == UPSTREAM_CONNECTING && to <= UPSTREAM_LOGIN) ||
	       (from == UPSTREAM_LOGIN && to == UPSTREAM_CONNECTING);
}

static void upstream_enter(struct upstream *up, enum upstream_state next)
{
	ASSERT(may_enter(up->state, next));
	if (up->login)
		log_debug(&up->login->log, "upstream_state", KV_STR("from", state_names[up->state]), KV_STR("to", state_names[next]));
	up->state = (uint8_t)next;
}

/* -- struct upstream_login: made, noted in, freed ------------------------------------------------ */

static void copy_target(struct upstream_login *l, const struct upstream_target *t)
{
	l->host = mem_text(t->host);
	l->port = t->port;
	l->database = mem_text(t->database);
	l->user = mem_text(t->user);
	l->password = mem_text(t->password);
	l->md5 = mem_text(t->md5);
	l->cleartext_password = t->cleartext_password;
	l->requires_binding = t->requires_binding;
	l->keys = t->keys ? mem_copy(t->keys, sizeof *t->keys) : NULL;
	l->startup = t->startup.len ? mem_copy(t->startup.at, t->startup.len) : NULL;
	l->startup_len = t->startup.len;
	l->tcp_user_timeout_ms = t->tcp_user_timeout_ms;
	l->tls = t->tls;
	if (l->tls.conf)
		tls_conf_ref(l->tls.conf);
	l->wants_tls = l->tls.mode >= CONF_SERVER_TLS_PREFER;
}

static void drop_login(struct upstream *up)
{
	struct upstream_login *l = up->login;
	if (!l)
		return;
	up->login = NULL;
	loop_timer_stop(loop_of(up), &l->timer);
	loop_timer_stop(loop_of(up), &l->again);
	loop_defer_cancel(&l->step);
	resolve_forget(l->question);
	if (l->has_login)
		login_fini(&l->login);
	mem_free(l->host);
	mem_free(l->database);
	mem_free(l->user);
	secret_free_text(l->password);
	secret_free_text(l->md5);
	if (l->keys)
		secret_wipe(l->keys, sizeof *l->keys);
	mem_free(l->keys);
	mem_free(l->startup);
	tls_conf_unref(l->tls.conf);
	mem_free(l);
}

/* A failure is final; of other events the last one counts. */
static void note(struct upstream_login *l, enum upstream_event event)
{
	if (l->event == FAILED)
		return;
	l->event = event;
	loop_defer(loop_of(l->up), &l->step);
}

static void fail_with(struct upstream_login *l, const char *why)
{
	char where[ADDR_TEXT_MAX];
	if (l->up->state == UPSTREAM_RESOLVING)
		err_set(&l->err, "08001", "could not find the address of host \"%s\": %s", l->host, why);
	else if (l->up->state == UPSTREAM_CONNECTING)
		err_set(&l->err, "08001", "could not connect to server %s: %s", addr_text(&l->up->addr, where), why);
	else if (l->up->state == UPSTREAM_SECURING)
		err_set(&l->err, "08006", "lost server %s before TLS was set up: %s", addr_text(&l->up->addr, where), why);
	else
		err_set(&l->err, "08006", "lost server %s during login: %s", addr_text(&l->up->addr, where), why);
}

static void refuse_tls(struct upstream_login *l, const char *sqlstate, const char *what, const char *why)
{
	char where[ADDR_TEXT_MAX];
	err_set(&l->err, sqlstate, "TLS with server %s %s: %s", addr_text(&l->up->addr, where), what, why);
}

static void arm_timer(struct upstream_login *l, unsigned attempts)
{
	struct loop *loop = loop_of(l->up);
	uint64_t now = loop_now_us(loop), left = l->deadline_us > now ? l->deadline_us - now : 0;
	loop_timer_start(loop, &l->timer, left / attempts);
}

static void timer_fired(struct loop_timer *t)
{
	struct upstream_login *l = CONTAINER_OF(t, struct upstream_login, timer);
	fail_with(l, "timeout");
	note(l, l->up->state == UPSTREAM_CONNECTING ? TRY_NEXT : FAILED);
}

/* -- what the stream and the resolver tell ------------------------------------------------------- */

static void on_answer(void *arg, const struct resolve_answer *answer)
{
	struct upstream_login *l = arg;
	l->question = NULL;
	l->found = *answer;
	l->err = answer->err;
	note(l, answer->n ? TRY_NEXT : FAILED);
}

/* Paused until the step has begun the login: a server that speaks first is heard then. */
static void on_connected(struct stream *s)
{
	struct upstream *up = s->owner;
	stream_pause(s);
	note(up->login, CONNECTED);
}

static void on_closed(struct stream *s, enum stream_end why, int error)
{
	struct upstream *up = s->owner;
	struct upstream_login *l = up->login;
	if (l->event == FAILED)
		return; /* the server said why, and then closed */
	if (why == STREAM_END_ERROR && error == EPROTO)
		refuse_tls(l, "08P01", "failed", stream_end_text(s, why, error));
	else
		fail_with(l, stream_end_text(s, why, error));
	note(l, up->state == UPSTREAM_CONNECTING ? TRY_NEXT : FAILED);
}

static void start_tls(struct upstream *up)
{
	const struct upstream_login *l = up->login;
	stream_start_tls(&up->stream, &(struct tls_start){ .conf = l->tls.conf, .host = l->host, .is_direct = l->tls.is_direct });
}

/*
 * The answer to SSLRequest is one byte.  What comes with it was put there by somebody in between, or meant to be read as if it had come
 * through TLS (CVE-2021-23222), and an error text of this stage is anybody's (CVE-2024-10977).
 */
static size_t take_tls_answer(struct upstream *up, struct slice bytes)
{
	struct upstream_login *l = up->login;
	if (bytes.len > 1 && bytes.at[0] != 'E')
		refuse_tls(l, "08P01", "failed", "received unencrypted data after the answer to SSLRequest");
	else if (bytes.at[0] == 'S') {
		start_tls(up);
		return bytes.len;
	} else if (bytes.at[0] == 'N' && l->tls.mode == CONF_SERVER_TLS_PREFER) {
		stream_pause(&up->stream);
		note(l, HAS_NO_TLS);
		return bytes.len;
	} else if (bytes.at[0] == 'N')
		refuse_tls(l, "0A000", "is not to be had", "the server does not support it, but it is required");
	else
		refuse_tls(l, "08P01", "failed",
		           bytes.at[0] == 'E' ? "the server sent an error in answer to SSLRequest" : "invalid answer to SSLRequest");
	stream_pause(&up->stream);
	note(l, FAILED);
	return bytes.len;
}

static void on_secured(struct stream *s)
{
	struct upstream *up = s->owner;
	stream_pause(s);
	note(up->login, SECURED);
}

static void on_again(struct loop_timer *t)
{
	stream_resume(&CONTAINER_OF(t, struct upstream_login, again)->up->stream);
}

/* Behind ReadyForQuery, and behind an error, nothing is read: paused. */
static size_t on_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct upstream *up = s->owner;
	struct upstream_login *l = up->login;
	if (up->state == UPSTREAM_SECURING)
		return take_tls_answer(up, bytes);
	uint8_t space[ANSWERS_MAX];
	struct writer out;
	size_t taken;
	writer_init(&out, space, sizeof space);
	enum login_verdict verdict = login_read(&l->login, bytes, &taken, &out, &l->err);
	if (verdict == LOGIN_MORE || verdict == LOGIN_BUSY) {
		stream_send(s, writer_slice(&out), NULL);
		if (verdict == LOGIN_BUSY) {
			stream_pause(s);
			loop_timer_start(loop_of(up), &l->again, 1);
		}
	} else {
		stream_pause(s);
		note(l, verdict == LOGIN_READY ? LOGGED_IN : FAILED);
	}
	secret_wipe(space, out.len);
	return taken;
}

static const struct stream_ops login_ops = {
	.on_data = on_data, .on_closed = on_closed, .on_connected = on_connected, .on_secured = on_secured
};

static size_t unowned_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	die("upstream: a ready connection has no owner");
}

static void unowned_closed(struct stream *s, enum stream_end why, int error)
{
	die("upstream: a ready connection has no owner");
}

static const struct stream_ops unowned_ops = { .on_data = unowned_data, .on_closed = unowned_closed };

/* -- steps --------------------------------------------------------------------------------------- */

static void step_failed(struct upstream *up)
{
	const struct upstream_ops *ops = up->ops;
	struct err err = up->login->err;
	bool is_servers = up->login->has_login && up->login->login.is_servers;
	log_debug(&up->login->log, "upstream_failed", KV_ERR(&err));
	upstream_close(up);
	ops->on_failed(up, &err, is_servers);
}

/* The next address, with its share of the time that is left. */
static void try_next(struct upstream *up)
{
	struct upstream_login *l = up->login;
	stream_close(&up->stream);
	if (l->tried == l->found.n) {
		step_failed(up);
		return;
	}
	upstream_enter(up, UPSTREAM_CONNECTING);
	log_while(&l->log, "connecting to the server");
	up->addr = l->found.at[l->tried++];
	arm_timer(l, l->found.n - l->tried + 1);
	stream_connect(&up->stream, up->env.engine, &up->addr, l->tcp_user_timeout_ms, &login_ops, up);
}

static void step_resolving(struct upstream *up, enum upstream_event event)
{
	if (event == FAILED)
		step_failed(up);
	else
		try_next(up);
}

static struct login_who who_of(const struct upstream_login *l)
{
	const struct tls *tls = stream_tls(&l->up->stream);
	struct slice binding = { 0 };
	bool has_binding = tls && tls_binding(tls, &binding) && binding.len <= SCRAM_BINDING_MAX;
	return (struct login_who){ .user = l->user,
		                       .database = l->database,
		                       .password = l->password,
		                       .md5 = l->md5,
		                       .memory = l->up->env.scram_memory,
		                       .is_private = l->cleartext_password || (tls && tls_is_verified(tls)) || addr_is_unix(&l->up->addr),
		                       .is_tls = tls != NULL,
		                       .binding = has_binding ? binding : (struct slice){ 0 },
		                       .requires_binding = l->requires_binding,
		                       .keys = l->keys,
		                       .startup = slice_of(l->startup, l->startup_len) };
}

/*
 * Nothing of ours is under way while a server works on a statement, so TCP_USER_TIMEOUT alone would let us wait for ever for a machine that has
 * lost its power.  Refusals are fine: a unix socket needs none of it.
 */
static void keep_alive(const struct stream *s, unsigned tcp_user_timeout_ms)
{
	const int idle_s = 2, interval_s = 1, on = 1;
	int fd = stream_fd(s);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	if (tcp_user_timeout_ms == 0)
		return; /* the system's defaults are wished for */
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
}

static void begin_login(struct upstream *up)
{
	struct upstream_login *l = up->login;
	const struct login_who as = who_of(l);
	uint8_t space[ANSWER_MAX];
	struct writer out;
	upstream_enter(up, UPSTREAM_LOGIN);
	log_while(&l->log, "logging in to the server");
	arm_timer(l, 1);
	login_init(&l->login, &as, up->env.settings, &l->log);
	l->has_login = true;
	writer_init(&out, space, sizeof space);
	login_start(&as, &out);
	if (writer_ok(&out)) {
		stream_send(&up->stream, writer_slice(&out), NULL);
		stream_resume(&up->stream);
		return;
	}
	err_set(&l->err, "08P01", "the startup parameters are longer than a server accepts");
	note(l, FAILED);
}

/* Sockets of this machine need none, and libpq and PostgreSQL have none there. */
static bool is_to_be_secured(const struct upstream *up)
{
	return up->login->wants_tls && !addr_is_unix(&up->addr);
}

static void begin_securing(struct upstream *up)
{
	struct upstream_login *l = up->login;
	uint8_t space[16];
	struct writer out;
	upstream_enter(up, UPSTREAM_SECURING);
	log_while(&l->log, "setting up TLS with the server");
	arm_timer(l, 1);
	stream_resume(&up->stream);
	if (!l->tls.conf) {
		refuse_tls(l, "0A000", "is not to be had", "it is not configured");
		note(l, FAILED);
	} else if (l->tls.is_direct) {
		start_tls(up);
	} else {
		writer_init(&out, space, sizeof space);
		startmsg_write_ssl(&out);
		stream_send(&up->stream, writer_slice(&out), NULL);
	}
}

static void step_connecting(struct upstream *up, enum upstream_event event)
{
	if (event != CONNECTED) {
		try_next(up);
		return;
	}
	keep_alive(&up->stream, up->login->tcp_user_timeout_ms);
	if (is_to_be_secured(up))
		begin_securing(up);
	else
		begin_login(up);
}

static void step_securing(struct upstream *up, enum upstream_event event)
{
	if (event == FAILED)
		step_failed(up);
	else
		begin_login(up);
}

static void finish_login(struct upstream *up)
{
	struct login *done = &up->login->login;
	up->reported = settings_ref(done->reported);
	up->backend_pid = done->pid;
	memcpy(up->backend_key, done->key, done->key_len);
	up->backend_key_len = done->key_len;
	up->stream.ops = &unowned_ops;
	upstream_enter(up, UPSTREAM_READY);
	drop_login(up);
	stream_resume(&up->stream);
	up->ops->on_ready(up);
}

/* The server itself has refused somebody who came without TLS: no other failure says that TLS would help. */
static bool is_allowed_with_tls(const struct upstream *up)
{
	const struct upstream_login *l = up->login;
	return l->tls.mode == CONF_SERVER_TLS_ALLOW && !l->wants_tls && l->tls.conf && !addr_is_unix(&up->addr) &&
	       l->login.is_servers && strcmp(l->err.sqlstate, "28000") == 0;
}

static void try_with_tls(struct upstream *up)
{
	struct upstream_login *l = up->login;
	l->wants_tls = true;
	l->tried--;
	loop_timer_stop(loop_of(up), &l->again);
	login_fini(&l->login);
	l->has_login = false;
	try_next(up);
}

static void step_login(struct upstream *up, enum upstream_event event)
{
	if (event == LOGGED_IN)
		finish_login(up);
	else if (is_allowed_with_tls(up))
		try_with_tls(up);
	else
		step_failed(up);
}

static void run_step(struct loop_defer *d)
{
	static void (*const steps[])(struct upstream *, enum upstream_event) = {
		[UPSTREAM_RESOLVING] = step_resolving,
		[UPSTREAM_CONNECTING] = step_connecting,
		[UPSTREAM_SECURING] = step_securing,
		[UPSTREAM_LOGIN] = step_login,
	};
	struct upstream_login *l = CONTAINER_OF(d, struct upstream_login, step);
	enum upstream_event event = l->event;
	l->event = NOTHING;
	ASSERT(l->up->state <= UPSTREAM_LOGIN);
	steps[l->up->state](l->up, event);
}

/* Numeric addresses and socket directories need no resolver. */
static void find_addresses(struct upstream *up)
{
	struct upstream_login *l = up->login;
	bool is_dir = l->host[0] == '/' || l->host[0] == '@';
	if (is_dir ? addr_from_socket_dir(&l->found.at[0], l->host, l->port, &l->err)
	           : addr_from_numeric(&l->found.at[0], l->host, l->port)) {
		l->found.n = 1;
		note(l, TRY_NEXT);
	} else if (is_dir) {
		note(l, FAILED);
	} else {
		l->question = resolve_ask(up->env.resolver, l->host, l->port, up->env.mailbox, on_answer, l);
	}
}

/* -- public -------------------------------------------------------------------------------------- */

void upstream_open(struct upstream *up, const struct upstream_env *env, const struct upstream_target *target,
                   const struct upstream_ops *ops)
{
	*up = (struct upstream){ .state = UPSTREAM_RESOLVING, .ops = ops, .env = *env };
	struct upstream_login *l = mem_alloc(sizeof *l);
	up->login = l;
	l->up = up;
	l->log = (struct log){ .doing = "looking up the server's address", .who = who };
	loop_defer_init(&l->step, run_step);
	loop_timer_init(&l->timer, timer_fired);
	loop_timer_init(&l->again, on_again);
	copy_target(l, target);
	l->deadline_us = loop_now_us(loop_of(up)) + target->timeout_us;
	arm_timer(l, 1);
	find_addresses(up);
}

void upstream_close(struct upstream *up)
{
	static const uint8_t terminate[] = { 'X', 0, 0, 0, 4 };
	if (up->state == UPSTREAM_CLOSED)
		return;
	if (up->state == UPSTREAM_READY && stream_backlog(&up->stream) == 0)
		stream_send(&up->stream, slice_of(terminate, sizeof terminate), NULL);
	upstream_enter(up, UPSTREAM_CLOSED);
	stream_close(&up->stream);
	drop_login(up);
	settings_unref(up->reported);
	up->reported = NULL;
}

void upstream_adopt(struct upstream *up, const struct upstream_env *env, int fd, struct tls *tls, const struct addr *addr,
                    uint32_t pid, struct slice key, struct settings *reported)
{
	*up = (struct upstream){ .state = UPSTREAM_READY, .env = *env, .addr = *addr, .backend_pid = pid, .reported = reported };
	ASSERT(key.len <= sizeof up->backend_key);
	if (key.len)
		memcpy(up->backend_key, key.at, key.len);
	up->backend_key_len = (uint16_t)key.len;
	stream_open(&up->stream, env->engine, fd, &unowned_ops, NULL);
	stream_put_tls(&up->stream, tls);
}
