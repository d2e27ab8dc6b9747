/*
 * ceiling — memory_limit.
 *
 *   below --over the limit--> full: no logins;  weigh all clients --> close the heaviest until what they hold is what is too much --> look again
 *                                                       ^---- each worker tells its heaviest only, so it is asked again ----'
 *
 * What is freed by closing a client is counted at the next look, so each look closes at most what was too much at that time.  Who holds less than
 * SHED_LEAST is not closed: that would free nothing worth a session.  Between two looks nothing holds, so near the limit they come often.
 */
#include "app/ceiling.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LOOK_US (US_PER_S / 2)
#define LOOK_NEAR_US (US_PER_S / 20)
#define SHED_LEAST (32u * 1024)

struct ceiling {
	struct loop *loop;
	struct mailbox *mailbox;
	struct session_registry *sessions;
	struct loop_timer timer;
	size_t limit, excess;
	size_t closed, they_held; /* since the last look */
	size_t all_closed;        /* since it is full */
	uint64_t told_us;
	bool is_full, is_weighing, is_in_vain; /* in vain: nobody weighs enough */
};

/* At most a line a second. */
static void tell(struct ceiling *c)
{
	uint64_t now = loop_now_us(c->loop);
	if (c->told_us && now - c->told_us < US_PER_S)
		return;
	c->told_us = now;
	log_warn(NULL, "memory_limit_reached", KV_INT("limit", c->limit), KV_INT("in_use", c->limit + c->excess),
	         KV_INT("clients_closed", c->all_closed));
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
	if (!c->is_full) /* the limit is another now */
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
	c->is_in_vain = c->is_full && c->closed == 0;
	if (c->is_full)
		tell(c);
}

static void set_full(struct ceiling *c, bool is_full)
{
	if (c->is_full && !is_full) {
		mem_trim();
		log_info(NULL, "memory_limit_kept", KV_INT("limit", c->limit), KV_INT("clients_closed", c->all_closed));
	}
	if (!is_full) {
		c->all_closed = c->told_us = 0;
		c->is_in_vain = false;
	}
	c->is_full = is_full;
	session_registry_set_full(c->sessions, is_full);
}

static void look(struct loop_timer *t)
{
	struct ceiling *c = CONTAINER_OF(t, struct ceiling, timer);
	size_t used = mem_in_use();
	set_full(c, used > c->limit);
	if (c->is_full && !c->is_weighing) {
		c->excess = used - c->limit;
		c->closed = c->they_held = 0;
		weigh(c);
	}
	loop_timer_start(c->loop, t, used > c->limit / 2 && !c->is_in_vain ? LOOK_NEAR_US : LOOK_US);
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
