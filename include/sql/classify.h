/*
 * classify — text to struct sql_class, through a cache keyed by the statement's shape.
 *
 *   text --sql/scan.c--> shape (literals out, comments and white space folded, IN lists and VALUES rows folded)
 *        --sql/cache.c--> class, or on a miss  --sql/classify.c (libpg_query)--> class
 *
 * A text like one of the last, but for its constants, needs not even a shape (sql/recall.c).
 *
 * A miss parses the shape, never the text, so texts of one shape have one class.  Only shapes below SQL_PARSE_MAX bytes and
 * SQL_PARSE_TOKENS units of nesting are parsed (libpg_query's unpacker takes about 2 kB of stack a unit; with 400 it stays below 1 MB):
 * others are judged by the scanner alone.  Literals with meaning (SET, set_config) stay in the shape.
 * One cache per worker; nothing here is shared between threads.
 */
#ifndef SQL_CLASSIFY_H
#define SQL_CLASSIFY_H

#include "sql/class.h"

#define SQL_PARSE_MAX 8192u
#define SQL_PARSE_TOKENS 400u

/* What the text's bytes mean depends on the session: pass what the client was told. */
struct sql_dialect {
	bool backslash_quotes; /* standard_conforming_strings = off */
	bool
	    unsafe_encoding; /* one for clients only (SJIS, BIG5, GBK, UHC, GB18030, JOHAB …): a byte >= 0x80 makes the text opaque */
};

struct sql_cache;
struct sql_cache *sql_cache_new(size_t max_bytes);
void sql_cache_free(struct sql_cache *c);
struct sql_cache_stats {
	uint64_t hits, misses, evictions;
	size_t bytes, entries;
};
void sql_cache_read_stats(const struct sql_cache *c, struct sql_cache_stats *out);

bool sql_cache_holds(const struct sql_cache *c, const struct sql_class *class); /* texts of its shape need not be parsed now */

/* The class of TEXT (no NUL needed): a reference that the caller gives back.  Never NULL, never fails: what is not understood is opaque. */
struct sql_class *sql_classify(struct sql_cache *c, struct slice text, struct sql_dialect dialect)
    __attribute__((warn_unused_result));

/* What the parser has against TEXT, or why it is not asked; false: nothing. */
bool sql_complaint(struct slice text, struct sql_dialect dialect, char *out, size_t room);

/* How many parameters TEXT has: the highest n of $n.  Reads all of it. */
unsigned sql_parameters(struct slice text);

/* For a text that streams through and is never whole in memory: feed it piece by piece, then ask. */
struct sql_scan {
	uint8_t state[128]; /* scanner's: quote, comment depth, dollar tag hash, current word, verdict so far */
};
void sql_scan_init(struct sql_scan *s, struct sql_dialect dialect);
void sql_scan_feed(struct sql_scan *s, struct slice piece);
/* True when the whole text is one statement that begins with SELECT, INSERT, UPDATE, DELETE, MERGE, WITH, VALUES or COPY and no word in it
 * (outside literals and comments) could change the session: set_config, advisory, nextval, currval, lastval, temp, temporary, dblink, into temp … */
bool sql_scan_is_harmless(const struct sql_scan *s);

/* Where the names of prepared statements stand in TEXT (PREPARE x, EXECUTE x, DEALLOCATE [PREPARE] x), so that they can be
 * replaced.  Returns how many there are (may exceed MAX; only MAX are written).  Quoted names include their quotes. */
struct sql_name_at {
	uint32_t at, len;
	uint32_t end;  /* where its statement ends: a ';' or the text's end */
	uint32_t part; /* index of its statement among the class's parts */
	uint8_t kind;  /* SQL_PREPARE, SQL_EXECUTE, SQL_DEALLOCATE */
};
unsigned sql_prepared_names(struct slice text, struct sql_dialect dialect, struct sql_name_at *out, unsigned max);

#endif
