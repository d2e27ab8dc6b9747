/*
 * cache — shape to class, bounded by bytes; the door through which every text goes.
 *
 * Entries hang in hash chains and on a ring.  A hit sets is_hot; when room is needed a hand walks the ring, cools what is hot and
 * takes out what is cold.  New entries are cold: a stream of texts that come once pushes out only its own kind.
 *
 * Always: bytes <= max_bytes;  an entry holds one reference to its class, so that a class outlives its eviction in other hands.
 */
#include "priv.h"

#include "base/dlist.h"
#include "base/hash.h"
#include "base/mem.h"

struct entry {
	struct dlist ring;
	struct entry *chain;
	struct sql_class *class;
	uint64_t hash;
	uint32_t bytes; /* all that it occupies */
	uint32_t len;
	bool is_hot;
	uint8_t shape[];
};

struct sql_cache {
	struct entry **buckets;
	size_t n_buckets;  /* a power of two */
	struct dlist ring; /* the hand is at its head */
	struct sql_class *opaque;
	size_t max_bytes;
	struct sql_cache_stats stats;
};

/* Larger ones would push out too many. */
#define SHARE_OF_ONE 16u
#define TYPICAL_ENTRY_BYTES 512u

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

static void evict(struct sql_cache *c, struct entry *e)
{
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

static void insert(struct sql_cache *c, uint64_t hash, struct slice shape, struct sql_class *class)
{
	size_t bytes = sizeof(struct entry) + shape.len + class_bytes(class);
	if (bytes > c->max_bytes / SHARE_OF_ONE)
		return;
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
}

struct sql_cache *sql_cache_new(size_t max_bytes)
{
	struct sql_cache *c = mem_alloc(sizeof *c);
	c->max_bytes = max_bytes;
	c->n_buckets = 64;
	while (c->n_buckets < max_bytes / TYPICAL_ENTRY_BYTES)
		c->n_buckets *= 2;
	c->buckets = mem_alloc(c->n_buckets * sizeof *c->buckets);
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
	mem_free(c->buckets);
	mem_free(c);
}

void sql_cache_read_stats(const struct sql_cache *c, struct sql_cache_stats *out)
{
	*out = c->stats;
}

static struct sql_class *look_up(struct sql_cache *c, const struct shape *s)
{
	struct slice shape = slice_of(s->text, s->len);
	uint64_t hash = hash64(shape);
	struct entry *e = find(c, hash, shape);
	if (e) {
		c->stats.hits++;
		e->is_hot = true;
		return sql_class_ref(e->class);
	}
	c->stats.misses++;
	struct sql_class *class = classify_shape(s);
	insert(c, hash, shape, class);
	return class;
}

struct sql_class *sql_classify(struct sql_cache *c, struct slice text, struct sql_dialect dialect)
{
	struct shape shape;
	switch (shape_make(&shape, text, dialect)) {
	case SHAPE_OK:
		return look_up(c, &shape);
	case SHAPE_LONG:
		return class_guess(text, dialect);
	case SHAPE_OPAQUE:
		break;
	}
	return sql_class_ref(c->opaque);
}
