/*
 * lunapool — the program inside a simulation: its control plane as it is shipped, put together as control.c does it, with a network, a journal's disk
 * and programs that are played; and one worker, who sees what is published a little later.
 *
 *   life_begin: configuration ──► policies ──► topology ──► roles with their journal, hooks        life_end: all of it is gone at once, as by SIGKILL
 *
 * Always: what survives a life is what the journal's disk has.
 */
#include <stdio.h>
#include <string.h>

#include "priv.h"

#define KV_MAX 10000u

/* ---- who sees what ------------------------------------------------------------------------------------------------------------ */

static void on_picked_up(struct sim *s, struct happening *h)
{
	s->life.seen = topo_pick_up(s->life.board, 0);
	for (size_t i = 0; i < s->n_groups; i++)
		clients_on_topology(s, &s->groups[i]);
	topo_collect(s->life.board); /* there is one reader, who has it now */
}

static void on_published(void *arg, unsigned reader)
{
	struct sim *s = arg;
	sim_later(s, sim_between(s, 10, 2 * MS), on_picked_up, &s->life, SIM_NONE, 0, 0);
	if (s->life.hooks)
		hooks_on_publish(s->life.hooks);
}

static void on_wanted_now(struct sim *s, struct happening *h)
{
	roles_doubt(s->life.roles, (uint32_t)h->a);
}

static void on_wanted(void *arg, uint32_t node_id)
{
	struct sim *s = arg;
	sim_later(s, sim_between(s, 10, 200), on_wanted_now, &s->life, SIM_NONE, node_id, 0);
}

static int node_of_id(const struct sim *s, uint32_t id)
{
	const struct topo_node *n = topo_node(topo_latest(s->life.board), id, NULL);
	return n ? sim_node_named(s, n->name) : SIM_NONE;
}

static uint64_t on_progress(void *arg, uint32_t node_id)
{
	const struct sim *s = arg;
	int node = node_of_id(s, node_id);
	const struct clients *c = node < 0 ? NULL : &group_of(s, &s->nodes[node])->clients;
	return c && c->node == node ? c->n + 1 : 0;
}

static unsigned on_busy(void *arg, uint32_t node_id)
{
	const struct sim *s = arg;
	return clients_busy(s, node_of_id(s, node_id));
}

/* Who uses a connection may be in no transaction, and only keep or hear something there. */
static struct ops_rests on_rests(void *arg, uint32_t node_id)
{
	struct sim *s = arg;
	int node = node_of_id(s, node_id);
	if (node >= 0)
		must_on_rests(s, &s->nodes[node]);
	return (struct ops_rests){ .keep = sim_random(s, 2), .hear = sim_random(s, 2) };
}

/* Clients here have their connections when they need them. */
static unsigned on_opening(void *arg, uint32_t node_id)
{
	return 0;
}

/* … so that nobody waits for one. */
static unsigned on_nobody_waits(void *arg, uint32_t node_id)
{
	return 0;
}

struct ops *life_ops(const struct sim *s, const struct group *g)
{
	const struct keeper *k = s->life.is_on ? roles_keeper(s->life.roles, g->name) : NULL;
	return k ? keeper_ops(k) : NULL;
}

const struct topo_node *life_node(const struct sim *s, int node)
{
	const struct topo *t = s->life.is_on ? topo_latest(s->life.board) : NULL;
	for (size_t i = 0; t && i < t->n_clusters; i++)
		for (size_t k = 0; k < t->clusters[i].n_nodes; k++)
			if (strcmp(t->clusters[i].nodes[k].name, s->nodes[node].name) == 0)
				return &t->clusters[i].nodes[k];
	return NULL;
}

/* ---- what operators want ------------------------------------------------------------------------------------------------------- */

static struct ops *ops_to_ask(const struct sim *s, int cluster, struct err *err)
{
	struct ops *o = life_ops(s, &s->groups[cluster]);
	if (!o)
		err_set(err, "57P03", "Lunapool does not run");
	return o;
}

uint64_t sim_order(struct sim *s, int cluster, enum ops_order what, const char *node, struct err *err)
{
	struct ops *o = ops_to_ask(s, cluster, err);
	return o ? ops_order(o, what, node, "the test", err) : 0;
}

uint64_t sim_order_drain(struct sim *s, int cluster, const char *node, uint64_t timeout_us, struct err *err)
{
	struct ops *o = ops_to_ask(s, cluster, err);
	return o ? ops_order_drain(o, node, timeout_us, "the test", err) : 0;
}

enum ops_answer sim_answer(const struct sim *s, int cluster, uint64_t order, struct err *err)
{
	const struct ops *o = ops_to_ask(s, cluster, err);
	return o ? ops_answer(o, order, err) : OPS_FAILED;
}

const char *sim_stuck(const struct sim *s, int cluster)
{
	const struct ops *o = life_ops(s, &s->groups[cluster]);
	return o ? ops_stuck(o) : "Lunapool does not run";
}

uint64_t sim_lives(const struct sim *s)
{
	return s->life.n;
}

/* ---- its life ------------------------------------------------------------------------------------------------------------------ */

struct conf *life_conf(const struct sim *s, struct err *err)
{
	struct conf_errors errors = { 0 };
	struct conf *conf = conf_load(s->conf_path, &errors);
	if (!conf)
		err_set(err, "F0000", "%s", errors.at[0].text);
	conf_errors_fini(&errors);
	return conf;
}

static struct hook_set *load_policies(struct sim *s, const struct conf *conf, struct err *err)
{
	struct life *l = &s->life;
	l->kv = policy_kv_new(KV_MAX);
	l->policies = policy_set_load(conf, 1, l->kv, l->n, err);
	struct hook_set *hooks = l->policies ? hook_set_load(conf, l->policies, l->kv, err) : NULL;
	if (hooks)
		return hooks;
	policy_set_free(l->policies);
	policy_kv_free(l->kv);
	return NULL;
}

static void put_together(struct sim *s, struct conf *conf, struct hook_set *hooks)
{
	struct life *l = &s->life;
	struct topo *t = topo_build(conf, NULL);
	t->policies = l->policies;
	mailbox_open(&l->mailbox, s->loop, s);
	l->resolver = resolver_new_simulated(&s->world);
	l->records = records_new();
	l->board = topo_board_new(1);
	topo_on_want(l->board, on_wanted, s);
	topo_publish(l->board, t);
	l->seen = topo_pick_up(l->board, 0);
	l->roles = roles_new(s->loop, l->resolver, &l->mailbox, l->board);
	powers_init(&l->powers, &l->roles, on_busy, s);
	l->hooks = hooks_new(&(struct hooks_env){ s->loop, l->resolver, &l->mailbox, l->board, &l->powers.hooks, &s->stage, "" });
	l->journal = journal_simulated(&s->disk);
	l->pools = (struct keeper_pools){ s, on_progress, on_busy, on_opening, on_nobody_waits, on_rests };
	roles_remember(l->roles, l->journal, l->records, &l->pools);
	hooks_apply(l->hooks, hooks);
	hooks_on_publish(l->hooks);
	roles_ask(l->roles, l->hooks);
	topo_on_publish(l->board, on_published, s);
	roles_on_conf(l->roles);
}

bool life_begin(struct sim *s, struct err *err)
{
	struct conf *conf = life_conf(s, err);
	s->life = (struct life){ .n = s->life.n + 1 };
	struct hook_set *hooks = conf ? load_policies(s, conf, err) : NULL;
	if (!hooks) {
		conf_free(conf);
		return false;
	}
	s->life.is_on = true;
	sim_say(s, "Lunapool is started");
	put_together(s, conf, hooks);
	return true;
}

/* Without a last word: what it would have said in an orderly end is what a killed one does not. */
void life_end(struct sim *s)
{
	struct life *l = &s->life;
	if (!l->is_on)
		return;
	l->is_on = false;
	sim_drop(s, l);
	topo_on_publish(l->board, NULL, NULL);
	roles_free(l->roles);
	hooks_shut(l->hooks);
	journal_close(l->journal);
	disk_lose_writes(s);
	hooks_free(l->hooks);
	records_free(l->records);
	topo_leave(l->board, 0);
	topo_board_free(l->board);
	policy_set_free(l->policies);
	policy_kv_free(l->kv);
	mailbox_close(&l->mailbox);
	resolver_free(l->resolver);
	l->seen = NULL;
	clients_on_our_death(s);
}

enum hook_fate life_on_hook(void *arg, const char *hook, const char *node)
{
	struct sim *s = arg;
	int at = sim_node_named(s, node);
	return at < 0 ? HOOK_RUNS : act_begins(s, hook, at, false);
}
