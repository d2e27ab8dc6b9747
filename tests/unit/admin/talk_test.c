/* The console's conversation, message by message, in both protocols: what it knows is an empty pool registry and one configuration. */
#include <stdio.h>
#include <string.h>

#include "../../../src/admin/priv.h"
#include "base/compiler.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/version.h"
#include "confdir.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

struct world {
	struct confdir dir;
	struct topo *topo;
	struct pool_registry *pools;
	struct session_registry *sessions;
	struct consoles *consoles;
	struct console console;
	struct session_console ops;
	void *talk;
	char said[8192]; /* the answers: a word for each message */
};

static void say(struct world *w, const char *fmt, const char *text, size_t len)
{
	size_t at = strlen(w->said);
	snprintf(w->said + at, sizeof w->said - at, fmt, (int)len, text);
}

static void say_cells(struct world *w, struct reader *r)
{
	unsigned n = reader_u16(r);
	for (unsigned i = 0; i < n; i++) {
		int32_t len = reader_i32(r);
		struct slice cell = len < 0 ? slice_text("-") : reader_bytes(r, (size_t)len);
		for (size_t k = 0; k < cell.len; k++)
			if (cell.at[k] < ' ') { /* binary */
				char hex[4];
				snprintf(hex, sizeof hex, "%02x", cell.at[k]);
				say(w, "%.*s", hex, 2);
			} else
				say(w, "%.*s", (const char *)cell.at + k, 1);
		say(w, "%.*s", i + 1 < n ? "|" : "", 1);
	}
}

static void say_message(struct world *w, uint8_t type, struct slice body)
{
	struct reader r;
	struct pgerr e;
	struct slice text;
	reader_init(&r, body);
	say(w, w->said[0] ? " %.*s" : "%.*s", (const char *)&type, 1);
	switch (type) {
	case 'T':
		for (unsigned n = reader_u16(&r), i = 0; i < n; i++) {
			text = reader_text(&r);
			say(w, i ? ",%.*s" : ":%.*s", (const char *)text.at, text.len);
			reader_bytes(&r, 18);
		}
		break;
	case 'D':
		say(w, "%.*s", ":", 1);
		say_cells(w, &r);
		break;
	case 'E':
		assert_true(pgerr_read(body, &e));
		say(w, ":%.*s", (const char *)e.sqlstate.at, e.sqlstate.len);
		break;
	case 'C':
		text = reader_text(&r);
		say(w, ":%.*s", (const char *)text.at, text.len);
		break;
	case 'Z':
		say(w, ":%.*s", (const char *)body.at, 1);
		break;
	default:
		break;
	}
}

static void hear(struct world *w, struct writer *out)
{
	struct reader r;
	assert_true(writer_ok(out));
	reader_init(&r, writer_slice(out));
	while (reader_left(&r)) {
		uint8_t type = reader_u8(&r);
		say_message(w, type, reader_bytes(&r, reader_u32(&r) - 4));
	}
	assert_true(reader_ok(&r));
	writer_fini(out);
}

/* Sends one message and goes on as long as the console wants to. */
static void tell(struct world *w, uint8_t type, const void *body, size_t len)
{
	struct frame f = { .type = type, .body_len = (uint32_t)len, .body = slice_of(body, len) };
	struct writer out;
	writer_init_grow(&out);
	enum console_next next = w->ops.take(w->talk, &f, &out);
	hear(w, &out);
	while (next == CONSOLE_MORE) {
		writer_init_grow(&out);
		next = w->ops.more(w->talk, &out);
		hear(w, &out);
	}
	assert_int_equal(next, CONSOLE_READ);
}

/* MESSAGES: "Q text", "P name text", "B portal name [codes]", "D what name", "E portal limit", "C what name", "S", "H"; ~ is the empty name. */
static const char *name_of(const char *word)
{
	return strcmp(word, "~") == 0 ? "" : word;
}

static void tell_line(struct world *w, const char *line)
{
	char a[64] = "", b[64] = "", c[64] = "";
	struct writer m;
	writer_init_grow(&m);
	sscanf(line + 1, " %63s %63s %63s", a, b, c);
	switch (line[0]) {
	case 'Q':
		writer_text(&m, line + 2);
		break;
	case 'P':
		writer_text(&m, name_of(a));
		writer_text(&m, line + 3 + strlen(a));
		writer_u16(&m, 0);
		break;
	case 'B':
		writer_text(&m, name_of(a));
		writer_text(&m, name_of(b));
		writer_u32(&m, 0);
		writer_u16(&m, (uint16_t)strlen(c));
		for (const char *code = c; *code; code++)
			writer_u16(&m, (uint16_t)(*code - '0'));
		break;
	case 'E':
		writer_text(&m, name_of(a));
		writer_u32(&m, (uint32_t)atoi(b));
		break;
	case 'D':
	case 'C':
		writer_u8(&m, (uint8_t)a[0]);
		writer_text(&m, name_of(b));
		break;
	default:
		break;
	}
	tell(w, (uint8_t)line[0], m.data ? m.data : (const uint8_t *)"", m.len);
	writer_fini(&m);
}

static const char *talk(struct world *w, const char *const *lines, size_t n)
{
	w->said[0] = '\0';
	for (size_t i = 0; i < n; i++)
		tell_line(w, lines[i]);
	return w->said;
}
#define TALK(w, ...) talk(w, (const char *const[]){ __VA_ARGS__ }, ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })))

static void enter(struct world *w, const char *user)
{
	struct err err;
	if (w->talk)
		w->ops.end(w->talk);
	w->talk = w->ops.begin(w->ops.arg, user, false, &(struct console_place){ 0 }, &err);
	assert_non_null(w->talk);
}

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof *w);
	struct conf_errors errors = { 0 };
	char path[120];
	hash_init();
	confdir_init(&w->dir);
	snprintf(path, sizeof path, "%s/x.conf", w->dir.path);
	confdir_write(&w->dir, "x.conf",
	              "auth { hba_file = \"rules\"  admin_users = {\"root\"}  stats_users = {\"eye\"} }\n"
	              "cluster \"main\" { node \"pg1\" { host = \"10.0.0.1\" } }\n"
	              "database \"shop\" { pool_size = 7 }\ndatabase \"bank\" { }\ndatabase \"club\" { dbname = \"x\" }\n");
	struct conf *conf = conf_load(path, &errors);
	assert_non_null(conf);
	w->topo = topo_build(conf, NULL);
	w->pools = pool_registry_new(1);
	w->sessions = session_registry_new(1);
	w->consoles = consoles_new(1, w->pools);
	w->console = (struct console){
		.topo = w->topo, .shared = w->consoles, .pool_registry = w->pools, .session_registry = w->sessions, .n_workers = 1
	};
	w->ops = console_for_sessions(&w->console);
	enter(w, "root");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	w->ops.end(w->talk);
	consoles_free(w->consoles);
	session_registry_free(w->sessions);
	pool_registry_free(w->pools);
	topo_free(w->topo);
	confdir_fini(&w->dir);
	mem_free(w);
	return 0;
}

static void a_query_is_answered_with_columns_rows_tag_and_ready(void **state)
{
	struct world *w = *state;
	assert_string_equal(TALK(w, "Q SHOW VERSION"), "T:version D:Lunapool " LUNAPOOL_VERSION " C:SHOW Z:I");
	assert_string_equal(TALK(w, "Q SHOW PEERS"), "T:peer_id,host,port,pool_size C:SHOW Z:I");
	assert_string_equal(TALK(w, "Q "), "I Z:I");
	assert_string_equal(TALK(w, "Q SHOW X"), "E:08P01 Z:I");
	assert_string_equal(TALK(w, "Q SHOW DateStyle"), "T:datestyle D:ISO, MDY C:SHOW Z:I");
	assert_string_equal(TALK(w, "Q SET DateStyle = ISO"), "C:SET Z:I");
}

static void views_of_several_rows_are_sorted_by_name(void **state)
{
	struct world *w = *state;
	const char *said = TALK(w, "Q SHOW DATABASES");
	assert_non_null(strstr(said, " D:bank|10.0.0.1|5432|bank|-|20|0|0|3600|-|-|0|0|0|0|0|0|0|main D:club|10.0.0.1|5432|x|"));
	assert_non_null(strstr(said, " D:shop|10.0.0.1|5432|shop|-|7|"));
	assert_non_null(strstr(TALK(w, "Q SHOW LISTS"), " D:databases|3 D:users|0 "));
	assert_non_null(strstr(TALK(w, "Q SHOW STATS"), " D:bank|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0 "));
}

static void a_transaction_is_remembered_and_fails_as_one(void **state)
{
	struct world *w = *state;
	assert_string_equal(TALK(w, "Q BEGIN", "Q SHOW PEERS", "Q COMMIT"),
	                    "C:BEGIN Z:T T:peer_id,host,port,pool_size C:SHOW Z:T C:COMMIT Z:I");
	assert_string_equal(TALK(w, "Q BEGIN", "Q NONSENSE", "Q SHOW PEERS", "Q COMMIT"),
	                    "C:BEGIN Z:T E:08P01 Z:E E:25P02 Z:E C:ROLLBACK Z:I");
}

static void the_extended_protocol_asks_and_answers(void **state)
{
	struct world *w = *state;
	assert_string_equal(TALK(w, "P ~ SHOW VERSION", "B ~ ~", "D P ~", "E ~ 0", "S"),
	                    "1 2 T:version D:Lunapool " LUNAPOOL_VERSION " C:SHOW Z:I");
	assert_string_equal(TALK(w, "P st SHOW PEERS", "D S st", "S"), "1 t T:peer_id,host,port,pool_size Z:I");
	assert_string_equal(TALK(w, "B ~ st", "E ~ 0", "C S st", "S"), "2 C:SHOW 3 Z:I");
	assert_string_equal(TALK(w, "P ~ ", "B ~ ~", "D P ~", "E ~ 0", "S"), "1 2 n I Z:I");
	assert_string_equal(TALK(w, "P ~ BEGIN", "B ~ ~", "E ~ 0", "S", "Q ROLLBACK"), "1 2 C:BEGIN Z:T C:ROLLBACK Z:I");
}

static void errors_skip_to_the_sync(void **state)
{
	struct world *w = *state;
	assert_string_equal(TALK(w, "P ~ NONSENSE", "B ~ ~", "E ~ 0", "S"), "E:08P01 Z:I");
	assert_string_equal(TALK(w, "B ~ nobody", "E ~ 0", "S", "Q SHOW PEERS"),
	                    "E:26000 Z:I T:peer_id,host,port,pool_size C:SHOW Z:I");
	assert_string_equal(TALK(w, "E nobody 0", "S"), "E:34000 Z:I");
	assert_string_equal(TALK(w, "P a SHOW PEERS", "P a SHOW LISTS", "S"), "1 E:42P05 Z:I");
	assert_string_equal(TALK(w, "B ~ nobody", "Q SHOW VERSION", "S", "Q SHOW PEERS"),
	                    "E:26000 Z:I T:peer_id,host,port,pool_size C:SHOW Z:I");
	w->said[0] = '\0';
	tell(w, 'P', "\0SHOW PEERS\0\0\1\0\0\0\27", 18); /* a parameter's type */
	tell(w, 'S', "", 0);
	assert_string_equal(w->said, "E:0A000 Z:I");
	w->said[0] = '\0';
	tell(w, 'B', "\0a\0\0\0\0\1\0\0\0\1x\0\0", 14); /* a parameter */
	tell(w, 'S', "", 0);
	assert_string_equal(w->said, "E:08P01 Z:I");
	w->said[0] = '\0';
	tell(w, 'D', "Q", 1); /* malformed */
	tell(w, 'E', "", 0);  /* skipped */
	tell(w, 'S', "", 0);
	assert_string_equal(w->said, "E:08P01 Z:I");
}

static void a_portal_gives_so_many_rows_at_a_time(void **state)
{
	struct world *w = *state;
	assert_string_equal(
	    TALK(w, "P ~ SHOW STATE", "B p ~", "E p 2", "E p 2", "E p 2", "S"),
	    "1 2 D:active|yes D:paused|no s D:suspended|no D:databases_paused|no s D:databases_disabled|no C:SHOW Z:I");
	const char *said = TALK(w, "P ~ SHOW DATABASES", "B p ~", "E p 1", "E p 0", "S");
	assert_non_null(strstr(said, "main s D:club"));
	assert_string_equal(TALK(w, "E p 1", "S"), "E:34000 Z:I"); /* it ended with its transaction */
}

static void binary_formats_are_those_of_the_types(void **state)
{
	struct world *w = *state;
	const char *said = TALK(w, "P ~ SHOW LISTS", "B ~ ~ 01", "E ~ 1", "S");
	assert_string_equal(said, "1 2 D:databases|00000003 s Z:I");
	said = TALK(w, "P ~ SHOW TOTALS", "B ~ ~ 1", "E ~ 1", "S");
	assert_string_equal(said, "1 2 D:total_server_assignment_count|0000000000000000 s Z:I"); /* numeric 0: no digit */
	assert_string_equal(TALK(w, "P ~ SHOW LISTS", "B ~ ~ 011", "S"), "1 E:08P01 Z:I");
	assert_string_equal(TALK(w, "P ~ SHOW LISTS", "B ~ ~ 2", "S"), "1 E:22023 Z:I");
}

static void numerics_are_written_in_base_10000(void **state)
{
	static const struct column one[] = { { "n", COLUMN_NUMERIC }, { "i", COLUMN_INT4 } };
	struct table t;
	struct writer out;
	writer_init_grow(&out);
	table_init(&t, &out, NULL, one, 2, (struct formats){ 3 });
	table_row(&t);
	table_int(&t, -120340000);
	table_int(&t, INT64_MAX);
	table_end(&t);
	static const uint8_t want[] = { 'D', 0, 0, 0, 32,   0,    2,    0,   0, 0, 14,               /* 14 bytes: */
		                            0,   3, 0, 2, 64,   0,    0,    0,   0, 1, 0x07, 0xf2, 0, 0, /* 1|2034|0000, negative */
		                            0,   0, 0, 4, 0x7f, 0xff, 0xff, 0xff };                      /* the largest */
	assert_int_equal(out.len, sizeof want);
	assert_memory_equal(out.data, want, sizeof want);
	writer_fini(&out);
}

static void access_is_by_the_lists_of_the_configuration(void **state)
{
	struct world *w = *state;
	struct err err;
	assert_null(w->ops.begin(w->ops.arg, "nobody", false, &(struct console_place){ 0 }, &err));
	assert_string_equal(err.sqlstate, "42501");
	void *owner = w->ops.begin(w->ops.arg, "nobody", true, &(struct console_place){ 0 }, &err);
	assert_non_null(owner);
	w->ops.end(owner);
	enter(w, "eye");
	assert_non_null(strstr(TALK(w, "Q SHOW STATE"), "C:SHOW Z:I"));
	assert_string_equal(TALK(w, "Q SHOW FDS"), "E:42501 Z:I");
	for (size_t i = 0; i < n_commands; i++) {
		char text[100];
		static const char *const args[] = {
			"", "", " db", "", " 1", "", " a.b = 1", " t", " n", " n 1s", "", " to n", " to n allow data loss"
		};
		if (commands[i].view)
			continue;
		snprintf(text, sizeof text, "Q %s%s", commands[i].words, args[commands[i].args]);
		assert_string_equal(TALK(w, text), "E:42501 Z:I");
		text[0] = 'P';
		memmove(text + 4, text + 2, strlen(text + 2) + 1);
		memcpy(text + 1, " ~ ", 3);
		assert_string_equal(TALK(w, text, "B ~ ~", "E ~ 0", "S"), "1 2 E:42501 Z:I");
	}
}

static void only_so_many_statements_are_kept(void **state)
{
	struct world *w = *state;
	char line[40];
	for (int i = 0; i < 64; i++) {
		snprintf(line, sizeof line, "P s%d SHOW PEERS", i);
		assert_string_equal(TALK(w, line), "1");
	}
	assert_string_equal(TALK(w, "P more SHOW PEERS", "S"), "E:53400 Z:I");
	assert_string_equal(TALK(w, "Q DEALLOCATE s7", "P more SHOW PEERS", "S"), "C:DEALLOCATE Z:I 1 Z:I");
	assert_string_equal(TALK(w, "Q DEALLOCATE s7", "Q DEALLOCATE ALL", "P s1 SHOW PEERS", "S"),
	                    "E:26000 Z:I C:DEALLOCATE ALL Z:I 1 Z:I");
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_WORLD(a_query_is_answered_with_columns_rows_tag_and_ready),
		WITH_WORLD(views_of_several_rows_are_sorted_by_name),
		WITH_WORLD(a_transaction_is_remembered_and_fails_as_one),
		WITH_WORLD(the_extended_protocol_asks_and_answers),
		WITH_WORLD(errors_skip_to_the_sync),
		WITH_WORLD(a_portal_gives_so_many_rows_at_a_time),
		WITH_WORLD(binary_formats_are_those_of_the_types),
		cmocka_unit_test(numerics_are_written_in_base_10000),
		WITH_WORLD(access_is_by_the_lists_of_the_configuration),
		WITH_WORLD(only_so_many_statements_are_kept),
	};
	return UNIT_RUN(tests);
}
