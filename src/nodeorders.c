/*
 * nodeorders — SWITCHOVER, FAILOVER, REJOIN, RECOVER, DRAIN, DETACH, ATTACH, MAINTENANCE: found the cluster, asked its ops, waited for the record and then for
 * every worker.
 *
 *   begin: order->cluster, order->number (ops_order()) ──recorded──► order->generation ──seen by all──► ended
 */
#include "app/nodeorders.h"

#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/control.h"
#include "base/mem.h"
#include "ha/roles.h"
#include "topo/topo.h"

static bool has_node(const struct topo_cluster *c, const char *name, const char **node)
{
	for (size_t i = 0; i < c->n_nodes; i++)
		if (strcmp(c->nodes[i].name, name) == 0) {
			*node = c->nodes[i].name;
			return true;
		}
	return false;
}

/* "node", or "cluster.node"; NULL: it is not there, or in several clusters. */
static const struct topo_cluster *cluster_with(const struct topo *t, const char *text, const char **node, struct err *err)
{
	const struct topo_cluster *found = NULL;
	for (size_t i = 0; i < t->n_clusters; i++) {
		const struct topo_cluster *c = &t->clusters[i];
		size_t len = strlen(c->name);
		const char *rest = strncmp(text, c->name, len) == 0 && text[len] == '.' ? text + len + 1 : text;
		if (!has_node(c, text, node) && !has_node(c, rest, node))
			continue;
		if (found) {
			err_set(err, "42702", "several clusters have a node \"%s\": say cluster.node", text);
			return NULL;
		}
		found = c;
	}
	if (!found)
		err_set(err, "42704", "there is no node \"%s\"", text);
	return found;
}

/* Named, or the only one. */
static const struct topo_cluster *cluster_named(const struct topo *t, const char *name, struct err *err)
{
	for (size_t i = 0; i < t->n_clusters; i++)
		if (name ? strcmp(t->clusters[i].name, name) == 0 : t->n_clusters == 1)
			return &t->clusters[i];
	if (name)
		err_set(err, "42704", "there is no cluster \"%s\"", name);
	else
		err_set(err, "42702", "there are several clusters: say which one");
	return NULL;
}

static struct ops *ops_of(struct app *a, const char *cluster, struct err *err)
{
	struct roles *roles = control_roles(a->control);
	const struct keeper *k = roles ? roles_keeper(roles, cluster) : NULL;
	if (!k)
		err_set(err, "55000", "nothing is remembered of the cluster \"%s\": it has one node, or there is no state_dir", cluster);
	return k ? keeper_ops(k) : NULL;
}

static bool what_of(const struct order *o, enum ops_order *what)
{
	switch (o->kind) {
	case ORDER_switchover:
		*what = o->number ? OPS_ORDER_SWITCHOVER_FORCED : OPS_ORDER_SWITCHOVER;
		return true;
	case ORDER_failover:
		*what = o->number ? OPS_ORDER_FAILOVER_WITH_LOSS : OPS_ORDER_FAILOVER;
		return true;
	case ORDER_detach:
		*what = OPS_ORDER_DETACH;
		return true;
	case ORDER_attach:
		*what = OPS_ORDER_ATTACH;
		return true;
	case ORDER_drain:
		*what = OPS_ORDER_DRAIN;
		return true;
	case ORDER_rejoin:
		*what = OPS_ORDER_REJOIN;
		return true;
	case ORDER_recover:
		*what = OPS_ORDER_RECOVER;
		return true;
	case ORDER_maintenance_on:
		*what = OPS_ORDER_PAUSE;
		return true;
	case ORDER_maintenance_off:
		*what = OPS_ORDER_RESUME;
		return true;
	default:
		return false;
	}
}

bool nodeorders_is_one(const struct order *o)
{
	enum ops_order what;
	return what_of(o, &what);
}

/* Its id; 0: it is not configured. */
static uint32_t primary_of(const struct topo_cluster *c, const struct ops *ops)
{
	for (size_t i = 0; i < c->n_nodes; i++)
		if (strcmp(c->nodes[i].name, ops_primary(ops)) == 0)
			return c->nodes[i].id;
	return 0;
}

static void add_findings(struct order *o, const char *primary, const char *candidate, char *judged)
{
	char line[3 * RECORD_WHY_MAX];
	snprintf(line, sizeof line, "%s would be the primary instead of %s", candidate, primary);
	order_add_line(o, line);
	for (char *at = judged, *end; *at; at = end) {
		end = strstr(at, "; ");
		if (end)
			*end = 0;
		order_add_line(o, at);
		end = end ? end + 2 : at + strlen(at);
	}
}

bool nodeorders_try_switchover(struct app *a, struct order *o)
{
	char candidate[RECORD_NAME_MAX], judged[3 * RECORD_WHY_MAX - 100];
	const struct topo *t = topo_latest(a->board);
	const char *node = "";
	const struct topo_cluster *c = o->database ? cluster_with(t, o->database, &node, &o->err) : cluster_named(t, NULL, &o->err);
	struct ops *ops = c ? ops_of(a, c->name, &o->err) : NULL;
	o->has_failed = !ops || !ops_may_switch(ops, node, candidate, sizeof candidate, judged, sizeof judged, &o->err);
	if (o->has_failed)
		return false;
	o->node_id = primary_of(c, ops);
	add_findings(o, ops_primary(ops), candidate, judged);
	return true;
}

bool nodeorders_begin(struct app *a, struct order *o)
{
	const struct topo *t = topo_latest(a->board);
	enum ops_order what;
	const char *node = "";
	if (!what_of(o, &what))
		return false;
	bool has_candidate = what <= OPS_ORDER_FAILOVER_WITH_LOSS;
	bool is_of_cluster = what == OPS_ORDER_PAUSE || what == OPS_ORDER_RESUME || (has_candidate && !o->database);
	const struct topo_cluster *c =
	    is_of_cluster ? cluster_named(t, o->database, &o->err) : cluster_with(t, o->database, &node, &o->err);
	struct ops *ops = c ? ops_of(a, c->name, &o->err) : NULL;
	o->number = !ops                      ? 0
	            : what == OPS_ORDER_DRAIN ? ops_order_drain(ops, node, o->timeout_us, o->user, &o->err)
	                                      : ops_order(ops, what, node, o->user, &o->err);
	o->has_failed = o->number == 0;
	if (o->number)
		o->cluster = mem_text(c->name);
	if (o->number && o->kind == ORDER_switchover)
		o->node_id = primary_of(c, ops);
	return o->number != 0;
}

bool nodeorders_has_ended(struct app *a, struct order *o)
{
	if (o->cluster) {
		struct ops *ops = ops_of(a, o->cluster, &o->err);
		enum ops_answer answer = ops ? ops_answer(ops, o->number, &o->err) : OPS_FAILED;
		o->has_failed = answer == OPS_FAILED;
		if (answer != OPS_DONE)
			return o->has_failed;
		mem_free(o->cluster);
		o->cluster = NULL;
		o->generation = topo_latest(a->board)->generation;
	}
	return topo_is_seen(a->board, o->generation);
}
