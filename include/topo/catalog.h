/*
 * catalog — what is known of each database's functions (sql/facts.h): published by the control thread, looked up by the workers.
 *
 * A database is in use from the first look on; then its facts are loaded and kept fresh by ha/loader.c.  A view is one worker's look
 * at one database: between two publications it costs a few plain loads.  DDL that a worker passes makes facts out of date at once.
 */
#ifndef TOPO_CATALOG_H
#define TOPO_CATALOG_H

#include "sql/facts.h"

struct catalog;
/* WANTED is called, from any thread, when some database has something to be loaded. */
struct catalog *catalog_new(void (*wanted)(void *arg), void *arg);
void catalog_free(struct catalog *c); /* after all views */

/* ---- a worker */
struct catalog_view;
/* USER: who first asked; may be needed to log in.  NULL: too many databases. */
struct catalog_view *catalog_view_new(struct catalog *c, const char *cluster, const char *dbname, const char *user);
void catalog_view_free(struct catalog_view *v);
enum catalog_look {
	CATALOG_FRESH,   /* the facts are as the catalogue was after all DDL that passed */
	CATALOG_LOADING, /* they will be soon: worth a wait */
	CATALOG_FAILED,  /* nothing is known, and nothing will be soon */
};
/* The facts now, never NULL; valid until this worker's next look. */
const struct facts *catalog_look(struct catalog_view *v, enum catalog_look *how);
/* Of the facts that catalog_look() would answer as CATALOG_FRESH, when there is nothing else to do about it; else 0. */
uint64_t catalog_fresh_id(const struct catalog_view *v);
/* What is known when nothing is: safe_functions alone.  Valid as above. */
const struct facts *catalog_nothing(struct catalog_view *v);
void catalog_note_ddl(struct catalog_view *v);        /* DDL with SQL_CATALOG_DDL was committed */
uint64_t catalog_generation(const struct catalog *c); /* grows with each publication */

/* ---- the control thread */
struct catalog_db {
	const char *cluster, *dbname, *user; /* valid for ever */
	uint64_t wanted;                     /* DDL so far: to be told to catalog_publish() */
	uint64_t known;                      /* … that was seen by the last load; 0: nothing is known */
	bool is_asked_for;                   /* somebody looked since the last catalog_walk() with CLEAR */
	void *loader;                        /* whose this is: the loader's own; NULL at first */
};
/* Every database in use; FN may set loader.  CLEAR: forgets that somebody looked. */
void catalog_walk(struct catalog *c, bool clear, void (*fn)(void *arg, struct catalog_db *db), void *arg);
/* F: one reference, taken over.  WANTED: as it was before the load began. */
void catalog_publish(struct catalog *c, const char *cluster, const char *dbname, struct facts *f, uint64_t wanted);
void catalog_fail(struct catalog *c, const char *cluster, const char *dbname,
                  bool keeps);                                                   /* KEEPS: what was known still counts */
void catalog_forget(struct catalog *c, const char *cluster, const char *dbname); /* until somebody looks again */
void catalog_confirm(struct catalog *c, const char *cluster, const char *dbname, uint64_t wanted); /* nothing has changed */
void catalog_set_nothing(struct catalog *c, struct facts *f); /* taken over: another safe_functions; at the start, too */

#endif
