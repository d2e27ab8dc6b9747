/*
 * classes — what each line of the input is for the router, with the catalogue of one database read as the loader reads it.
 *
 *   classes HOST PORT DATABASE USER < statements
 *
 * One line out for each line in: "any", "primary, stays" or "primary"; whether it is bound to its transaction; why; what is to blame.  An
 * empty database name: nothing is known.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "ha/reading.h"
#include "sql/classify.h"

struct scene {
	struct loop *loop;
	struct reading *reading;
	struct facts *facts;
};

static void on_end(void *arg, enum reading_end how, const struct err *err)
{
	struct scene *s = arg;
	if (how == READING_FAILED)
		fprintf(stderr, "classes: %s\n", err->text);
	else
		s->facts = learn_end(reading_learn(s->reading), NULL, 0);
	loop_stop(s->loop);
}

static void tell(const struct sql_class *c)
{
	printf("%s\t%s\t%s\t%s\n",
	       c->is_read    ? "any"
	       : c->may_stay ? "primary, stays"
	                     : "primary",
	       c->effects & SQL_TX_BOUND ? "bound" : "", c->why_primary ? c->why_primary : "", c->blamed ? c->blamed : "");
}

static void tell_all(const struct facts *f)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	char *line = NULL;
	size_t room = 0;
	for (ssize_t len; (len = getline(&line, &room, stdin)) > 0;) {
		struct slice text = slice_of(line, (size_t)len - (line[len - 1] == '\n'));
		struct sql_class *c = sql_class_inform(sql_classify(cache, text, (struct sql_dialect){ 0 }), f, text);
		tell(c);
		sql_class_unref(c);
	}
	free(line);
	sql_cache_free(cache);
}

int main(int argc, char **argv)
{
	struct scene s = { .loop = loop_new(false) };
	struct resolver *resolver = resolver_new();
	struct mailbox mailbox;
	if (argc != 5)
		return 2;
	hash_init();
	mailbox_open(&mailbox, s.loop, &s);
	if (argv[3][0]) {
		struct service_target target = {
			.host = argv[1], .port = (uint16_t)atoi(argv[2]), .dbname = argv[3], .user = argv[4], .password = ""
		};
		s.reading = reading_new(s.loop, resolver, &mailbox, on_end, &s);
		reading_begin(s.reading, &target, 1, true);
		loop_run(s.loop);
		reading_free(s.reading);
	} else {
		s.facts = facts_seal(facts_new(false));
	}
	if (s.facts)
		tell_all(s.facts);
	facts_unref(s.facts);
	mailbox_close(&mailbox);
	resolver_free(resolver);
	loop_free(s.loop);
	return s.facts ? 0 : 1;
}
