/* Letters from several threads, and names resolved on another. */
#include "net/mailbox.h"

#include "base/mem.h"
#include "net/resolve.h"
#include "unitloop.h"

#define SENDERS 4
#define EACH 5000

struct note {
	struct letter letter;
	unsigned sender, number;
};

struct inbox {
	struct mailbox box;
	unsigned next[SENDERS];
	unsigned total;
	unsigned close_at; /* 0: stay open */
};

static unsigned refused; /* atomic */

static void on_note(struct letter *letter, void *receiver)
{
	struct note *n = CONTAINER_OF(letter, struct note, letter);
	struct inbox *in = receiver;
	assert_int_equal(in->next[n->sender]++, n->number);
	in->total++;
	mem_free(n);
	if (in->total == in->close_at)
		mailbox_close(&in->box);
}

static void on_refused(struct letter *letter)
{
	__atomic_add_fetch(&refused, 1, __ATOMIC_SEQ_CST);
	mem_free(letter);
}

struct sender {
	pthread_t thread;
	struct mailbox *to;
	unsigned number;
};

static void *send_all(void *arg)
{
	struct sender *s = arg;
	for (unsigned i = 0; i < EACH; i++) {
		struct note *n = mem_alloc(sizeof *n);
		*n = (struct note){ .letter = { .deliver = on_note, .refuse = on_refused }, .sender = s->number, .number = i };
		mailbox_send(s->to, &n->letter);
	}
	return NULL;
}

static bool all_are_told(void *arg)
{
	struct inbox *in = arg;
	return in->total + __atomic_load_n(&refused, __ATOMIC_SEQ_CST) == SENDERS * EACH;
}

static void exchange(struct inbox *in)
{
	struct loop *loop = loop_new(false);
	struct sender senders[SENDERS];
	refused = 0;
	mailbox_open(&in->box, loop, in);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ .to = &in->box, .number = i };
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
	}
	run_until(loop, all_are_told, in);
	for (unsigned i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	mailbox_close(&in->box);
	mailbox_close(&in->box);
	loop_free(loop);
}

static void every_letter_arrives_in_its_senders_order(void **state)
{
	struct inbox in = { 0 };
	exchange(&in);
	assert_int_equal(in.total, SENDERS * EACH);
	assert_int_equal(refused, 0);
}

static void a_closed_mailbox_refuses_the_rest(void **state)
{
	struct inbox in = { .close_at = 700 };
	exchange(&in);
	assert_int_equal(in.total, 700);
	assert_int_equal(refused, SENDERS * EACH - 700);
}

static void a_letter_without_refuse_is_freed(void **state)
{
	struct loop *loop = loop_new(false);
	struct mailbox box;
	mailbox_open(&box, loop, NULL);
	mailbox_send(&box, mem_alloc(sizeof(struct letter))); /* inside when it closes */
	mailbox_close(&box);
	mailbox_send(&box, mem_alloc(sizeof(struct letter))); /* after that; leaks are the sanitizer's to find */
	loop_free(loop);
}

struct asker {
	struct mailbox box;
	struct resolve_answer answer;
	bool is_answered;
};

static void on_answer(void *arg, const struct resolve_answer *answer)
{
	struct asker *a = arg;
	a->answer = *answer;
	a->is_answered = true;
}

static void never(void *arg, const struct resolve_answer *answer)
{
	fail_msg("a forgotten question was answered");
}

static void names_become_addresses(void **state)
{
	struct loop *loop = loop_new(false);
	struct resolver *r = resolver_new();
	struct asker a = { 0 };
	char text[ADDR_TEXT_MAX];
	mailbox_open(&a.box, loop, &a);
	struct resolve_question *q = resolve_ask(r, "127.0.0.1", 1, &a.box, never, NULL);
	resolve_forget(q);
	resolve_ask(r, "localhost", 5432, &a.box, on_answer, &a);
	run_until(loop, is_flag_set, &a.is_answered);
	assert_true(a.answer.n >= 1);
	addr_text(&a.answer.at[0], text);
	assert_true(strcmp(text, "127.0.0.1:5432") == 0 || strcmp(text, "[::1]:5432") == 0);

	a.is_answered = false;
	resolve_ask(r, "not..a..name", 5432, &a.box, on_answer, &a);
	run_until(loop, is_flag_set, &a.is_answered);
	assert_int_equal(a.answer.n, 0);
	assert_non_null(strstr(a.answer.err.text, "\"not..a..name\""));

	for (int i = 0; i < 20; i++) /* answered, refused or still queued: all are freed */
		resolve_ask(r, "127.0.0.1", 1, &a.box, on_answer, &a);
	mailbox_close(&a.box);
	resolver_free(r);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_letter_arrives_in_its_senders_order),
		cmocka_unit_test(a_closed_mailbox_refuses_the_rest),
		cmocka_unit_test(a_letter_without_refuse_is_freed),
		cmocka_unit_test(names_become_addresses),
	};
	return UNIT_RUN(tests);
}
