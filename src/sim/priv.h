/*
 * sim's own.
 *
 *   sim.c       time, chance, what is under way, the trace      lunapool.c  the program: its life, whom it sends where
 *   node.c      servers: WAL, replication, promotion            links.c     connections and knocks
 *   answer.c    what servers say to SQL                         programs.c  what hooks run: ssh, pg_ctl and kin
 *   clients.c   one who writes, one who reads                   must.c      what must never be
 *   routes.c    where a statement would run                     tasks.c     what operators run
 *   disk.c      the journal's disk                              begin.c     what it begins with
 *
 *   methods.h   what tests in Lua see (lua/lunapool/test.lua)   run.c       lunapool test: files, seeds, TAP
 */
#ifndef SIM_PRIV_H
#define SIM_PRIV_H

#include <limits.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/dlist.h"
#include "base/log.h"
#include "base/mem.h"
#include "ha/guard.h"
#include "ha/journal.h"
#include "ha/keeper.h"
#include "ha/powers.h"
#include "ha/records.h"
#include "ha/roles.h"
#include "hooks/hooks.h"
#include "hooks/stage.h"
#include "net/loop.h"
#include "policy/kv.h"
#include "policy/set.h"
#include "sim/sim.h"
#include "upstream/world.h"

#define SIM_NONE (-1)
#define SIM_ALL (-1)
#define TRACE_LINES 400u
#define TRACE_BYTES 300u
#define MS US_PER_MS

/* ---- sim.c */

/* Something that is going to happen. */
struct happening {
	struct loop_timer timer;
	struct dlist link;
	struct sim *sim;
	void (*fn)(struct sim *s, struct happening *h);
	void *who; /* for sim_drop(); NULL: it happens in any case */
	int node;
	uint64_t a, b;
};
struct happening *sim_later(struct sim *s, uint64_t us, void (*fn)(struct sim *s, struct happening *h), void *who, int node,
                            uint64_t a, uint64_t b);
void sim_drop(struct sim *s, const void *who); /* what is meant for WHO does not happen */
uint64_t sim_between(struct sim *s, uint64_t least_us, uint64_t most_us);
uint64_t sim_way_us(struct sim *s); /* that a message takes */

/* ---- node.c */

struct branch { /* a timeline; each promotion makes one, whatever its number */
	int parent;
	uint64_t fork, timeline;
};
struct node {
	int group; /* its cluster */
	char *name, *host, *ssh_host, *data_dir;
	unsigned port;
	bool is_alive, is_starting, is_frozen, is_full, is_hung, has_full_disk;
	bool is_away;                    /* there is no way between it and Lunapool */
	bool in_recovery, has_signal;    /* standby.signal is there: it will come up as a standby */
	bool is_promoting, is_by_others; /* by nobody whom Lunapool has asked */
	bool is_apart;                   /* there is no way between it and other nodes */
	uint64_t cut_from;               /* … nor between it and these, bit by bit */
	bool promotes_amiss;             /* that begins no timeline */
	int branch;
	uint64_t lsn, replayed;
	int upstream, next_upstream; /* that its settings name: in force; not yet read */
	int source;                  /* it receives from; SIM_NONE */
	uint64_t attached;           /* how often it was */
	uint64_t lag_bytes, lag_us, slow_us;
	uint64_t busy_until_us; /* clients use a connection to it until then */
	unsigned promotions;
	bool is_used; /* somebody may have a connection to it, by the topology that those have seen who send statements */
};
bool node_answers(const struct node *n);                                            /* whoever has a way to it */
bool node_has_way(const struct sim *s, const struct node *a, const struct node *b); /* from one to the other */
bool node_is_writable(const struct node *n);
uint64_t node_timeline(const struct sim *s, const struct node *n);
bool node_holds(const struct sim *s, int branch, uint64_t upto, int of_branch, uint64_t lsn); /* BRANCH up to UPTO has that */
void node_write(struct sim *s, struct node *n, uint64_t bytes);
bool node_is_acknowledged(const struct sim *s, const struct node *n, int branch, uint64_t lsn); /* by its synchronous standbys */
void node_promote(struct sim *s, struct node *n);
void node_follow(struct sim *s, struct node *n); /* reads its settings again */
void node_stop(struct sim *s, struct node *n);
void node_begin(struct sim *s, struct node *n, bool is_standby);
void node_copy(struct node *n, const struct node *of); /* pg_rewind, pg_basebackup */

/* ---- links.c */

extern const struct world sim_world;
void links_break(struct sim *s, const struct node *n); /* its processes are gone */
void links_go_on(struct sim *s, const struct node *n); /* thawed, healed: what has waited is answered */

/* ---- answer.c */

struct link;
struct answer {
	struct err err; /* if is_error */
	bool is_error, is_silent;
	unsigned n_columns, n_rows;
	const char *names[16], *values[32];
	unsigned types[16];
	char text[16][300];
	const struct world_reply *given; /* in its stead */
};
void answer_sql(struct sim *s, struct node *n, const char *sql, struct answer *out);
int node_in_conninfo(const struct sim *s, const char *text); /* whose host and port it names; SIM_NONE */
int node_listening(const struct sim *s, const char *host, unsigned port);
/* What a test has taught a server (SIM_ALL: each) to say to statements that have SQL in them. */
#define LESSONS_MAX 64u
void lessons_forget(struct sim *s);
struct lesson {
	int node;
	char *sql;
	struct world_reply reply;
};

/* ---- programs.c */

struct play;
void programs_exec(void *arg, struct child *c, const char *const *argv);
void programs_stop(void *arg, struct child *c);
uint64_t programs_request(void *arg, const struct stage_request *q, struct stage_reply *out);

/* ---- acts: what was asked of nodes, by hooks or by SQL */

#define ACTS_MAX 32u
struct act_fault {
	char act[64];
	int node;
	unsigned left;
	bool hangs;
};
struct act_count {
	char act[64];
	int node;
	unsigned n;
};
enum hook_fate act_begins(struct sim *s, const char *act, int node, bool is_again);

/* ---- clients.c */

struct clients { /* of one cluster */
	bool is_quiet;
	enum { WRITER_IDLE, WRITER_SENT, WRITER_WRITTEN } writer;
	uint64_t turn; /* of the write that is under way */
	int node, branch;
	uint64_t lsn, last_us, outage_us;
	size_t n, cap;
	struct written {
		int branch;
		uint64_t lsn;
	} * acknowledged;
	uint64_t epoch, epoch_us;
};
struct group;
void clients_begin(struct sim *s, struct group *g);
void clients_on_topology(struct sim *s, struct group *g);
void clients_on_death(struct sim *s, int node); /* connections to it are gone */
void clients_on_our_death(struct sim *s);
unsigned clients_busy(const struct sim *s, int node);

/* ---- a cluster */

struct group {
	char *name;
	char *sync;
	struct clients clients;
	/* the journal's disk */
	char *file; /* NULL: nothing was written yet */
	char *durable;
	size_t durable_len;
	struct record record; /* as it reads */
	/* what must be */
	bool may_lose;
	uint64_t greatest_epoch, of_operation;
	unsigned promotions, promotions_of_it;
};
struct group *group_of(const struct sim *s, const struct node *n);
const struct topo_cluster *group_seen(const struct sim *s,
                                      const struct group *g); /* by who sends statements; NULL: nobody does */

/* ---- must.c */

void must_look(struct sim *s);
void must_on_recorded(struct sim *s, const struct group *g, uint64_t epoch_before);
void must_on_rests(struct sim *s, const struct node *n); /* who only listens there is counted, in order to take leave */
void must_on_act(struct sim *s, const char *act, const struct node *n); /* a hook, or what is done in its stead */
void must_on_acknowledged(struct sim *s, const struct node *n);
void must_on_promoted(struct sim *s, const struct node *n);
void must_on_read(struct sim *s, const struct node *n, const struct written *w);

/* ---- disk.c */

struct journal_disk disk_of(struct sim *s);
void disk_lose_writes(struct sim *s); /* Lunapool is dead */

/* ---- lunapool.c */

struct life {
	bool is_on;
	uint64_t n; /* lives */
	struct resolver *resolver;
	struct mailbox mailbox;
	struct topo_board *board;
	struct journal *journal;
	struct records *records;
	struct roles *roles;
	struct hooks *hooks;
	struct policy_kv *kv;
	struct policy_set *policies;
	const struct topo *seen; /* as those see it who send statements */
	struct keeper_pools pools;
	struct powers powers;
};
struct conf *life_conf(const struct sim *s, struct err *err); /* as it stands in its file now */
bool life_begin(struct sim *s, struct err *err);
void life_end(struct sim *s);
enum hook_fate life_on_hook(void *arg, const char *hook, const char *node);
struct ops *life_ops(const struct sim *s, const struct group *g); /* NULL: it does not live */
const struct topo_node *life_node(const struct sim *s, int node);

struct sim {
	uint64_t now_us, began_us, random;
	struct loop *loop;
	struct dlist under_way;
	struct world world;
	struct hooks_stage stage;
	struct journal_disk disk;
	size_t n;
	struct node *nodes;
	size_t n_branches, cap_branches;
	struct branch *branches;
	size_t n_groups;
	struct group *groups;
	char conf_path[PATH_MAX];
	int conf_fd, hba_fd; /* of one that we have written; -1: none */
	struct life life;
	bool has_begun;
	struct dlist writes; /* on their way to the journal's disk */
	unsigned disk_fails;
	/* connections and programs */
	struct dlist links, plays;
	sim_program_fn on_program; /* NULL: the test knows none */
	void *on_program_arg;
	sim_request_fn on_request; /* NULL: nobody answers */
	void *on_request_arg;
	bool on_program_runs; /* what the test does now it does for a hook */
	size_t n_lessons;
	struct lesson lessons[LESSONS_MAX];
	/* acts */
	size_t n_faults, n_counts;
	struct act_fault faults[ACTS_MAX];
	struct act_count counts[ACTS_MAX * 4];
	char dies_at[32];
	bool dies_now;
	char violation[400];
	/* the trace */
	uint64_t n_lines;
	char (*lines)[TRACE_BYTES];
};

#endif
