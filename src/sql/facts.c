/*
 * facts — the snapshot's table, and what it adds to a class.
 *
 *   class + facts of its database --inform()--> the class itself, when they add nothing, or a copy with more effects
 *
 * A class remembers what the last facts made of it, so that a statement that comes again costs one comparison.  It is shared by all
 * databases of its worker: two that take turns in one shape look it up each time.
 *
 * A function that stands in no table is opaque: made after the snapshot, or nothing is known at all.
 */
#include "sql/facts.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/map.h"
#include "base/mem.h"
#include "builtins.h"
#include "lex.h"
#include "priv.h"
#include "sql/body.h"

struct entry {
	uint32_t effects;
	const char *cause;
	char text[]; /* what cause points at */
};

struct facts {
	_Atomic unsigned refs;
	uint64_t id;
	bool is_known;
	size_t n_effects; /* names that have any */
	struct map names; /* kind and name -> struct entry */
};

/* Most functions. */
static const struct entry harmless = { .cause = "" };

/* ---- the table ------------------------------------------------------------------------------------ */

/* Kind and name as the map's key; names that are longer than PostgreSQL's do not exist. */
static struct slice key_of(char out[FACTS_NAME_MAX + 1], enum facts_kind kind, const char *name)
{
	size_t len = strnlen(name, FACTS_NAME_MAX);
	out[0] = (char)kind;
	memcpy(out + 1, name, len);
	return slice_of(out, len + 1);
}

struct facts *facts_new(bool is_known)
{
	struct facts *f = mem_alloc(sizeof *f);
	f->is_known = is_known;
	return f;
}

static void put(struct facts *f, struct slice key, const struct entry *e)
{
	struct entry *was = map_put(&f->names, key, (void *)(uintptr_t)e);
	f->n_effects += e != &harmless;
	if (!was || was == &harmless)
		return;
	f->n_effects--;
	mem_free(was);
}

void facts_add(struct facts *f, enum facts_kind kind, const char *name, uint32_t effects, const char *cause)
{
	char space[FACTS_NAME_MAX + 1];
	struct slice key = key_of(space, kind, name);
	const struct entry *there = map_get(&f->names, key);
	if (there && (there->effects | effects) == there->effects)
		return;
	if (!effects) {
		put(f, key, &harmless);
		return;
	}
	if (there && there->cause[0])
		cause = there->cause;
	cause = cause ? cause : "";
	struct entry *e = mem_alloc(sizeof *e + strlen(cause) + 1);
	e->effects = effects | (there ? there->effects : 0);
	strcpy(e->text, cause);
	e->cause = e->text;
	put(f, key, e);
}

void facts_forgive(struct facts *f, const char *function)
{
	char space[FACTS_NAME_MAX + 1];
	struct slice key = key_of(space, FACTS_FUNCTION, function);
	const struct entry *there = map_get(&f->names, key);
	bool is_read = there && !(there->effects & SQL_WRITES);
	put(f, key, &harmless);
	if (!is_read)
		facts_add(f, FACTS_FUNCTION, function, SQL_WRITES, NULL);
}

struct facts *facts_seal(struct facts *f)
{
	static _Atomic uint64_t ids; /* a counter, no state: it only keeps two snapshots apart */
	f->id = atomic_fetch_add(&ids, 1) + 1;
	atomic_store(&f->refs, 1);
	return f;
}

struct facts *facts_ref(struct facts *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void facts_unref(struct facts *f)
{
	uint32_t it = 0;
	void *e;
	if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1)
		return;
	while (map_next(&f->names, &it, NULL, &e))
		if (e != &harmless)
			mem_free(e);
	map_fini(&f->names);
	mem_free(f);
}

uint64_t facts_id(const struct facts *f)
{
	return f->id;
}

bool facts_is_known(const struct facts *f)
{
	return f->is_known;
}

size_t facts_effects(const struct facts *f)
{
	return f->n_effects;
}

bool facts_find(const struct facts *f, enum facts_kind kind, const char *name, uint32_t *effects, const char **cause)
{
	char space[FACTS_NAME_MAX + 1];
	const struct entry *e = map_get(&f->names, key_of(space, kind, name));
	if (!e)
		return false;
	*effects = e->effects;
	*cause = e->cause;
	return true;
}

bool facts_is_ascii(const char *name)
{
	while (*name && !(*name & 0x80))
		name++;
	return !*name;
}

uint32_t facts_field(const char *name)
{
	return facts_is_ascii(name) ? body_hash(slice_text(name), false) : 0;
}

const char *facts_field_key(uint32_t field, char out[FACTS_FIELD_KEY])
{
	snprintf(out, FACTS_FIELD_KEY, "%08x", field);
	return out;
}

/* ---- what they add to a class --------------------------------------------------------------------- */

/* What stays in the session behind a statement. */
#define STAYS (SQL_OPAQUE_CALL | SQL_TEMP_OBJECT | SQL_ADVISORY_LOCK | SQL_HOLD_CURSOR)
/* What says where a statement may run, and nothing else. */
#define ROUTES (SQL_WRITES | SQL_TX_BOUND | SQL_NO_STANDBY | SQL_PLANNED)

struct finding {
	const struct facts *facts;
	bool plans_only; /* nothing is called but what planning calls */
	uint32_t effects;
	enum sql_why why; /* the first reason against reading it on a standby */
	const char *culprit, *blamed;
	char word[FACTS_NAME_MAX]; /* culprit, where nothing else holds it */
};

static void found(struct finding *g, uint32_t effects, const char *culprit)
{
	bool is_first = (effects & ~(uint32_t)ROUTES) && !(g->effects & STAYS);
	g->effects |= effects;
	if (is_first)
		g->culprit = culprit;
}

static enum sql_why why_of(enum facts_kind kind, uint32_t effects)
{
	if (kind == FACTS_WRITE || kind == FACTS_DDL || !(effects & ~(uint32_t)(SQL_TX_BOUND | SQL_IS_LOCAL)))
		return SQL_WHY_READ;
	if (effects & SQL_NO_STANDBY)
		return SQL_WHY_NO_STANDBY;
	if (kind != FACTS_FUNCTION)
		return SQL_WHY_HIDDEN;
	return effects & SQL_WRITES ? SQL_WHY_VOLATILE : SQL_WHY_CHANGES_SESSION;
}

static void blame(struct finding *g, enum sql_why why, const char *name)
{
	if (g->why != SQL_WHY_READ)
		return;
	g->why = why;
	g->blamed = name;
}

static void take(struct finding *g, enum facts_kind kind, uint32_t effects, const char *culprit, const char *blamed)
{
	if (g->plans_only && !(effects & SQL_PLANNED))
		effects &= SQL_WRITES | SQL_NO_STANDBY;
	found(g, effects, culprit);
	blame(g, why_of(kind, effects & ~(uint32_t)SQL_PLANNED), blamed);
}

/* False: there is no such name. */
static bool look_up(struct finding *g, enum facts_kind kind, const char *name)
{
	uint32_t effects;
	const char *cause;
	if (!facts_find(g->facts, kind, name, &effects, &cause))
		return false;
	take(g, kind, effects, kind == FACTS_FUNCTION || !cause[0] ? name : cause, name);
	return true;
}

/* What has no name: told by its cause. */
static void look_up_unnamed(struct finding *g, enum facts_kind kind, const char *key)
{
	uint32_t effects;
	const char *cause;
	if (facts_find(g->facts, kind, key, &effects, &cause))
		take(g, kind, effects, cause, cause);
}

/* NAME(…) may also be a cast to a type. */
static void look_up_function(struct finding *g, const char *name)
{
	look_up(g, FACTS_TYPE, name);
	if (look_up(g, FACTS_FUNCTION, name) || builtin_find(slice_text(name)) != BUILTIN_UNKNOWN)
		return;
	if (!g->plans_only)
		found(g, SQL_OPAQUE_CALL, name);
	if (g->facts->is_known)
		blame(g, SQL_WHY_UNKNOWN, name);
}

static void look_up_touched(struct finding *g, char kind, const char *name)
{
	if (kind == TOUCHED_METHOD) {
		look_up(g, FACTS_FUNCTION, name);
		return;
	}
	bool is_there = look_up(g, kind == TOUCHED_OWN_TYPE ? FACTS_TYPE : (enum facts_kind)kind, name);
	if (!is_there && kind != TOUCHED_OWN_TYPE && g->facts->is_known && !facts_is_ascii(name)) /* in another encoding? */
		blame(g, SQL_WHY_UNNAMED, name);
}

static void look_up_field(struct finding *g, uint32_t field)
{
	char key[FACTS_FIELD_KEY];
	look_up_unnamed(g, FACTS_FIELD, facts_field_key(field, key));
}

static void look_up_part(struct finding *g, const struct sql_part *p)
{
	g->plans_only = p->effects & SQL_PLAN_ONLY;
	for (char **f = p->functions; f && *f; f++)
		look_up_function(g, *f);
	for (char **t = p->touched; t && *t; t++)
		look_up_touched(g, **t, *t + 1);
	for (uint32_t i = 0; i < p->n_fields; i++)
		look_up_field(g, p->fields[i]);
	if (p->functions || p->touched || p->fields)
		look_up_unnamed(g, FACTS_ANY, "");
	if (p->effects & SQL_DDL)
		look_up_unnamed(g, FACTS_DDL, "");
	if ((p->effects & SQL_CALL) && !(g->effects & STAYS))
		g->effects |= SQL_HARMLESS;
}

/* A set_config() whose effect is seen stays what it is: what else the statement calls is not local for that. */
static uint32_t effects_with(uint32_t before, uint32_t more)
{
	uint32_t local = SQL_SET_CONFIG | SQL_IS_LOCAL;
	return before | ((before & SQL_SET_CONFIG) ? more & ~local : more);
}

/* C as it is proven to be, when nothing stands against it; a reference. */
static struct sql_class *proven(struct sql_class *c)
{
	if (!c->as_read) {
		c->as_read = class_copy(c);
		c->as_read->is_plain = c->is_plain;
		reads_prove(c->as_read);
	}
	return sql_class_ref(c->as_read);
}

/* What it calls is known now, if that counts.  A plan calls hardly anything, and PREPARE nothing. */
static bool idles(const struct sql_part *p, const struct finding *g)
{
	bool is_harmless = g->why == SQL_WHY_READ || (g->plans_only && !(g->effects & SQL_PLANNED));
	if (p->kind == SQL_PREPARE)
		return p->is_idle;
	return p->may_be_idle && is_harmless && (p->is_idle || g->facts->is_known);
}

static void add(struct sql_part *p, const struct finding *g)
{
	p->is_idle = idles(p, g);
	p->effects = effects_with(p->effects, g->effects);
	p->culprit = g->culprit ? mem_text(g->culprit) : NULL;
	if (g->why == SQL_WHY_READ || p->why > SQL_WHY_EXECUTE)
		return;
	mem_free(p->blamed);
	p->blamed = mem_text(g->blamed);
	p->why = (uint8_t)g->why;
}

static void inform(struct sql_class *c, const struct facts *f)
{
	struct sql_class *copy = NULL;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct sql_part *p = &c->part[i];
		struct finding g = { .facts = f };
		look_up_part(&g, p);
		if (effects_with(p->effects, g.effects) == p->effects && !g.culprit &&
		    (g.why == SQL_WHY_READ || p->why > SQL_WHY_EXECUTE) && (p->why == SQL_WHY_CATALOG || p->is_idle == idles(p, &g)))
			continue;
		copy = copy ? copy : class_copy(c);
		add(&copy->part[i], &g);
		copy->effects |= copy->part[i].effects;
	}
	if (copy) {
		f->is_known ? reads_prove(copy) : reads_judge(copy);
		copy->is_plain = c->is_plain && !(copy->effects & ~(uint32_t)(ROUTES | SQL_LOCKS_ROWS));
	} else if (f->is_known && reads_is_open(c)) {
		copy = proven(c);
	}
	sql_class_unref(c->informed);
	c->informed = copy;
	c->informed_by = f->id;
}

/* ---- texts that were not parsed --------------------------------------------------------------------- */

static void found_word(struct finding *g, uint32_t effects, const char *name)
{
	found(g, effects, name);
	if (g->culprit == name)
		g->culprit = strcpy(g->word, name);
}

static void look_up_word(struct finding *g, const struct lex_token *t, bool is_call)
{
	static const char kinds[] = { FACTS_READ, FACTS_WRITE, FACTS_TYPE, 0 };
	char name[FACTS_NAME_MAX];
	bool is_quoted = t->kind == LEX_QUOTED;
	size_t len = t->len - 2u * is_quoted;
	uint32_t effects;
	const char *cause;
	len = len < sizeof name - 1 ? len : sizeof name - 1;
	for (size_t i = 0; i < len; i++)
		name[i] = (char)(is_quoted ? t->at[1 + i] : lex_lower[t->at[i]]);
	name[len] = 0;
	if (is_call && facts_find(g->facts, FACTS_FUNCTION, name, &effects, &cause))
		found_word(g, effects, name);
	for (const char *k = kinds; *k; k++)
		if (facts_find(g->facts, (enum facts_kind) * k, name, &effects, &cause))
			found(g, effects, cause);
	look_up_field(g, facts_field(name));
}

static void look_up_operator(struct finding *g, const struct lex_token *t)
{
	char name[FACTS_NAME_MAX];
	uint32_t effects;
	const char *cause;
	if (t->len >= sizeof name)
		return;
	memcpy(name, t->at, t->len);
	name[t->len] = 0;
	if (facts_find(g->facts, FACTS_OPERATOR, name, &effects, &cause))
		found(g, effects, cause);
}

static bool is_punct(const struct lex_token *t, uint8_t c)
{
	return t->kind == LEX_PUNCT && *t->at == c;
}

static void look_up_text(struct finding *g, struct slice text)
{
	struct lex lex;
	struct lex_token t, next;
	bool is_behind_point = false; /* (x).f is a call, too */
	lex_init(&lex, text, false);
	for (lex_next(&lex, &t); t.kind != LEX_END; t = next) {
		lex_next(&lex, &next);
		if (t.kind == LEX_WORD || t.kind == LEX_QUOTED)
			look_up_word(g, &t, is_behind_point || is_punct(&next, '('));
		else if (t.kind == LEX_OP)
			look_up_operator(g, &t);
		is_behind_point = is_punct(&t, '.');
	}
	look_up_unnamed(g, FACTS_ANY, "");
}

static struct sql_class *inform_guess(struct sql_class *c, const struct facts *f, struct slice text)
{
	struct finding g = { .facts = f };
	look_up_text(&g, text);
	if (!c->n || effects_with(c->effects, g.effects) == c->effects)
		return c;
	struct sql_class *copy = class_copy(c);
	copy->part[0].effects = copy->effects = effects_with(c->effects, g.effects);
	copy->part[0].culprit = g.culprit ? mem_text(g.culprit) : NULL;
	reads_judge(copy);
	sql_class_unref(c);
	return copy;
}

/* ---- public ----------------------------------------------------------------------------------------- */

bool sql_call_is_opaque(uint32_t oid)
{
	/* Those rows of tbl/builtins.h that are neither READ nor WRITE; oids never change (pg_proc.dat). */
	static const uint16_t own[] = { 1574, 1575, 1576, 1599, 1765, 2078, 2172, 2559, 2739, 2880, 2881,
		                            2882, 2883, 2886, 2887, 2888, 2889, 2924, 2927, 2930, 3684, 3685,
		                            3689, 3690, 3779, 3786, 4220, 4221, 4222, 4223, 4224, 6006, 6007 };
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (own[i] == oid)
			return true;
	return oid >= FIRST_OWN_OID;
}

struct sql_class *sql_class_of_long(const struct facts *f, struct slice text)
{
	struct sql_class *c = class_new(1);
	c->is_guess = true;
	c->part[0].why = SQL_WHY_LONG;
	return sql_class_inform(class_seal(c, false), f, text);
}

struct sql_class *sql_class_inform(struct sql_class *c, const struct facts *f, struct slice text)
{
	if (!c->needs_facts)
		return c;
	if (c->is_guess)
		return f->n_effects ? inform_guess(c, f, text) : c;
	if (c->informed_by != f->id)
		inform(c, f);
	if (!c->informed)
		return c;
	struct sql_class *informed = sql_class_ref(c->informed);
	sql_class_unref(c);
	return informed;
}
