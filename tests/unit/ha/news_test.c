/* news: two records, and what policies hear of them. */
#include "ha/news.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "unit.h"

static char heard[2000];

static void put(const char *key, const char *value)
{
	size_t len = strlen(heard);
	if (value)
		snprintf(heard + len, sizeof heard - len, " %s=%s", key, value);
}

static void hear(void *arg, const struct hook_event *e)
{
	char id[20];
	size_t len = strlen(heard);
	snprintf(heard + len, sizeof heard - len, "%s%s", len ? "; " : "", e->name);
	snprintf(id, sizeof id, "%d", (int)e->id);
	put("id", e->id ? id : NULL);
	put("kind", e->kind);
	put("outcome", e->outcome);
	put("node", e->node);
	put("old", e->old);
	put("reason", e->reason);
}

static struct record *was, *is;

static int open_records(void **state)
{
	was = mem_alloc(sizeof *was);
	is = mem_alloc(sizeof *is);
	snprintf(was->primary, sizeof was->primary, "pg1");
	*is = *was;
	return 0;
}

static int close_records(void **state)
{
	mem_free(was);
	mem_free(is);
	return 0;
}

static const char *news(void)
{
	heard[0] = 0;
	news_tell(was, is, hear, NULL);
	*was = *is;
	return heard;
}

static void an_operation_begins_and_ends(void **state)
{
	record_open(is, OPERATION_FAILOVER, "pg1", "it is dead", 1000);
	assert_string_equal(news(), "operation_began id=1 kind=failover node=pg1 reason=it is dead");
	is->op.step = STEP_PROMOTE;
	assert_string_equal(news(), "");
	snprintf(is->primary, sizeof is->primary, "pg2");
	record_flag(is, "pg1", RECORD_QUARANTINED, 0, "it was the primary");
	assert_string_equal(news(), "node_quarantined node=pg1 reason=it was the primary");
	record_close(is, END_DONE, "", 12);
	assert_string_equal(news(), "operation_ended id=1 kind=failover outcome=done node=pg2 old=pg1 reason=it is dead");
	record_flag(is, "pg1", 0, RECORD_QUARANTINED, "");
	assert_string_equal(news(), "node_released node=pg1");
}

static void one_follows_the_other(void **state)
{
	record_open(is, OPERATION_SWITCHOVER, "pg1", "by order", 1000);
	news();
	record_close(is, END_ABORTED, "it took too long", 12);
	record_open(is, OPERATION_FAILOVER, "pg1", "dead", 1000);
	assert_string_equal(news(), "operation_ended id=1 kind=switchover outcome=aborted node=pg1 old=pg1 reason=it took too long; "
	                            "operation_began id=2 kind=failover node=pg1 reason=dead");
}

static void what_administrators_do_is_told(void **state)
{
	record_flag(is, "pg2", RECORD_DETACHED, 0, "by order of me");
	is->is_paused = true;
	assert_string_equal(news(), "node_detached node=pg2 reason=by order of me; maintenance_on");
	record_flag(is, "pg2", RECORD_QUARANTINED, 0, "it was promoted");
	assert_string_equal(news(), "node_quarantined node=pg2 reason=it was promoted");
	record_flag(is, "pg2", 0, RECORD_DETACHED, "");
	is->is_paused = false;
	assert_string_equal(news(), "node_attached node=pg2; maintenance_off");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_records, close_records)

int main(void)
{
	const struct CMUnitTest tests[] = { UNIT(an_operation_begins_and_ends), UNIT(one_follows_the_other),
		                                UNIT(what_administrators_do_is_told) };
	return UNIT_RUN(tests);
}
