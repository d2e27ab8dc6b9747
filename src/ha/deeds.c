/*
 * deeds — one connection of its own to the node, one question after the other.
 *
 *   promote:  fire ──► look ──in recovery──► wait LOOK_US ──► look …    after FIRE_US: fire again      out of recovery: done
 *   settle:   a commit: done          checkpoint:  a checkpoint: done
 *   follow:   read primary_conninfo, primary_slot_name ──► at the primary: the slot, if it has none of that name ──► alter system ──► reload: done
 *   tidy:     at the primary: the slots that others get their WAL from now ──► those of these names that nobody uses here: dropped, done
 *
 * A slot keeps its WAL for ever: only one whose user is seen at the primary is dropped where it was left behind, and a slot is made only for who has its
 * name in his settings.
 *
 * Always: exactly one question or the timer is under way;  after the deadline it fails, whatever is under way.
 */
#include "ha/deeds.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "ha/conninfo.h"

#define LOOK_US (6 * US_PER_MS)
#define FIRE_US (60 * US_PER_MS)
#define QUESTION_US (2 * US_PER_S)
#define CONNINFO_MAX 2048
#define SLOT_MAX 64 /* NAMEDATALEN */
#define SLOTS_MAX 4096

struct deed {
	struct loop *loop;
	struct service *service, *primary; /* primary: whom it follows; NULL: it does not matter */
	struct loop_timer timer;
	uint64_t deadline_us, fired_us;
	deed_fn fn;
	void *arg;
	char *host; /* where slots are made, or dropped */
	uint16_t port;
	bool with_slot;
	char slot[SLOT_MAX];
	char sql[CONNINFO_MAX * 2 + 64], ahead[SLOTS_MAX]; /* AHEAD is asked before SQL */
};

static void end(struct deed *d, bool is_done, const struct err *err)
{
	deed_fn fn = d->fn;
	void *arg = d->arg;
	struct err copy = err ? *err : (struct err){ 0 };
	deed_drop(d);
	fn(arg, is_done, err ? &copy : NULL);
}

static void ask_there(struct deed *d, struct service *where, const char *sql, service_fn fn)
{
	uint64_t now = clock_us(), left = d->deadline_us > now ? d->deadline_us - now : 1;
	bool is_asking = service_ask(where, sql, left < QUESTION_US ? left : QUESTION_US, fn, d);
	ASSERT(is_asking);
}

static void ask(struct deed *d, const char *sql, service_fn fn)
{
	ask_there(d, d->service, sql, fn);
}

/* -- promote ------------------------------------------------------------------------------------------- */

static void fire(struct deed *d);
static void look(struct deed *d);

static void on_timer(struct loop_timer *t)
{
	struct deed *d = CONTAINER_OF(t, struct deed, timer);
	if (clock_us() - d->fired_us >= FIRE_US)
		fire(d);
	else
		look(d);
}

static void on_look(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	struct err late;
	if (!err && n == 1 && values[0] && strcmp(values[0], "f") == 0) {
		end(d, true, NULL);
		return;
	}
	if (clock_us() >= d->deadline_us) {
		err_set(&late, "57014", "it is still in recovery");
		end(d, false, err ? err : &late);
		return;
	}
	if (err && strncmp(err->sqlstate, "08", 2) == 0) { /* nothing was promoted that is not there */
		end(d, false, err);
		return;
	}
	loop_timer_start(d->loop, &d->timer, LOOK_US);
}

static void look(struct deed *d)
{
	ask(d, "select pg_is_in_recovery()", on_look);
}

/* 55000: it is not in recovery any more, which is what was wanted; the next look tells. */
static void on_fired(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	if (err && strcmp(err->sqlstate, "55000") != 0)
		end(d, false, err);
	else
		loop_timer_start(d->loop, &d->timer, LOOK_US);
}

static void fire(struct deed *d)
{
	d->fired_us = clock_us();
	ask(d, "select pg_promote(false)", on_fired);
}

/* -- follow -------------------------------------------------------------------------------------------- */

static bool is_key(const char *at, size_t len, const char *key)
{
	return strlen(key) == len && memcmp(at, key, len) == 0;
}

/* Past one value as libpq reads it (conninfo_parse in fe-connect.c): bare up to a blank, or in quotes; a backslash takes what is behind it. */
static const char *skip_value(const char *at)
{
	bool is_quoted = *at == '\'';
	at += is_quoted;
	while (*at && (is_quoted ? *at != '\'' : !isspace((unsigned char)*at)))
		if (*at == '\\' && !at[1]) /* what is put behind it would be taken by it */
			return NULL;
		else
			at += *at == '\\' ? 2 : 1;
	if (is_quoted && *at != '\'')
		return NULL;
	return at + is_quoted;
}

#define KEY_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789_"

static const char *skip_space(const char *at)
{
	while (isspace((unsigned char)*at))
		at++;
	return at;
}

static bool append(char *out, size_t room, size_t *len, const char *at, size_t n)
{
	if (n + 2 > room - *len)
		return false;
	memcpy(out + *len, at, n);
	out[ *len += n] = ' ';
	out[++*len] = 0;
	return true;
}

static bool append_empty(char *out, size_t room, size_t *len)
{
	return append(out, room, len, "''", 2);
}

bool deed_conninfo(const char *was, const char *host, uint16_t port, char *out, size_t room)
{
	size_t len = 0;
	out[0] = 0;
	if (conninfo_is_uri(was))
		return conninfo_turn(was, host, port, out, room);
	for (const char *at = skip_space(was); *at; at = skip_space(at)) {
		const char *key = at;
		while (*at && *at != '=' && !isspace((unsigned char)*at))
			at++;
		size_t key_len = (size_t)(at - key);
		at = skip_space(at);
		/* What libpq knows is called so, and " postgresql://?a=b" must not become a URI. */
		if (key_len == 0 || strspn(key, KEY_LETTERS) < key_len || *at != '=')
			return false;
		const char *value = skip_space(at + 1);
		at = skip_value(value);
		if (!at)
			return false;
		if (is_key(key, key_len, "host") || is_key(key, key_len, "hostaddr") || is_key(key, key_len, "port"))
			continue;
		if (!append(out, room, &len, key, (size_t)(at - key)))
			return false;
		if (at == value && !append_empty(out, room, &len)) /* at the end; what comes behind it would become its value */
			return false;
	}
	/* A host has no quotes and backslashes: a name, an address, or a folder.  What has some is not ours to guess. */
	int n = strpbrk(host, "'\\") ? -1 : snprintf(out + len, room - len, "host='%s' port=%u", host, port);
	return n > 0 && (size_t)n < room - len;
}

static void on_last(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	end(arg, !err, err);
}

static void on_altered(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	if (err)
		end(d, false, err);
	else
		ask(d, "select pg_reload_conf()", on_last);
}

static void put_literal(char *out, size_t room, const char *text)
{
	size_t len = strlen(out);
	for (const char *at = text; *at && len + 3 < room; at++) {
		out[len++] = *at;
		if (*at == '\'')
			out[len++] = *at;
	}
	out[len] = '\'';
	out[len + 1] = 0;
}

/* 42710: somebody else has just made it.  Without a slot it is told all the same: an administrator may make one. */
static void on_slot(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	if (err && strcmp(err->sqlstate, "42710") != 0)
		log_warn(NULL, "slot_not_made", KV_STR("slot", d->slot), KV_STR("host", d->host), KV_INT("port", d->port), KV_ERR(err),
		         KV_STR("effect", "its standby receives nothing until there is one"));
	else if (!err && n > 0)
		log_info(NULL, "slot_made", KV_STR("slot", d->slot), KV_STR("host", d->host), KV_INT("port", d->port));
	ask(d, d->sql, on_altered);
}

/* What PostgreSQL takes for a slot's name (ReplicationSlotValidateName), so that it needs no quoting. */
static bool is_slot_name(const char *text)
{
	size_t len = strspn(text, KEY_LETTERS);
	return len > 0 && len < SLOT_MAX && !text[len];
}

static void make_slot(struct deed *d, const char *name)
{
	snprintf(d->slot, sizeof d->slot, "%s", name);
	snprintf(d->ahead, sizeof d->ahead,
	         "select pg_create_physical_replication_slot('%s', true) "
	         "where not exists (select from pg_replication_slots where slot_name = '%s')",
	         d->slot, d->slot);
	ask_there(d, d->primary, d->ahead, on_slot);
}

static void on_conninfo(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	char conninfo[CONNINFO_MAX];
	struct err bad;
	if (err) {
		end(d, false, err);
		return;
	}
	if (n != 2 || !values[0] || !deed_conninfo(values[0], d->host, d->port, conninfo, sizeof conninfo)) {
		err_set(&bad, "0A000", "its primary_conninfo is neither a list of key = value nor a URI that could be read");
		end(d, false, &bad);
		return;
	}
	snprintf(d->sql, sizeof d->sql, "alter system set primary_conninfo = '");
	put_literal(d->sql, sizeof d->sql, conninfo);
	if (d->with_slot && values[1] && is_slot_name(values[1]))
		make_slot(d, values[1]);
	else
		ask(d, d->sql, on_altered);
}

/* -- tidy ---------------------------------------------------------------------------------------------- */

static void on_dropped(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	if (!err && n == 2 && values[0])
		log_info(NULL, "slots_dropped", KV_STR("slots", values[0]), KV_STR("host", d->host), KV_INT("port", d->port),
		         KV_STR("reason", "who used them gets his WAL from the primary now"));
	on_last(arg, values, n, err);
}

static void on_used(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct deed *d = arg;
	if (err || n != 1 || !values[0]) {
		on_last(d, values, n, err);
		return;
	}
	int len = snprintf(d->sql, sizeof d->sql,
	                   "select string_agg(slot_name, ' '), count(pg_drop_replication_slot(slot_name)) from pg_replication_slots "
	                   "where slot_type = 'physical' and not temporary and not active and slot_name in (%s)",
	                   values[0]);
	if (len < 0 || (size_t)len >= sizeof d->sql)
		on_last(d, values, n, NULL); /* too many: they stay */
	else
		ask(d, d->sql, on_dropped);
}

/* -- public -------------------------------------------------------------------------------------------- */

static struct deed *deed_new(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                             void *arg)
{
	struct deed *d = mem_alloc(sizeof *d);
	d->loop = env->loop;
	d->service = service_new(env->loop, env->resolver, env->mailbox, node);
	loop_timer_init(&d->timer, on_timer);
	d->deadline_us = clock_us() + timeout_us;
	d->fn = fn;
	d->arg = arg;
	return d;
}

struct deed *deed_promote(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                          void *arg)
{
	struct deed *d = deed_new(env, node, timeout_us, fn, arg);
	fire(d);
	return d;
}

static struct deed *deed_of_two(const struct deed_env *env, const struct service_target *node,
                                const struct service_target *primary, const struct service_target *of_slots, uint64_t timeout_us,
                                deed_fn fn, void *arg)
{
	struct deed *d = deed_new(env, node, timeout_us, fn, arg);
	d->primary = service_new(env->loop, env->resolver, env->mailbox, primary);
	d->host = mem_text(of_slots->host);
	d->port = of_slots->port;
	return d;
}

struct deed *deed_follow(const struct deed_env *env, const struct service_target *node, const struct service_target *primary,
                         bool with_slot, uint64_t timeout_us, deed_fn fn, void *arg)
{
	struct deed *d = deed_of_two(env, node, primary, primary, timeout_us, fn, arg);
	d->with_slot = with_slot;
	ask(d, "select current_setting('primary_conninfo'), current_setting('primary_slot_name')", on_conninfo);
	return d;
}

struct deed *deed_tidy(const struct deed_env *env, const struct service_target *node, const struct service_target *primary,
                       const char *const *users, size_t n, uint64_t timeout_us, deed_fn fn, void *arg)
{
	struct deed *d = deed_of_two(env, node, primary, node, timeout_us, fn, arg);
	snprintf(d->ahead, sizeof d->ahead,
	         "select string_agg(quote_literal(s.slot_name::text), ',') from pg_replication_slots s "
	         "join pg_stat_replication r on r.pid = s.active_pid where s.slot_type = 'physical' and r.application_name in (''");
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(d->ahead);
		if (len + 2 * strlen(users[i]) + 8 > sizeof d->ahead) /* of the others nothing is said */
			break;
		snprintf(d->ahead + len, sizeof d->ahead - len, ",'");
		put_literal(d->ahead, sizeof d->ahead, users[i]);
	}
	size_t len = strlen(d->ahead);
	snprintf(d->ahead + len, sizeof d->ahead - len, ")");
	ask_there(d, d->primary, d->ahead, on_used);
	return d;
}

/* A commit that is not asynchronous, whatever the default, takes all before it to the disk; no standby is waited for here. */
struct deed *deed_settle(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                         void *arg)
{
	struct deed *d = deed_new(env, node, timeout_us, fn, arg);
	ask(d, "select set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'lunapool', '')", on_last);
	return d;
}

/* It takes as long as it takes. */
struct deed *deed_checkpoint(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                             void *arg)
{
	struct deed *d = deed_new(env, node, timeout_us, fn, arg);
	bool is_asking = service_ask(d->service, "checkpoint", timeout_us, on_last, d);
	ASSERT(is_asking);
	return d;
}

void deed_drop(struct deed *d)
{
	if (!d)
		return;
	loop_timer_stop(d->loop, &d->timer);
	service_free(d->service);
	service_free(d->primary);
	mem_free(d->host);
	mem_free(d);
}
