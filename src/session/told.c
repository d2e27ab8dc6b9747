/*
 * told — ParameterStatus: the client hears of a reported setting when what it was told last is no longer so for it.
 *
 * Behind a statement the server's values are the session's, since the setup went ahead of it, with two exceptions: a transaction that failed or was rolled
 * back took a setup that travelled in it with it, and then the server is back at the settings of an earlier session, while the client's are those
 * of its commit point.
 */
#include "priv.h"

static void tell_one(void *arg, const char *name, const char *from, const char *to)
{
	struct writer *w = arg;
	(void)from;
	if (!to)
		return;
	writer_begin(w, 'S');
	writer_text(w, name);
	writer_text(w, to);
	writer_end(w);
}

/* Makes NOW what the client knows; takes the reference. */
static void tell(struct session *s, struct settings *now)
{
	struct writer w;
	writer_init_grow(&w);
	settings_diff(s->told, now, tell_one, &w);
	if (w.len)
		session_send(s, &w);
	writer_fini(&w);
	settings_unref(s->told);
	s->told = now;
	s->default_access = 0;
}

/* The server's values are the session's. */
static void told_reported(struct session *s)
{
	if (s->told != s->srv->up.reported)
		tell(s, settings_ref(s->srv->up.reported));
}

static bool differs(const struct settings *a, const struct settings *b, const char *name)
{
	const char *x = settings_get(a, name), *y = settings_get(b, name);
	return (x || y) && (!x || !y || strcmp(x, y) != 0);
}

/* is_superuser goes with the session authorization and the role. */
static bool is_anothers(const struct settings *own, const struct settings *there, const char *name)
{
	return settings_get(there, name) ||
	       (strcmp(name, "is_superuser") == 0 && (differs(own, there, "session_authorization") || differs(own, there, "role")));
}

/* What is reported as it is for a session whose settings are OWN, on a server that has THERE. */
static struct settings *as_seen_by(const struct session *s, const struct settings *own, const struct settings *there)
{
	const struct settings *reported = s->srv->up.reported;
	struct settings *seen = settings_ref(s->told);
	const char *name, *value;
	for (size_t i = 0; i < settings_len(reported); i++) {
		struct settings *before = seen;
		const char *mine;
		settings_at(reported, i, &name, &value);
		mine = settings_get(own, name);
		if (!mine && is_anothers(own, there, name)) /* what it is without that cannot be seen here */
			continue;
		seen = settings_with(before, slice_text(name), slice_text(mine ? mine : value));
		settings_unref(before);
	}
	return seen;
}

void told_behind_ready(struct session *s)
{
	const struct server *srv = s->srv;
	bool has_failed = srv->tx_status == 'E';
	if (has_failed ? session_aside(s)->savepoints != NULL
	               : srv->applied == s->vars) /* what failed behind a savepoint took no setup with it */
		told_reported(s);
	else if (has_failed)
		tell(s, as_seen_by(s, s->base_vars, srv->committed));
	else
		tell(s, as_seen_by(s, s->vars, srv->applied));
}

/* What a standby says of itself is not so of the primary, which the client means. */
void told_as_at_home(struct session *s)
{
	static const char *const of_node[] = { "in_hot_standby", "default_transaction_read_only", "server_version" };
	if (!differs(s->told, s->srv->up.reported, of_node[0]))
		return;
	for (size_t i = 0; i < ARRAY_LEN(of_node); i++) {
		struct settings *before = s->srv->up.reported;
		const char *value = settings_get(s->told, of_node[i]);
		if (!value)
			continue;
		s->srv->up.reported = settings_with(before, slice_text(of_node[i]), slice_text(value));
		settings_unref(before);
	}
}
