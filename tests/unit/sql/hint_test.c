/* What comments in front of a statement ask for. */
#include "sql/hint.h"

#include <stdio.h>

#include "base/compiler.h"
#include "unit.h"

static void comments(void **state)
{
	static const struct {
		const char *text, *asks, *strange;
	} rows[] = {
		{ "select 1", "-", "" },
		{ "", "-", "" },
		{ " \n select /* lunapool: node=a */ 1", "-", "" },
		{ "/* lunapool: node=pg2 */ select 1", "|pg2|", "" },
		{ "/*lunapool:node=pg2,class=batch*/select 1", "|pg2|batch", "" },
		{ "  /* LunaPool: route = standby  class = x , node=y */ select 1", "standby|y|x", "" },
		{ "/* lunapool: route=primary */ select 1", "!primary||", "" },
		{ "/* lunapool: route=PRIMARY */", "!PRIMARY||", "" },
		{ "/*NO LOAD BALANCE*/ select 1", "!||", "" },
		{ "/* no load balance */ select 1", "!||", "" },
		{ "/* no load balancer */ select 1", "-", "" },
		{ "/* traced */ -- lunapool: node=a\n/* lunapool: node=b */ select 1", "|b|", "" },
		{ "-- lunapool: node=a", "-", "" },
		{ "/* a /* lunapool: node=a */ b */ select 1", "-", "" },
		{ "/* a /* b */ c */ /* lunapool: node=a */ select 1", "|a|", "" },
		{ "/* lunapool: node=a", "-", "" },
		{ "/* lunapool: */ select 1", "-", "" },
		{ "/* lunapool: hello */ select 1", "-", "hello" },
		{ "/* lunapool: node */ select 1", "-", "node" },
		{ "/* lunapool: node= */ select 1", "-", "node" },
		{ "/* lunapool: colour=red, node=a */ select 1", "|a|", "colour" },
		{ "/* lunapool: node=a, node=b; and more */ select 1", "|b;|", "and" },
		{ "/* lunapool: node=a and more */ select 1", "|a|", "and" },
		{ "/* lunapool: nod=a, hello */ select 1", "-", "nod" },
		{ "/* lunapool: =a */ select 1", "-", "=a" },
		{ "/* lunapool: node=a, , route=any */ select 1", "|a|", ", route=any" },
		{ "/*/ lunapool: node=a */ select 1", "-", "" },
		{ "/**/ /* lunapool: class=c */", "||c", "" },
		{ "/", "-", "" },
		{ "-", "-", "" },
		{ "/*", "-", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sql_hint h;
		char shown[200] = "-";
		if (sql_hint(slice_text(rows[i].text), &h))
			snprintf(shown, sizeof shown, "%s%.*s|%.*s|%.*s", h.wants_primary ? "!" : "", (int)h.route.len,
			         (const char *)h.route.at, (int)h.node.len, (const char *)h.node.at, (int)h.class.len,
			         (const char *)h.class.at);
		if (strcmp(shown, rows[i].asks) != 0)
			fail_msg("%s: %s, not %s", rows[i].text, shown, rows[i].asks);
		if (!slice_equal(h.strange, slice_text(rows[i].strange)))
			fail_msg("%s: %.*s is strange", rows[i].text, (int)h.strange.len, (const char *)h.strange.at);
	}
}

static void reach(void **state)
{
	char text[2 * HINT_REACH];
	struct sql_hint h;
	memset(text, ' ', sizeof text);
	memcpy(text + HINT_REACH - 26, "/* lunapool: node=abcde */", 26);
	assert_true(sql_hint(slice_of(text, sizeof text), &h));
	memset(text, ' ', sizeof text);
	memcpy(text + HINT_REACH - 25, "/* lunapool: node=abcde */", 26);
	assert_false(sql_hint(slice_of(text, sizeof text), &h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments),
		cmocka_unit_test(reach),
	};
	return UNIT_RUN(tests);
}
