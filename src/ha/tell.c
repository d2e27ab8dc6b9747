/*
 * tell — the events of the cluster's picture.  Whoever calls knows that it is news; only a pulse is compared here with what was said of it.
 */
#include "ha/tell.h"

#include "base/log.h"

#define CERTIFICATE_DAYS 14

static const char *name_of(const struct topo_cluster *c, int i)
{
	return i < 0 ? NULL : c->nodes[i].name;
}

void tell_reachable(const struct topo_cluster *c, const struct topo_node *n, bool is_reachable, const struct err *err)
{
	if (is_reachable)
		log_info(NULL, "node_up", KV_STR("cluster", c->name), KV_STR("node", n->name));
	else
		log_warn(NULL, "node_down", KV_STR("cluster", c->name), KV_STR("node", n->name), KV_ERR(err));
}

void tell_foreign(const struct topo_cluster *c, const struct topo_node *n, bool is_foreign, uint64_t id, uint64_t of_cluster)
{
	const char *effect = is_foreign ? "it is of another cluster: nothing is sent there" : "it is of this cluster";
	log_write(is_foreign ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, NULL, is_foreign ? "node_refused" : "node_accepted",
	          (struct log_kv[]){ KV_STR("cluster", c->name), KV_STR("node", n->name), KV_INT("system_identifier", id),
	                             KV_INT("of_the_cluster", of_cluster), KV_STR("effect", effect) },
	          5);
}

void tell_replaced(const struct topo_cluster *c, uint64_t from, uint64_t to)
{
	log_warn(NULL, "cluster_replaced", KV_STR("cluster", c->name), KV_INT("from", from), KV_INT("to", to));
}

void tell_primary(const struct topo_cluster *c, const struct verdict *v)
{
	log_write(v->primary < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, NULL, "primary_changed",
	          (struct log_kv[]){ KV_STR("cluster", c->name), KV_STR("from", name_of(c, c->primary)),
	                             KV_STR("to", name_of(c, v->primary)), KV_STR("reason", v->reason) },
	          4);
}

void tell_refused(const struct topo_cluster *c, const struct topo_node *n, const struct err *err)
{
	log_warn(NULL, "probe_refused", KV_STR("cluster", c->name), KV_STR("node", n->name), KV_ERR(err));
}

void tell_conflict(const struct topo_cluster *c, const struct topo_node *n)
{
	log_error(NULL, "several_primaries", KV_STR("cluster", c->name), KV_STR("node", n->name),
	          KV_STR("primary", name_of(c, c->primary)));
}

static void tell_unseen(struct told *told, const struct topo_cluster *c, const struct topo_node *n)
{
	const char *unseen = pulse_unseen(n->pulse);
	if (unseen && !told->is_unseen)
		log_warn(NULL, "probe_sees_less", KV_STR("cluster", c->name), KV_STR("node", n->name), KV_STR("unseen", unseen),
		         KV_STR("hint", "grant pg_monitor to service_user"));
	told->is_unseen = unseen != NULL;
}

static void tell_fitness(struct told *told, const struct topo_cluster *c, const struct topo_node *n)
{
	bool is_fit = pulse_is_fit(n->pulse), was_fit = told->is_fit;
	told->is_fit = is_fit;
	if (is_fit && !was_fit)
		log_info(NULL, "standby_fit", KV_STR("cluster", c->name), KV_STR("node", n->name));
	else if (!is_fit && was_fit)
		log_warn(NULL, "standby_unfit", KV_STR("cluster", c->name), KV_STR("node", n->name),
		         KV_STR("reason", pulse_why(n->pulse)));
}

void tell_pulse(struct told *told, const struct topo_cluster *c, const struct topo_node *n)
{
	uint64_t ejections = pulse_ejections(n->pulse);
	bool is_primary = c->primary >= 0 && n == &c->nodes[c->primary];
	if (ejections != told->ejections && n->in_recovery)
		log_warn(NULL, "standby_ejected", KV_STR("cluster", c->name), KV_STR("node", n->name),
		         KV_INT("times", ejections - told->ejections));
	told->ejections = ejections;
	if (is_primary) /* one that was promoted is no standby that has failed */
		told->is_fit = false;
	else
		tell_fitness(told, c, n);
	tell_unseen(told, c, n);
}

void tell_certificate(struct told *told, const struct topo_cluster *c, const struct topo_node *n, int days)
{
	bool is_news = days + 1 != told->certificate_days || !told->certificate_days;
	told->certificate_days = days + 1;
	if (is_news && days < CERTIFICATE_DAYS)
		log_warn(NULL, "certificate_expires", KV_STR("cluster", c->name), KV_STR("node", n->name), KV_INT("days", days),
		         KV_STR("effect", days < 0 ? "with tls = verify-ca or verify-full no new connection is made there" : NULL));
}
