/*
 * known — a statement's class as the catalogue of its database sees it.
 *
 *   class of the text alone --facts of the database--> class with the effects of the functions that it calls, also behind triggers and views
 *
 * Facts that are being loaded are waited for, catalog_wait at most, so that the first statements need not pin for what is harmless.  Without
 * facts every function that is not PostgreSQL's own is opaque, unless safe_functions names it.  So it is for a session that has changed
 * functions in its open transaction, since nobody else sees those.
 */
#include <stdio.h>

#include "base/compiler.h"
#include "priv.h"

static NOT_INLINE struct catalog_view *find_view(struct session *s)
{
	struct sessions *ss = s->home;
	const struct conf_database *d = conf_database(session_conf(s), s->database);
	const struct topo_cluster *c = route_cluster(s);
	const char *cluster, *dbname;
	char key[512];
	if (!d || !c || !ss->env.catalog)
		return NULL;
	cluster = c->name;
	dbname = d->dbname[0] ? d->dbname : s->database;
	int len = snprintf(key, sizeof key, "%s/%s", cluster, dbname);
	struct slice name = slice_of(key, len < (int)sizeof key ? (size_t)len : sizeof key - 1);
	s->catalog = map_get(&ss->catalogs, name);
	if (s->catalog)
		return s->catalog;
	s->catalog = catalog_view_new(ss->env.catalog, cluster, dbname, *d->user ? d->user : s->user);
	if (s->catalog)
		map_put(&ss->catalogs, name, s->catalog);
	return s->catalog;
}

static inline struct catalog_view *view_of(struct session *s)
{
	return s->catalog ? s->catalog : find_view(s);
}

static void wait_for_facts(struct session *s)
{
	dlist_push_back(&s->home->wait_facts, &s->homeless);
	session_block(s, SESSION_WAIT_FACTS);
}

static bool is_changing(const struct session *s, const struct sql_class *class)
{
	return s->tx_catalog || (class && class->has_functions && (class->effects & SQL_CATALOG_DDL));
}

/* The facts to go by for CLASS (NULL: a text that was not read), and *WAIT: there are none yet.  NULL: no database, or wait.  A statement that
 * was cancelled while it waited goes on, to be told so. */
static const struct facts *facts_for(struct session *s, const struct sql_class *class, bool *wait)
{
	enum catalog_look how;
	struct catalog_view *v;
	const struct facts *f;
	*wait = false;
	if (!s->srv)
		borrow_pool(s);
	v = s->pool ? view_of(s) : NULL; /* NULL: its database is gone */
	if (!v)
		return NULL;
	f = catalog_look(v, &how);
	if (LIKELY(how == CATALOG_FRESH)) {
		s->tired_of_facts = 0;
		return is_changing(s, class) ? catalog_nothing(v) : f;
	}
	*wait = how == CATALOG_LOADING && !s->tired_of_facts && !s->wait_failed && session_conf(s)->catalog_wait &&
	        (!class || class->calls || class->is_guess);
	if (*wait)
		wait_for_facts(s);
	return *wait ? NULL : class && !class->calls && facts_is_known(f) ? f : catalog_nothing(v);
}

/* What the facts at hand made of it is known: most reads are a class of their own. */
static inline void take_informed(struct sql_class **class)
{
	struct sql_class *plain = *class;
	if (!plain->informed)
		return;
	*class = sql_class_ref(plain->informed);
	sql_class_unref(plain);
}

bool known_class(struct session *s, struct sql_class **class, struct slice text)
{
	bool wait;
	const struct facts *f;
	if (!(*class)->needs_facts)
		return true;
	if (LIKELY(known_is_current(s, *class, (*class)->informed_by))) {
		take_informed(class);
		return true;
	}
	f = facts_for(s, *class, &wait);
	if (f)
		*class = sql_class_inform(*class, f, text);
	return !wait;
}

bool known_statement(struct session *s, struct statement *st)
{
	bool wait;
	const struct facts *f;
	if (!st->plain || known_is_current(s, st->plain, st->informed_by))
		return true;
	f = facts_for(s, st->plain, &wait);
	if (!f || facts_id(f) == st->informed_by)
		return !wait;
	sql_class_unref(st->class);
	st->class = sql_class_inform(sql_class_ref(st->plain), f, statement_text(st));
	st->informed_by = facts_id(f);
	return true;
}

static void pin_for(struct session *s, const struct sql_class *class, const char *why)
{
	uint16_t pins = pins_of_class(s, class);
	if (!pins)
		return;
	known_blame(s, why);
	pins_set(s, s->pins | pins);
}

void known_planned(struct session *s, const struct sql_class *class)
{
	if (class && UNLIKELY(class->effects & SQL_PLANNED))
		pin_for(s, class, class->part[0].culprit);
}

struct sql_class *known_beginning(struct session *s, struct slice text)
{
	bool wait;
	const struct facts *f = facts_for(s, NULL, &wait);
	return f ? sql_class_of_long(f, text) : NULL;
}

bool known_stream(struct session *s, struct slice beginning)
{
	bool wait;
	const struct facts *f = facts_for(s, NULL, &wait);
	struct sql_class *class;
	if (!f)
		return !wait;
	class = sql_class_of_long(f, beginning);
	pin_for(s, class, class->part[0].culprit);
	sql_class_unref(class);
	return true;
}

void known_call(struct session *s, uint32_t oid)
{
	char name[32];
	if (!sql_call_is_opaque(oid) || (s->pins & PIN_OPAQUE))
		return;
	snprintf(name, sizeof name, "oid %u", oid);
	known_blame(s, name);
	pins_set(s, s->pins | PIN_OPAQUE);
}

void known_give_up(struct session *s)
{
	s->tired_of_facts = 1;
	session_unblock(s);
}

void known_on_commit(struct session *s)
{
	struct catalog_view *v = view_of(s);
	s->tx_catalog = 0;
	if (v)
		catalog_note_ddl(v);
}

/* Read by SHOW in other threads. */
void known_blame(struct session *s, const char *function)
{
	struct session_registry *r = s->home->env.registry;
	char *was = s->pinned_by;
	pthread_mutex_lock(&r->worker[s->home->env.worker].lock);
	s->pinned_by = mem_text(function);
	pthread_mutex_unlock(&r->worker[s->home->env.worker].lock);
	mem_free(was);
}

void known_forget_all(struct sessions *ss)
{
	uint32_t it = 0;
	void *view;
	while (map_next(&ss->catalogs, &it, NULL, &view))
		catalog_view_free(view);
	map_fini(&ss->catalogs);
}

void sessions_on_catalog(struct sessions *ss)
{
	struct dlist waiting;
	dlist_take(&waiting, &ss->wait_facts); /* some will wait again */
	DLIST_EACH(it, &waiting)
	session_unblock(CONTAINER_OF(it, struct session, homeless));
}
