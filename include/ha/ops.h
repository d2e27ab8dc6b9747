/*
 * ops — what is done with one cluster, step by step: it owns the record, opens operations, carries them out and closes them.
 *
 * Pure but for its environment, a table of functions: the same code runs in the program and in simulations.  Everything that takes time is asked for
 * and told back by one of ops_on_…(); whatever else may have changed, ops_go_on() looks.
 */
#ifndef HA_OPS_H
#define HA_OPS_H

#include "ha/guard.h"
#include "ha/journal.h"
#include "ha/record.h"

/* What is known of the cluster now. */
struct ops_node {
	struct guard_node guard; /* has_answered: the last question was answered */
	uint64_t asked_us;       /* when the question was sent that has the answer in `guard`; 0: none ever was */
	uint64_t failed_us;      /* when a question failed last; 0: never */
	bool is_streaming;       /* it receives */
	const char *upstream;    /* whom it receives from, or did; NULL or "": not known */
	bool is_foreign;
	bool is_refusing; /* it is there, but answers no questions of ours */
	bool is_down;     /* its host is there, and nobody listens at its port */
};
struct ops_picture {
	size_t n_nodes;
	const struct ops_node *nodes;
	int writable;      /* index of the node that is out of recovery, by what nodes say alone; -1: none, or several */
	bool is_lost;      /* the recorded primary is dead */
	const char *story; /* why that is thought; never NULL */
	uint64_t written, written_age_us, written_per_s;
	uint64_t system_id; /* the cluster's, as its nodes say; 0: not known */
	const char *sync;   /* the primary's synchronous_standby_names; NULL: not known now */
};
struct ops_conf {
	bool is_automatic; /* failover = auto */
	bool is_manual;    /* … = manual: an order begins it; neither: others decide, we follow */
	uint64_t promote_timeout_us, switchover_timeout_us, max_loss;
	uint64_t follow_timeout_us; /* 0: 10 s */
	uint64_t rejoin_timeout_us, recover_timeout_us, drain_timeout_us;
};

/* SETTLE: everything that was committed there is on its disk, whoever waited for that.  FETCH: it receives from another standby.  TIDY: it
 * needs no slots for those who follow another now.  CHECKPOINT: its stop will be short.  FENCE, which a promotion brings with it, REJOIN, RECOVER:
 * only a policy can. */
enum ops_act {
	OPS_ACT_PROMOTE,
	OPS_ACT_FOLLOW,
	OPS_ACT_SETTLE,
	OPS_ACT_FETCH,
	OPS_ACT_TIDY,
	OPS_ACT_CHECKPOINT,
	OPS_ACT_FENCE,
	OPS_ACT_REJOIN,
	OPS_ACT_RECOVER
};
/* What a node in quarantine is found to be. */
enum ops_condition { OPS_AWAY, OPS_DOWN, OPS_STANDBY, OPS_WRITABLE };
/* … and what is to be done about it: nothing; the operation; it is told whom to follow. */
enum ops_returning { OPS_QUARANTINE, OPS_REJOIN, OPS_ATTACH };
struct ops_returned {
	const char *node;
	enum ops_condition is;
	uint64_t timeline; /* 0: not known */
	const char *why;   /* it is in quarantine */
	unsigned tries;    /* to rejoin it, that have failed */
};
/* Of connections that clients use: those whose clients are in no transaction, and keep state there, or only listen. */
struct ops_rests {
	unsigned keep, hear;
};
struct ops;
struct ops_env {
	void *arg;
	uint64_t (*now_us)(void *arg);
	uint64_t (*wall_s)(void *arg);               /* for people only */
	void (*alarm)(void *arg, uint64_t after_us); /* ops_go_on() then, at the latest; one alarm at a time */
	void (*propose)(void *arg, uint64_t expected_epoch, const struct record *next); /* -> ops_on_record() */
	void (*route)(void *arg); /* what ops_holds(), ops_primary(), ops_is_cut() say is to be so -> ops_on_routed() */
	unsigned (*busy)(void *arg, const char *node);          /* connections to it that clients use now */
	struct ops_rests (*rests)(void *arg, const char *node); /* … asked behind busy().  NULL: all are in transactions */
	unsigned (*wanted)(void *arg, const char *node);        /* clients that wait for one; NULL: none do */
	void (*look)(void *arg);                                /* every node is to be asked now */
	const struct ops_picture *(*picture)(void *arg);
	/* -> ops_on_act() with ID; PRIMARY is for FOLLOW, FETCH, TIDY, REJOIN and RECOVER. */
	void (*act)(void *arg, uint64_t id, enum ops_act what, const char *node, const char *primary, uint64_t timeout_us);
	void (*forget_act)(void *arg, uint64_t id); /* its end is not awaited any more */
	/* May be NULL.  Of the N nodes in ORDER, indices of the picture, who may become primary: which of them shall, in which order; how many of them.
	 * 0: nobody, and WHY. */
	size_t (*choose)(void *arg, const struct guard_verdict *verdicts, size_t *order, size_t n, char *why, size_t room);
	bool (*can)(void *arg, enum ops_act what); /* FENCE, REJOIN, RECOVER: there is somebody to do it.  NULL: nobody is */
	enum ops_returning (*returning)(void *arg, const struct ops_returned *it); /* NULL: nothing is done */
};
/* RECORD: the journal's last; an operation that it has open is gone on with. */
struct ops *ops_new(const struct ops_env *env, const struct ops_conf *conf, const struct record *record);
void ops_free(struct ops *o);
void ops_configure(struct ops *o, const struct ops_conf *conf);
void ops_go_on(struct ops *o);
void ops_on_record(struct ops *o, enum record_fate fate, const struct err *err);
void ops_on_routed(struct ops *o); /* everybody has seen what was to be so at the last route() */
void ops_on_act(struct ops *o, uint64_t id, bool is_done, const struct err *err);

/* What an administrator wants.  0 with ERR: not now, or not at all; else its number, for ops_answer(). */
/* FORCED: who keeps state on the primary is cut off, and so is who is still in a transaction behind switchover_timeout. */
/* SWITCHOVER, FAILOVER: NODE may be "", for the best.  FAILOVER: of a primary that is lost, or of the operation that waits because of it.
 * WITH_LOSS: max_loss does not count in it. */
enum ops_order {
	OPS_ORDER_SWITCHOVER,
	OPS_ORDER_SWITCHOVER_FORCED,
	OPS_ORDER_FAILOVER,
	OPS_ORDER_FAILOVER_WITH_LOSS,
	OPS_ORDER_DETACH,
	OPS_ORDER_ATTACH,
	OPS_ORDER_PAUSE,
	OPS_ORDER_RESUME,
	OPS_ORDER_REJOIN,
	OPS_ORDER_RECOVER,
	OPS_ORDER_DRAIN
};
uint64_t ops_order(struct ops *o, enum ops_order what, const char *node, const char *by, struct err *err) MUST_CHECK;
/* What an order of SWITCHOVER would find now: the CANDIDATE, and what is thought of each.  False with ERR: it would be refused. */
bool ops_may_switch(struct ops *o, const char *node, char *candidate, size_t room, char *judged, size_t judged_room,
                    struct err *err) MUST_CHECK;
/* DRAIN; TIMEOUT_US: 0, the configured one. */
uint64_t ops_order_drain(struct ops *o, const char *node, uint64_t timeout_us, const char *by, struct err *err) MUST_CHECK;
enum ops_answer { OPS_WAITS, OPS_DONE, OPS_FAILED };
enum ops_answer ops_answer(const struct ops *o, uint64_t order, struct err *err); /* FAILED: ERR says why */

/* Of the hooks of an operation: what a step of theirs came to, until the record changes; NULL: nothing yet, or the operation is over. */
const char *ops_step(const struct ops *o, uint64_t operation, const char *key);
/* It shall be recorded: ops_step() says when it is.  False with ERR, 55006: not now; else it cannot be. */
bool ops_finish_step(struct ops *o, uint64_t operation, const char *key, const char *value, struct err *err) MUST_CHECK;

/* What routing has to heed. */
const struct record *ops_record(const struct ops *o);
bool ops_holds(const struct ops *o);                    /* there is no primary now, whatever nodes say */
const char *ops_primary(const struct ops *o);           /* the only node that may be it; "" is not known */
bool ops_is_cut(const struct ops *o, const char *node); /* nobody may have a connection to it */
/* The source of a switchover, until it is cut. */
enum ops_parting { OPS_STAYS, OPS_WILL_PART, OPS_PARTS };
enum ops_parting ops_parting(const struct ops *o, const char *node); /* PARTS: those who only listen there are to leave */
bool ops_is_draining(const struct ops *o, const char *node);         /* nothing new may begin there */
const char *ops_stuck(const struct ops *o);                          /* why the operation does not go on; NULL: it does */
uint64_t ops_age_ms(const struct ops *o);                            /* of the operation under way */

#endif
