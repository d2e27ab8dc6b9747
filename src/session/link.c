/*
 * link — a replication connection: a server connection of its own to the primary, bytes passed as they are in both directions.
 *
 * The client's startup parameters go to the server; from then on nothing is read here but how much there is.  It never meets a pool.
 */
#include "conf/users.h"
#include "priv.h"

struct link {
	struct session *s;
	struct upstream up;
	struct upstream_keys keys;
};

/* ---- both directions ------------------------------------------------------------------------------------------------------------------- */

static size_t link_on_data(struct stream *stream, struct slice bytes, struct lent *lent)
{
	struct link *l = stream->owner;
	stream_send(&l->s->stream, bytes, lent);
	if (stream_is_high(&l->s->stream))
		stream_pause(stream);
	return bytes.len;
}

static void link_on_drained(struct stream *stream)
{
	struct link *l = stream->owner;
	stream_resume(&l->s->stream);
}

static void link_on_closed(struct stream *stream, enum stream_end why, int error)
{
	struct link *l = stream->owner;
	session_close(l->s, CLOSE_LINK_ENDED);
}

static const struct stream_ops link_stream_ops = {
	.on_data = link_on_data,
	.on_drained = link_on_drained,
	.on_closed = link_on_closed,
};

size_t link_take(struct session *s, struct slice in, struct lent *lent)
{
	struct stream *to = &session_aside(s)->link_up->up.stream;
	stream_send(to, in, lent);
	if (stream_is_high(to))
		stream_pause(&s->stream);
	return in.len;
}

void link_drained(struct session *s)
{
	stream_resume(&session_aside(s)->link_up->up.stream);
}

size_t link_memory(const struct session *s)
{
	return stream_memory(&session_aside(s)->link_up->up.stream);
}

bool link_cancel(struct session *s, upstream_cancel_fn fn, void *arg)
{
	struct upstream *up = &session_aside(s)->link_up->up;
	if (up->state != UPSTREAM_READY)
		return false;
	upstream_cancel(&s->home->env.upstream, &up->addr, stream_tls(&up->stream), up->backend_pid,
	                slice_of(up->backend_key, up->backend_key_len), fn, arg);
	return true;
}

/* ---- its life -------------------------------------------------------------------------------------------------------------------------- */

static void link_on_ready(struct upstream *up)
{
	struct link *l = CONTAINER_OF(up, struct link, up);
	struct session *s = l->s;
	up->stream.ops = &link_stream_ops;
	up->stream.owner = l;
	settings_unref(s->told);
	s->told = settings_ref(up->reported);
	startup_finish(s, SESSION_LINK);
}

static void link_on_failed(struct upstream *up, const struct err *err, bool is_servers)
{
	struct link *l = CONTAINER_OF(up, struct link, up);
	session_fatal(l->s, CLOSE_REFUSED, err);
}

static const struct upstream_ops link_ops = { .on_ready = link_on_ready, .on_failed = link_on_failed };

/* The client's parameters but user and database, which the target names. */
static void link_write_startup(const struct session *s, struct writer *w)
{
	struct slice rest = slice_of(s->login->startup, s->login->startup_len), name, value;
	while (startmsg_param(&rest, &name, &value))
		if (!slice_equal(name, slice_text("user")) && !slice_equal(name, slice_text("database")) &&
		    !(name.len >= 5 && memcmp(name.at, "_pq_.", 5) == 0)) {
			writer_slice_text(w, name);
			writer_slice_text(w, value);
		}
}

static void link_open(struct session *s, const struct topo_node *node, const struct conf_database *d)
{
	struct link *l = mem_alloc(sizeof *l);
	const struct conf *c = session_conf(s);
	const char *user = *d->user ? d->user : s->user;
	const char *secret = *d->password ? d->password : users_secret(c->secrets, user);
	enum secret_kind kind = secret_kind(secret);
	struct writer startup;
	struct upstream_target target = {
		.host = node->host,
		.port = node->port,
		.database = d->dbname[0] ? d->dbname : s->database,
		.user = user,
		.password = kind == SECRET_CLEAR ? secret : NULL,
		.md5 = kind == SECRET_MD5 ? secret : NULL,
		.cleartext_password = c->clusters[d->cluster_at].cleartext_password,
		.requires_binding = c->clusters[d->cluster_at].require_channel_binding,
		.timeout_us = c->pool.connect_timeout,
		.tcp_user_timeout_ms = (unsigned)(c->limits.tcp_user_timeout / 1000),
		.tls = keyring_cluster(s->home->env.upstream.keyring, &c->clusters[d->cluster_at]),
	};
	l->s = s;
	session_aside_of(s)->link_up = l;
	if (!*d->user) {
		l->keys = s->login->keys;
		target.keys = &l->keys;
	}
	writer_init_grow(&startup);
	link_write_startup(s, &startup);
	target.startup = writer_slice(&startup);
	upstream_open(&l->up, &s->home->env.upstream, &target, &link_ops);
	tls_conf_unref(target.tls.conf);
	writer_fini(&startup);
}

void link_begin(struct session *s)
{
	const struct topo *topo = s->home->topo;
	const struct conf_database *d = conf_database(topo->conf, s->database);
	const struct topo_node *primary = topo_primary(topo, d->cluster_at);
	struct err e;
	if (!primary) {
		err_set(&e, "08006", "no primary server is available for a replication connection");
		session_fatal(s, CLOSE_REFUSED, &e);
		return;
	}
	link_open(s, primary, d);
}

void link_end(struct session *s)
{
	struct link *l = s->aside->link_up;
	s->aside->link_up = NULL;
	upstream_close(&l->up);
	explicit_bzero(&l->keys, sizeof l->keys);
	mem_free(l);
}
