/* What a borrower leaves behind is gone before the next one gets the server, or the server is. */
#include "poolrig.h"

static struct rig rig;
static struct pool *pool;
static struct borrower a, b;

/* A lent server, of which only one may be. */
static void begin(const char *more)
{
	char text[256];
	snprintf(text, sizeof text, "pool { size = 1 %s }", more);
	rig_init(&rig, "", text);
	pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
}

/* The next borrower works; everything but the statements that SAW names was quiet. */
static void end(const char *saw, int logins)
{
	borrow(pool, &b);
	run_until(rig.loop, has_server, &b);
	assert_true(replies_is_empty(&b.srv->replies));
	assert_int_equal(b.srv->tx_status, 'I');
	assert_int_equal(b.srv->cancels, 0);
	ask(&rig, &b, "next");
	if (!fakepg_saw(&rig.pg, saw))
		fail_msg("%s", rig.pg.log);
	assert_int_equal(rig.pg.logins, logins);
	give_back(&b);
	rig_fini(&rig);
}

static struct settings *with(struct settings *s, const char *name, const char *value)
{
	struct settings *with = settings_with(s, slice_text(name), slice_text(value));
	settings_unref(s);
	return with;
}

static void an_open_transaction_is_rolled_back_and_so_are_the_books(void **state)
{
	begin("");
	a.srv->applied = with(a.srv->applied, "search_path", "x");
	settings_unref(a.srv->committed);
	a.srv->committed = settings_ref(a.srv->applied);
	ask(&rig, &a, "BEGIN");
	a.srv->applied = with(a.srv->applied, "search_path", "y");
	stmts_add(&a.srv->stmts, (struct hash128){ 1, 2 }, 3);
	struct server *srv = a.srv;
	give_back(&a);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &b);
	assert_ptr_equal(b.srv, srv);
	assert_ptr_equal(srv->applied, srv->committed);
	assert_string_equal(settings_get(srv->applied, "search_path"), "x");
	assert_int_equal(stmts_len(&srv->stmts), 1);
	give_back(&b);
	end("BEGIN;ROLLBACK;next;", 1);
}

static void a_failed_transaction_too(void **state)
{
	begin("");
	ask(&rig, &a, "BEGIN");
	ask(&rig, &a, "fail");
	assert_int_equal(a.srv->tx_status, 'E');
	give_back(&a);
	end("fail;ROLLBACK;next;", 1);
}

static void what_cannot_be_undone_is_discarded(void **state)
{
	begin("");
	a.srv->applied = with(a.srv->applied, "search_path", "x");
	stmts_add(&a.srv->stmts, (struct hash128){ 1, 2 }, 3);
	a.srv->needs_discard = 1;
	struct server *srv = a.srv;
	give_back(&a);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &b);
	assert_ptr_equal(b.srv, srv);
	assert_int_equal(settings_len(srv->applied), 0);
	assert_int_equal(settings_len(srv->committed), 0);
	assert_int_equal(stmts_len(&srv->stmts), 0);
	assert_false(srv->needs_discard);
	give_back(&b);
	end("DISCARD ALL;next;", 1);
}

static bool was_sent(void *arg)
{
	return fakepg_saw(&rig.pg, arg);
}

static void a_running_statement_is_cancelled_and_drained(void **state)
{
	begin("");
	borrower_send(&a, REPLY_QUERY, 'Q', "BEGIN");
	borrower_send(&a, REPLY_QUERY, 'Q', "hold");
	run_until(rig.loop, was_sent, "hold;");
	give_back(&a);
	end("BEGIN;hold;ROLLBACK;DISCARD ALL;next;", 1);
}

static void a_copy_in_is_failed(void **state)
{
	begin("");
	borrower_send(&a, REPLY_QUERY, 'Q', "copy");
	while (replies_copy(&a.srv->replies) != REPLY_COPY_IN)
		run_turns(rig.loop, 1);
	give_back(&a);
	end("copy;f;DISCARD ALL;next;", 1);
}

static void a_copy_in_that_begins_during_the_reset_is_failed(void **state)
{
	begin("");
	borrower_send(&a, REPLY_QUERY, 'Q', "copy");
	give_back(&a);
	end("copy;f;DISCARD ALL;next;", 1);
}

/* The Sync behind the Execute is eaten by the COPY or not: nobody can tell; an empty query does. */
static void a_copy_in_of_the_extended_protocol_is_failed(void **state)
{
	begin("");
	borrower_send(&a, REPLY_BIND, 'B', "copy");
	borrower_send(&a, REPLY_EXECUTE, 'E', "copy");
	borrower_send(&a, REPLY_SYNC, 'S', NULL);
	give_back(&a);
	end("DISCARD ALL;next;", 1);
}

static void a_segment_without_a_sync_is_undone(void **state)
{
	begin("");
	borrower_send(&a, REPLY_PARSE, 'P', "x");
	borrower_send(&a, REPLY_BIND, 'B', "x");
	borrower_send(&a, REPLY_EXECUTE, 'E', "x");
	run_until(rig.loop, is_answered, &a);
	give_back(&a);
	end("P;B;E;P;S;next;", 1); /* the P fails */
}

static void nobody_gets_it_before_the_cancel_has_ended(void **state)
{
	begin("");
	ask(&rig, &a, "SELECT 1");
	struct server *srv = a.srv;
	server_cancel(srv, NULL, NULL);
	give_back(&a);
	assert_int_equal(srv->state, SERVER_RESETTING);
	end("SELECT 1;next;", 1);
}

static void a_server_that_does_not_answer_is_closed_in_time(void **state)
{
	begin("reset_timeout = 50ms");
	borrower_send(&a, REPLY_QUERY, 'Q', "mute");
	run_until(rig.loop, was_sent, "mute;");
	give_back(&a);
	end("next;", 2);
}

static void a_retired_server_is_closed_when_it_comes_back(void **state)
{
	begin("");
	a.srv->must_close = 1;
	give_back(&a);
	end("X;", 2);
}

/* A message that the borrower had begun to take. */
static void a_message_in_halves_is_skipped(void **state)
{
	begin("");
	borrower_send(&a, REPLY_QUERY, 'Q', "SELECT 1");
	struct server *srv = a.srv;
	struct reply entry;
	/* As if the head of CommandComplete ('C', 13 bytes of body in all: "SELECT 1" and a NUL) had been seen … */
	assert_int_equal(replies_on_message(&srv->replies, 'C', &entry), REPLY_PART);
	srv->skip = FRAME_HEADER + 9;
	give_back(&a);
	end("SELECT 1;DISCARD ALL;next;", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_transaction_is_rolled_back_and_so_are_the_books),
		cmocka_unit_test(a_failed_transaction_too),
		cmocka_unit_test(what_cannot_be_undone_is_discarded),
		cmocka_unit_test(a_running_statement_is_cancelled_and_drained),
		cmocka_unit_test(a_copy_in_is_failed),
		cmocka_unit_test(a_copy_in_that_begins_during_the_reset_is_failed),
		cmocka_unit_test(a_copy_in_of_the_extended_protocol_is_failed),
		cmocka_unit_test(a_segment_without_a_sync_is_undone),
		cmocka_unit_test(nobody_gets_it_before_the_cancel_has_ended),
		cmocka_unit_test(a_server_that_does_not_answer_is_closed_in_time),
		cmocka_unit_test(a_retired_server_is_closed_when_it_comes_back),
		cmocka_unit_test(a_message_in_halves_is_skipped),
	};
	return UNIT_RUN(tests);
}
