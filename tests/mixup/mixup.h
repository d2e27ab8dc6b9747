/*
 * mixup — hundreds of clients over few servers, each sure of what it must see.
 *
 * A client keeps a model of its session: settings with transaction and savepoint undo, role, temporary table, listening, advisory lock,
 * prepared statements, WITH HOLD cursor, what it has committed.  Every statement goes out with the answer that the model predicts (struct
 * expect); every answer that differs is a violation, filed under what was mixed up.
 */
#ifndef MIXUP_H
#define MIXUP_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_EXPECT 64
#define VALUE_MAX 1200

enum category {
	MIX_ROW,
	MIX_SETTING,
	MIX_ROLE,
	MIX_TEMP,
	MIX_NOTIFY,
	MIX_LOCK,
	MIX_STATEMENT,
	MIX_CURSOR,
	MIX_TRANSACTION,
	MIX_CANCEL,
	MIX_COMMIT,
	MIX_LOST,
	MIX_CATEGORIES
};
enum setting { WORK_MEM, LOCK_TIMEOUT, APP_NAME, SEARCH_PATH, ROLE, SETTINGS };

struct expect {
	ExecStatusType status;
	char state[6];         /* SQLSTATE of an error */
	char value[VALUE_MAX]; /* first column of the first row; "" is not looked at */
	enum category category;
	bool may_cancel; /* 57014 instead is fine */
	bool is_probe;
};

struct vars {
	char v[SETTINGS][64];
};

struct client {
	int id;
	unsigned life; /* counts connections */
	enum { CLIENT_CONNECTING, CLIENT_READY, CLIENT_BUSY, CLIENT_FLIGHT } state;
	PGconn *conn;
	int poll_events;
	struct expect expect[MAX_EXPECT];
	int expects, met;
	bool in_pipeline, copy_out_seen;
	uint64_t sent_us, cancel_us; /* when to cancel what runs; 0 never */
	bool vanishes;               /* goes as soon as something was sent */
	bool wants_notify;
	char notify[64];
	FILE *trace;           /* of this life's messages, or NULL */
	struct flight *flight; /* what is under way when it is CLIENT_FLIGHT */

	/* the model */
	char tx; /* I, T or E */
	struct vars now, session, at_begin_session, defaults, at_save_now, at_save_session;
	bool has_save, counted, counted_at_save;
	bool temp, listening, lock, hold, has_slot;
	int hold_at;
	unsigned statements;        /* bit k: s<k> is prepared */
	unsigned version[8];        /* which text it has */
	unsigned portal, portal_at; /* the open one, and how many of its rows came */
	long committed, unsure;     /* of this life's row */
};

struct tally {
	uint64_t statements, transactions, errors, cancels, cancels_hit, vanished, pins, pipelines, flights, notifications,
	    violations[MIX_CATEGORIES];
};
extern struct tally tally;
extern int slots_free;
extern uint64_t rng_state;

uint64_t now_us(void);
unsigned rnd(unsigned below);
void violation(struct client *c, enum category category, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void client_gone(struct client *c, bool politely);

/* model.c */
void model_reset(struct client *c); /* a fresh session, as its startup parameters have it */
void model_begin(struct client *c);
void model_commit(struct client *c); /* or rollback when the transaction has failed */
void model_rollback(struct client *c);
void model_save(struct client *c);
void model_back_to_save(struct client *c);
void model_fail(struct client *c); /* an ERROR was answered */
void model_discard_all(struct client *c);
void model_probe(struct client *c, char *sql, size_t sql_size, char *want, size_t want_size);
enum category model_probe_category(const char *got, const char *want);

/* ops.c */
const char *setting_name(enum setting s);
void setting_value(struct client *c, enum setting s, char *out, size_t size);
struct expect *expect_add(struct client *c, ExecStatusType status, enum category category);
void expect_value(struct client *c, enum category category, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void expect_error(struct client *c, const char *state, enum category category);
void send_query(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool command(struct client *c, enum category category, const char *sql); /* of one tag, refused in a failed transaction */
void op_echo(struct client *c);
void ops_next(struct client *c); /* sends something and says what must come */

/* flight.c */
void flight_begin(struct client *c);
void flight_turn(struct client *c);
void flight_read(struct client *c);
bool flight_has_output(const struct client *c);

/* pins.c */
void op_temp(struct client *c);
void op_listen(struct client *c);
void op_lock(struct client *c);
void op_hold(struct client *c);

static inline bool failed(const struct client *c)
{
	return c->tx == 'E';
}

#endif
