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

/* ---- the journal's disk --------------------------------------------------------------------------------------------------- */

static void make_durable(struct sim *s)
{
	struct err err;
	bool is_strange;
	s->durable = mem_grow(s->durable, s->writing_len + 1);
	memcpy(s->durable, s->writing_text, s->writing_len);
	s->durable_len = s->writing_len;
	uint64_t epoch = s->record.epoch;
	if (!record_read(&s->record, slice_of(s->durable, s->durable_len), &is_strange, &err))
		die("a record cannot be read that was just written: %s", err.text);
	must_on_recorded(s, epoch);
}

static void on_disk(struct sim *s, struct happening *h)
{
	struct journal_write *w = s->writing;
	bool is_good = sim_random(s, 100) >= s->disk_fails;
	s->writing = NULL;
	if (is_good && s->writing_text)
		make_durable(s);
	journal_on_written(w, is_good);
}

static void disk_write(void *arg, struct journal_write *w, const char *text, size_t len)
{
	struct sim *s = arg;
	ASSERT(!s->writing); /* operations propose one at a time */
	s->writing = w;
	s->writing_text = text;
	s->writing_len = len;
	sim_later(s, sim_random(s, 10) ? sim_between(s, 200, 3 * MS) : sim_between(s, 3 * MS, 30 * MS), on_disk, &s->disk, SIM_NONE,
	          0, 0);
}

static size_t disk_read(void *arg, char *text)
{
	const struct sim *s = arg;
	if (s->durable_len)
		memcpy(text, s->durable, s->durable_len);
	return s->durable_len;
}

/* What was being written may have got there, or not. */
static void lose_write(struct sim *s)
{
	struct journal_write *w = s->writing;
	sim_drop(s, &s->disk);
	if (!w)
		return;
	if (s->writing_text && sim_random(s, 2))
		make_durable(s);
	s->writing = NULL;
	journal_on_written(w, false);
}

void sim_journal_fails(struct sim *s, unsigned of_hundred)
{
	s->disk_fails = of_hundred;
}

const struct record *sim_record(const struct sim *s)
{
	return &s->record;
}

/* ---- who sees what ------------------------------------------------------------------------------------------------------------ */

static void on_picked_up(struct sim *s, struct happening *h)
{
	s->life.seen = topo_pick_up(s->life.board, 0);
	clients_on_topology(s);
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
	return s->clients.node == node_of_id(s, node_id) ? s->clients.n + 1 : 0;
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

struct ops *life_ops(const struct sim *s)
{
	const struct keeper *k = s->life.is_on ? roles_keeper(s->life.roles, "main") : NULL;
	return k ? keeper_ops(k) : NULL;
}

const struct topo_node *life_node(const struct sim *s, int node)
{
	const struct topo *t = s->life.is_on ? topo_latest(s->life.board) : NULL;
	for (size_t i = 0; t && i < t->clusters[0].n_nodes; i++)
		if (strcmp(t->clusters[0].nodes[i].name, s->nodes[node].name) == 0)
			return &t->clusters[0].nodes[i];
	return NULL;
}

/* ---- what operators want ------------------------------------------------------------------------------------------------------- */

static struct ops *ops_to_ask(const struct sim *s, struct err *err)
{
	struct ops *o = life_ops(s);
	if (!o)
		err_set(err, "57P03", "Lunapool does not run");
	return o;
}

uint64_t sim_order(struct sim *s, enum ops_order what, const char *node, struct err *err)
{
	struct ops *o = ops_to_ask(s, err);
	return o ? ops_order(o, what, node, "the test", err) : 0;
}

uint64_t sim_order_drain(struct sim *s, const char *node, uint64_t timeout_us, struct err *err)
{
	struct ops *o = ops_to_ask(s, err);
	return o ? ops_order_drain(o, node, timeout_us, "the test", err) : 0;
}

enum ops_answer sim_answer(const struct sim *s, uint64_t order, struct err *err)
{
	const struct ops *o = ops_to_ask(s, err);
	return o ? ops_answer(o, order, err) : OPS_FAILED;
}

const char *sim_stuck(const struct sim *s)
{
	const struct ops *o = life_ops(s);
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
	lose_write(s);
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

static void write_conf(struct sim *s, const struct sim_conf *conf)
{
	struct text t = { 0 };
	s->hba_fd = file_of("local all all trust\n");
	add(&t, "state_dir = \"/var/lib/lunapool\"\nlisten { port = 0 }\nauth { hba_file = \"/proc/self/fd/%d\" }\n", s->hba_fd);
	add(&t, "cluster \"main\" {\n%s%s%s\n", says(conf->settings, "failover =") ? "" : "failover = auto\n",
	    says(conf->settings, "service_user =") ? "" : "service_user = \"lunapool\"\n", conf->settings ? conf->settings : "");
	if (conf->policy)
		add(&t, "policy = '%s'\n", conf->policy);
	for (size_t i = 0; i < s->n; i++) {
		const char *more = conf->nodes[i].settings;
		add(&t, "node \"%s\" { host = \"%s\" port = %u %s%s%s %s }\n", s->nodes[i].name, s->nodes[i].host, SIM_PORT,
		    says(more, "data_dir =") ? "" : "data_dir = \"/var/lib/postgresql/", says(more, "data_dir =") ? "" : s->nodes[i].name,
		    says(more, "data_dir =") ? "" : "\"", more ? more : "");
	}
	add(&t, "}\ndatabase \"*\" { cluster = \"main\" }\n");
	s->conf_fd = file_of(t.at);
	mem_free(t.at);
}

static void make_nodes(struct sim *s, const struct sim_conf *conf)
{
	s->n = conf->n;
	s->nodes = mem_alloc(s->n * sizeof *s->nodes);
	s->branches = mem_alloc(sizeof *s->branches);
	s->branches[0] = (struct branch){ SIM_NONE, 0, 1 };
	s->n_branches = s->cap_branches = 1;
	for (size_t i = 0; i < s->n; i++) {
		bool is_standby = i > 0;
		s->nodes[i] = (struct node){ .name = mem_text(conf->nodes[i].name),
			                         .is_alive = true,
			                         .in_recovery = is_standby,
			                         .has_signal = is_standby,
			                         .lsn = 0x3000100,
			                         .replayed = 0x3000100,
			                         .upstream = is_standby ? 0 : SIM_NONE,
			                         .next_upstream = is_standby ? 0 : SIM_NONE,
			                         .source = is_standby ? 0 : SIM_NONE };
		snprintf(s->nodes[i].host, sizeof s->nodes[i].host, "10.0.0.%zu", i + 1);
	}
}

static bool is_settled(const struct sim *s)
{
	const struct topo_cluster *c = &s->life.seen->clusters[0];
	bool is = s->record.epoch > 0 && c->primary >= 0 && s->record.sync[0] == (s->sync ? s->sync[0] : 0);
	for (size_t i = 0; i < c->n_nodes; i++)
		is &= (int)i == c->primary || pulse_is_fit(c->nodes[i].pulse);
	return is;
}

bool sim_begin(struct sim *s, const struct sim_conf *conf, struct err *err)
{
	s->sync = conf->sync ? mem_text(conf->sync) : NULL;
	s->world = sim_world;
	s->world.arg = s;
	s->stage = (struct hooks_stage){
		.arg = s, .exec = programs_exec, .stop = programs_stop, .request = programs_request, .begins = on_hook
	};
	s->disk = (struct journal_disk){ s, disk_write, disk_read };
	s->clients.is_quiet = conf->is_quiet;
	make_nodes(s, conf);
	write_conf(s, conf);
	if (!life_begin(s, err))
		return false;
	for (uint64_t until = s->now_us + BEGIN_US; !is_settled(s) && s->now_us < until;)
		if (!sim_run(s, 20 * MS))
			break;
	s->has_begun = true;
	s->began_us = s->now_us;
	s->n_lines = 0;
	clients_begin(s);
	return is_settled(s) || err_set(err, "F0000", "the cluster did not come into being: %s",
	                                sim_violation(s) ? sim_violation(s) : "its nodes were not found fit");
}
