/*
 * weigh — which clients hold most memory, and their end when memory_limit is reached.
 *
 *   control: session_registry_weigh ──letter──► each worker: its heaviest ──letter──► control: all of them, heaviest first
 *   control: session_registry_shed  ──letter──► the worker: 53200, if the client listens
 *
 * A client's weight is what it makes us keep: bytes that it does not read or has not finished to send, on both sides of its connection, and the
 * texts of its prepared statements.  Only its own thread can look at that.
 * Always: a census is freed by whoever takes its last part.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "priv.h"

#define TOP 64 /* of each worker */

/* ---- weighing ------------------------------------------------------------------------------------------------------------------------ */

struct census {
	session_weights_fn fn;
	void *arg;
	_Atomic unsigned pending;
	size_t n;
	struct session_weight all[]; /* TOP of each worker; control thread */
};

struct census_part {
	struct letter letter;
	struct census *census;
	struct mailbox *back;
	struct session_registry *registry;
	unsigned worker, n;
	struct session_weight top[TOP]; /* heaviest first */
};

static size_t weight_of(const struct session *s)
{
	size_t bytes = stream_memory(&s->stream) + s->statement_bytes;
	if (s->srv)
		bytes += stream_memory(&s->srv->up.stream) + s->srv->replies.cap * sizeof(struct reply);
	if (session_aside(s)->link_up)
		bytes += link_memory(s);
	return bytes;
}

static void keep_if_heavy(struct census_part *p, uint64_t id, size_t bytes)
{
	unsigned at = p->n;
	if (at == TOP && p->top[TOP - 1].bytes >= bytes)
		return;
	at = at == TOP ? TOP - 1 : p->n++;
	for (; at > 0 && p->top[at - 1].bytes < bytes; at--)
		p->top[at] = p->top[at - 1];
	p->top[at] = (struct session_weight){ .id = id, .bytes = bytes };
}

static bool is_last_part(struct census *c)
{
	return atomic_fetch_sub(&c->pending, 1) == 1;
}

static void part_refused(struct letter *letter)
{
	struct census_part *p = CONTAINER_OF(letter, struct census_part, letter);
	if (is_last_part(p->census))
		mem_free(p->census);
	mem_free(p);
}

static int by_weight(const void *a, const void *b)
{
	const struct session_weight *x = a, *y = b;
	return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : x->id < y->id ? -1 : x->id > y->id;
}

/* In the thread that asked. */
static void part_deliver_back(struct letter *letter, void *receiver)
{
	struct census_part *p = CONTAINER_OF(letter, struct census_part, letter);
	struct census *c = p->census;
	memcpy(c->all + c->n, p->top, p->n * sizeof p->top[0]);
	c->n += p->n;
	mem_free(p);
	if (!is_last_part(c))
		return;
	qsort(c->all, c->n, sizeof c->all[0], by_weight);
	c->fn(c->arg, c->all, c->n);
	mem_free(c);
}

/* In the worker. */
static void part_deliver(struct letter *letter, void *receiver)
{
	struct census_part *p = CONTAINER_OF(letter, struct census_part, letter);
	struct sessions *ss = p->registry->worker[p->worker].sessions;
	if (ss)
		DLIST_EACH(it, &ss->all)
		{
			const struct session *s = CONTAINER_OF(it, struct session, link);
			keep_if_heavy(p, s->id, weight_of(s));
		}
	p->letter.deliver = part_deliver_back;
	mailbox_send(p->back, &p->letter);
}

/* A worker that has not begun yet has no mailbox, and no clients: its part goes back as it is. */
static void send_part(struct census_part *p)
{
	struct session_registry_worker *w = &p->registry->worker[p->worker];
	pthread_mutex_lock(&w->lock);
	struct mailbox *to = w->mailbox;
	pthread_mutex_unlock(&w->lock);
	if (!to)
		p->letter.deliver = part_deliver_back;
	mailbox_send(to ? to : p->back, &p->letter);
}

void session_registry_weigh(struct session_registry *r, struct mailbox *back, session_weights_fn fn, void *arg)
{
	struct census *c = mem_alloc(sizeof *c + r->n * TOP * sizeof c->all[0]);
	c->fn = fn;
	c->arg = arg;
	atomic_store(&c->pending, r->n);
	for (unsigned i = 0; i < r->n; i++) {
		struct census_part *p = mem_alloc(sizeof *p);
		*p = (struct census_part){
			.letter = { .deliver = part_deliver, .refuse = part_refused }, .census = c, .back = back, .registry = r, .worker = i
		};
		send_part(p);
	}
}

/* ---- shedding ------------------------------------------------------------------------------------------------------------------------ */

struct shed {
	struct letter letter;
	struct session_registry *registry;
	struct session_weight what;
};

static struct session *session_with(struct sessions *ss, uint64_t id)
{
	if (ss)
		DLIST_EACH(it, &ss->all)
		{
			struct session *s = CONTAINER_OF(it, struct session, link);
			if (s->id == id)
				return s;
		}
	return NULL;
}

/* Who does not read will not read why either; what it has not read goes at once. */
static void shed(struct session *s, size_t bytes)
{
	struct err e;
	char text[ADDR_TEXT_MAX];
	const struct addr peer = addr_lengthen(&s->peer);
	err_set(&e, "53200", "out of memory");
	err_detail(&e, "memory_limit is reached, and this client holds %zu bytes.", bytes);
	log_warn(&s->log, "client_shed", KV_ERR(&e), KV_INT("bytes", bytes), KV_INT("unread", stream_backlog(&s->stream)),
	         KV_STR("address", addr_text(&peer, text)));
	if (stream_backlog(&s->stream))
		session_close(s, CLOSE_MEMORY);
	else
		session_fatal(s, CLOSE_MEMORY, &e);
}

static void shed_deliver(struct letter *letter, void *receiver)
{
	struct shed *order = CONTAINER_OF(letter, struct shed, letter);
	struct session_registry *r = order->registry;
	struct session *s = session_with(r->worker[session_worker(order->what.id)].sessions, order->what.id);
	if (s)
		shed(s, order->what.bytes);
	mem_free(order);
}

void session_registry_shed(struct session_registry *r, const struct session_weight *what)
{
	struct shed *order = mem_alloc(sizeof *order);
	order->letter.deliver = shed_deliver;
	order->registry = r;
	order->what = *what;
	mailbox_send(r->worker[session_worker(what->id)].mailbox, &order->letter);
}

void session_registry_set_full(struct session_registry *r, bool is_full)
{
	atomic_store_explicit(&r->is_full, is_full, memory_order_relaxed);
}
