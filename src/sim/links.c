/*
 * links — connections from Lunapool to simulated servers, one for each service, and knocks at their ports.
 *
 *   ask ──a way──► arrives ──► answer_sql ──a way──► the reply        arrives where nobody acts (frozen, away): stays until links_go_on()
 *                     └── nobody listens, it starts up, it is full: refused         its server dies: broken, as a reset tells
 *
 * Always: a link has at most one question;  when it is hung up nothing of it is told any more.
 */
#include <stdio.h>
#include <string.h>

#include "ha/knock.h"
#include "priv.h"
#include "upstream/service.h"

struct link {
	struct dlist link;
	struct service *who;
	int node;
	bool is_open, is_broken, is_asking, is_stuck;
	char *sql;
	struct answer *answer; /* on its way */
};

static struct link *link_of(const struct sim *s, const struct service *who)
{
	DLIST_EACH(it, (struct dlist *)(uintptr_t)&s->links)
	{
		struct link *l = CONTAINER_OF(it, struct link, link);
		if (l->who == who)
			return l;
	}
	return NULL;
}

static void forget_question(struct link *l)
{
	l->is_asking = l->is_stuck = false;
	mem_free(l->sql);
	mem_free(l->answer);
	l->sql = NULL;
	l->answer = NULL;
}

static void hang_up(void *arg, struct service *who)
{
	struct sim *s = arg;
	struct link *l = link_of(s, who);
	if (!l)
		return;
	sim_drop(s, l);
	dlist_remove(&l->link);
	forget_question(l);
	mem_free(l);
}

/* ---- replies ------------------------------------------------------------------------------------------------------------ */

static void refuse(struct link *l, bool ends, const char *sqlstate, const char *text)
{
	struct err err;
	err_set(&err, sqlstate, "%s", text);
	forget_question(l);
	service_on_refused(l->who, &err, ends); /* L may be gone */
}

static void deliver(struct link *l)
{
	struct answer *a = l->answer;
	l->answer = NULL;
	forget_question(l);
	if (a->is_error)
		service_on_refused(l->who, &a->err, false);
	else
		service_on_reply(l->who, a->given ? a->given
		                                  : &(struct world_reply){ .n_columns = a->n_columns,
		                                                           .n_rows = a->n_rows,
		                                                           .names = a->names,
		                                                           .types = a->types,
		                                                           .values = a->values });
	mem_free(a);
}

static void on_reply(struct sim *s, struct happening *h)
{
	struct link *l = h->who;
	if (s->nodes[l->node].is_away)
		l->is_stuck = true;
	else if (l->is_broken)
		refuse(l, true, "08006", "server closed the connection unexpectedly");
	else
		deliver(l);
}

/* ---- questions ---------------------------------------------------------------------------------------------------------- */

/* True: there is no connection to be had, and L is gone. */
static bool is_refused(struct link *l, const struct node *n)
{
	if (l->is_broken)
		refuse(l, true, "08006", "server closed the connection unexpectedly");
	else if (l->is_open)
		return false;
	else if (!n->is_alive)
		refuse(l, true, "08001", "connection refused");
	else if (n->is_starting)
		refuse(l, true, "57P03", "the database system is starting up");
	else if (n->is_full)
		refuse(l, true, "53300", "sorry, too many clients already");
	else
		return false;
	return true;
}

static void on_arrived(struct sim *s, struct happening *h)
{
	struct link *l = h->who;
	struct node *n = &s->nodes[l->node];
	if (n->is_away || (n->is_alive && n->is_frozen && !l->is_broken)) {
		l->is_stuck = true;
		return;
	}
	if (is_refused(l, n))
		return;
	if (!l->is_open)
		service_on_connected(l->who);
	l->is_open = true;
	l->answer = mem_alloc(sizeof *l->answer);
	answer_sql(s, n, l->sql, l->answer);
	if (!l->answer->is_silent)
		sim_later(s, sim_way_us(s) + n->slow_us, on_reply, l, l->node, 0, 0);
}

int node_listening(const struct sim *s, const char *host, unsigned port)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].port == port && strcmp(s->nodes[i].host, host) == 0)
			return (int)i;
	return SIM_NONE;
}

static void ask(void *arg, struct service *who, const struct world_question *q)
{
	struct sim *s = arg;
	struct link *l = link_of(s, who);
	if (!l) {
		l = mem_alloc(sizeof *l);
		*l = (struct link){ .who = who, .node = node_listening(s, q->host, q->port) };
		ASSERT(l->node >= 0); /* it is of the configuration, which the simulation has made */
		dlist_push_back(&s->links, &l->link);
	}
	ASSERT(!l->is_asking);
	l->is_asking = true;
	l->sql = mem_text(q->sql);
	sim_later(s, sim_way_us(s), on_arrived, l, l->node, 0, 0);
}

/* ---- what happens to servers ---------------------------------------------------------------------------------------------- */

static void on_broken(struct sim *s, struct happening *h)
{
	struct link *l = h->who;
	if (s->nodes[l->node].is_away) /* the reset did not get here either */
		return;
	if (l->is_asking)
		refuse(l, true, "08006", "server closed the connection unexpectedly");
	else
		service_on_closed(l->who);
}

void links_break(struct sim *s, const struct node *n)
{
	DLIST_EACH(it, &s->links)
	{
		struct link *l = CONTAINER_OF(it, struct link, link);
		if (&s->nodes[l->node] != n || !l->is_open)
			continue;
		l->is_broken = true;
		sim_drop(s, l);
		sim_later(s, sim_way_us(s), on_broken, l, l->node, 0, 0);
	}
}

void links_go_on(struct sim *s, const struct node *n)
{
	DLIST_EACH(it, &s->links)
	{
		struct link *l = CONTAINER_OF(it, struct link, link);
		if (&s->nodes[l->node] != n)
			continue;
		if (l->is_stuck) {
			l->is_stuck = false;
			sim_later(s, sim_way_us(s), l->answer ? on_reply : on_arrived, l, l->node, 0, 0);
		} else if (l->is_broken) {
			sim_later(s, sim_way_us(s), on_broken, l, l->node, 0, 0);
		}
	}
}

/* ---- knocks ----------------------------------------------------------------------------------------------------------------- */

static void on_knock_answered(struct sim *s, struct happening *h)
{
	if (!s->nodes[h->node].is_away)
		knock_on_end(h->who, LADDER_OPENED);
}

/* The kernel takes connections for a server that is frozen. */
static void on_knocked(struct sim *s, struct happening *h)
{
	const struct node *n = &s->nodes[h->node];
	struct knock *k = h->who;
	if (n->is_away)
		return;
	if (!n->is_alive) {
		knock_on_end(k, LADDER_REFUSED);
		return;
	}
	knock_on_taken(k);
	if (!n->is_frozen)
		sim_later(s, sim_way_us(s), on_knock_answered, k, h->node, 0, 0);
}

static void knock(void *arg, void *who, const char *host, uint16_t port)
{
	struct sim *s = arg;
	sim_later(s, sim_way_us(s), on_knocked, who, node_listening(s, host, port), 0, 0);
}

static void unknock(void *arg, void *who)
{
	sim_drop(arg, who);
}

const struct world sim_world = { .ask = ask, .hang_up = hang_up, .knock = knock, .unknock = unknock };
