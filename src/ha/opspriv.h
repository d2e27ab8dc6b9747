/*
 * ops' own.
 *
 *   ops.c        doors, records, the public calls     tend.c       while there is no operation
 *   acts.c       what is asked of the world
 *   failover.c   the steps                            wanted.c     what people want
 *   fetch.c      what a candidate lacks
 *   switchover.c … of an ordered one                  rejoin.c     nodes that come back: in the background
 *                                                     drain.c      nodes that leave: there, too
 */
#ifndef HA_OPSPRIV_H
#define HA_OPSPRIV_H

#include "base/clock.h"
#include "ha/ops.h"

#define ACTS_MAX RECORD_NODES_MAX
#define DAMPED_N 3u              /* automatic failovers in a row, behind which there is a pause */
#define LOOK_US (20 * US_PER_MS) /* while somebody's answer is awaited */

enum act_state { ACT_NONE, ACT_RUNS, ACT_DONE, ACT_FAILED };
struct act {
	char node[RECORD_NAME_MAX];
	enum act_state state;
	uint64_t id;
	unsigned tries;
	uint64_t ended_us;
	struct err err;
};

/* A node in quarantine, and what the policy has said about it. */
struct returned {
	char node[RECORD_NAME_MAX];
	bool was_asked;
	enum ops_condition is; /* since then; asked once */
	uint64_t since_us;
	enum ops_returning said;
	unsigned tries; /* to rejoin it, that have failed in a row */
	uint64_t again_us;
	uint64_t worked_us; /* until when something was done to it: what it said before is not what it is */
};

#define ANSWERS_N 4u /* orders that have begun an operation, whose answers are kept */

struct ops {
	struct ops_env env;
	struct ops_conf conf;
	struct record record, next;    /* committed; proposed */
	enum operation_step next_step; /* behind the proposal */
	bool is_proposing, is_going, goes_again;
	uint64_t propose_after_us;
	/* of the operation under way */
	enum operation_step step;
	uint64_t began_us, entered_us;
	uint64_t chose_us;              /* when candidates were looked at last */
	uint64_t floor;                 /* of a switchover: what the candidate must have; 0: not known yet */
	bool is_resumed;                /* nobody knows what was done of this step */
	uint64_t received, received_us; /* of a rejoin: how far the node has come, and when it had come so far */
	uint64_t drain_us;              /* that a drain may take */
	bool is_routed, is_cutting;     /* is_cutting: the source has no connections from now on */
	uint64_t forced;                /* the switchover that may cut clients off; 0: none */
	bool is_parting;                /* of a switchover: nobody writes there any more, so that who listens may leave */
	size_t n_acts;
	struct act acts[ACTS_MAX];
	char stuck[2 * RECORD_WHY_MAX];
	/* an order: recorded one at a time */
	struct {
		uint64_t id;
		enum ops_order what;
		char node[RECORD_NAME_MAX], by[64]; /* node: of a switchover, the candidate */
		uint64_t timeout_us;                /* of a drain; 0: the configured one */
		enum ops_answer answer;
		bool is_proposed;
		struct err err;
	} order;
	/* … that has begun an operation, which answers it when it ends */
	struct awaited {
		uint64_t order, operation;
		enum ops_answer answer;
		struct err err;
	} awaited[ANSWERS_N];
	size_t n_returned;
	struct returned returned[RECORD_NODES_MAX];
	struct {                /* a step of a hook, on its way to the record */
		uint64_t operation; /* 0: none */
		char key[RECORD_KEY_MAX], value[RECORD_VALUE_MAX];
	} finished;
	/* for as long as the program runs */
	uint64_t act_ids, order_ids;
	size_t n_failovers;
	uint64_t failovers_us[DAMPED_N];
	bool has_told_damped, has_told_conflict, has_told_awaited;
};

/* ---- ops.c ---------------------------------------------------------------------------------------------------------------- */

uint64_t op_now(const struct ops *o);
const struct ops_picture *op_picture(const struct ops *o);
const struct ops_node *op_node(const struct ops_picture *p, const char *name);
bool op_is_source(const struct ops *o, const struct ops_node *n);
bool op_is_target(const struct ops *o, const char *node); /* of an operation in the background: others leave it alone */
/* It delays nothing: all else goes on beside it, and what cannot ends it. */
bool op_is_background(const struct record_operation *op);
/* It says that it is the recorded primary. */
bool op_is_primary_there(const struct ops *o, const struct ops_picture *p);
/* It streams what the recorded primary writes, on its timeline: it is a standby like any other. */
bool op_has_proved_itself(const struct ops *o, const struct ops_node *n);
uint64_t op_age_ms(const struct ops *o);
bool op_answered_since(const struct ops_node *n, uint64_t us);
/* It writes a timeline behind the recorded one: it was promoted. */
bool op_is_promoted(const struct ops *o, const struct ops_node *n, uint64_t since_us);
/* The old primary is what it was. */
bool op_is_back(const struct ops *o, const struct ops_picture *p);
void op_ask_again(struct ops *o, uint64_t after_us);
/* Why the operation does not go on; told once. */
PRINTF_LIKE(2, 3) void op_stay(struct ops *o, const char *fmt, ...);
/* When it was reached; recorded with the next proposal. */
void op_note_step(struct ops *o, enum operation_step step);
/* The one door from step to step. */
void op_enter(struct ops *o, enum operation_step step);
void op_draft(struct ops *o); /* o->next is what is recorded */
/* o->next is what is to be; STEP is entered when it is.  STEP_NONE: no operation is under way then.  False, as steps return it. */
bool op_propose(struct ops *o, enum operation_step step);
/* … while the operation under way, if there is one, stays where it is. */
bool op_propose_beside(struct ops *o);
/* Into o->next; what is under way in the background is given up for it, because of WHY. */
void op_open(struct ops *o, enum operation_kind kind, const char *source, const char *why);
void op_make_way(struct ops *o, const char *why); /* in o->next */
bool op_close(struct ops *o, enum operation_end end, const char *why);
bool op_give_up(struct ops *o, const char *why); /* before the point of no return: everything is as it was */

/* ---- acts.c ---------------------------------------------------------------------------------------------------------------- */

struct act *op_act_of(struct ops *o, const char *node); /* made if there is none */
void op_start_act(struct ops *o, struct act *a, enum ops_act what, const char *primary, uint64_t timeout_us);
/* IS: the operation that has come a step further, or, if there is none any more, WAS.  In the background only its own node is acted on by it. */
void op_settle_acts(struct ops *o, const struct record_operation *is, const struct record_operation *was);
void op_forget_acts(struct ops *o);

/* ---- failover.c ------------------------------------------------------------------------------------------------------------ */

bool step_confirm(struct ops *o);
bool step_hold(struct ops *o);
bool step_choose(struct ops *o);
bool step_promote(struct ops *o);
bool step_follow(struct ops *o);
/* By an order, and he was not tried yet: nobody else is asked for. */
bool op_is_named(const struct record_operation *op);
/* NAME is to be promoted; JUDGED: what was thought of all. */
bool op_target(struct ops *o, const char *name, const char *judged);
/* Who of all but the source may, and why the others may not. */
void op_tell_candidates(struct ops *o, const struct ops_picture *p, const struct guard_verdict *v, char *out, size_t room);
/* IS_PLANNED: whoever is chosen will be waited for, so that how far each has come does not count. */
size_t op_judge(struct ops *o, const struct ops_picture *p, bool is_planned, struct guard_verdict *verdicts, size_t *order);
uint64_t op_follow_us(const struct ops *o); /* that a standby is given to follow */

/* ---- fetch.c --------------------------------------------------------------------------------------------------------------- */

/* True: it is under way, and told by op_stay(). */
bool op_fetch(struct ops *o, const struct ops_picture *p, const struct guard_verdict *verdicts);

/* ---- switchover.c ---------------------------------------------------------------------------------------------------------- */

bool op_will_stop(const struct ops *o); /* the old primary, by the policy */
bool step_prepare(struct ops *o);
bool step_drain(struct ops *o);
bool step_fence(struct ops *o);
bool step_catch_up(struct ops *o);
/* The candidate: NODE, or the best one; its name goes to OUT. */
bool op_may_switch(struct ops *o, const char *node, char *out, size_t room, struct err *err);

/* ---- rejoin.c -------------------------------------------------------------------------------------------------------------- */

bool step_work(struct ops *o);
bool step_verify(struct ops *o);
bool op_tend_returned(struct ops *o, const struct ops_picture *p);
/* … of what was said since nothing is done to it any more. */
bool op_is_released(struct ops *o, const struct ops_node *n);
void op_end_restoring(struct ops *o, const char *node);
void op_ask_of_returned_again(struct ops *o); /* the policy may be another one */
bool op_may_restore(struct ops *o, enum ops_order what, const char *node, struct err *err);
void op_open_restoring(struct ops *o, enum operation_kind kind, const char *node, const char *why,
                       bool is_ordered); /* in o->next */

/* ---- drain.c --------------------------------------------------------------------------------------------------------------- */

bool step_empty(struct ops *o);
void op_open_drain(struct ops *o, const char *node, uint64_t timeout_us, const char *why); /* in o->next */

/* ---- tend.c ---------------------------------------------------------------------------------------------------------------- */

bool op_tend(struct ops *o);                             /* true: something was proposed */
void op_tell_to_follow(struct ops *o, const char *node); /* a standby; not again soon */

/* ---- wanted.c -------------------------------------------------------------------------------------------------------------- */

bool op_tend_order(struct ops *o);
bool op_order_joins(struct ops *o); /* one that is about the failover under way: it was taken over into that */
void op_end_order(struct ops *o, enum record_fate fate, const struct err *err); /* the record that it asked for */
void op_refuse_order(struct ops *o);                                    /* an operation has begun that it did not ask for */
void op_answer_order(struct ops *o, const struct record_operation *op); /* … that one asked for has ended */

/* ---- finished.c ------------------------------------------------------------------------------------------------------------- */

bool op_tend_finished(struct ops *o); /* true: something was proposed */

#endif
