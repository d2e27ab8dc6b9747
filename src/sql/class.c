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
		p->why = SQL_WHY_OPAQUE;
		p->name_param = p->value_param = p->local_param = SQL_NO_PARAM;
	}
	return c;
}

static bool is_plain(const struct sql_part *p)
{
	bool is_data = p->kind == SQL_SELECT || p->kind == SQL_UPDATE || p->kind == SQL_DELETE || p->kind == SQL_MERGE;
	return is_data && !(p->effects & ~(uint32_t)(SQL_WRITES | SQL_LOCKS_ROWS | SQL_TX_BOUND));
}

struct sql_class *class_seal(struct sql_class *c, bool has_functions)
{
	reads_judge(c);
	c->is_plain = !has_functions;
	for (uint32_t i = 0; i < c->n; i++) {
		c->effects |= c->part[i].effects;
		c->is_opaque |= c->part[i].kind == SQL_OPAQUE;
		c->calls |= c->part[i].functions || c->part[i].touched || c->part[i].fields;
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
	c->part[0].why = v.kind == SQL_OPAQUE ? SQL_WHY_OPAQUE : SQL_WHY_LONG;
	c->is_guess = true;
	return class_seal(c, false);
}

struct sql_class *class_opaque(void)
{
	struct sql_class *c = class_new(1);
	c->part[0].kind = SQL_OPAQUE;
	c->part[0].effects = SQL_WRITES | SQL_NO_PIPELINE;
	c->part[0].why = SQL_WHY_OPAQUE;
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
	size_t sum = sizeof *c + c->n * sizeof c->part[0] + BLOCK_OVERHEAD + text_bytes(c->shape);
	for (uint32_t i = 0; i < c->n; i++) {
		const struct sql_part *p = &c->part[i];
		sum += text_bytes(p->name) + text_bytes(p->value) + text_bytes(p->culprit) + text_bytes(p->blamed);
		sum += p->n_fields ? p->n_fields * sizeof *p->fields + BLOCK_OVERHEAD : 0;
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
	c->shape = mem_text(c->shape);
	for (uint32_t i = 0; i < c->n; i++) {
		struct sql_part *p = &c->part[i];
		p->name = mem_text(p->name);
		p->value = mem_text(p->value);
		p->culprit = mem_text(p->culprit);
		p->blamed = mem_text(p->blamed);
		p->functions = texts_copy(p->functions);
		p->touched = texts_copy(p->touched);
		p->fields = p->fields ? mem_copy(p->fields, p->n_fields * sizeof *p->fields) : NULL;
		p->more_settings = texts_copy(p->more_settings);
	}
	reads_judge(c); /* blamed is a part's own */
	return c;
}

void sql_class_free(struct sql_class *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		struct sql_part *p = &c->part[i];
		mem_free(p->name);
		mem_free(p->value);
		mem_free(p->culprit);
		mem_free(p->blamed);
		texts_free(p->functions);
		texts_free(p->touched);
		mem_free(p->fields);
		texts_free(p->more_settings);
	}
	sql_class_unref(c->informed);
	sql_class_unref(c->as_read);
	mem_free(c->shape);
	mem_free(c);
}
