/* Any bytes as a function's source: read without harm, its names sorted and found again; and as a long statement with facts. */
#include "base/hash.h"
#include "fuzz.h"
#include "sql/body.h"
#include "sql/classify.h"
#include "sql/facts.h"

static const struct facts *some_facts(void)
{
	static struct facts *f;
	if (f)
		return f;
	f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "f", SQL_OPAQUE_CALL, "g");
	facts_add(f, FACTS_READ, "t", SQL_TEMP_OBJECT, "h");
	return facts_seal(f);
}

static void check_body(struct slice source)
{
	struct body b;
	body_read(&b, source);
	for (uint32_t i = 0; i < b.n; i++) {
		CHECK(i == 0 || b.words[i] > b.words[i - 1]);
		CHECK(body_names(&b, b.words[i]));
	}
	body_fini(&b);
}

static void check_inform(struct slice text)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (int twice = 0; twice < 2; twice++) {
		struct sql_class *c = sql_classify(cache, text, (struct sql_dialect){ 0 });
		uint32_t n = c->n, effects = c->effects;
		c = sql_class_inform(c, some_facts(), text);
		CHECK(c->n == n && (c->effects & effects) == effects);
		sql_class_unref(c);
	}
	sql_cache_free(cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	check_body(slice_of(copy, size));
	check_inform(slice_of(copy, size));
	free(copy);
	return 0;
}
