/*
 * begin — what a simulation begins with: a configuration, of an operator's or written here, and a server for each node that it names.
 *
 *   sim_begin: texts ──► a configuration ──┐
 *   sim_begin_configured: a path ──────────┴──► clusters and their nodes, each with its first one (or another) as primary ──► Lunapool ──► it knows them
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "priv.h"

#define BEGIN_US (10 * US_PER_S) /* until Lunapool has found out what there is */

/* ---- a configuration of ours ------------------------------------------------------------------------------------------------- */

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

static void write_cluster(const struct sim_conf *conf, size_t at, struct text *t)
{
	const char *name = conf->name ? conf->name : "main";
	add(t, "cluster \"%s\" {\n%s%s%s\n", name, says(conf->settings, "failover =") ? "" : "failover = auto\n",
	    says(conf->settings, "service_user =") ? "" : "service_user = \"lunapool\"\n", conf->settings ? conf->settings : "");
	if (conf->policy)
		add(t, "policy = '%s'\n", conf->policy);
	for (size_t i = 0; i < conf->n; i++) {
		const char *more = conf->nodes[i].settings, *node = conf->nodes[i].name;
		add(t, "node \"%s\" { host = \"10.0.%zu.%zu\" port = 5432 ", node, at, i + 1);
		if (!says(more, "data_dir ="))
			add(t, "data_dir = \"/var/lib/postgresql/%s\" ", node);
		add(t, "%s }\n", more ? more : "");
	}
	add(t, "}\ndatabase \"%s\" { cluster = \"%s\" }\n", at == 0 ? "*" : name, name);
}

static void write_conf(struct sim *s, const struct sim_conf *confs, size_t n)
{
	struct text t = { 0 };
	s->hba_fd = file_of("local all all trust\n");
	add(&t, "state_dir = \"/var/lib/lunapool\"\nlisten { port = 0 }\nauth { hba_file = \"/proc/self/fd/%d\" }\n", s->hba_fd);
	for (size_t i = 0; i < n; i++)
		write_cluster(&confs[i], i, &t);
	s->conf_fd = file_of(t.at);
	snprintf(s->conf_path, sizeof s->conf_path, "/proc/self/fd/%d", s->conf_fd);
	mem_free(t.at);
}

/* ---- what it names ---------------------------------------------------------------------------------------------------------- */

static void make_node(struct sim *s, const struct group *g, const struct conf_node *from, int primary)
{
	struct node *n = &s->nodes[s->n];
	bool is_standby = (int)s->n != primary;
	int source = is_standby ? primary : SIM_NONE;
	*n = (struct node){ .group = (int)(g - s->groups),
		                .name = mem_text(from->name),
		                .host = mem_text(from->host),
		                .port = (unsigned)from->port,
		                .data_dir = mem_text(from->data_dir),
		                .ssh_host = mem_text(*from->ssh_host ? from->ssh_host : from->host),
		                .is_alive = true,
		                .in_recovery = is_standby,
		                .has_signal = is_standby,
		                .branch = (int)(g - s->groups),
		                .lsn = 0x3000100,
		                .replayed = 0x3000100,
		                .upstream = source,
		                .next_upstream = source,
		                .source = source };
	s->n++;
}

static const struct sim_start *start_of(const struct conf *conf, size_t at, const struct sim_start *starts, size_t n)
{
	static const struct sim_start usual;
	const struct sim_start *found = &usual;
	for (size_t i = 0; i < n; i++)
		if (starts[i].cluster && strcmp(starts[i].cluster, "*") == 0)
			found = &starts[i];
		else if (starts[i].cluster ? strcmp(starts[i].cluster, conf->clusters[at].name) == 0 : at == i)
			return &starts[i];
	return found;
}

/* Each cluster begins with a branch of its own. */
static bool make_group(struct sim *s, const struct conf_cluster *from, const struct sim_start *start, struct err *err)
{
	size_t at = s->n_groups++, primary = 0;
	struct group *g = &s->groups[at];
	s->branches[at] = (struct branch){ SIM_NONE, 0, 1 };
	*g = (struct group){ .name = mem_text(from->name), .clients.is_quiet = start->is_quiet };
	g->sync = start->sync ? mem_text(start->sync) : NULL;
	while (start->primary && primary < from->n_nodes && strcmp(from->nodes[primary].name, start->primary) != 0)
		primary++;
	if (primary == from->n_nodes)
		return err_set(err, "42704", "cluster %s has no node %s", from->name, start->primary ? start->primary : "at all");
	s->nodes = mem_grow(s->nodes, (s->n + from->n_nodes) * sizeof *s->nodes);
	for (size_t i = 0, first = s->n; i < from->n_nodes; i++) {
		if (sim_node_named(s, from->nodes[i].name) >= 0)
			return err_set(err, "42710", "two nodes are called %s: a simulation needs a name for each, in all clusters",
			               from->nodes[i].name);
		make_node(s, g, &from->nodes[i], (int)(first + primary));
	}
	return true;
}

static bool make_groups(struct sim *s, const struct sim_start *starts, size_t n, struct err *err)
{
	struct conf *conf = life_conf(s, err);
	bool is_good = conf != NULL;
	size_t n_clusters = conf ? conf->n_clusters : 0;
	s->cap_branches = s->n_branches = n_clusters;
	s->groups = mem_alloc((n_clusters + 1) * sizeof *s->groups);
	s->branches = mem_alloc((n_clusters + 1) * sizeof *s->branches);
	for (size_t i = 0; is_good && i < n_clusters; i++)
		is_good = make_group(s, &conf->clusters[i], start_of(conf, i, starts, n), err);
	conf_free(conf);
	return is_good;
}

/* ---- until it is known --------------------------------------------------------------------------------------------------------- */

/* One node alone is asked nothing, and has no record. */
static bool is_settled(const struct sim *s, const struct group *g)
{
	const struct topo_cluster *c = group_seen(s, g);
	bool is = c->n_nodes == 1 || (g->record.epoch > 0 && g->record.sync[0] == (g->sync ? g->sync[0] : 0));
	for (size_t i = 0; i < c->n_nodes; i++)
		is &= (int)i == c->primary || (c->primary >= 0 && pulse_is_fit(c->nodes[i].pulse));
	return is;
}

static bool are_settled(const struct sim *s)
{
	bool are = true;
	for (size_t i = 0; i < s->n_groups; i++)
		are &= is_settled(s, &s->groups[i]);
	return are;
}

static bool begin(struct sim *s, const struct sim_start *starts, size_t n, struct err *err)
{
	s->world = sim_world;
	s->world.arg = s;
	s->stage = (struct hooks_stage){
		.arg = s, .exec = programs_exec, .stop = programs_stop, .request = programs_request, .begins = life_on_hook
	};
	s->disk = disk_of(s);
	if (!make_groups(s, starts, n, err) || !life_begin(s, err))
		return false;
	for (uint64_t until = s->now_us + BEGIN_US; !are_settled(s) && s->now_us < until;)
		if (!sim_run(s, 20 * MS))
			break;
	s->has_begun = true;
	s->began_us = s->now_us;
	s->n_lines = 0;
	for (size_t i = 0; i < s->n_groups; i++)
		clients_begin(s, &s->groups[i]);
	return are_settled(s) || err_set(err, "F0000", "the cluster did not come into being: %s",
	                                 sim_violation(s) ? sim_violation(s) : "its nodes were not found fit");
}

bool sim_begin(struct sim *s, const struct sim_conf *confs, size_t n, struct err *err)
{
	struct sim_start starts[SIM_CLUSTERS_MAX] = { 0 };
	ASSERT(n <= SIM_CLUSTERS_MAX);
	for (size_t i = 0; i < n; i++)
		starts[i] = (struct sim_start){ .sync = confs[i].sync, .is_quiet = confs[i].is_quiet };
	write_conf(s, confs, n);
	return begin(s, starts, n, err);
}

bool sim_begin_configured(struct sim *s, const char *path, const struct sim_start *starts, size_t n, struct err *err)
{
	snprintf(s->conf_path, sizeof s->conf_path, "%s", path);
	return begin(s, starts, n, err);
}
