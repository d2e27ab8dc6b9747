/*
 * lookup — secrets and roles from the servers, remembered for a while.
 *
 *   question ─► entry (what, of whom, by whom) ── fresh ──► answered
 *                 └─ not fresh ─► waits with the entry ─► its source asks, one entry at a time ─► all who wait are answered
 *
 * An answer stays fresh for recheck_us only: a SCRAM dialogue begins with the salt of the secret, so one that was held with a stale secret cannot
 * be judged by a new one.  Until ttl_us it counts where nobody can be asked.  A source that has just failed is not asked what is known.
 *
 * A source is one libpq connection: to the primary of a cluster or, while there is none, to a node that answers; a database; a role.  Its
 * search_path is pg_catalog and nothing that a client said ever becomes part of a statement but as $1 (CVE-2025-12819).
 *
 * Always, and in the control thread only: an entry that somebody waits for is in its source's queue or is what it asks, any other is in
 *         `known`;  at most ENTRIES_MAX of these;  what a server could not answer is not remembered.
 */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "lookrows.h"
#include "priv.h"

#define ENTRIES_MAX 20000u
#define SOURCES_MAX 200u
#define RECHECK_MOST_US US_PER_S /* so long a server may think about what is known */
#define TROUBLE_US US_PER_S

static const char roles_query[] = "with recursive m(oid) as (select oid from pg_catalog.pg_roles where rolname = $1 "
                                  "union select a.roleid from pg_catalog.pg_auth_members a join m on a.member = m.oid) "
                                  "select r.rolname from m join pg_catalog.pg_roles r on r.oid = m.oid";

struct lookup_ask {
	char *cluster, *dbname, *user, *password, *query;
	bool is_roles;
	uint64_t recheck_us, ttl_us, timeout_us, not_before_us;
};

struct source {
	struct lookup *home;
	char *cluster, *dbname, *user, *password;
	struct service *service; /* NULL: none was needed yet */
	struct dlist queue;      /* entries, by age */
	struct entry *asking;
	uint64_t failed_us; /* when it could last not be asked; 0: it could */
};

struct entry {
	struct slice key;
	struct dlist link;    /* in its source's queue, or in home->known */
	struct dlist waiting; /* questions */
	struct source *source;
	bool is_roles, is_known;
	char *name, *query;
	uint64_t fetched_us, timeout_us;
	struct lookup_facts facts; /* when known */
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
	ask->recheck_us = s->recheck_us;
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
	lookup_facts_fini(&e->facts);
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

static bool is_expired(const struct lookup_facts *f)
{
	return f->valid_until_s != LOOKUP_ALWAYS && (int64_t)time(NULL) >= f->valid_until_s;
}

static void answer(const struct entry *e, struct auth_question *q)
{
	const struct lookup_facts *f = &e->facts;
	struct auth_answer *a = &q->answer;
	a->is_known = true;
	if (f->secret && is_expired(f))
		log_info(NULL, "password_expired", KV_STR("user", e->name));
	else
		a->secret = mem_text(f->secret);
	a->n_roles = f->n_roles;
	a->roles = mem_alloc((f->n_roles + 1) * sizeof *a->roles);
	for (size_t i = 0; i < f->n_roles; i++)
		a->roles[i] = mem_text(f->roles[i]);
	question_send(q);
}

static bool is_known_since(const struct entry *e, const struct lookup_ask *ask, uint64_t at_most_us)
{
	return e->is_known && e->fetched_us >= ask->not_before_us && clock_us() - e->fetched_us < at_most_us;
}

/* Those who wait and for whom what is known will do, since nobody can be asked, get it.  True: no others wait. */
static bool make_do(struct entry *e)
{
	DLIST_EACH(it, &e->waiting)
	{
		struct auth_question *q = CONTAINER_OF(it, struct auth_question, link);
		if (!is_known_since(e, q->ask, q->ask->ttl_us))
			continue;
		dlist_remove(it);
		answer(e, q);
	}
	return dlist_is_empty(&e->waiting);
}

static bool would_do(const struct entry *e)
{
	DLIST_EACH(it, &e->waiting)
	{
		const struct auth_question *q = CONTAINER_OF(it, struct auth_question, link);
		if (!is_known_since(e, q->ask, q->ask->ttl_us))
			return false;
	}
	return true;
}

/* ---- sources ------------------------------------------------------------------------------------------- */

static void source_ask(struct source *s);

static void rest(struct entry *e)
{
	dlist_push_back(&e->source->home->known, &e->link);
}

/* Nobody waits for E afterwards. */
static void fail_all(struct entry *e, const struct err *why)
{
	log_warn(NULL, "auth_lookup_failed", KV_STR("cluster", e->source->cluster), KV_STR("user", e->name), KV_ERR(why));
	make_do(e);
	refuse_all(e, e->is_roles ? "the roles of the user cannot be looked up now" : "the user cannot be looked up now");
	if (e->is_known)
		rest(e);
	else
		entry_free(e->source->home, e);
}

static void settle(struct entry *e)
{
	e->is_known = true;
	for (struct dlist *it; (it = dlist_pop_front(&e->waiting));)
		answer(e, CONTAINER_OF(it, struct auth_question, link));
	rest(e);
}

static void on_rows(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct source *s = arg;
	struct entry *e = s->asking;
	struct err why;
	s->asking = NULL;
	s->failed_us = err ? clock_us() : 0;
	if (err) {
		why = *err;
		fail_all(e, &why);
	} else {
		forget_answer(e);
		e->fetched_us = clock_us();
		if (e->is_roles ? lookup_take_roles(&e->facts, rows, e->name, &why) : lookup_take_secret(&e->facts, rows, e->name, &why))
			settle(e);
		else
			fail_all(e, &why);
	}
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

static bool is_troubled(const struct source *s)
{
	return s->failed_us && clock_us() - s->failed_us < TROUBLE_US;
}

/* What is known is not waited for as long as what is not. */
static uint64_t patience_for(const struct entry *e)
{
	return would_do(e) && e->timeout_us > RECHECK_MOST_US ? RECHECK_MOST_US : e->timeout_us;
}

static bool source_begin(struct source *s, struct entry *e)
{
	return source_connect(s) && service_ask_with(s->service, e->query, e->name, patience_for(e), on_rows, s);
}

static void source_ask(struct source *s)
{
	struct err why;
	struct dlist *first;
	while (!s->asking && (first = dlist_pop_front(&s->queue))) {
		struct entry *e = CONTAINER_OF(first, struct entry, link);
		if (is_troubled(s) && make_do(e)) {
			rest(e);
		} else if (source_begin(s, e)) {
			s->asking = e;
		} else {
			err_set(&why, "08006", "no server of the cluster can be asked");
			s->failed_us = clock_us();
			fail_all(e, &why);
		}
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
	return is_known_since(e, ask, ask->recheck_us < ask->ttl_us ? ask->recheck_us : ask->ttl_us);
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
