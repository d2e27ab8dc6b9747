/*
 * admin's own.
 *
 *   command.c  text -> which command, with what         talk.c   a conversation: both protocols
 *   table.c    columns and rows as messages             answer.c a command's answer, piece by piece
 *   show*.c    the views: columns, and where rows come from
 *   averages.c counters of a while ago                  post.c   letters: orders, errands, surveys
 */
#ifndef ADMIN_PRIV_H
#define ADMIN_PRIV_H

#include <pthread.h>
#include <stdint.h>

#include "admin/console.h"
#include "base/map.h"
#include "tbl/commands.h"
#include "wire/writer.h"

/* ---- table.c ------------------------------------------------------------------------------------------------------- */

/* PostgreSQL's type OIDs; monitoring tools tell labels from figures by them. */
enum column_type { COLUMN_BYTEA = 17, COLUMN_INT8 = 20, COLUMN_INT4 = 23, COLUMN_TEXT = 25, COLUMN_NUMERIC = 1700 };
struct column {
	const char *name;
	enum column_type type;
};

struct call;
#define COLUMNS_MAX 48
struct formats { /* of the columns, as Bind asks for them: bit set, binary */
	uint64_t binary;
};
struct table { /* rows being written */
	struct writer *w;
	const struct console *console; /* for the views */
	const struct call *call;       /* for those of one, and who asks */
	const char *user;
	const struct column *columns;
	struct formats formats;
	unsigned n_columns, n_cells; /* cells of the row under way */
	uint64_t n_rows;
};
void table_describe(struct writer *w, const struct column *columns, unsigned n, struct formats formats);
void table_init(struct table *t, struct writer *w, const struct console *c, const struct column *columns, unsigned n,
                struct formats formats);
void table_row(struct table *t);                    /* then exactly one cell for each column, in order */
void table_text(struct table *t, const char *text); /* NULL is SQL NULL */
void table_int(struct table *t, int64_t value);
void table_null(struct table *t);
void table_yes(struct table *t, bool value);       /* "yes" or "no" */
void cell_time(struct table *t, uint64_t then_us); /* local time of something on the clock of clock_us() */
void table_end(struct table *t);                   /* of these rows */

/* ---- show*.c -------------------------------------------------------------------------------------------------------- */

/* A view's rows are all written at once (rows), or gathered here and written some at a time (gather, row), or written some at a time in each worker
 * in turn (survey).  One of the three.  Before they are gathered, each worker in turn may tell what only it knows (collect). */
struct items {
	void *at;
	size_t n, cap;
	void (*free)(struct items *items);
};
void *items_add(struct items *items, size_t size); /* one more, of SIZE bytes as all of them; to be filled */
struct view {
	const struct column *columns;
	unsigned n_columns;
	void (*rows)(struct table *t);
	void (*collect)(const struct console *c, struct writer *w);
	void (*gather)(const struct console *c, struct slice collected, struct items *items);
	void (*row)(struct table *t, const struct items *items, size_t i);
	/* In each worker: at most MOST rows of its own, from *AT on; true: there are more. */
	bool (*survey)(struct table *t, uint32_t *at, unsigned most);
	const char *syntax, *tag; /* what stands behind its words, and what it completes with; NULL: nothing, SHOW */
};
#define VIEW_DECLARE(id, ...) extern const struct view show_##id;
#define VIEW_NO_ORDER(...)
COMMANDS(VIEW_DECLARE, VIEW_NO_ORDER)

const char *or_null(const char *text); /* "" becomes NULL */
int64_t pool_row_servers(const struct pool_row *row);

/* Databases or users with what all pools of theirs have, sorted by name. */
struct tally {
	char *name;
	int64_t servers, clients;
	struct pool_counts counts;
};
struct tallies {
	size_t n, cap;
	struct tally *at;
};
enum tally_of { TALLY_DATABASES, TALLY_USERS };
void tallies_gather(const struct console *c, enum tally_of of, struct tallies *out);
void tallies_fini(struct tallies *t);

/* ---- averages.c -------------------------------------------------------------------------------------------------- */

struct averages;
struct averages *averages_new(struct pool_registry *pools);
void averages_free(struct averages *a);
void averages_turn(struct averages *a);
/* What COUNTS of DATABASE (NULL: all together) has grown by since the beginning of the last whole period, each as tbl/counters.h says.  Any thread. */
void averages_of(struct averages *a, const char *database, const struct pool_counts *counts, struct pool_counts *out);

/* ---- command.c --------------------------------------------------------------------------------------------------- */

enum level { LEVEL_NONE, LEVEL_STATS, LEVEL_ADMIN };
enum args {
	ARGS_NONE,
	ARGS_DATABASE,
	ARGS_A_DATABASE,
	ARGS_PAUSE,
	ARGS_CLIENT,
	ARGS_UNTIL,
	ARGS_SETTING,
	ARGS_TASK,
	ARGS_NODE,
	ARGS_NODE_TIME,
	ARGS_CLUSTER,
	ARGS_CANDIDATE,
	ARGS_LOSS
};
struct command {
	const char *words;
	enum args args;
	enum level level;
	const char *sentence;
	const struct view *view; /* SHOW; else: */
	enum order_kind order;
	const char *lines;
};
extern const struct command commands[];
extern const size_t n_commands;
const char *command_syntax(const struct command *c, char *out, size_t size);

enum call_kind {
	CALL_NOTHING,
	CALL_COMMAND,
	CALL_SESSION_SHOW,
	CALL_SESSION_SET,
	CALL_BEGIN,
	CALL_COMMIT,
	CALL_ROLLBACK,
	CALL_DEALLOCATE
};
struct call {
	enum call_kind kind;
	const struct command *command;
	char *name, *value; /* a database, a setting, a statement (NULL: all) */
	char *text;         /* what EXPLAIN ROUTE is asked about */
	uint64_t number, timeout_us;
	enum order_until until;
};
/* False with ERR; CALL is then empty. */
bool call_parse(struct slice text, struct call *call, struct err *err) MUST_CHECK;
void call_fini(struct call *call);
/* explained.c: EXPLAIN ROUTE.  False: it is not right. */
bool explained_is_asked(struct slice text);
bool explained_parse(struct slice text, struct call *call) MUST_CHECK;
void call_copy(struct call *to, const struct call *from);

/* ---- post.c ---------------------------------------------------------------------------------------------------- */

/* A worker is asked for rows, or what it has to tell, and sends that back. */
struct survey {
	struct letter letter;
	struct consoles *home;
	struct console_place from;
	const struct view *view;
	struct formats formats;
	unsigned worker, most;
	uint32_t at;
	bool has_more;
	struct writer rows;
};
void survey_send(struct survey *s); /* it comes back to `from` */
void survey_free(struct survey *s);
void order_send(struct order *o);
void order_abandon(struct consoles *cs, const struct console_place *from, bool is_gone);
struct averages *consoles_averages(struct consoles *cs);

/* What comes back to a conversation. */
struct reply_letter {
	enum { REPLY_IS_ORDER, REPLY_IS_SURVEY } is;
	struct order *order;
	struct survey *survey;
};

/* ---- answer.c -------------------------------------------------------------------------------------------------- */

/* The answer to one command: its rows, until a limit; goes on where it stopped. */
struct answer {
	const struct console *console;
	struct call call;
	struct console_place place;
	const char *user; /* who asks; the conversation's */
	struct formats formats;
	const struct column *columns;
	unsigned n_columns;
	struct column line; /* the column of an order's lines */
	bool is_begun, is_over, is_waiting;
	uint64_t n_rows;
	/* where its rows come from */
	struct items items;
	size_t at;
	struct writer rows; /* written already: all of them, or what the last survey brought; or what was collected */
	unsigned worker;    /* to be asked next, */
	uint32_t survey_at; /* from here on */
	struct order *order;
};
enum answer_step { ANSWER_MORE, ANSWER_LIMIT, ANSWER_WAIT, ANSWER_DONE, ANSWER_FAILED };
void answer_init(struct answer *a, const struct console *c, const struct call *call, const struct console_place *place,
                 const char *user);
void answer_fini(struct answer *a); /* what it waits for finds nobody */
/* Writes rows, at most *LIMIT (counted down; UINT64_MAX: none).  FAILED: ERR says why. */
enum answer_step answer_go_on(struct answer *a, uint64_t *limit, struct writer *w, struct err *err);
enum answer_step answer_on_letter(struct answer *a, struct reply_letter *l, uint64_t *limit, struct writer *w, struct err *err);
void answer_tag(const struct answer *a, char out[64]);

/* ---- talk.c, prepared.c ------------------------------------------------------------------------------------------ */

struct portal {
	struct answer answer;
};

struct talk {
	struct console *console;
	struct console_place place;
	char *user;
	bool is_owner, skips_to_sync, is_query, is_cancelled;
	char status;                    /* I, T or E */
	struct map statements, portals; /* struct call, struct portal; "" is the unnamed one */
	struct portal *running;         /* one of the portals, or a Query's own */
	uint64_t limit;                 /* rows that this Execute may still give */
};

extern const struct session_console talk_ops;
void talk_say(struct writer *w, uint8_t type); /* a message without a body */
bool talk_may(const struct talk *t, const struct call *call, struct err *err) MUST_CHECK;

/* A portal of nobody's. */
struct portal *prepared_portal(const struct talk *t, const struct call *call);
void prepared_free(struct portal *p); /* NULL is fine */
/* Parse to Execute, which sets t->running.  False with ERR. */
bool prepared_take(struct talk *t, const struct frame *f, struct writer *w, struct err *err) MUST_CHECK;
bool prepared_deallocate(struct talk *t, const char *name, struct err *err) MUST_CHECK; /* NULL: all */
void prepared_forget_unnamed(struct talk *t);
void prepared_forget_portals(struct talk *t);
void prepared_forget_statements(struct talk *t);

#endif
