/* The console's answers, byte by byte, over invented pools and clients: what they know comes from fakes of the three walkers below. */
#include "admin/console.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/version.h"
#include "conf/conf.h"
#include "unit.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

void pool_registry_each(struct pool_registry *r, void (*fn)(void *arg, const struct pool_row *row), void *arg)
{
	static const struct pool_row rows[] = {
		{ .node_id = 7,
		  .node = "pg1",
		  .database = "shop",
		  .user = "app",
		  .mode = "transaction",
		  .clients = 9,
		  .waiting = 2,
		  .lent = 4,
		  .idle = 1,
		  .opening = 1,
		  .pinned = 3,
		  .size = 20,
		  .max_wait_us = 2500001,
		  .transactions = 1000,
		  .queries = 2000,
		  .bytes_in = 5000000000,
		  .bytes_out = 6 },
		{ .node_id = 8, .node = "pg2", .database = "shop", .user = "app", .mode = "session", .lent = 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		fn(arg, &rows[i]);
}

void session_registry_each(struct session_registry *r, void (*fn)(void *arg, const struct session_row *row), void *arg)
{
	fn(arg, &(struct session_row){ .id = 1,
	                               .user = "app",
	                               .database = "shop",
	                               .state = "idle",
	                               .pin = "temporary table",
	                               .address = "127.0.0.1:4711",
	                               .application = "psql",
	                               .connected_us = clock_us() });
	fn(arg, &(struct session_row){ .id = 2, .state = "login", .address = "unix:" });
}

void conf_each(const struct conf *c, void (*fn)(void *, const char *, const char *, const char *, bool), void *arg)
{
	fn(arg, "workers", "2", "0", true);
	fn(arg, "pool.size", "30", "20", false);
}

static const struct topo *a_topology(void)
{
	static struct topo_node nodes[] = { { .id = 7, .name = "pg1", .host = "10.0.0.1", .port = 5432, .is_reachable = true },
		                                { .id = 8, .name = "pg2", .host = "10.0.0.2", .port = 5433, .in_recovery = true },
		                                { .id = 9, .name = "pg3", .host = "/run", .port = 5434 } };
	static struct topo_cluster cluster = { .name = "main", .n_nodes = 3, .nodes = nodes, .primary = 0 };
	static const struct topo topo = { .n_clusters = 1, .clusters = &cluster };
	return &topo;
}

/* The answer as text: a line of column names, a line for each row, cells with '|' between, NULL as "-", then the tag. */
static char answer_text[8192];

static void put(const char *fmt, const char *what, size_t len)
{
	size_t at = strlen(answer_text);
	snprintf(answer_text + at, sizeof answer_text - at, fmt, (int)len, what);
}

static void put_columns(struct reader *r)
{
	unsigned n = reader_u16(r);
	for (unsigned i = 0; i < n; i++) {
		struct slice name = reader_text(r);
		put(i ? "|%.*s" : "%.*s", (const char *)name.at, name.len);
		assert_int_equal(reader_u32(r), 0);
		assert_int_equal(reader_u16(r), 0);
		uint32_t type = reader_u32(r);
		int16_t size = (int16_t)reader_u16(r);
		assert_int_equal(size, type == 20 ? 8 : type == 23 ? 4 : -1);
		assert_int_equal(reader_u32(r), UINT32_MAX);
		assert_int_equal(reader_u16(r), 0);
	}
}

static void put_cells(struct reader *r)
{
	unsigned n = reader_u16(r);
	for (unsigned i = 0; i < n; i++) {
		int32_t len = reader_i32(r);
		struct slice cell = len < 0 ? slice_text("-") : reader_bytes(r, (size_t)len);
		put(i ? "|%.*s" : "%.*s", (const char *)cell.at, cell.len);
	}
}

static void put_message(uint8_t type, struct reader *r)
{
	struct pgerr e;
	struct slice tag;
	switch (type) {
	case 'T':
		put_columns(r);
		break;
	case 'D':
		put_cells(r);
		break;
	case 'C':
		tag = reader_text(r);
		put("%.*s", (const char *)tag.at, tag.len);
		break;
	case 'E':
		assert_true(pgerr_read(reader_bytes(r, reader_left(r)), &e));
		put("%.*s ", (const char *)e.sqlstate.at, 5);
		put("%.*s / ", (const char *)e.message.at, e.message.len);
		put("%.*s", (const char *)e.hint.at, e.hint.len);
		break;
	default:
		assert_int_equal(type, 'I');
		put("%.*s", "empty", 5);
	}
	assert_true(reader_done(r));
	put("%.*s", "\n", 1);
}

static const char *answer_bytes(struct slice query)
{
	struct console console = { .topo = a_topology() };
	struct writer w;
	writer_init_grow(&w);
	console_answer(&console, query, &w);
	assert_true(writer_ok(&w));
	answer_text[0] = '\0';
	struct reader all;
	reader_init(&all, writer_slice(&w));
	while (reader_left(&all)) {
		uint8_t type = reader_u8(&all);
		struct reader body;
		reader_init(&body, reader_bytes(&all, reader_u32(&all) - 4));
		put_message(type, &body);
	}
	assert_true(reader_ok(&all));
	writer_fini(&w);
	return answer_text;
}

static const char *answer(const char *query)
{
	return answer_bytes(slice_text(query));
}

static void pools_are_shown_with_pgbouncers_columns_first(void **state)
{
	assert_string_equal(
	    answer("SHOW POOLS"),
	    "database|user|cl_active|cl_waiting|sv_active|sv_idle|sv_login|maxwait|maxwait_us|pool_mode|node|sv_pinned|pool_size\n"
	    "shop|app|7|2|4|1|1|2|500001|transaction|pg1|3|20\n"
	    "shop|app|0|0|1|0|0|0|0|session|pg2|0|0\n"
	    "SHOW\n");
}

static void nodes_are_shown_with_their_roles_and_servers(void **state)
{
	assert_string_equal(answer("SHOW NODES"),
	                    "cluster|node|host|port|role|reachable|sv_active|sv_idle|sv_login|waiting|max_connections\n"
	                    "main|pg1|10.0.0.1|5432|primary|yes|4|1|1|2|0\n"
	                    "main|pg2|10.0.0.2|5433|standby|no|1|0|0|0|0\n"
	                    "main|pg3|/run|5434|unknown|no|0|0|0|0|0\n"
	                    "SHOW\n");
}

static void counters_are_shown_for_each_pool(void **state)
{
	assert_string_equal(answer("show stats"), "database|total_xact_count|total_query_count|total_received|total_sent|user|node\n"
	                                          "shop|1000|2000|5000000000|6|app|pg1\n"
	                                          "shop|0|0|0|0|app|pg2\n"
	                                          "SHOW\n");
}

static void only_pinned_clients_are_shown_as_pins(void **state)
{
	assert_string_equal(answer("SHOW PINS"), "id|user|database|reason|state|addr|application_name\n"
	                                         "1|app|shop|temporary table|idle|127.0.0.1:4711|psql\n"
	                                         "SHOW\n");
}

static void clients_are_shown_also_before_their_login(void **state)
{
	const char *text = answer("SHOW CLIENTS");
	assert_non_null(strstr(text, "\nC|app|shop|idle|127.0.0.1:4711|2"));
	assert_non_null(strstr(text, "\nC|-|-|login|unix:|"));
}

static void settings_version_and_help_are_shown(void **state)
{
	assert_string_equal(answer("SHOW CONFIG"), "key|value|default|changeable\nworkers|2|0|no\npool.size|30|20|yes\nSHOW\n");
	assert_string_equal(answer("SHOW VERSION"), "version\nLunapool " LUNAPOOL_VERSION "\nSHOW\n");
	assert_non_null(strstr(answer("SHOW HELP"), "\nSHOW POOLS|One row"));
}

static void case_space_and_semicolons_do_not_matter(void **state)
{
	assert_non_null(strstr(answer("  show\n\tVersion ;; "), "Lunapool"));
	assert_non_null(strstr(answer_bytes(slice_of("SHOW VERSION;", 14)), "Lunapool")); /* with its NUL */
}

static void nothing_is_answered_by_an_empty_query_response(void **state)
{
	assert_string_equal(answer(""), "empty\n");
	assert_string_equal(answer(" ; "), "empty\n");
}

static void what_is_not_known_is_an_error_with_a_hint(void **state)
{
	assert_string_equal(answer("SHOW POOL"), "42601 the console does not know \"SHOW POOL\" / SHOW HELP lists the commands.\n");
	static const char *const wrong[] = { "SHOW", "POOLS", "SHOW POOLS NOW", "SELECT 1", "SHOW POOLS; SHOW NODES" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_memory_equal(answer(wrong[i]), "42601", 5);
	char longest[5000];
	memset(longest, 'x', sizeof longest);
	assert_memory_equal(answer_bytes(slice_of(longest, sizeof longest)), "42601", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pools_are_shown_with_pgbouncers_columns_first),
		cmocka_unit_test(nodes_are_shown_with_their_roles_and_servers),
		cmocka_unit_test(counters_are_shown_for_each_pool),
		cmocka_unit_test(only_pinned_clients_are_shown_as_pins),
		cmocka_unit_test(clients_are_shown_also_before_their_login),
		cmocka_unit_test(settings_version_and_help_are_shown),
		cmocka_unit_test(case_space_and_semicolons_do_not_matter),
		cmocka_unit_test(nothing_is_answered_by_an_empty_query_response),
		cmocka_unit_test(what_is_not_known_is_an_error_with_a_hint),
	};
	return UNIT_RUN(tests);
}
