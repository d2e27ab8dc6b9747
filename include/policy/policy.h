/*
 * policy — asks a cluster's Lua policy what shall happen to a statement or a login.
 *
 * One VM per worker and cluster: whoever has it calls it from that thread only.  A call borrows everything that it is given until it
 * returns, never blocks, takes at most POLICY_CALL_US, and answers POLICY_NONE where the policy has no hook, said nothing, failed, or is
 * switched off by its breaker: then built-in routing decides.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "topo/topo.h"

#define POLICY_CALL_US 5000u
#define POLICY_TEXT_MAX 8192u /* of a statement, for the script */
#define POLICY_NODES_MAX 64u  /* of a cluster that has a policy */
#define POLICY_NAME_MAX 64u
#define POLICY_REASON_MAX 160u
#define POLICY_REJECT_MAX 300u

struct sql_class;
struct sql_hint;
struct policy_vm;

/* What a script sees as `query` (all of it) or `statement` (what is the same each time the statement comes). */
struct policy_query {
	struct slice text;
	const struct sql_class *class; /* never NULL */
	const struct sql_hint *hint;   /* NULL: none */
	const char *user, *database, *application;
	const void *client; /* of put_address */
	/* Called when the script asks; NULL: it sees an empty text. */
	void (*put_address)(const void *client, char *out, size_t room);
	const char *workload;   /* what admit() or a setting called the session's class; NULL or "": nothing */
	bool in_transaction;    /* inside one that has begun before this statement */
	bool read_only;         /* and it is READ ONLY */
	bool wrote;             /* and it has written */
	bool stays;             /* it, or a pin, keeps the session in the cluster where it is */
	int64_t ms_since_write; /* of the session; -1: it has not written */
};
/* What it sees as `client`. */
struct policy_client {
	const char *user, *database, *application;
	const void *client;
	void (*put_address)(const void *client, char *out, size_t room);
	bool (*has_database)(const void *client, const char *name); /* that he could have asked for */
};

enum policy_kind {
	POLICY_NONE,     /* nothing was decided */
	POLICY_PRIMARY,  /* the cluster's primary, whoever that is then */
	POLICY_STANDBYS, /* its standbys that are fit for reads */
	POLICY_ANY,      /* those and the primary */
	POLICY_NODES,    /* those in `nodes`, one or several */
	POLICY_REJECT,   /* an error: sqlstate, text */
	POLICY_WAIT,     /* wait_ms for a standby that is fresh enough */
};
enum decider {
#define DECIDER(id, name) DECIDER_##id,
#include "tbl/deciders.h"
	DECIDERS
};
struct policy_decision {
	enum policy_kind kind;
	uint8_t by;        /* enum decider: for whoever asks the policy, and others */
	uint32_t note;     /* his, too: the policy leaves it alone */
	bool names_place;  /* the policy has named one, which says at least in which cluster it runs: for who asks */
	bool has_failed;   /* the policy did, or is left alone: nothing to keep */
	size_t cluster_at; /* index into topo->clusters: mostly the one whose policy was asked */
	uint64_t nodes;    /* POLICY_NODES: bit i is nodes[i] of that cluster; never 0 */
	uint32_t wait_ms;
	char sqlstate[6];
	char text[POLICY_REJECT_MAX];
	char reason[POLICY_REASON_MAX]; /* the hook's second value; "" if there is none.  POLICY_NONE: why, if the policy failed */
};
struct policy_admission {
	bool is_rejected;
	char sqlstate[6];
	char text[POLICY_REJECT_MAX];
	char workload[POLICY_NAME_MAX]; /* "": none */
	char database[POLICY_NAME_MAX]; /* that he gets instead of the one he asked for; "": that */
};

enum policy_hook { POLICY_HOOK_PLAN, POLICY_HOOK_ROUTE, POLICY_HOOK_ADMIT, POLICY_HOOK_BALANCE, POLICY_HOOKS };

const char *policy_kind_name(const struct sql_class *class); /* as scripts see it: "select", "multi", … */

bool policy_has(const struct policy_vm *vm, enum policy_hook hook);
/* Where the hook stands: "/etc/lunapool/policies/main.lua:12"; "" when there is none. */
const char *policy_where(const struct policy_vm *vm, enum policy_hook hook);
/* Grows with each policy that is put in force; never 0.  What policy_plan() said holds as long as this stays the same. */
uint64_t policy_generation(const struct policy_vm *vm);

/* TOPO: this turn's; CLUSTER_AT: the session's cluster.  OUT is filled whatever the answer is. */
/* True: what is in OUT holds for this statement, user and database, and policy_route() need not be asked.  (POLICY_NONE with true: built-in
 * routing, and there is no hook route either.) */
bool policy_plan(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_query *q,
                 struct policy_decision *out);
void policy_route(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_query *q,
                  struct policy_decision *out);
void policy_admit(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_client *client,
                  struct policy_admission *out);
/* One of NODES (bits of that cluster's nodes); -1: the configured algorithm chooses. */
int policy_balance(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_query *q,
                   uint64_t nodes);

#endif
