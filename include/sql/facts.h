/*
 * facts — what the functions of one database do to a session, and the relations, operators and types that call them: an immutable
 * snapshot, counted by references, read by any thread.
 *
 * Names stand without their schema: what any function of a name does counts for all of them.
 */
#ifndef SQL_FACTS_H
#define SQL_FACTS_H

#include "sql/class.h"

/* What a name is the name of. */
enum facts_kind {
	FACTS_FUNCTION = 'f',
	FACTS_READ = 'r',  /* a relation that is read: views, policies */
	FACTS_WRITE = 'w', /* … or written: triggers, rules, defaults, checks */
	FACTS_OPERATOR = 'o',
	FACTS_TYPE = 't',
	FACTS_DDL = 'd',   /* no name: what event triggers do to whoever changes the schema */
	FACTS_ANY = 'a',   /* no name: what implicit casts between PostgreSQL's own types do to whoever calls or names anything */
	FACTS_FIELD = 'c', /* a function that x.name calls when the row x has no such column: facts_field_key() for a name */
};
/* In sql_part.touched only: f as in (x).f, which may be a function or a field; and a type of pg_catalog. */
#define TOUCHED_METHOD 'm'
#define TOUCHED_OWN_TYPE 'T'
#define FACTS_NAME_MAX 64u

struct facts;
/* Being made, by one thread.  IS_KNOWN: functions that are not in it do not exist; else nothing is known of them. */
struct facts *facts_new(bool is_known);
/* Names are those of UTF-8.  What a client writes in another encoding is found only when it is ASCII, and unknown if not. */
bool facts_is_ascii(const char *name);
uint32_t facts_field(const char *name); /* stands for the name of a field; one number for all that are not ASCII */
#define FACTS_FIELD_KEY 9u
const char *facts_field_key(uint32_t field, char out[FACTS_FIELD_KEY]); /* the name of a FACTS_FIELD; returns OUT */
/* EFFECTS are added to those that are there; CAUSE: the function whose words they come from, or NULL. */
void facts_add(struct facts *f, enum facts_kind kind, const char *name, uint32_t effects, const char *cause);
void facts_forgive(struct facts *f, const char *function); /* safe_functions: it is harmless to the session, whatever was added */
/* From here on it does not change; one reference. */
struct facts *facts_seal(struct facts *f);
struct facts *facts_ref(struct facts *f);
void facts_unref(struct facts *f);        /* NULL is fine */
uint64_t facts_id(const struct facts *f); /* never given twice, never 0 */
bool facts_is_known(const struct facts *f);
size_t facts_effects(const struct facts *f); /* how many names have any */
/* False: no such name.  Else EFFECTS and CAUSE ("" when there is none), borrowed. */
bool facts_find(const struct facts *f, enum facts_kind kind, const char *name, uint32_t *effects, const char **cause);

/* C as it is in a database with these facts: takes the reference C over and returns one.  TEXT: the statement's, looked at only when
 * it was too long to be parsed. */
struct sql_class *sql_class_inform(struct sql_class *c, const struct facts *f, struct slice text)
    __attribute__((warn_unused_result));
/* The function of a FunctionCall, which has no name: not one of PostgreSQL's own, or one that changes the session. */
bool sql_call_is_opaque(uint32_t oid);
/* Of a text that streams through: what the names in its beginning tell, and nothing else.  A reference. */
struct sql_class *sql_class_of_long(const struct facts *f, struct slice text) __attribute__((warn_unused_result));

#endif
