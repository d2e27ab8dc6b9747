/*
 * powers — what policies' actions do to clusters and nodes: a hold and a drain are in the topology, attach and detach are orders.
 */
#include "ha/powers.h"

static struct roles *roles_of(const struct powers *p, struct err *err)
{
	if (!*p->roles)
		err_set(err, "57P03", "Lunapool is shutting down");
	return *p->roles;
}

static bool hold(void *arg, const char *cluster, bool is_held, struct err *err)
{
	struct roles *r = roles_of(arg, err);
	return r && (roles_hold(r, cluster, is_held) || err_set(err, "42704", "cluster %.60s is gone", cluster));
}

static bool drain(void *arg, uint32_t node_id, bool is_drained, struct err *err)
{
	struct roles *r = roles_of(arg, err);
	return r && (roles_drain(r, node_id, is_drained) || err_set(err, "42704", "the node is gone"));
}

static unsigned busy(void *arg, uint32_t node_id)
{
	const struct powers *p = arg;
	return p->in_use(p->arg, node_id);
}

static struct ops *ops_of(const struct powers *p, const char *cluster, struct err *err)
{
	struct roles *r = roles_of(p, err);
	const struct keeper *k = r ? roles_keeper(r, cluster) : NULL;
	if (r && !k)
		err_set(err, "55000", "nothing is remembered of the cluster \"%.60s\": it has one node, or there is no state_dir",
		        cluster);
	return k ? keeper_ops(k) : NULL;
}

static enum hook_ordered order(void *arg, const char *cluster, enum hook_order what, const char *node, const char *by,
                               uint64_t *id, struct err *err)
{
	struct ops *ops = ops_of(arg, cluster, err);
	if (!ops)
		return HOOK_ORDER_REFUSED;
	const struct record_node *said = record_node(ops_record(ops), node);
	bool is_detached = said && said->flags & RECORD_DETACHED;
	if (is_detached == (what == HOOK_DETACH) && !ops_record(ops)->op.id)
		return HOOK_ORDER_IS_SO;
	*id = ops_order(ops, what == HOOK_DETACH ? OPS_ORDER_DETACH : OPS_ORDER_ATTACH, node, by, err);
	return *id ? HOOK_ORDER_GIVEN : HOOK_ORDER_REFUSED;
}

static enum hook_answer answer(void *arg, const char *cluster, uint64_t id, struct err *err)
{
	struct ops *ops = ops_of(arg, cluster, err);
	enum ops_answer is = ops ? ops_answer(ops, id, err) : OPS_FAILED;
	return is == OPS_WAITS ? HOOK_ORDER_WAITS : is == OPS_DONE ? HOOK_ORDER_DONE : HOOK_ORDER_FAILED;
}

static const char *step(void *arg, const char *cluster, uint64_t operation, const char *key)
{
	struct err err; /* then nothing is known of it */
	const struct ops *ops = ops_of(arg, cluster, &err);
	return ops ? ops_step(ops, operation, key) : NULL;
}

static bool finish_step(void *arg, const char *cluster, uint64_t operation, const char *key, const char *value, struct err *err)
{
	struct ops *ops = ops_of(arg, cluster, err);
	return ops && ops_finish_step(ops, operation, key, value, err);
}

void powers_init(struct powers *p, struct roles *const *roles, unsigned (*in_use)(void *arg, uint32_t node_id), void *arg)
{
	*p = (struct powers){ .roles = roles, .in_use = in_use, .arg = arg };
	p->hooks = (struct hooks_powers){ .arg = p,
		                              .hold = hold,
		                              .drain = drain,
		                              .busy = busy,
		                              .order = order,
		                              .answer = answer,
		                              .step = step,
		                              .finish_step = finish_step };
}
