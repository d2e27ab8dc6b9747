/*
 * sim — a simulated cluster with Lunapool before it: time is a number, servers are a few facts each, and what decides is the shipped code.
 *
 * Simulated are the servers (their WAL, their replication, what they answer), the network, the journal's disk, the programs that hooks run, and a
 * client who writes and one who reads.  Real are the probes and their verdicts, the ladder, the operations and the guard, the policy's VMs, the
 * topology and the routing.  A seed decides how long everything takes, and so who comes first; the same seed does the same again.
 *
 * After each turn of events what must never be is looked for; the first that is found stays (sim_violation()).
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "ha/ops.h"
#include "upstream/world.h"

struct sim;
struct sim_node {
	const char *name;
	const char *settings; /* of its block in the configuration; NULL: none */
};
struct sim_conf {     /* of a cluster */
	const char *name; /* NULL: "main" */
	size_t n;         /* nodes; the first is the primary */
	const struct sim_node *nodes;
	const char *settings; /* of the block cluster; NULL: none */
	const char *policy;   /* path of a file; NULL: none */
	const char *sync;     /* synchronous_standby_names; NULL: none */
	bool is_quiet;        /* nobody writes and reads */
};
struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *s); /* NULL is fine */
struct sim_start {            /* how a cluster of a configuration begins */
	const char *cluster;      /* its name; NULL: the one at this place; "*": all that have no other */
	const char *primary;      /* NULL: its first node */
	const char *sync;         /* as above */
	bool is_quiet;
};
#define SIM_CLUSTERS_MAX 8u /* for sim_begin() */
/* The N clusters begin, and Lunapool before them; until that knows their primaries.  Once.  Names of nodes are unique among all of them.
 * False with ERR: the configuration, or a policy, is wrong. */
bool sim_begin(struct sim *s, const struct sim_conf *confs, size_t n, struct err *err) MUST_CHECK;
/* The clusters of the configuration at PATH, as they stand there; STARTS of some of them. */
bool sim_begin_configured(struct sim *s, const char *path, const struct sim_start *starts, size_t n, struct err *err) MUST_CHECK;
bool sim_has_begun(const struct sim *s);
bool sim_run(struct sim *s, uint64_t us);                                /* false: something was violated */
const char *sim_violation(const struct sim *s);                          /* NULL: nothing was */
void sim_violate(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3); /* the first stays */
uint64_t sim_now_us(const struct sim *s);                                /* since it began */
uint32_t sim_random(struct sim *s, uint32_t below);
/* What has happened, the last few hundred lines of it, the oldest first. */
void sim_trace(const struct sim *s, void (*fn)(void *arg, const char *line), void *arg);
void sim_say(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3); /* a line there */

int sim_cluster_named(const struct sim *s, const char *name); /* its number, from 0, as CLUSTER everywhere; -1: there is none */

int sim_cluster_of(const struct sim *s, int node);

/* ---- faults: NODE is its number, by sim_node_named() */
int sim_node_named(const struct sim *s, const char *name); /* -1: there is none */
void sim_kill(struct sim *s, int node);                    /* SIGKILL of all its processes */
void sim_start(struct sim *s, int node);                   /* it comes up as what it was */
void sim_return_as_primary(struct sim *s, int node);       /* … out of recovery, whatever it was */
void sim_freeze(struct sim *s, int node);                  /* SIGSTOP of all of them */
void sim_thaw(struct sim *s, int node);
void sim_partition(struct sim *s, int node);      /* nobody has a way to it, nor it to anybody */
void sim_cut(struct sim *s, int node, int other); /* the way between two of them; OTHER -1: between it and Lunapool only */
void sim_heal(struct sim *s, int node);           /* … and of slow, refuse, hang, disk_full and lag */
void sim_refuse(struct sim *s, int node);         /* it is full: who comes is told 53300 */
void sim_hang(struct sim *s, int node);           /* its disk hangs: who reads is answered, and no write ends */
void sim_fill_disk(struct sim *s, int node);      /* who would write is told 53100 */
/* It answers statements that have SQL in them with these rows, by columns' names; all of it is copied.  NODE -1: each. */
bool sim_teach(struct sim *s, int node, const char *sql, const struct world_reply *reply);
void sim_slow(struct sim *s, int node, uint64_t us); /* each answer comes so much later */
void sim_lag_bytes(struct sim *s, int node, uint64_t bytes);
void sim_lag_time(struct sim *s, int node, uint64_t us); /* it replays so much later */
/* ACT at NODE (-1: at any): "promote", "follow_primary", or another hook's name; the next N times. */
void sim_act_fails(struct sim *s, const char *act, int node, unsigned n);
void sim_promotes_amiss(
    struct sim *s, int node); /* its promotions make it writable on the timeline that it was on, and say that they are done */
void sim_act_hangs(struct sim *s, const char *act, int node, unsigned n);
/* What others do: */
void sim_promote(struct sim *s, int node);
void sim_follow(struct sim *s, int node, int primary); /* its settings name PRIMARY from now on */
void sim_rebuild(struct sim *s, int node);             /* a new copy of the recorded primary, as its standby; it was down */
/* Asked of each program that a hook runs, with its words in a line: true, it is known, and ends with *STATUS and what stands in SAID. */
typedef bool (*sim_program_fn)(void *arg, const char *line, int *status, char *said, size_t room);
void sim_on_program(struct sim *s, sim_program_fn fn, void *arg);
/* Asked of each request (lp.http) of a hook; it takes so many µs. */
struct stage_request;
struct stage_reply;
typedef uint64_t (*sim_request_fn)(void *arg, const struct stage_request *q, struct stage_reply *out);
void sim_on_request(struct sim *s, sim_request_fn fn, void *arg);
void sim_lunapool_dies_at(struct sim *s, const char *step); /* SIGKILL, at this step of an operation, once; it is started again */
void sim_lunapool_dies(struct sim *s);                      /* now */
void sim_tear_journal(struct sim *s); /* what is on its disk is damaged: Lunapool is killed, and finds that */
void sim_journal_fails(struct sim *s, unsigned of_hundred); /* writes to its disk */
/* An operator's orders, for sim_answer(); 0: Lunapool does not run, or refuses, and ERR says why. */
uint64_t sim_order(struct sim *s, int cluster, enum ops_order what, const char *node, struct err *err);
uint64_t sim_order_drain(struct sim *s, int cluster, const char *node, uint64_t timeout_us,
                         struct err *err); /* 0: the configured time */
enum ops_answer sim_answer(const struct sim *s, int cluster, uint64_t order,
                           struct err *err);              /* of the life that took the order */
void sim_allow_loss(struct sim *s, int cluster);          /* synchronous writes may be lost from now on: the operator says so */
void sim_keep_busy(struct sim *s, int node, uint64_t us); /* clients use a connection to it for so long */

struct sim_task_end {
	bool is_good;
	char why[400], output[4000];
};
/* The policy's task, to its end, which it may take so long to; CLUSTER NULL: there is one policy with such a task.  False: something was violated. */
struct hook_arg;
bool sim_task(struct sim *s, const char *cluster, const char *name, const struct hook_arg *args, size_t n, uint64_t most_us,
              struct sim_task_end *end);

/* ---- what has come of it */
const struct record *sim_record(const struct sim *s, int cluster); /* that is on the journal's disk */
const char *sim_stuck(const struct sim *s, int cluster);           /* why its operation does not go on; NULL: it does */
uint64_t sim_lives(const struct sim *s);                           /* of Lunapool: how often it was started */
const char *sim_primary(const struct sim *s, int cluster);         /* where writes are sent now; NULL: nowhere */
bool sim_is_writable(const struct sim *s, int node);               /* up, and out of recovery */
bool sim_is_streaming(const struct sim *s, int node);
bool sim_is_up(const struct sim *s, int node);                               /* and answers */
bool sim_is_down(const struct sim *s, int node);                             /* it does not run */
unsigned sim_promotions(const struct sim *s, int cluster);                   /* that have happened */
unsigned sim_called(const struct sim *s, const char *act, const char *node); /* how often; NODE NULL: at any */
uint64_t sim_write_outage_us(const struct sim *s, int cluster); /* the longest time without a write that was acknowledged */
uint64_t sim_writes(const struct sim *s, int cluster);          /* acknowledged */
uint64_t sim_lost_writes(const struct sim *s, int cluster);     /* … that the primary has not */

struct sim_route {
	char node[128];   /* where it runs; "": it is refused */
	char error[400];  /* SQLSTATE and text, if it is refused */
	char story[4000]; /* all that EXPLAIN ROUTE says */
};
/* Of a statement that USER would send now in a session of its own, asked TIMES, since chance may choose: so many answers in OUT.  False: Lunapool does
 * not run. */
bool sim_route(struct sim *s, const char *database, const char *user, const char *sql, unsigned times, struct sim_route *out);

#endif
