/*
 * ceiling — memory_limit.
 *
 *   below --over the limit--> weigh all clients --> close the heaviest until what they hold is what is too much --> look again
 *                                      ^---- each worker tells its heaviest only, so it is asked again ----'
 *                                      \--> nobody weighs enough: full, no logins, until it is below again
 *
 * What is freed by closing a client is counted at the next look, so each look closes at most what was too much at that time.  Who holds less than
 * SHED_LEAST is not closed: that would free nothing worth a session.  Some room is made, so that the limit is not met again at once.  Between two
 * looks nothing holds, so near the limit they come often.
 */
#include "app/ceiling.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LOOK_US (US_PER_S / 2)
#define LOOK_NEAR_US (US_PER_S / 20)
#define ROOM 8 /* that part of the limit */
#define SHED_LEAST (32u * 1024)

struct ceiling {
	struct loop *loop;
	struct mailbox *mailbox;
	struct session_registry *sessions;
	struct loop_timer timer;
	size_t limit, in_use, excess;
	size_t closed, they_held; /* since the last look */
	size_t all_closed;        /* since it is over */
	uint64_t told_us;
	bool is_over, is_weighing, is_full; /* full: over the limit, and nobody weighs enough */
};

/* At most a line a second. */
static void tell(struct ceiling *c)
{
	uint64_t now = loop_now_us(c->loop);
	if (c->told_us && now - c->told_us < US_PER_S)
		return;
	c->told_us = now;
	log_warn(NULL, "memory_limit_reached", KV_INT("limit", c->limit), KV_INT("in_use", c->in_use),
	         KV_INT("clients_closed", c->all_closed));
}

static void set_full(struct ceiling *c, bool is_full)
{
	c->is_full = is_full;
	session_registry_set_full(c->sessions, is_full);
}

static void on_weights(void *arg, const struct session_weight *all, size_t n);

static void weigh(struct ceiling *c)
{
	c->is_weighing = true;
	session_registry_weigh(c->sessions, c->mailbox, on_weights, c);
}

/* Letters to a worker arrive in their order: who has answered has closed what it was told to before, and the next look finds that freed. */
static void on_weights(void *arg, const struct session_weight *all, size_t n)
{
	struct ceiling *c = arg;
	size_t at = 0;
	c->is_weighing = false;
	if (!c->is_over) /* the limit is another now */
		c->excess = 0;
	for (; at < n && c->they_held < c->excess && all[at].bytes >= SHED_LEAST; at++) {
		session_registry_shed(c->sessions, &all[at]);
		c->they_held += all[at].bytes;
	}
	c->closed += at;
	c->all_closed += at;
	if (at) {
		weigh(c);
		return;
	}
	if (!c->is_over)
		return;
	set_full(c, c->closed == 0);
	tell(c);
}

static void below(struct ceiling *c)
{
	if (c->is_over) {
		mem_trim();
		log_info(NULL, "memory_limit_kept", KV_INT("limit", c->limit), KV_INT("clients_closed", c->all_closed));
	}
	c->is_over = false;
	c->all_closed = c->told_us = 0;
	set_full(c, false);
}

static void over(struct ceiling *c, size_t used)
{
	c->is_over = true;
	if (c->is_weighing)
		return;
	c->in_use = used;
	c->excess = used - c->limit + c->limit / ROOM;
	c->closed = c->they_held = 0;
	weigh(c);
}

static void look(struct loop_timer *t)
{
	struct ceiling *c = CONTAINER_OF(t, struct ceiling, timer);
	size_t used = mem_in_use();
	if (used > c->limit)
		over(c, used);
	else
		below(c);
	loop_timer_start(c->loop, t, used > c->limit / 2 && !c->is_full ? LOOK_NEAR_US : LOOK_US);
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
	below(c);
}

void ceiling_free(struct ceiling *c)
{
	mem_free(c);
}
