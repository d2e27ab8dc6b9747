/*
 * lunapool — the program inside a simulation: its control plane as it is shipped, put together as control.c does it, with a network, a journal's disk
 * and programs that are played; and one worker, who sees what is published a little later.
 *
 *   life_begin: configuration ──► policies ──► topology ──► roles with their journal, hooks        life_end: all of it is gone at once, as by SIGKILL
 *
 * Always: what survives a life is what the journal's disk has.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "priv.h"

#define BEGIN_US (10 * US_PER_S) /* until it has found out what there is */
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

static struct conf *load(const struct sim *s, struct err *err)
{
	struct conf_errors errors = { 0 };
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", s->conf_fd);
	struct conf *conf = conf_load(path, &errors);
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
	l->pools = (struct keeper_pools){ s, on_progress, on_busy, on_opening, on_nobody_waits, NULL };
	roles_remember(l->roles, l->journal, l->records, &l->pools);
	hooks_apply(l->hooks, hooks);
	hooks_on_publish(l->hooks);
	roles_ask(l->roles, l->hooks);
	topo_on_publish(l->board, on_published, s);
	roles_on_conf(l->roles);
}

bool life_begin(struct sim *s, struct err *err)
{
	struct conf *conf = load(s, err);
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

static enum hook_fate on_hook(void *arg, const char *hook, const char *node)
{
	struct sim *s = arg;
	int at = sim_node_named(s, node);
	return at < 0 ? HOOK_RUNS : act_begins(s, hook, at, false);
}

/* ---- the beginning --------------------------------------------------------------------------------------------------------------- */

static int file_of(const char *text)
{
	int fd = memfd_create("simulated", MFD_CLOEXEC);
	size_t len = strlen(text);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		die("no memory for a simulated configuration");
	return fd;
}

struct text {
	char *at;
	size_t len;
};

static PRINTF_LIKE(2, 3) void add(struct text *t, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	size_t n = (size_t)vsnprintf(NULL, 0, fmt, ap);
	t->at = mem_grow(t->at, t->len + n + 1);
	vsnprintf(t->at + t->len, n + 1, fmt, again);
	t->len += n;
	va_end(ap);
	va_end(again);
}

static bool says(const char *settings, const char *name)
{
	return settings && strstr(settings, name);
}

static void write_cluster(const struct sim *s, const struct group *g, const struct sim_conf *conf, struct text *t)
{
	add(t, "cluster \"%s\" {\n%s%s%s\n", g->name, says(conf->settings, "failover =") ? "" : "failover = auto\n",
	    says(conf->settings, "service_user =") ? "" : "service_user = \"lunapool\"\n", conf->settings ? conf->settings : "");
	if (conf->policy)
		add(t, "policy = '%s'\n", conf->policy);
	for (size_t i = 0; i < g->n; i++) {
		const char *more = conf->nodes[i].settings;
		const struct node *n = &s->nodes[g->first + i];
		add(t, "node \"%s\" { host = \"%s\" port = %u %s%s%s %s }\n", n->name, n->host, SIM_PORT,
		    says(more, "data_dir =") ? "" : "data_dir = \"/var/lib/postgresql/", says(more, "data_dir =") ? "" : n->name,
		    says(more, "data_dir =") ? "" : "\"", more ? more : "");
	}
	add(t, "}\ndatabase \"%s\" { cluster = \"%s\" }\n", g == s->groups ? "*" : g->name, g->name);
}

static void write_conf(struct sim *s, const struct sim_conf *confs)
{
	struct text t = { 0 };
	s->hba_fd = file_of("local all all trust\n");
	add(&t, "state_dir = \"/var/lib/lunapool\"\nlisten { port = 0 }\nauth { hba_file = \"/proc/self/fd/%d\" }\n", s->hba_fd);
	for (size_t i = 0; i < s->n_groups; i++)
		write_cluster(s, &s->groups[i], &confs[i], &t);
	s->conf_fd = file_of(t.at);
	mem_free(t.at);
}

/* The first is the primary, whom the others follow. */
static void make_node(struct sim *s, struct group *g, size_t at, const char *name)
{
	bool is_standby = at > 0;
	int primary = is_standby ? (int)g->first : SIM_NONE;
	struct node *n = &s->nodes[g->first + at];
	*n = (struct node){ .group = (int)(g - s->groups),
		                .name = mem_text(name),
		                .is_alive = true,
		                .in_recovery = is_standby,
		                .has_signal = is_standby,
		                .branch = (int)(g - s->groups),
		                .lsn = 0x3000100,
		                .replayed = 0x3000100,
		                .upstream = primary,
		                .next_upstream = primary,
		                .source = primary };
	snprintf(n->host, sizeof n->host, "10.0.%zu.%zu", (size_t)(g - s->groups), at + 1);
}

/* Each cluster begins with a branch of its own. */
static void make_groups(struct sim *s, const struct sim_conf *confs, size_t n)
{
	s->n_groups = s->n_branches = s->cap_branches = n;
	s->groups = mem_alloc(n * sizeof *s->groups);
	s->branches = mem_alloc(n * sizeof *s->branches);
	for (size_t i = 0; i < n; i++) {
		struct group *g = &s->groups[i];
		const char *name = confs[i].name ? confs[i].name : "main";
		*g = (struct group){ .name = mem_text(name), .first = s->n, .n = confs[i].n, .clients.is_quiet = confs[i].is_quiet };
		g->sync = confs[i].sync ? mem_text(confs[i].sync) : NULL;
		s->branches[i] = (struct branch){ SIM_NONE, 0, 1 };
		s->n += g->n;
	}
	s->nodes = mem_alloc(s->n * sizeof *s->nodes);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < s->groups[i].n; k++)
			make_node(s, &s->groups[i], k, confs[i].nodes[k].name);
}

static bool is_settled(const struct sim *s, const struct group *g)
{
	const struct topo_cluster *c = group_seen(s, g);
	bool is = g->record.epoch > 0 && c->primary >= 0 && g->record.sync[0] == (g->sync ? g->sync[0] : 0);
	for (size_t i = 0; i < c->n_nodes; i++)
		is &= (int)i == c->primary || pulse_is_fit(c->nodes[i].pulse);
	return is;
}

static bool are_settled(const struct sim *s)
{
	bool are = true;
	for (size_t i = 0; i < s->n_groups; i++)
		are &= is_settled(s, &s->groups[i]);
	return are;
}

bool sim_begin(struct sim *s, const struct sim_conf *confs, size_t n, struct err *err)
{
	s->world = sim_world;
	s->world.arg = s;
	s->stage = (struct hooks_stage){
		.arg = s, .exec = programs_exec, .stop = programs_stop, .request = programs_request, .begins = on_hook
	};
	s->disk = disk_of(s);
	make_groups(s, confs, n);
	write_conf(s, confs);
	if (!life_begin(s, err))
		return false;
	for (uint64_t until = s->now_us + BEGIN_US; !are_settled(s) && s->now_us < until;)
		if (!sim_run(s, 20 * MS))
			break;
	s->has_begun = true;
	s->began_us = s->now_us;
	s->n_lines = 0;
	for (size_t i = 0; i < n; i++)
		clients_begin(s, &s->groups[i]);
	return are_settled(s) || err_set(err, "F0000", "the cluster did not come into being: %s",
	                                 sim_violation(s) ? sim_violation(s) : "its nodes were not found fit");
}
