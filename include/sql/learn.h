/*
 * learn — what was read of a database's catalogue, put together into facts.
 *
 * One round: learn_begin(), every function, every source that is asked for, every edge, learn_end().  What a function's source said is
 * kept from round to round, so that only new sources have to be read.  Pure; one thread.
 */
#ifndef SQL_LEARN_H
#define SQL_LEARN_H

#include "sql/facts.h"

struct learn;
struct learn *learn_new(void);
void learn_free(struct learn *l); /* NULL is fine */

/* WITH_FUNCTIONS: those that are not PostgreSQL's own will be told again; else they are as they were in the last round. */
void learn_begin(struct learn *l, bool with_functions);
struct learn_function {
	uint32_t oid;                            /* below FIRST_OWN_OID: has to be told once only */
	const char *version;                     /* of its row: xmin */
	const char *name, *language, *extension; /* extension: "" for none */
	bool is_aggregate;
	bool takes_row;  /* it may be called with a row alone: t.f */
	char volatility; /* provolatile */
	uint32_t length; /* of its source in bytes */
	bool is_tree;    /* its source is kept as a tree: BEGIN ATOMIC … END */
};
/* True: its source has to be read. */
bool learn_function(struct learn *l, const struct learn_function *f);
/* Functions whose source is still to be read, those with a tree or the others: fills OIDS with at most MAX of them, whose sources have
 * about LEARN_PAGE_BYTES together at most; 0: none. */
#define LEARN_PAGE_BYTES 1000000u
unsigned learn_wanted(const struct learn *l, bool tree, uint32_t *oids, unsigned max);
void learn_source(struct learn *l, uint32_t oid, struct slice source);
void learn_no_source(struct learn *l, uint32_t oid); /* too long, or gone: opaque */

/* FROM calls TO, or has something that does: functions (f), relations (r), operators (o), types (t: when values are made of it), their values
 * (v: when they are compared or cast unsaid), whoever changes the schema (d), whoever calls or names anything (a).
 * ONLY_WRITE: only when FROM, a relation, is written to.  False: too many. */
struct learn_edge {
	char from_kind, to_kind;
	uint32_t from, to; /* oids */
	const char *from_name;
	bool only_write, reads_on_write; /* … and then TO is read */
};
bool learn_edge(struct learn *l, const struct learn_edge *e);
/* A standby does not have it, or has something else: a sequence, an unlogged or foreign table. */
void learn_no_standby(struct learn *l, uint32_t relation, const char *name);
/* Reading FROM, a relation or type, calls a function of PostgreSQL's own (WHAT: f), reads a view of its own (r), or locks rows (l: no name). */
struct learn_own {
	char from_kind;
	uint32_t from;
	const char *from_name, *name;
	char what;
};
void learn_own(struct learn *l, const struct learn_own *o); /* stays from round to round … */
void learn_forget_own(struct learn *l);                     /* … until all of them are to be told again */
/* Writing to this relation takes a sequence's next value. */
void learn_sequence(struct learn *l, uint32_t relation, const char *name);
/* Writing to FROM, a relation, or calling it, a function, or making a value of it, a type, calls a function of PostgreSQL's own; for this round. */
void learn_calls_own(struct learn *l, const struct learn_own *o);
/* A relation (r) or type (t) of this name is there: of names that are not ASCII. */
void learn_exists(struct learn *l, char kind, uint32_t oid, const char *name);

/* SAFE: N names of functions that are harmless whatever they say.  One reference. */
struct facts *learn_end(struct learn *l, char *const *safe, size_t n_safe);
size_t learn_functions(const struct learn *l); /* how many there are, builtins not counted */
size_t learn_opaque(const struct learn *l);    /* … and how many of them change the session, as of learn_end() */

#endif
