/* tbl/statements.h, from which docs/statements.md is made, has every statement that the parser knows, every kind and every reason. */
#include "../../../src/sql/tree.h"
#include "base/compiler.h"
#include "base/hash.h"
#include "sql/classify.h"
#include "unit.h"

static const struct {
	const char *text;
	enum sql_why why;
} rows[] = {
#define GROUP(title)
#define STATEMENT(where, why, sql) { sql, SQL_WHY_##why },
#include "tbl/statements.h"
};

#define NODES 512u

static void meet(const ProtobufCMessage *m, bool *met);

static void meet_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, bool *met)
{
	const uint8_t *at = (const uint8_t *)m + f->offset;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)(const void *)((const uint8_t *)m + f->quantifier_offset);
		for (size_t i = 0; i < n; i++)
			meet((*(ProtobufCMessage *const *const *)(const void *)at)[i], met);
		return;
	}
	bool is_other = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	                *(const uint32_t *)(const void *)((const uint8_t *)m + f->quantifier_offset) != f->id;
	if (!is_other && *(ProtobufCMessage *const *)(const void *)at)
		meet(*(ProtobufCMessage *const *)(const void *)at, met);
}

/* Notes each kind of node that is in the tree, by its number. */
static void meet(const ProtobufCMessage *m, bool *met)
{
	if (m->descriptor == &pg_query__node__descriptor)
		met[((const node *)m)->node_case] = true;
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		if (m->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			meet_field(m, &m->descriptor->fields[i], met);
}

static void meet_text(const char *text, bool *met)
{
	PgQueryProtobufParseResult r = pg_query_parse_protobuf(text);
	if (!r.error) {
		PgQuery__ParseResult *tree =
		    pg_query__parse_result__unpack(NULL, r.parse_tree.len, (const uint8_t *)(const void *)r.parse_tree.data);
		meet(&tree->base, met);
		pg_query__parse_result__free_unpacked(tree, NULL);
	}
	pg_query_free_protobuf_parse_result(r);
}

static bool is_statement(const char *node_name)
{
	static const char *const no_text[] = { "raw_stmt", "return_stmt", "plassign_stmt", "set_operation_stmt" }; /* inside others */
	size_t len = strlen(node_name);
	for (size_t i = 0; i < ARRAY_LEN(no_text); i++)
		if (strcmp(node_name, no_text[i]) == 0)
			return false;
	return len > 5 && strcmp(node_name + len - 5, "_stmt") == 0;
}

static void every_statement(void **state)
{
	static bool met[NODES];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		meet_text(rows[i].text, met);
	for (unsigned i = 0; i < pg_query__node__descriptor.n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &pg_query__node__descriptor.fields[i];
		assert_true(f->id < NODES);
		if (is_statement(f->name) && !met[f->id])
			fail_msg("tbl/statements.h has no %s", f->name);
	}
}

static void every_kind_and_reason(void **state)
{
	bool kinds[SQL_EMPTY + 1] = { 0 }, whys[SQL_WHY_UNNAMED + 1] = { 0 };
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sql_class *c = sql_classify(cache, slice_text(rows[i].text), (struct sql_dialect){ 0 });
		for (uint32_t k = 0; k < c->n; k++)
			kinds[c->part[k].kind] = true;
		whys[rows[i].why] = true;
		sql_class_unref(c);
	}
	sql_cache_free(cache);
	whys[SQL_WHY_CATALOG] = true; /* no verdict: until the catalogue is known */
	whys[SQL_WHY_LONG] = true;    /* too long for a table: bad_input_test.c */
	whys[SQL_WHY_UNNAMED] = true; /* a matter of the client's encoding: reads_test.c */
	for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
		if (!kinds[k])
			fail_msg("tbl/statements.h has no statement of kind %u", k);
	for (unsigned k = 0; k < ARRAY_LEN(whys); k++)
		if (!whys[k])
			fail_msg("tbl/statements.h has no statement that %s", sql_why_text(k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_statement),
		cmocka_unit_test(every_kind_and_reason),
	};
	hash_init();
	return UNIT_RUN(tests);
}
