/*
 * order — something that an administrator wants done: from the console's worker to the control thread, and back with the answer.
 *
 * An order is a letter both ways and belongs to whoever has it.  The kinds are the DO rows of tbl/commands.h.
 */
#ifndef ADMIN_ORDER_H
#define ADMIN_ORDER_H

#include "base/dlist.h"
#include "base/err.h"
#include "net/mailbox.h"
#include "session/session.h"
#include "tbl/commands.h"

#define ORDER_NO_VIEW(...)
#define ORDER_KIND(id, ...) ORDER_##id,
enum order_kind { COMMANDS(ORDER_NO_VIEW, ORDER_KIND) ORDER_COUNT };
enum order_until { ORDER_NOW, ORDER_WAIT_FOR_SERVERS, ORDER_WAIT_FOR_CLIENTS };

struct consoles;
struct hook_run;
struct order {
	struct letter letter;
	struct consoles *home;
	struct console_place from;
	enum order_kind kind;
	char *user;          /* who gives it */
	char *database;      /* NULL: all */
	char *key, *value;   /* SET */
	uint64_t number;     /* KILL_CLIENT */
	uint64_t timeout_us; /* PAUSE; 0: as long as it takes */
	enum order_until until;
	char *cluster;    /* whose keeper is to carry it out, until it has: nodeorders.c */
	uint32_t node_id; /* SWITCHOVER: the primary */
	/* the answer */
	bool has_failed;
	struct err err;
	size_t n_lines;
	char **lines;
	/* while it is under way: the control thread's */
	struct dlist link;
	struct hook_run *run; /* of a task; NULL: it has ended */
	uint64_t generation, due_us;
	unsigned outstanding;        /* errands */
	int64_t found;               /* that they brought back */
	struct obstacles *obstacles; /* obstacles.c's; malloc'ed */
	bool is_answered;
};
struct order *order_new(struct consoles *home, enum order_kind kind);
void order_free(struct order *o);
void order_add_line(struct order *o, const char *text);
/* Control thread: sends it back as it is. */
void order_answer(struct order *o);

/* Part of an order that each worker does for its own clients and servers. */
enum errand_kind {
	ERRAND_KILL,
	ERRAND_KILL_CLIENT,
	ERRAND_RECONNECT,
	ERRAND_COUNT_STALE,
	ERRAND_OBSTACLES, /* those of node `number`, a line each in `text`; `found` of them */
	ERRAND_ECHO,
};
#define ERRAND_LINES_MAX 20
struct errand {
	struct letter letter;
	struct order *order; /* borrowed; it waits.  NULL: of none */
	enum errand_kind kind;
	char *database;
	uint64_t number;
	int64_t found, hear; /* hear: those who only listen */
	char *text;          /* NULL: none, or not now */
	bool is_parting;     /* obstacles: the node was being left */
	struct consoles *home;
};

/* ---- what runs between the threads ---- */

struct loop;
struct pool_registry;
struct orders_ops {
	void (*on_order)(void *arg, struct order *o); /* it is the callee's */
	/* Who gave the order does not want it any more (it may be done already).  IS_GONE: nobody waits for an answer. */
	void (*on_abandoned)(void *arg, const struct console_place *from, bool is_gone);
	void (*on_errand)(void *arg, struct errand *e); /* one is back; freed afterwards */
};
/* Process-wide; made before the workers and freed after them. */
struct consoles *consoles_new(unsigned workers, struct pool_registry *pools);
void consoles_free(struct consoles *cs);
/* Control thread: from now on orders are heard; not any more. */
void consoles_hear(struct consoles *cs, struct loop *loop, const struct orders_ops *ops, void *arg);
void consoles_deafen(struct consoles *cs);
void consoles_send_errand(struct consoles *cs, struct order *o, enum errand_kind kind, unsigned worker);
/* An errand that does nothing: when it is back, WORKER has read every answer that was sent there before. */
void consoles_send_echo(struct consoles *cs, unsigned worker);
/* Control thread, each stats_period: what averages begin with. */
void consoles_turn_averages(struct consoles *cs);

#endif
