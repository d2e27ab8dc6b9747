/*
 * class — what a proxy must know about a statement: what it is, what it does to the session, and where it may not run.
 *
 * One Query text is a list of parts (statements separated by ';'); a text without any has one part, SQL_EMPTY.  A class is immutable
 * and shared: it is reference-counted by the thread that made it and belongs to that thread.
 */
#ifndef SQL_CLASS_H
#define SQL_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum sql_kind {
	SQL_OTHER,   /* understood, nothing special: DDL, DML with side effects on data only */
	SQL_OPAQUE,  /* not understood, or may do anything to the session: DO, CALL, LOAD, over-long text with suspicious words */
	SQL_SELECT,  /* SELECT, VALUES, TABLE, WITH … SELECT */
	SQL_INSERT,
	SQL_UPDATE,
	SQL_DELETE,
	SQL_MERGE,
	SQL_COPY_IN,  /* COPY … FROM STDIN */
	SQL_COPY_OUT, /* COPY … TO STDOUT */
	SQL_EXPLAIN,
	SQL_SHOW,
	SQL_BEGIN,        /* BEGIN, START TRANSACTION */
	SQL_COMMIT,       /* COMMIT, END */
	SQL_ROLLBACK,     /* ROLLBACK, ABORT */
	SQL_SAVEPOINT,    /* name */
	SQL_RELEASE,      /* name */
	SQL_ROLLBACK_TO,  /* name */
	SQL_PREPARE_TRANSACTION,
	SQL_COMMIT_PREPARED, /* and ROLLBACK PREPARED */
	SQL_SET_TRANSACTION, /* SET TRANSACTION …, SET and RESET transaction_read_only and kin, SET CONSTRAINTS: transaction-local by nature */
	SQL_SET,       /* name, value; also SET NAMES, SET TIME ZONE, SET ROLE, SET SESSION AUTHORIZATION, SET SESSION CHARACTERISTICS */
	SQL_SET_LOCAL, /* name; value irrelevant: gone at the end of the transaction */
	SQL_RESET,     /* name; also SET x TO DEFAULT, RESET ROLE (name "role"), RESET SESSION AUTHORIZATION */
	SQL_RESET_ALL,
	SQL_DISCARD_ALL,
	SQL_DISCARD_PLANS,
	SQL_DISCARD_TEMP,
	SQL_DISCARD_SEQUENCES,
	SQL_PREPARE,        /* name; the effects are those of EXECUTE, when it comes (SQL_IS_NESTED) */
	SQL_EXECUTE,        /* name; also EXPLAIN EXECUTE and CREATE TABLE AS EXECUTE (is_nested) */
	SQL_DEALLOCATE,     /* name */
	SQL_DEALLOCATE_ALL,
	SQL_DECLARE, /* name; SQL_HOLD_CURSOR in effects for WITH HOLD */
	SQL_FETCH,   /* FETCH, MOVE; name */
	SQL_CLOSE,   /* name */
	SQL_CLOSE_ALL,
	SQL_LISTEN,  /* name */
	SQL_UNLISTEN, /* name */
	SQL_UNLISTEN_ALL,
	SQL_NOTIFY,
	SQL_LOCK,
	SQL_EMPTY, /* nothing but comments and semicolons */
};

/* What a part does to the session or asks of it, as bits. */
enum sql_effect {
	SQL_WRITES = 1 << 0,        /* not provably a read */
	SQL_TEMP_OBJECT = 1 << 1,   /* creates a temporary table, view, sequence or index; or names pg_temp; or puts it first in search_path */
	SQL_HOLD_CURSOR = 1 << 2,
	SQL_ADVISORY_LOCK = 1 << 3, /* takes a session-level advisory lock */
	SQL_ADVISORY_UNLOCK_ALL = 1 << 4, /* pg_advisory_unlock_all() and nothing else of interest */
	SQL_NEXTVAL = 1 << 5,       /* nextval, setval */
	SQL_CURRVAL = 1 << 6,       /* currval, lastval */
	SQL_SET_CONFIG = 1 << 7,    /* a top-level set_config(): name/value/is_local below, possibly parameters; with SQL_IS_LOCAL it may
	                             * stand anywhere, and without a name when there are several */
	SQL_OPAQUE_CALL = 1 << 8,   /* set_config() not at the top level or with computed arguments, dblink…: effect not visible */
	SQL_DDL = 1 << 9,           /* may change what prepared statements mean */
	SQL_NO_PIPELINE = 1 << 10,  /* refuses to run in a pipeline or transaction: VACUUM, CREATE DATABASE, ALTER SYSTEM, REINDEX CONCURRENTLY … */
	SQL_ALTERS_DEFAULTS = 1 << 11, /* ALTER ROLE/USER/DATABASE … SET/RESET, ALTER SYSTEM: servers logged in before are out of date */
	SQL_AND_CHAIN = 1 << 12,    /* COMMIT/ROLLBACK AND CHAIN */
	SQL_PLAIN_BEGIN = 1 << 13,  /* a BEGIN/START TRANSACTION whose options are valid for sure: may be answered before it is sent */
	SQL_IS_LOCAL = 1 << 14,     /* set_config(…, true) */
	SQL_NEEDS_CLEAN_TX = 1 << 15, /* SET TRANSACTION SNAPSHOT: nothing may run before it in the transaction */
	SQL_LOCKS_ROWS = 1 << 16,   /* FOR UPDATE and kin */
	SQL_IS_NESTED = 1 << 17,    /* EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE; and PREPARE */
	SQL_CALL = 1 << 19,         /* CALL: as opaque as its procedure, see SQL_HARMLESS */
	SQL_HARMLESS = 1 << 20,     /* after sql_class_inform(): a CALL that leaves nothing behind in the session */
	SQL_PLAN_ONLY = 1 << 21,    /* EXPLAIN without ANALYZE: what it names is planned, but neither called nor read */
	SQL_TX_BOUND = 1 << 22,     /* its answer hangs on its transaction: on when that began, or a cursor; or may, since it calls functions that
	                             * are not PostgreSQL's own.  A transaction that it ran in must end on the same server */
	SQL_NO_STANDBY = 1 << 23,   /* after sql_class_inform(): reads a sequence, or an unlogged or foreign table */
	SQL_PLANNED = 1 << 24,      /* after sql_class_inform(): what it does to the session it may do when it is planned */
	SQL_CATALOG_DDL = 1 << 18,  /* may change what functions do, or who calls them: what is known of the catalogue is out of date */
};

/* Why a part must run on the primary, in the words of tbl/whys.h. */
enum sql_why {
#define WHY(id, text) SQL_WHY_##id,
#include "tbl/whys.h"
#undef WHY
};

#define FIRST_OWN_OID 16384u /* PostgreSQL's FirstNormalObjectId: the oids below are its own */
#define SQL_NO_PARAM (-1)
struct sql_part {
	uint8_t kind;      /* enum sql_kind */
	uint8_t why;       /* enum sql_why; SQL_WHY_READ: it need not */
	bool is_idle;      /* for the primary, perhaps, but it changes nothing that a read could show */
	bool may_be_idle;  /* … if what it calls does not */
	uint32_t effects;  /* enum sql_effect */
	char *name;        /* lower-cased as PostgreSQL folds it (quoted names as they are); NULL when there is none */
	char *value;       /* SET, set_config: the value as set_config() takes it; NULL when unknown (NAME is then "to be pinned as opaque") */
	/* set_config($1, $2, …): which parameter (0-based) holds name/value, or SQL_NO_PARAM */
	int16_t name_param, value_param, local_param;
	char **functions;  /* names of functions called, unqualified, lower case; NULL-terminated, NULL when none */
	/* What else may call functions: names behind an enum facts_kind or TOUCHED_…: "rt" reads t, "wt" writes t, "o+" an operator, "tx" a type. */
	char **touched;
	uint32_t *fields; /* facts_field() of b in a.b, each once: PostgreSQL calls b(a) when the row a has no column b */
	uint32_t n_fields;
	char *culprit; /* after sql_class_inform(): the function that the catalogue's effects come from; NULL: none were added */
	char *blamed;  /* the function, relation or setting that WHY is about; NULL: none in particular */
	/* (name, value) pairs, NULL-terminated; NULL mostly.  SET SESSION CHARACTERISTICS and several set_config(): those behind the
	 * first.  BEGIN and SET TRANSACTION: all their modes, as transaction_isolation=serializable, transaction_read_only=on … */
	char **more_settings;
};

struct sql_class {
	uint32_t refs;
	uint32_t n;                /* parts */
	uint32_t effects;          /* all parts or'ed */
	bool is_opaque;            /* some part is SQL_OPAQUE */
	bool is_plain;             /* nothing but SELECT, UPDATE, DELETE and MERGE that read, write and lock rows and call known functions
	                            * only: no pins, names, settings or transactions to think of */
	bool has_functions;        /* some part calls a function that tbl/builtins.h does not know: the catalogue must tell what it does */
	bool calls;                /* it names functions, relations, operators or types: what they do counts */
	bool needs_facts;          /* means something else with the facts of its database than without: calls, is_guess, or DDL */
	bool is_guess;             /* judged by its words alone: functions and relations are not named */
	/* Every part is proven to change nothing, and to answer on a hot standby that is fresh what the primary would.  What calls functions
	 * or names relations is so only after sql_class_inform() with facts that are known. */
	bool is_read;
	/* A transaction that is on a standby may go on there with it: is_read, and what changes nothing but the session or the transaction. */
	bool may_stay;
	bool is_idle; /* nothing that a read could show is changed: may_stay, and what locks rows, asks about the server … */
	const char *why_primary; /* static text, NULL when is_read: of the first part that is none */
	const char *blamed;      /* the function, relation or setting that it is for; NULL: none in particular */
	/* What the facts with that id made of it, when that was something else (facts.c's). */
	struct sql_class *informed;
	struct sql_class *as_read; /* the same, proven a read by some facts; made at the first time */
	uint64_t informed_by;
	/* For people: the text without its constants and, as far as SET sets them, values; and a number for it, the same in every worker (of shapes
	 * that are cut, each has its own).  NULL, 0: it was longer or stranger than what is kept. */
	char *shape;
	uint64_t shape_id, place; /* place: cache.c's */
	struct sql_part part[];
};

#define SQL_SHOWN_MAX 400u /* bytes of SHAPE */

const char *sql_why_text(enum sql_why why); /* static; NULL for SQL_WHY_READ */
void sql_class_free(struct sql_class *c); /* nobody refers to it any more */
static inline struct sql_class *sql_class_ref(struct sql_class *c) /* returns c */
{
	c->refs++;
	return c;
}
static inline void sql_class_unref(struct sql_class *c) /* NULL is fine */
{
	if (c && --c->refs == 0)
		sql_class_free(c);
}

#endif
