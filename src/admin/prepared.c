/*
 * prepared — the extended protocol of the console, without parameters: statements and portals are commands that were understood, and a portal may be
 * executed a few rows at a time.
 *
 * Always: of each, a client has at most NAMED_MAX that have a name; portals end with their transaction.
 */
#include <string.h>

#include "base/mem.h"
#include "priv.h"
#include "wire/frame.h"
#include "wire/reader.h"

#define NAMED_MAX 64u

/* ---- statements and portals ------------------------------------------------------------------------------------------------------ */

static struct slice key_of(struct slice name)
{
	return slice_of(name.at, name.len + 1); /* with its NUL: no key is empty */
}

static void statement_free(struct call *call)
{
	if (!call)
		return;
	call_fini(call);
	mem_free(call);
}

void prepared_free(struct portal *p)
{
	if (!p)
		return;
	answer_fini(&p->answer);
	mem_free(p);
}

void prepared_forget_portals(struct talk *t)
{
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&t->portals, &it, &key, &value);)
		prepared_free(value);
	map_fini(&t->portals);
}

void prepared_forget_unnamed(struct talk *t)
{
	prepared_free(map_remove(&t->portals, slice_of("", 1)));
	statement_free(map_remove(&t->statements, slice_of("", 1)));
}

void prepared_forget_statements(struct talk *t)
{
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&t->statements, &it, &key, &value);)
		statement_free(value);
	map_fini(&t->statements);
}

bool prepared_deallocate(struct talk *t, const char *name, struct err *err)
{
	if (!name) {
		prepared_forget_statements(t);
		return true;
	}
	struct call *call = map_remove(&t->statements, key_of(slice_text(name)));
	statement_free(call);
	return call ? true : err_set(err, "26000", "prepared statement \"%s\" does not exist", name);
}

struct portal *prepared_portal(const struct talk *t, const struct call *call)
{
	struct portal *p = mem_alloc(sizeof *p);
	answer_init(&p->answer, t->console, call, &t->place, t->user);
	return p;
}

/* ---- messages ------------------------------------------------------------------------------------------------------------------------------- */

static bool malformed(struct err *err, const char *what)
{
	return err_set(err, "08P01", "malformed %s message", what);
}

static bool take_parse(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice name = reader_text(&r), text = reader_text(&r);
	unsigned types = reader_u16(&r);
	reader_bytes(&r, 4u * types);
	if (!reader_done(&r))
		return malformed(err, "Parse");
	if (name.len && map_get(&t->statements, key_of(name)))
		return err_set(err, "42P05", "prepared statement \"%.*s\" already exists", (int)name.len, (const char *)name.at);
	if (types)
		return err_set(err, "0A000", "the console's commands have no parameters");
	if (map_len(&t->statements) >= NAMED_MAX && name.len)
		return err_set(err, "53400", "the console keeps at most %u prepared statements of a client", NAMED_MAX);
	struct call call, *kept;
	if (!call_parse(text, &call, err))
		return false;
	kept = mem_alloc(sizeof *kept);
	*kept = call;
	statement_free(map_put(&t->statements, key_of(name), kept));
	talk_say(w, '1');
	return true;
}

/* Format codes: none, one for all columns, or one for each (PostgreSQL protocol, Bind). */
static bool read_formats(struct reader *r, unsigned n_columns, struct formats *out, struct err *err)
{
	unsigned n = reader_u16(r);
	out->binary = 0;
	for (unsigned i = 0; i < n && reader_ok(r); i++) {
		uint16_t code = reader_u16(r);
		if (code > 1)
			return err_set(err, "22023", "unsupported format code: %u", code);
		if (code && n > 1 && i < COLUMNS_MAX)
			out->binary |= 1ull << i;
		else if (code && n == 1)
			out->binary = UINT64_MAX;
	}
	if (reader_ok(r) && n > 1 && n != n_columns)
		return err_set(err, "08P01", "bind message has %u result formats but query has %u columns", n, n_columns);
	return true;
}

static bool read_bind(struct reader *r, struct portal *p, struct err *err)
{
	unsigned codes = reader_u16(r);
	reader_bytes(r, 2u * codes);
	unsigned params = reader_u16(r);
	if (!reader_ok(r))
		return malformed(err, "Bind");
	if (params || codes > 1)
		return err_set(err, "08P01", "bind message supplies %u parameters, but the console's commands have none", params);
	if (!read_formats(r, p->answer.n_columns, &p->answer.formats, err))
		return false;
	return reader_done(r) || malformed(err, "Bind");
}

static bool no_statement(struct slice name, struct err *err)
{
	if (!name.len)
		return err_set(err, "26000", "unnamed prepared statement does not exist");
	return err_set(err, "26000", "prepared statement \"%.*s\" does not exist", (int)name.len, (const char *)name.at);
}

static bool no_portal(struct slice name, struct err *err)
{
	return err_set(err, "34000", "portal \"%.*s\" does not exist", (int)name.len, (const char *)name.at);
}

static bool take_bind(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice portal = reader_text(&r), name = reader_text(&r);
	if (!reader_ok(&r))
		return malformed(err, "Bind");
	const struct call *call = map_get(&t->statements, key_of(name));
	if (!call)
		return no_statement(name, err);
	if (portal.len && map_get(&t->portals, key_of(portal)))
		return err_set(err, "42P03", "cursor \"%.*s\" already exists", (int)portal.len, (const char *)portal.at);
	if (map_len(&t->portals) >= NAMED_MAX && portal.len)
		return err_set(err, "53400", "the console keeps at most %u portals of a client", NAMED_MAX);
	struct portal *p = prepared_portal(t, call);
	if (!read_bind(&r, p, err)) {
		prepared_free(p);
		return false;
	}
	prepared_free(map_put(&t->portals, key_of(portal), p));
	talk_say(w, '2');
	return true;
}

static void describe(const struct answer *a, struct formats formats, struct writer *w)
{
	if (a->n_columns)
		table_describe(w, a->columns, a->n_columns, formats);
	else
		talk_say(w, 'n');
}

static bool describe_statement(struct talk *t, struct slice name, struct writer *w, struct err *err)
{
	const struct call *call = map_get(&t->statements, key_of(name));
	struct answer a;
	if (!call)
		return no_statement(name, err);
	writer_begin(w, 't');
	writer_u16(w, 0);
	writer_end(w);
	answer_init(&a, t->console, call, &t->place, t->user);
	describe(&a, (struct formats){ 0 }, w);
	answer_fini(&a);
	return true;
}

static bool take_describe(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	uint8_t what = reader_u8(&r);
	struct slice name = reader_text(&r);
	if (!reader_done(&r) || (what != 'S' && what != 'P'))
		return malformed(err, "Describe");
	if (what == 'S')
		return describe_statement(t, name, w, err);
	const struct portal *p = map_get(&t->portals, key_of(name));
	if (!p)
		return no_portal(name, err);
	describe(&p->answer, p->answer.formats, w);
	return true;
}

static bool take_close(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	uint8_t what = reader_u8(&r);
	struct slice name = reader_text(&r);
	if (!reader_done(&r) || (what != 'S' && what != 'P'))
		return malformed(err, "Close");
	if (what == 'S')
		statement_free(map_remove(&t->statements, key_of(name)));
	else
		prepared_free(map_remove(&t->portals, key_of(name)));
	talk_say(w, '3');
	return true;
}

/* Sets t->running. */
static bool take_execute(struct talk *t, struct slice body, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice name = reader_text(&r);
	int32_t limit = reader_i32(&r);
	if (!reader_done(&r))
		return malformed(err, "Execute");
	struct portal *p = map_get(&t->portals, key_of(name));
	if (!p)
		return no_portal(name, err);
	if (!talk_may(t, &p->answer.call, err))
		return false;
	if (p->answer.is_over && !p->answer.n_columns)
		return err_set(err, "55000", "portal \"%.*s\" cannot be run", (int)name.len, (const char *)name.at);
	t->running = p;
	t->limit = limit > 0 ? (uint64_t)limit : UINT64_MAX;
	return true;
}

bool prepared_take(struct talk *t, const struct frame *f, struct writer *w, struct err *err)
{
	switch (f->type) {
	case 'P':
		return take_parse(t, f->body, w, err);
	case 'B':
		return take_bind(t, f->body, w, err);
	case 'D':
		return take_describe(t, f->body, w, err);
	case 'C':
		return take_close(t, f->body, w, err);
	case 'E':
		return take_execute(t, f->body, err);
	default:
		return err_set(err, "0A000", "the console does not take %s messages", frame_name(FRAME_FROM_CLIENT, f->type));
	}
}
