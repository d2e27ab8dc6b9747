/*
 * ops' own.
 *
 *   ops.c        doors, records, the public calls     tend.c    while there is no operation
 *   failover.c   the steps                            wanted.c     what people want
 *   switchover.c … of an ordered one
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
	uint64_t floor;             /* of a switchover: what the candidate must have; 0: not known yet */
	bool is_resumed;            /* nobody knows what was done of this step */
	bool is_routed, is_cutting; /* is_cutting: the source has no connections from now on */
	size_t n_acts;
	struct act acts[ACTS_MAX];
	char stuck[2 * RECORD_WHY_MAX];
	/* an order: one at a time */
	struct {
		uint64_t id;
		enum ops_order what;
		char node[RECORD_NAME_MAX], by[64]; /* node: of a switchover, the candidate */
		enum ops_answer answer;
		bool is_proposed;
		struct err err;
	} order;
	/* for as long as the program runs */
	uint64_t act_ids;
	size_t n_failovers;
	uint64_t failovers_us[DAMPED_N];
	bool has_told_damped, has_told_conflict;
};

/* ---- ops.c ---------------------------------------------------------------------------------------------------------------- */

uint64_t op_now(const struct ops *o);
const struct ops_picture *op_picture(const struct ops *o);
const struct ops_node *op_node(const struct ops_picture *p, const char *name);
bool op_is_source(const struct ops *o, const struct ops_node *n);
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
struct act *op_act_of(struct ops *o, const char *node); /* made if there is none */
void op_start_act(struct ops *o, struct act *a, enum ops_act what, const char *primary, uint64_t timeout_us);
void op_draft(struct ops *o); /* o->next is what is recorded */
/* o->next is what is to be; STEP is entered when it is.  STEP_NONE: no operation is under way then.  False, as steps return it. */
bool op_propose(struct ops *o, enum operation_step step);
bool op_close(struct ops *o, enum operation_end end, const char *why);
bool op_give_up(struct ops *o, const char *why); /* before the point of no return: everything is as it was */

/* ---- failover.c ------------------------------------------------------------------------------------------------------------ */

bool step_confirm(struct ops *o);
bool step_hold(struct ops *o);
bool step_choose(struct ops *o);
bool step_promote(struct ops *o);
bool step_follow(struct ops *o);
/* NAME is to be promoted; JUDGED: what was thought of all. */
bool op_target(struct ops *o, const char *name, const char *judged);
/* IS_PLANNED: whoever is chosen will be waited for, so that how far each has come does not count. */
size_t op_judge(struct ops *o, const struct ops_picture *p, bool is_planned, struct guard_verdict *verdicts, size_t *order);
uint64_t op_follow_us(const struct ops *o); /* that a standby is given to follow */

/* ---- switchover.c ---------------------------------------------------------------------------------------------------------- */

bool step_drain(struct ops *o);
bool step_fence(struct ops *o);
bool step_catch_up(struct ops *o);
/* The candidate: NODE, or the best one; its name goes to OUT. */
bool op_may_switch(struct ops *o, const char *node, char *out, size_t room, struct err *err);

/* ---- tend.c ---------------------------------------------------------------------------------------------------------------- */

bool op_tend(struct ops *o); /* true: something was proposed */

/* ---- wanted.c -------------------------------------------------------------------------------------------------------------- */

bool op_tend_order(struct ops *o);
void op_end_order(struct ops *o, enum record_fate fate, const struct err *err); /* the record that it asked for */
void op_refuse_order(struct ops *o);                                         /* an operation has begun that it did not ask for */
void op_answer_switchover(struct ops *o, const struct record_operation *op); /* … that it asked for has ended */

#endif
