/*
 * nodeuse — what all workers' pools do with a node: sums over the registry's rows, which workers keep up to date.
 */
#include "app/nodeuse.h"

#include "app/app.h"

struct use {
	uint32_t node_id;
	uint64_t bytes;
	int64_t lent, opening, waiting;
	struct ops_rests rests;
};

static void add_use(void *arg, const struct pool_row *row)
{
	struct use *u = arg;
	if (row->node_id != u->node_id)
		return;
	u->bytes += row->counts.bytes_out;
	u->lent += row->lent + row->resetting;
	u->opening += row->opening;
	u->waiting += row->waiting;
	u->rests.keep += (unsigned)row->rests[SERVER_KEEPS];
	u->rests.hear += (unsigned)row->rests[SERVER_HEARS];
}

static struct use use_of(const struct app *a, uint32_t node_id)
{
	struct use u = { .node_id = node_id };
	pool_registry_each(a->pools, add_use, &u);
	return u;
}

/* Rows are read one by one: what moves between them may be missed, or be there twice. */
static unsigned no_less_than_none(int64_t n)
{
	return n > 0 ? (unsigned)n : 0;
}

static uint64_t on_progress(void *app, uint32_t node_id)
{
	return use_of(app, node_id).bytes;
}

static unsigned on_busy(void *app, uint32_t node_id)
{
	struct use u = use_of(app, node_id);
	return no_less_than_none(u.lent + u.opening);
}

static unsigned on_opening(void *app, uint32_t node_id)
{
	return no_less_than_none(use_of(app, node_id).opening);
}

static unsigned on_wanted(void *app, uint32_t node_id)
{
	return no_less_than_none(use_of(app, node_id).waiting);
}

static struct ops_rests on_rests(void *app, uint32_t node_id)
{
	return use_of(app, node_id).rests;
}

unsigned nodeuse_connections(void *app, uint32_t node_id)
{
	struct use u = use_of(app, node_id);
	return no_less_than_none(u.lent + u.opening + u.waiting);
}

struct keeper_pools nodeuse_pools(struct app *a)
{
	return (struct keeper_pools){ a, on_progress, on_busy, on_opening, on_wanted, on_rests };
}
