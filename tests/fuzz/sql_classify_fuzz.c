/* Any text through the cache, twice, and with facts: classes are complete, a hit gives what the miss gave, and what is called a read has
 * nothing that a read has not. */
#include "base/compiler.h"
#include "base/hash.h"
#include "fuzz.h"
#include "sql/classify.h"
#include "sql/facts.h"

#define NO_READ                                                                                                        \
	(SQL_WRITES | SQL_TEMP_OBJECT | SQL_HOLD_CURSOR | SQL_ADVISORY_LOCK | SQL_NEXTVAL | SQL_CURRVAL | SQL_SET_CONFIG | \
	 SQL_OPAQUE_CALL | SQL_DDL | SQL_LOCKS_ROWS | SQL_NO_STANDBY | SQL_ALTERS_DEFAULTS)

static struct facts *facts_of(bool is_known)
{
	struct facts *f = facts_new(is_known);
	facts_add(f, FACTS_FUNCTION, "f", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "v", SQL_WRITES, NULL);
	facts_add(f, FACTS_FUNCTION, "o", SQL_OPAQUE_CALL, NULL);
	facts_add(f, FACTS_READ, "u", SQL_NO_STANDBY, NULL);
	facts_add(f, FACTS_READ, "w", SQL_WRITES | SQL_TX_BOUND, "v");
	facts_add(f, FACTS_WRITE, "t", SQL_OPAQUE_CALL, "o");
	return facts_seal(f);
}

static struct sql_cache *cache_of_this_run(void)
{
	static struct sql_cache *cache;
	if (!cache) {
		hash_init();
		cache = sql_cache_new(64 << 10);
	}
	return cache;
}

static const struct facts *facts_of_this_run(bool is_known)
{
	static struct facts *all[2];
	if (!all[is_known])
		all[is_known] = facts_of(is_known);
	return all[is_known];
}

static void check_reads(const struct sql_class *c)
{
	bool blames_a_part = !c->blamed;
	for (uint32_t i = 0; i < c->n; i++) {
		CHECK(c->part[i].why <= SQL_WHY_UNNAMED && (!c->is_read || c->part[i].why == SQL_WHY_READ));
		blames_a_part |= c->blamed == c->part[i].blamed;
	}
	CHECK(c->is_read == !c->why_primary && blames_a_part);
	CHECK(!c->is_read || (c->may_stay && !c->is_opaque && !c->is_guess && !(c->effects & NO_READ)));
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
	check_reads(c);
}

static bool is_read_with(struct slice text, bool is_known)
{
	struct sql_class *c = sql_classify(cache_of_this_run(), text, (struct sql_dialect){ 0 });
	c = sql_class_inform(c, facts_of_this_run(is_known), text);
	check(c);
	bool is_read = c->is_read;
	sql_class_unref(c);
	return is_read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sql_dialect dialect = { 0 };
	struct sql_cache *cache = cache_of_this_run();
	struct slice text = slice_of(data, size);
	struct sql_class *first = sql_classify(cache, text, dialect);
	struct sql_class *second = sql_classify(cache, text, dialect);
	check(first);
	CHECK(first->n == second->n && first->effects == second->effects && first->is_read == second->is_read);
	bool without = first->is_read;
	sql_class_unref(first);
	sql_class_unref(second);
	bool known = is_read_with(text, true);
	CHECK(is_read_with(text, false) == without); /* a read that needs no facts is one without any */
	CHECK(is_read_with(text, true) == known && (known || !without));
	return 0;
}
