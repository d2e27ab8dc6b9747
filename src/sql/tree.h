/* tree — reading libpg_query's parse trees.  Only classify.c, ddl.c, effects.c and settings.c include this, and nothing else sees pg_query.h. */
#ifndef SQL_TREE_H
#define SQL_TREE_H

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include "sql/facts.h"

typedef PgQuery__Node node; /* the one name that every line would have to break for */
#define NODE_IS(n, KIND) ((n) && (n)->node_case == PG_QUERY__NODE__NODE_##KIND)

/* What a walk over a tree met. */
struct findings {
	uint32_t effects;
	enum sql_why why;
	char *blamed;      /* owned */
	bool changes;      /* something that reads could show: any of the reasons says so, not only the first */
	bool has_unknown;  /* a function whose effect its name does not tell */
	bool stores_calls; /* in what is not executed: functions that are not PostgreSQL's own, or what may hold some */
	char **functions;  /* owned; NULL-terminated; each once */
	char **touched;    /* the same: struct sql_part's */
	uint32_t *fields;  /* the same */
	uint32_t n_fields;
	unsigned n_calls;                  /* function calls of any kind */
	unsigned n_config, n_config_local; /* set_config(), and those that are certainly local to the transaction */
};
/* EXECUTED: what is called there will be called; otherwise (DDL) only temporary names count. */
void effects_find(struct findings *f, const ProtobufCMessage *m, bool executed);
static inline void effects_find_in(struct findings *f, const node *n, bool executed)
{
	if (n)
		effects_find(f, &n->base, executed);
}
/* Of several reasons the first one counts that a statement cannot be rid of. */
void effects_blame(struct findings *f, enum sql_why why, const char *name);
void effects_note(struct findings *f, char kind, const char *name); /* in touched: an enum facts_kind or TOUCHED_… */
bool effects_names_users(
    char **touched); /* something in it is not a type of pg_catalog, which is what it seems unless the catalogue says otherwise */
bool effects_is_bare(const PgQuery__SelectStmt *s); /* only a target list: one row, each target evaluated once */
/* The call that a target makes, through casts; NULL when it is something else. */
const PgQuery__FuncCall *effects_call_of(const node *target);
bool effects_calls(const PgQuery__FuncCall *call, const char *builtin);

/* A statement on its way to its part. */
struct reading {
	struct sql_part *part;
	struct findings found;
};
static inline void reading_set(struct reading *r, enum sql_kind kind, uint32_t effects)
{
	r->part->kind = (uint8_t)kind;
	r->part->effects |= effects;
}
static inline void reading_walk(struct reading *r, const node *n, bool executed)
{
	effects_find_in(&r->found, n, executed);
}
static inline void reading_blame(struct reading *r, enum sql_why why)
{
	effects_blame(&r->found, why, NULL);
}

/* What is neither a query nor about the session. */
void ddl_read(struct reading *r, const node *n);
void ddl_alter_table(struct reading *r, const node *n);
/* What comes behind it in one text may call more than the catalogue of now says. */
bool ddl_adds_calls(const struct reading *r, const node *n);

/* In which of three ways set_config() is called, if it is; S: by a SELECT. */
void settings_read_config(struct reading *r, const PgQuery__SelectStmt *s);
/* SET and RESET in all their forms. */
void settings_read(struct sql_part *p, const PgQuery__VariableSetStmt *s);
/* The modes of BEGIN and SET TRANSACTION, PREFIX "" or "default_": pairs appended to PAIRS, which is returned. */
char **settings_read_modes(char **pairs, const char *prefix, PgQuery__Node **modes, size_t n);
/* The set_config() calls that are targets themselves: fills name, value, …; returns how many, or 0 when one is not understood. */
unsigned settings_read_calls(struct sql_part *p, const PgQuery__SelectStmt *s);
/* SELECT set_config(name, '…', false) FROM pg_settings WHERE name = '…', as pg_dump sets what not every version has. */
bool settings_read_if_there(struct sql_part *p, const PgQuery__SelectStmt *s);
bool settings_is_local_call(const PgQuery__FuncCall *call); /* a literal true as the third argument */
void settings_forget(struct sql_part *p);                   /* name, value and the rest: there were none */

#endif
