/*
 * hold — statements that wait for a primary: how many may wait in all workers together, and how many bytes they may keep from being read.
 *
 *   borrow_server(): no primary ──hold_enter──► it waits, hold_weigh when the rest of what was shown is known ──hold_leave──► it goes on, or fails
 *
 * Always: who has come in stays counted until its message has a server or an error, however often it looks for a primary meanwhile, so that a
 *         newcomer never takes its place;  who comes beyond a bound is told so at once.
 */
#include "priv.h"

static struct session_registry *registry_of(const struct session *s)
{
	return s->home->env.registry;
}

/* What is kept of reads on their way back to the primary was shown before. */
static uint32_t kept_bytes(const struct session *s)
{
	return s->trip ? s->trip->kept.len : 0;
}

static void refuse(const struct session *s, const char *setting, const char *what, struct err *err)
{
	atomic_fetch_add_explicit(&registry_of(s)->not_held, 1, memory_order_relaxed);
	err_set(err, "57P03", "no primary server is available, and %s wait for one already", what);
	err_hint(err, "Try again later. limits { %s } says how many may wait.", setting);
}

bool hold_enter(struct session *s, struct err *err)
{
	struct session_registry *r = registry_of(s);
	int64_t most = session_conf(s)->limits.max_held;
	if (s->is_held)
		return true;
	if (atomic_fetch_add(&r->held, 1) >= most && most) {
		atomic_fetch_sub(&r->held, 1);
		refuse(s, "max_held", "as many statements as may", err);
		return false;
	}
	s->is_held = 1;
	s->held_bytes = kept_bytes(s);
	atomic_fetch_add(&r->held_bytes, (int64_t)s->held_bytes);
	return true;
}

bool hold_weigh(struct session *s, size_t unread)
{
	struct session_registry *r = registry_of(s);
	uint64_t most = session_conf(s)->limits.max_held_bytes, bytes = kept_bytes(s) + unread, was = s->held_bytes;
	struct err err;
	if (!s->is_held)
		return true;
	uint64_t all = atomic_fetch_add(&r->held_bytes, (int64_t)(bytes - was)) + bytes - was;
	bool is_new = !s->is_weighed;
	s->held_bytes = bytes;
	s->is_weighed = 1;
	if (!is_new || !most || all <= most)
		return true;
	hold_leave(s);
	refuse(s, "max_held_bytes", "as many bytes as may", &err);
	session_fail_wait(s, err.sqlstate, err.text, err.hint);
	return false;
}

void hold_leave_any(struct session *s)
{
	struct session_registry *r = registry_of(s);
	atomic_fetch_sub(&r->held, 1);
	atomic_fetch_sub(&r->held_bytes, (int64_t)s->held_bytes);
	s->held_bytes = 0;
	s->is_held = s->is_weighed = 0;
}

void session_registry_held(struct session_registry *r, struct session_held_sum *out)
{
	*out = (struct session_held_sum){ .statements = atomic_load_explicit(&r->held, memory_order_relaxed),
		                              .bytes = atomic_load_explicit(&r->held_bytes, memory_order_relaxed),
		                              .refused = atomic_load_explicit(&r->not_held, memory_order_relaxed) };
}
