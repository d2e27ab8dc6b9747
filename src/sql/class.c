/*
 * class — the memory of a struct sql_class: made, summed up once, shared by reference, freed with the last one.
 */
#include "priv.h"

#include "base/mem.h"

struct sql_class *class_new(uint32_t n)
{
	struct sql_class *c = mem_alloc(sizeof *c + n * sizeof c->part[0]);
	c->refs = 1;
	c->n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct sql_part *p = &c->part[i];
		p->kind = SQL_OTHER;
		p->name_param = p->value_param = p->local_param = SQL_NO_PARAM;
	}
	return c;
}

static bool is_plain(const struct sql_part *p)
{
	bool is_data = p->kind == SQL_SELECT || p->kind == SQL_UPDATE || p->kind == SQL_DELETE || p->kind == SQL_MERGE;
	return is_data && !(p->effects & ~(uint32_t)(SQL_WRITES | SQL_LOCKS_ROWS));
}

static const char *const whys[] = {
#define WHY(id, text) [SQL_WHY_##id] = text,
#include "tbl/whys.h"
#undef WHY
};

/* What ties the session to its server: a standby must not be that one. */
#define TIES (SQL_TEMP_OBJECT | SQL_HOLD_CURSOR | SQL_ADVISORY_LOCK | SQL_NEXTVAL | SQL_CURRVAL | SQL_OPAQUE_CALL)

static bool part_may_stay(const struct sql_part *p)
{
	return p->why <= SQL_WHY_SETTING && p->why != SQL_WHY_CATALOG && !(p->effects & TIES);
}

static void judge_reads(struct sql_class *c)
{
	c->is_read = c->may_stay = true;
	c->why_primary = NULL;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct sql_part *p = &c->part[i];
		c->may_stay &= part_may_stay(p);
		if (p->why == SQL_WHY_READ || !c->is_read)
			continue;
		c->is_read = false;
		c->why_primary = whys[p->why];
	}
}

/* Until more is known: what writes, or calls or names anything, is no read. */
static void judge_part(struct sql_part *p)
{
	static const uint64_t session = 1ull << SQL_SET | 1ull << SQL_SET_LOCAL | 1ull << SQL_RESET | 1ull << SQL_RESET_ALL;
	if (p->kind == SQL_OPAQUE)
		p->why = SQL_WHY_OPAQUE;
	else if (p->effects & ~(uint32_t)(SQL_IS_LOCAL | SQL_PLAIN_BEGIN | SQL_AND_CHAIN))
		p->why = p->effects & SQL_LOCKS_ROWS ? SQL_WHY_LOCKS_ROWS : SQL_WHY_WRITES;
	else if (session >> p->kind & 1)
		p->why = SQL_WHY_SESSION;
	else if (p->kind == SQL_SHOW)
		p->why = SQL_WHY_SETTING;
	else if (p->more_settings || p->kind == SQL_SET_TRANSACTION)
		p->why = SQL_WHY_MODE;
	else if (p->functions || p->touched)
		p->why = SQL_WHY_CATALOG;
}

struct sql_class *class_seal(struct sql_class *c, bool has_functions)
{
	for (uint32_t i = 0; i < c->n; i++)
		judge_part(&c->part[i]);
	judge_reads(c);
	c->is_plain = !has_functions;
	for (uint32_t i = 0; i < c->n; i++) {
		c->effects |= c->part[i].effects;
		c->is_opaque |= c->part[i].kind == SQL_OPAQUE;
		c->calls |= c->part[i].functions || c->part[i].touched;
		c->is_plain &= is_plain(&c->part[i]);
	}
	c->has_functions = has_functions;
	c->needs_facts = c->calls || c->is_guess || (c->effects & SQL_DDL);
	return c;
}

struct sql_class *class_guess(struct slice text, struct sql_dialect dialect)
{
	struct sql_scan scan;
	sql_scan_init(&scan, dialect);
	sql_scan_feed(&scan, text);
	struct scan_verdict v = scan_judge(&scan);
	struct sql_class *c = class_new(1);
	c->part[0].kind = (uint8_t)v.kind;
	c->part[0].effects = v.effects | (v.effects & SQL_DDL || v.kind == SQL_OPAQUE ? SQL_CATALOG_DDL : 0);
	c->is_guess = true;
	return class_seal(c, false);
}

struct sql_class *class_opaque(void)
{
	struct sql_class *c = class_new(1);
	c->part[0].kind = SQL_OPAQUE;
	c->part[0].effects = SQL_WRITES | SQL_NO_PIPELINE;
	return class_seal(c, false);
}

static size_t texts_len(char **texts)
{
	size_t n = 0;
	while (texts && texts[n])
		n++;
	return n;
}

char **texts_add(char **texts, char *text)
{
	size_t n = texts_len(texts);
	texts = mem_grow(texts, (n + 2) * sizeof *texts);
	texts[n] = text;
	texts[n + 1] = NULL;
	return texts;
}

void texts_free(char **texts)
{
	for (size_t i = 0, n = texts_len(texts); i < n; i++)
		mem_free(texts[i]);
	mem_free(texts);
}

/* Blocks of the allocator are about this much larger than what is in them. */
#define BLOCK_OVERHEAD 16u

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) + 1 + BLOCK_OVERHEAD : 0;
}

static size_t texts_bytes(char **texts)
{
	size_t n = texts_len(texts), sum = n ? (n + 1) * sizeof *texts + BLOCK_OVERHEAD : 0;
	for (size_t i = 0; i < n; i++)
		sum += text_bytes(texts[i]);
	return sum;
}

size_t class_bytes(const struct sql_class *c)
{
	size_t sum = sizeof *c + c->n * sizeof c->part[0] + BLOCK_OVERHEAD;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct sql_part *p = &c->part[i];
		sum += text_bytes(p->name) + text_bytes(p->value) + text_bytes(p->culprit);
		sum += texts_bytes(p->functions) + texts_bytes(p->touched) + texts_bytes(p->more_settings);
	}
	return c->needs_facts ? 2 * sum : sum; /* as_read */
}

static char **texts_copy(char **texts)
{
	char **copy = NULL;
	for (size_t i = 0, n = texts_len(texts); i < n; i++)
		copy = texts_add(copy, mem_text(texts[i]));
	return copy;
}

struct sql_class *class_copy(const struct sql_class *from)
{
	struct sql_class *c = mem_copy(from, sizeof *c + from->n * sizeof c->part[0]);
	c->refs = 1;
	c->is_plain = false; /* effects will be added */
	c->informed = c->as_read = NULL;
	c->informed_by = 0;
	for (uint32_t i = 0; i < c->n; i++) {
		struct sql_part *p = &c->part[i];
		p->name = mem_text(p->name);
		p->value = mem_text(p->value);
		p->culprit = mem_text(p->culprit);
		p->functions = texts_copy(p->functions);
		p->touched = texts_copy(p->touched);
		p->more_settings = texts_copy(p->more_settings);
	}
	return c;
}

bool class_may_be_read(const struct sql_class *c)
{
	bool may = !c->is_read;
	for (uint32_t i = 0; i < c->n; i++)
		may &= c->part[i].why <= SQL_WHY_CATALOG;
	return may;
}

struct sql_class *class_proven(const struct sql_class *from)
{
	struct sql_class *c = class_copy(from);
	c->is_plain = from->is_plain;
	for (uint32_t i = 0; i < c->n; i++)
		c->part[i].why = SQL_WHY_READ;
	judge_reads(c);
	return c;
}

struct sql_class *sql_class_ref(struct sql_class *c)
{
	c->refs++;
	return c;
}

void sql_class_unref(struct sql_class *c)
{
	if (!c || --c->refs > 0)
		return;
	for (uint32_t i = 0; i < c->n; i++) {
		struct sql_part *p = &c->part[i];
		mem_free(p->name);
		mem_free(p->value);
		mem_free(p->culprit);
		texts_free(p->functions);
		texts_free(p->touched);
		texts_free(p->more_settings);
	}
	sql_class_unref(c->informed);
	sql_class_unref(c->as_read);
	mem_free(c);
}
