/* Any text through the cache, twice: classes are complete, and a hit gives what the miss gave. */
#include "base/hash.h"
#include "fuzz.h"
#include "sql/classify.h"

static struct sql_cache *cache_of_this_run(void)
{
	static struct sql_cache *cache;
	if (!cache) {
		hash_init();
		cache = sql_cache_new(64 << 10);
	}
	return cache;
}

static void check(const struct sql_class *c)
{
	uint32_t effects = 0;
	bool is_opaque = false;
	CHECK(c->n > 0);
	for (uint32_t i = 0; i < c->n; i++) {
		const struct sql_part *p = &c->part[i];
		size_t n = 0;
		while (p->more_settings && p->more_settings[n])
			n++;
		CHECK(p->kind <= SQL_EMPTY && n % 2 == 0);
		effects |= p->effects;
		is_opaque |= p->kind == SQL_OPAQUE;
	}
	CHECK(effects == c->effects && is_opaque == c->is_opaque);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sql_dialect dialect = { 0 };
	struct sql_cache *cache = cache_of_this_run();
	struct sql_class *first = sql_classify(cache, slice_of(data, size), dialect);
	struct sql_class *second = sql_classify(cache, slice_of(data, size), dialect);
	check(first);
	CHECK(first->n == second->n && first->effects == second->effects);
	sql_class_unref(first);
	sql_class_unref(second);
	return 0;
}
