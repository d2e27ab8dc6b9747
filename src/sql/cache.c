/*
 * cache — shape to class, bounded by bytes; the door through which every text goes.
 *
 *   text --recall.c--> entry        nearly always: the text is one of the last, but for its constants
 *   text --shape.c--> shape --> entry, whose text is recalled from now on
 *
 * Entries hang in hash chains and on a ring.  A hit sets is_hot; when room is needed a hand walks the ring, cools what is hot and
 * takes out what is cold.  New entries are cold: a stream of texts that come once pushes out only its own kind.
 *
 * Always: bytes <= max_bytes;  an entry holds one reference to its class, so that a class outlives its eviction in other hands;
 * what stands in a place of `recent` has a text with that place's key.
 */
#include <string.h>

#include "priv.h"

#include "base/dlist.h"
#include "base/hash.h"
#include "base/mem.h"
#include "recall.h"

struct entry {
	struct dlist ring;
	struct entry *chain;
	struct sql_class *class;
	struct recall *text; /* how it was written last; NULL: not kept */
	uint64_t hash;
	uint32_t bytes; /* all that it occupies */
	uint32_t len;
	bool is_hot;
	uint8_t shape[];
};

/* The two entries whose texts with a key of this place were seen last. */
struct pair {
	struct entry *first, *second;
};

struct sql_cache {
	struct entry **buckets;
	size_t n_buckets;  /* a power of two */
	struct dlist ring; /* the hand is at its head */
	struct pair *recent;
	struct entry *last; /* that was recalled: often the next one, too */
	struct sql_class *opaque;
	size_t max_bytes;
	struct sql_cache_stats stats;
};

/* Larger ones would push out too many. */
#define SHARE_OF_ONE 16u
#define TYPICAL_ENTRY_BYTES 512u
#define RECENT_BITS 10u
#define RECENT (1u << RECENT_BITS)

static struct entry **bucket(const struct sql_cache *c, uint64_t hash)
{
	return &c->buckets[hash & (c->n_buckets - 1)];
}

static struct entry *find(const struct sql_cache *c, uint64_t hash, struct slice shape)
{
	for (struct entry *e = *bucket(c, hash); e; e = e->chain)
		if (e->hash == hash && slice_equal(slice_of(e->shape, e->len), shape))
			return e;
	return NULL;
}

static struct pair *place(const struct sql_cache *c, uint64_t key)
{
	return &c->recent[key >> (64 - RECENT_BITS)]; /* the upper bits are the best mixed ones */
}

/* E is not recalled by its text any more. */
static void forget_text(struct sql_cache *c, struct entry *e)
{
	if (!e->text)
		return;
	struct pair *at = place(c, e->text->key);
	if (at->first == e)
		at->first = NULL;
	if (at->second == e)
		at->second = NULL;
	if (c->last == e)
		c->last = NULL;
	e->bytes -= e->text->bytes;
	c->stats.bytes -= e->text->bytes;
	mem_free(e->text);
	e->text = NULL;
}

static void evict(struct sql_cache *c, struct entry *e)
{
	forget_text(c, e);
	struct entry **at = bucket(c, e->hash);
	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	dlist_remove(&e->ring);
	c->stats.bytes -= e->bytes;
	c->stats.entries--;
	sql_class_unref(e->class);
	mem_free(e);
}

static void make_room(struct sql_cache *c, size_t bytes)
{
	while (c->stats.bytes + bytes > c->max_bytes) {
		struct entry *e = CONTAINER_OF(dlist_first(&c->ring), struct entry, ring);
		if (e->is_hot) {
			e->is_hot = false;
			dlist_remove(&e->ring);
			dlist_push_back(&c->ring, &e->ring);
			continue;
		}
		evict(c, e);
		c->stats.evictions++;
	}
}

/* From now on E is recalled by TEXT, which gave the shape S.  What is of use as it is stays for one more time. */
static void keep_text(struct sql_cache *c, struct entry *e, struct slice text, const struct shape *s)
{
	if (e->text && e->text->was_used) {
		e->text->was_used = false;
		return;
	}
	forget_text(c, e);
	struct recall *r = recall_new(text, s);
	if (!r || r->bytes + e->bytes > c->max_bytes / SHARE_OF_ONE) {
		mem_free(r);
		return;
	}
	dlist_remove(&e->ring); /* the hand must not find it */
	make_room(c, r->bytes);
	dlist_push_back(&c->ring, &e->ring);
	e->text = r;
	e->bytes += r->bytes;
	c->stats.bytes += r->bytes;
	struct pair *at = place(c, r->key);
	if (at->first)
		at->second = at->first;
	at->first = e;
}

/* The entry of a text like TEXT, if it is one of the last; NULL: read it. */
static struct entry *recalled(struct sql_cache *c, struct slice text)
{
	struct entry *e = c->last;
	if (e && recall_fits(e->text, text))
		return e;
	struct pair *at = place(c, recall_key(text));
	if (at->first && recall_fits(at->first->text, text))
		return c->last = at->first;
	e = at->second;
	if (!e || !recall_fits(e->text, text))
		return NULL;
	*at = (struct pair){ .first = e, .second = at->first };
	return c->last = e;
}

static struct entry *insert(struct sql_cache *c, uint64_t hash, struct slice shape, struct sql_class *class)
{
	size_t bytes = sizeof(struct entry) + shape.len + class_bytes(class);
	if (bytes > c->max_bytes / SHARE_OF_ONE)
		return NULL;
	make_room(c, bytes);
	struct entry *e = mem_alloc(sizeof *e + shape.len);
	e->class = sql_class_ref(class);
	e->hash = hash;
	e->bytes = (uint32_t)bytes;
	e->len = (uint32_t)shape.len;
	memcpy(e->shape, shape.at, shape.len);
	struct entry **at = bucket(c, hash);
	e->chain = *at;
	*at = e;
	dlist_push_back(&c->ring, &e->ring);
	c->stats.bytes += bytes;
	c->stats.entries++;
	return e;
}

struct sql_cache *sql_cache_new(size_t max_bytes)
{
	struct sql_cache *c = mem_alloc(sizeof *c);
	c->max_bytes = max_bytes;
	c->n_buckets = 64;
	while (c->n_buckets < max_bytes / TYPICAL_ENTRY_BYTES)
		c->n_buckets *= 2;
	c->buckets = mem_alloc(c->n_buckets * sizeof *c->buckets);
	c->recent = mem_alloc(RECENT * sizeof *c->recent);
	c->opaque = class_opaque();
	dlist_init(&c->ring);
	return c;
}

void sql_cache_free(struct sql_cache *c)
{
	if (!c)
		return;
	while (!dlist_is_empty(&c->ring))
		evict(c, CONTAINER_OF(dlist_first(&c->ring), struct entry, ring));
	sql_class_unref(c->opaque);
	mem_free(c->recent);
	mem_free(c->buckets);
	mem_free(c);
}

void sql_cache_read_stats(const struct sql_cache *c, struct sql_cache_stats *out)
{
	*out = c->stats;
}

bool sql_cache_holds(const struct sql_cache *c, const struct sql_class *class)
{
	for (const struct entry *e = class->shape ? *bucket(c, class->place) : NULL; e; e = e->chain)
		if (e->class->shape_id == class->shape_id)
			return true;
	return false;
}

static struct sql_class *hit(struct sql_cache *c, struct entry *e)
{
	c->stats.hits++;
	e->is_hot = true;
	return sql_class_ref(e->class);
}

/* RECALLABLE: the dialect is the plain one, that recall.c knows. */
static struct sql_class *look_up(struct sql_cache *c, const struct shape *s, struct slice text, bool recallable)
{
	struct slice shape = slice_of(s->text, s->len);
	uint64_t hash = hash_place(shape);
	struct entry *e = find(c, hash, shape);
	struct sql_class *class;
	if (e) {
		class = hit(c, e);
	} else {
		c->stats.misses++;
		class = classify_shape(s);
		class->shape = shape_shown(s);
		class->shape_id = hash64(strlen(class->shape) < SQL_SHOWN_MAX - 8 ? slice_text(class->shape) : shape);
		class->place = hash;
		e = insert(c, hash, shape, class);
	}
	if (e && recallable)
		keep_text(c, e, text, s);
	return class;
}

static struct sql_class *classify_slowly(struct sql_cache *c, struct slice text, struct sql_dialect dialect, bool recallable)
{
	struct shape shape;
	switch (shape_make(&shape, text, dialect)) {
	case SHAPE_OK:
		return look_up(c, &shape, text, recallable);
	case SHAPE_LONG:
		return class_guess(text, dialect);
	case SHAPE_OPAQUE:
		break;
	}
	return sql_class_ref(c->opaque);
}

struct sql_class *sql_classify(struct sql_cache *c, struct slice text, struct sql_dialect dialect)
{
	bool recallable = text.len && !dialect.backslash_quotes && !dialect.unsafe_encoding;
	struct entry *e = recallable ? recalled(c, text) : NULL;
	if (LIKELY(e)) {
		e->text->was_used = true;
		return hit(c, e);
	}
	return classify_slowly(c, text, dialect, recallable);
}
