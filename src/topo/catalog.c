/*
 * catalog — one entry for each database in use.
 *
 *   worker: look ──asked──► control: load ──publish──► facts, version++ ──► worker: the next look takes them
 *             └─ DDL passed: wanted++, so that what is known is out of date
 *
 * A view keeps a reference on the facts that it saw last and compares its version with the entry's: only when they differ it takes the
 * lock.  Entries live as long as the board; there are at most DATABASES_MAX.
 *
 * Always: known <= wanted, 0 when nothing is known;  facts is never NULL.
 */
#include "topo/catalog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#define DATABASES_MAX 4096u
#define NAME_BYTES 200u

struct entry {
	char *cluster, *dbname, *user;
	_Atomic uint64_t version; /* of facts */
	_Atomic uint64_t wanted, known;
	_Atomic bool is_asked_for, has_failed;
	struct facts *facts; /* under the lock */
	void *loader;
};

struct catalog {
	pthread_mutex_t lock; /* the map, facts, nothing */
	struct map entries;
	struct facts *nothing;
	_Atomic uint64_t nothing_version, generation;
	void (*wanted)(void *arg);
	void *arg;
};

struct catalog_view {
	struct catalog *catalog;
	struct entry *entry;
	struct facts *facts, *nothing;
	uint64_t version, nothing_version;
};

static struct slice key_of(char out[2 * NAME_BYTES], const char *cluster, const char *dbname)
{
	int a = snprintf(out, NAME_BYTES, "%s", cluster);
	a = a < (int)NAME_BYTES ? a : (int)NAME_BYTES - 1;
	int b = snprintf(out + a + 1, NAME_BYTES, "%s", dbname);
	b = b < (int)NAME_BYTES ? b : (int)NAME_BYTES - 1;
	return slice_of(out, (size_t)(a + 1 + b));
}

static void on_wanted(struct catalog *c)
{
	if (c->wanted)
		c->wanted(c->arg);
}

struct catalog *catalog_new(void (*wanted)(void *arg), void *arg)
{
	struct catalog *c = mem_alloc(sizeof *c);
	pthread_mutex_init(&c->lock, NULL);
	c->wanted = wanted;
	c->arg = arg;
	c->nothing = facts_seal(facts_new(false));
	return c;
}

void catalog_free(struct catalog *c)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&c->entries, &it, NULL, &value)) {
		struct entry *e = value;
		facts_unref(e->facts);
		mem_free(e->cluster);
		mem_free(e->dbname);
		mem_free(e->user);
		mem_free(e);
	}
	map_fini(&c->entries);
	facts_unref(c->nothing);
	pthread_mutex_destroy(&c->lock);
	mem_free(c);
}

/* ---- workers --------------------------------------------------------------------------------------- */

static struct entry *entry_make(struct catalog *c, struct slice key, const char *cluster, const char *dbname, const char *user)
{
	struct entry *e = mem_alloc(sizeof *e);
	e->cluster = mem_text(cluster);
	e->dbname = mem_text(dbname);
	e->user = mem_text(user);
	e->facts = facts_ref(c->nothing);
	e->version = 1;
	e->wanted = 1;
	map_put(&c->entries, key, e);
	return e;
}

struct catalog_view *catalog_view_new(struct catalog *c, const char *cluster, const char *dbname, const char *user)
{
	char space[2 * NAME_BYTES];
	struct slice key = key_of(space, cluster, dbname);
	pthread_mutex_lock(&c->lock);
	struct entry *e = map_get(&c->entries, key);
	if (!e && map_len(&c->entries) < DATABASES_MAX)
		e = entry_make(c, key, cluster, dbname, user);
	pthread_mutex_unlock(&c->lock);
	if (!e)
		return NULL;
	struct catalog_view *v = mem_alloc(sizeof *v);
	v->catalog = c;
	v->entry = e;
	return v;
}

void catalog_view_free(struct catalog_view *v)
{
	facts_unref(v->facts);
	facts_unref(v->nothing);
	mem_free(v);
}

static void take(struct catalog_view *v, struct facts **mine, struct facts *const *theirs)
{
	pthread_mutex_lock(&v->catalog->lock);
	facts_unref(*mine);
	*mine = facts_ref(*theirs);
	pthread_mutex_unlock(&v->catalog->lock);
}

static bool is_stale(const struct entry *e)
{
	return atomic_load_explicit(&e->known, memory_order_acquire) != atomic_load_explicit(&e->wanted, memory_order_acquire);
}

const struct facts *catalog_look(struct catalog_view *v, enum catalog_look *how)
{
	struct entry *e = v->entry;
	bool stale = is_stale(e); /* before the version: what is known by now must be what is looked at */
	uint64_t version = atomic_load_explicit(&e->version, memory_order_acquire);
	if (version != v->version) {
		take(v, &v->facts, &e->facts);
		v->version = version;
	}
	if (!atomic_load_explicit(&e->is_asked_for, memory_order_relaxed)) {
		atomic_store(&e->is_asked_for, true);
		if (stale)
			on_wanted(v->catalog);
	}
	*how = !stale ? CATALOG_FRESH : atomic_load_explicit(&e->has_failed, memory_order_relaxed) ? CATALOG_FAILED : CATALOG_LOADING;
	return v->facts;
}

uint64_t catalog_fresh_id(const struct catalog_view *v)
{
	const struct entry *e = v->entry;
	bool is_fresh = !is_stale(e) && atomic_load_explicit(&e->version, memory_order_acquire) == v->version;
	return is_fresh && atomic_load_explicit(&e->is_asked_for, memory_order_relaxed) ? facts_id(v->facts) : 0;
}

const struct facts *catalog_nothing(struct catalog_view *v)
{
	uint64_t version = atomic_load_explicit(&v->catalog->nothing_version, memory_order_acquire);
	if (!v->nothing || version != v->nothing_version) {
		take(v, &v->nothing, &v->catalog->nothing);
		v->nothing_version = version;
	}
	return v->nothing;
}

void catalog_note_ddl(struct catalog_view *v)
{
	atomic_fetch_add(&v->entry->wanted, 1);
	on_wanted(v->catalog);
}

uint64_t catalog_generation(const struct catalog *c)
{
	return atomic_load_explicit(&c->generation, memory_order_acquire);
}

/* ---- control ----------------------------------------------------------------------------------------- */

void catalog_walk(struct catalog *c, bool clear, void (*fn)(void *arg, struct catalog_db *db), void *arg)
{
	uint32_t it = 0;
	void *value;
	pthread_mutex_lock(&c->lock);
	while (map_next(&c->entries, &it, NULL, &value)) {
		struct entry *e = value;
		struct catalog_db db = { .cluster = e->cluster, .dbname = e->dbname, .user = e->user, .loader = e->loader };
		db.wanted = atomic_load(&e->wanted);
		db.known = atomic_load(&e->known);
		db.is_asked_for = clear ? atomic_exchange(&e->is_asked_for, false) : atomic_load(&e->is_asked_for);
		fn(arg, &db);
		e->loader = db.loader;
	}
	pthread_mutex_unlock(&c->lock);
}

static void replace(struct entry *e, struct facts *f)
{
	facts_unref(e->facts);
	e->facts = f;
	atomic_fetch_add(&e->version, 1);
}

static struct entry *entry_locked(struct catalog *c, const char *cluster, const char *dbname)
{
	char space[2 * NAME_BYTES];
	pthread_mutex_lock(&c->lock);
	struct entry *e = map_get(&c->entries, key_of(space, cluster, dbname));
	ASSERT(e);
	return e;
}

static void unlock(struct catalog *c)
{
	pthread_mutex_unlock(&c->lock);
	atomic_fetch_add(&c->generation, 1);
}

void catalog_publish(struct catalog *c, const char *cluster, const char *dbname, struct facts *f, uint64_t wanted)
{
	struct entry *e = entry_locked(c, cluster, dbname);
	replace(e, f);
	atomic_store(&e->has_failed, false);
	atomic_store_explicit(&e->known, wanted, memory_order_release);
	unlock(c);
}

static void give_up(struct catalog *c, struct entry *e)
{
	atomic_store_explicit(&e->known, 0, memory_order_release);
	replace(e, facts_ref(c->nothing));
}

void catalog_fail(struct catalog *c, const char *cluster, const char *dbname, bool keeps)
{
	struct entry *e = entry_locked(c, cluster, dbname);
	atomic_store(&e->has_failed, true);
	if (!keeps)
		give_up(c, e);
	unlock(c);
}

void catalog_forget(struct catalog *c, const char *cluster, const char *dbname)
{
	struct entry *e = entry_locked(c, cluster, dbname);
	atomic_store(&e->has_failed, false);
	give_up(c, e);
	unlock(c);
}

void catalog_confirm(struct catalog *c, const char *cluster, const char *dbname, uint64_t wanted)
{
	struct entry *e = entry_locked(c, cluster, dbname);
	ASSERT(atomic_load(&e->known));
	atomic_store(&e->has_failed, false);
	atomic_store_explicit(&e->known, wanted, memory_order_release);
	unlock(c);
}

void catalog_set_nothing(struct catalog *c, struct facts *f)
{
	uint32_t it = 0;
	void *value;
	pthread_mutex_lock(&c->lock);
	facts_unref(c->nothing);
	c->nothing = f;
	atomic_fetch_add(&c->nothing_version, 1);
	while (map_next(&c->entries, &it, NULL, &value)) {
		struct entry *e = value;
		if (!atomic_load(&e->known))
			replace(e, facts_ref(f));
	}
	pthread_mutex_unlock(&c->lock);
}
