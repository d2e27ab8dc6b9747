/*
 * lookup — secrets and roles from the servers, remembered for a while.
 *
 *   question ─► entry (what, of whom, by whom) ── fresh ──► answered
 *                 └─ not fresh ─► waits with the entry ─► its source asks, one entry at a time ─► all who wait are answered
 *
 * A source is one libpq connection: to the primary of a cluster or, while there is none, to a node that answers; a database; a role.  Its
 * search_path is pg_catalog and nothing that a client said ever becomes part of a statement but as $1 (CVE-2025-12819).
 *
 * Always, and in the control thread only: an entry that somebody waits for is in its source's queue or is what it asks, any other is in
 *         `known`;  at most ENTRIES_MAX of these;  what a server could not answer is not remembered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "priv.h"
#include "upstream/service.h"

#define ENTRIES_MAX 20000u
#define SOURCES_MAX 200u
#define ROLES_MAX 10000u
#define NEVER INT64_MAX

static const char roles_query[] = "with recursive m(oid) as (select oid from pg_catalog.pg_roles where rolname = $1 "
                                  "union select a.roleid from pg_catalog.pg_auth_members a join m on a.member = m.oid) "
                                  "select r.rolname from m join pg_catalog.pg_roles r on r.oid = m.oid";

struct lookup_ask {
	char *cluster, *dbname, *user, *password, *query;
	bool is_roles;
	uint64_t ttl_us, timeout_us, not_before_us;
};

struct source {
	struct lookup *home;
	char *cluster, *dbname, *user, *password;
	struct service *service; /* NULL: none was needed yet */
	struct dlist queue;      /* entries, by age */
	struct entry *asking;
};

struct entry {
	struct slice key;
	struct dlist link;    /* in its source's queue, or in home->known */
	struct dlist waiting; /* questions */
	struct source *source;
	bool is_roles, is_known;
	char *name, *query;
	uint64_t fetched_us, timeout_us;
	/* What is known. */
	char *secret;
	int64_t valid_until_s; /* NEVER: it is */
	size_t n_roles;
	char **roles;
};

struct lookup {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	struct map sources, entries;
	struct dlist known; /* entries that nobody waits for, oldest first */
};

/* ---- what a question asks ------------------------------------------------------------------------------ */

struct lookup_ask *lookup_ask_new(const struct auth_source *s, bool is_roles, uint64_t not_before_us)
{
	struct lookup_ask *ask = mem_alloc(sizeof *ask);
	ask->cluster = mem_text(s->cluster);
	ask->dbname = mem_text(s->dbname);
	ask->user = mem_text(s->user);
	ask->password = mem_text(s->password);
	ask->query = mem_text(is_roles ? roles_query : s->query);
	ask->is_roles = is_roles;
	ask->ttl_us = s->ttl_us;
	ask->timeout_us = s->timeout_us;
	ask->not_before_us = not_before_us;
	return ask;
}

void lookup_ask_free(struct lookup_ask *ask)
{
	if (!ask)
		return;
	mem_free(ask->cluster);
	mem_free(ask->dbname);
	mem_free(ask->user);
	secret_free_text(ask->password);
	mem_free(ask->query);
	mem_free(ask);
}

/* The parts with a NUL behind each; heap. */
static struct slice key_of(const char *const *parts, size_t n)
{
	size_t len = 0;
	for (size_t i = 0; i < n; i++)
		len += strlen(parts[i]) + 1;
	char *key = mem_alloc(len), *to = key;
	for (size_t i = 0; i < n; i++)
		to = stpcpy(to, parts[i]) + 1;
	return slice_of(key, len);
}

/* ---- entries ------------------------------------------------------------------------------------------- */

static void forget_answer(struct entry *e)
{
	secret_free_text(e->secret);
	for (size_t i = 0; i < e->n_roles; i++)
		mem_free(e->roles[i]);
	mem_free(e->roles);
	e->secret = NULL;
	e->roles = NULL;
	e->n_roles = 0;
	e->is_known = false;
}

/* Sessions know their questions until they are answered: nobody but the one who answers frees them. */
static void refuse_all(struct entry *e, const char *text)
{
	for (struct dlist *it; (it = dlist_pop_front(&e->waiting));) {
		struct auth_question *q = CONTAINER_OF(it, struct auth_question, link);
		question_fail(q, "57P03", text);
		question_send(q);
	}
}

static void entry_free(struct lookup *l, struct entry *e)
{
	dlist_remove(&e->link);
	refuse_all(e, "Lunapool is shutting down");
	map_remove(&l->entries, e->key);
	forget_answer(e);
	mem_free((void *)e->key.at);
	mem_free(e->name);
	mem_free(e->query);
	mem_free(e);
}

static bool is_expired(const struct entry *e)
{
	return e->valid_until_s != NEVER && (int64_t)time(NULL) >= e->valid_until_s;
}

static void answer(const struct entry *e, struct auth_question *q)
{
	struct auth_answer *a = &q->answer;
	a->is_known = true;
	if (e->secret && is_expired(e))
		log_info(NULL, "password_expired", KV_STR("user", e->name));
	else
		a->secret = mem_text(e->secret);
	a->n_roles = e->n_roles;
	a->roles = mem_alloc((e->n_roles + 1) * sizeof *a->roles);
	for (size_t i = 0; i < e->n_roles; i++)
		a->roles[i] = mem_text(e->roles[i]);
	question_send(q);
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* "2026-01-31 12:00:00+00", as PostgreSQL writes it with DateStyle ISO in UTC; infinity; -infinity. */
static bool read_time(const char *text, int64_t *out)
{
	struct tm t = { 0 };
	int n = 0;
	if (strcmp(text, "infinity") == 0 || strcmp(text, "-infinity") == 0) {
		*out = *text == '-' ? INT64_MIN : NEVER;
		return true;
	}
	if (sscanf(text, "%6d-%2d-%2d %2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec, &n) != 6)
		return false;
	text += n;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "+00") == 0 || strcmp(text, "") == 0) {
		t.tm_year -= 1900;
		t.tm_mon -= 1;
		*out = (int64_t)timegm(&t);
		return true;
	}
	*out = INT64_MIN;
	return strcmp(text, "+00 BC") == 0;
}

/* False with ERR when the answer is none that can be believed. */
static bool take_secret(struct entry *e, const struct service_rows *rows, struct err *err)
{
	unsigned n = service_rows_n(rows);
	e->valid_until_s = NEVER;
	if (n == 0)
		return true;
	if (n > 1)
		return err_set(err, "57P03", "the query for secrets gave %u rows for one user", n);
	if (strcmp(service_value(rows, 0, 0), e->name) != 0)
		return err_set(err, "57P03", "the query for secrets gave another user than was asked for");
	if (!service_is_null(rows, 0, 2) && !read_time(service_value(rows, 0, 2), &e->valid_until_s))
		return err_set(err, "57P03", "the third column of the query for secrets is no timestamp with time zone");
	if (!service_is_null(rows, 0, 1) && service_value_len(rows, 0, 1) > 0)
		e->secret = mem_text(service_value(rows, 0, 1));
	return true;
}

static bool take_roles(struct entry *e, const struct service_rows *rows, struct err *err)
{
	unsigned n = service_rows_n(rows);
	if (n > ROLES_MAX)
		return err_set(err, "57P03", "user \"%s\" is a member of more than %u roles", e->name, ROLES_MAX);
	e->roles = mem_alloc((n + 1) * sizeof *e->roles);
	for (; e->n_roles < n; e->n_roles++)
		e->roles[e->n_roles] = mem_text(service_value(rows, (unsigned)e->n_roles, 0));
	e->valid_until_s = NEVER;
	return true;
}

/* ---- sources ------------------------------------------------------------------------------------------- */

static void source_ask(struct source *s);

static void fail_all(struct entry *e, const struct err *why)
{
	log_warn(NULL, "auth_lookup_failed", KV_STR("cluster", e->source->cluster), KV_STR("user", e->name), KV_ERR(why));
	refuse_all(e, e->is_roles ? "the roles of the user cannot be looked up now" : "the user cannot be looked up now");
	entry_free(e->source->home, e);
}

static void settle(struct entry *e)
{
	e->is_known = true;
	dlist_push_back(&e->source->home->known, &e->link);
	for (struct dlist *it; (it = dlist_pop_front(&e->waiting));)
		answer(e, CONTAINER_OF(it, struct auth_question, link));
}

static void on_rows(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct source *s = arg;
	struct entry *e = s->asking;
	struct err why;
	s->asking = NULL;
	forget_answer(e);
	e->fetched_us = clock_us();
	if (err)
		why = *err;
	if (!err && (e->is_roles ? take_roles(e, rows, &why) : take_secret(e, rows, &why)))
		settle(e);
	else
		fail_all(e, &why);
	source_ask(s);
}

static const struct topo_cluster *find_cluster(const struct topo *topo, const char *name, size_t *at)
{
	for (*at = 0; *at < topo->n_clusters; (*at)++)
		if (strcmp(topo->clusters[*at].name, name) == 0)
			return &topo->clusters[*at];
	return NULL;
}

/* The primary, or else some node that answered its last probe. */
static const struct topo_node *choose_node(const struct topo *topo, const struct topo_cluster *c, size_t at)
{
	const struct topo_node *node = topo_primary(topo, at);
	for (size_t i = 0; !node && i < c->n_nodes; i++)
		if (c->nodes[i].is_reachable && !c->nodes[i].is_foreign)
			node = &c->nodes[i];
	return node;
}

/* The connection is to the node that it should be to, and as it should be. */
static bool source_connect(struct source *s)
{
	size_t at;
	const struct topo *topo = topo_latest(s->home->board);
	const struct topo_cluster *c = find_cluster(topo, s->cluster, &at);
	const struct topo_node *node = c ? choose_node(topo, c, at) : NULL;
	if (!node)
		return false;
	const struct service_target target = { .host = node->host,
		                                   .port = node->port,
		                                   .dbname = s->dbname,
		                                   .user = s->user,
		                                   .password = s->password,
		                                   .cluster = &topo->conf->clusters[at] };
	if (s->service && service_is_for(s->service, &target))
		return true;
	service_free(s->service);
	s->service = service_new(s->home->loop, s->home->resolver, s->home->mailbox, &target);
	return true;
}

static void source_ask(struct source *s)
{
	struct err why;
	struct dlist *first;
	while (!s->asking && (first = dlist_pop_front(&s->queue))) {
		struct entry *e = CONTAINER_OF(first, struct entry, link);
		if (source_connect(s) && service_ask_with(s->service, e->query, e->name, e->timeout_us, on_rows, s)) {
			s->asking = e;
			return;
		}
		err_set(&why, "08006", "no server of the cluster can be asked");
		fail_all(e, &why);
	}
}

static void source_free(struct source *s)
{
	service_free(s->service);
	mem_free(s->cluster);
	mem_free(s->dbname);
	mem_free(s->user);
	secret_free_text(s->password);
	mem_free(s);
}

/* NULL: there are too many. */
static struct source *source_of(struct lookup *l, const struct lookup_ask *ask)
{
	struct slice key = key_of((const char *const[]){ ask->cluster, ask->dbname, ask->user }, 3);
	struct source *s = map_get(&l->sources, key);
	if (!s && map_len(&l->sources) < SOURCES_MAX) {
		s = mem_alloc(sizeof *s);
		*s = (struct source){ .home = l,
			                  .cluster = mem_text(ask->cluster),
			                  .dbname = mem_text(ask->dbname),
			                  .user = mem_text(ask->user),
			                  .password = mem_text(ask->password) };
		dlist_init(&s->queue);
		map_put(&l->sources, key, s);
	}
	mem_free((void *)key.at);
	if (s && strcmp(s->password, ask->password) != 0) {
		secret_free_text(s->password);
		s->password = mem_text(ask->password);
	}
	return s;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static void make_room(struct lookup *l)
{
	struct dlist *oldest;
	while (map_len(&l->entries) >= ENTRIES_MAX && (oldest = dlist_first(&l->known)))
		entry_free(l, CONTAINER_OF(oldest, struct entry, link));
}

static struct entry *entry_of(struct lookup *l, struct source *s, const struct auth_question *q)
{
	const struct lookup_ask *ask = q->ask;
	struct slice key = key_of(
	    (const char *const[]){ ask->is_roles ? "roles" : "secret", ask->cluster, ask->dbname, ask->user, ask->query, q->user },
	    6);
	struct entry *e = map_get(&l->entries, key);
	if (e) {
		mem_free((void *)key.at);
		return e;
	}
	make_room(l);
	e = mem_alloc(sizeof *e);
	*e = (struct entry){
		.key = key, .source = s, .is_roles = ask->is_roles, .name = mem_text(q->user), .query = mem_text(ask->query)
	};
	dlist_init(&e->link);
	dlist_init(&e->waiting);
	map_put(&l->entries, key, e);
	return e;
}

static bool is_fresh(const struct entry *e, const struct lookup_ask *ask)
{
	return e->is_known && e->fetched_us >= ask->not_before_us && clock_us() - e->fetched_us < ask->ttl_us;
}

void lookup_begin(struct lookup *l, struct auth_question *q)
{
	struct source *s = source_of(l, q->ask);
	if (!s) {
		question_fail(q, "57P03", "too many ways to look users up are configured");
		question_send(q);
		return;
	}
	struct entry *e = entry_of(l, s, q);
	bool is_idle = dlist_is_empty(&e->waiting);
	if (is_idle && is_fresh(e, q->ask)) {
		answer(e, q);
		return;
	}
	dlist_push_back(&e->waiting, &q->link);
	if (!is_idle)
		return;
	e->source = s;
	e->timeout_us = q->ask->timeout_us;
	dlist_remove(&e->link);
	dlist_push_back(&s->queue, &e->link);
	source_ask(s);
}

struct lookup *lookup_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board)
{
	struct lookup *l = mem_alloc(sizeof *l);
	*l = (struct lookup){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .board = board };
	dlist_init(&l->known);
	return l;
}

void lookup_free(struct lookup *l)
{
	void *value;
	struct slice key;
	if (!l)
		return;
	for (uint32_t at = 0; map_next(&l->entries, &at, &key, &value);) /* before the sources in whose queues they wait */
		entry_free(l, value);
	map_fini(&l->entries);
	for (uint32_t at = 0; map_next(&l->sources, &at, &key, &value);)
		source_free(value);
	map_fini(&l->sources);
	mem_free(l);
}
