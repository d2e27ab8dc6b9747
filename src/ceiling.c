/*
 * ceiling — memory_limit.
 *
 *   below --over the limit--> full: no logins; weigh all clients --> close the heaviest until what they hold is what is too much --> look again
 *
 * What is freed by closing a client is counted at the next look, so each look closes at most what was too much at that time.  Who holds less than
 * SHED_LEAST is not closed: that would free nothing worth a session.
 */
#include "app/ceiling.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LOOK_US (US_PER_S / 2)
#define SHED_LEAST (32u * 1024)

struct ceiling {
	struct loop *loop;
	struct mailbox *mailbox;
	struct session_registry *sessions;
	struct loop_timer timer;
	size_t limit, excess;
	bool is_full, is_weighing;
};

static void on_weights(void *arg, const struct session_weight *all, size_t n)
{
	struct ceiling *c = arg;
	size_t closed = 0, sum = 0;
	c->is_weighing = false;
	for (; closed < n && sum < c->excess && all[closed].bytes >= SHED_LEAST; closed++) {
		session_registry_shed(c->sessions, &all[closed]);
		sum += all[closed].bytes;
	}
	log_warn(NULL, "memory_limit_reached", KV_INT("limit", c->limit), KV_INT("in_use", c->limit + c->excess),
	         KV_INT("clients_closed", closed), KV_INT("they_held", sum));
}

static void set_full(struct ceiling *c, bool is_full)
{
	if (c->is_full && !is_full)
		log_info(NULL, "memory_limit_kept", KV_INT("limit", c->limit));
	c->is_full = is_full;
	session_registry_set_full(c->sessions, is_full);
}

static void look(struct loop_timer *t)
{
	struct ceiling *c = CONTAINER_OF(t, struct ceiling, timer);
	size_t used = mem_in_use();
	set_full(c, used > c->limit);
	if (c->is_full && !c->is_weighing) {
		c->is_weighing = true;
		c->excess = used - c->limit;
		session_registry_weigh(c->sessions, c->mailbox, on_weights, c);
	}
	loop_timer_start(c->loop, t, LOOK_US);
}

struct ceiling *ceiling_new(struct loop *loop, struct mailbox *mailbox, struct session_registry *sessions)
{
	struct ceiling *c = mem_alloc(sizeof *c);
	*c = (struct ceiling){ .loop = loop, .mailbox = mailbox, .sessions = sessions };
	loop_timer_init(&c->timer, look);
	return c;
}

void ceiling_set(struct ceiling *c, size_t limit)
{
	c->limit = limit;
	if (limit && !loop_timer_is_running(&c->timer))
		loop_timer_start(c->loop, &c->timer, 0);
	if (limit)
		return;
	loop_timer_stop(c->loop, &c->timer);
	set_full(c, false);
}

void ceiling_free(struct ceiling *c)
{
	mem_free(c);
}
