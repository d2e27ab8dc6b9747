/*
 * breaker — what a policy's errors lead to: each is counted and logged, and a policy that fails again and again is left alone for a while.
 *
 *   closed --FAILURES errors in WINDOW--> open --after REST, one call is let through--> closed, if that goes well; else open again
 *
 * Shared by the VMs of all workers.  Always: while it is closed and nothing fails, a call costs one load.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "priv.h"

#define WINDOW_US (10 * US_PER_S)
#define REST_US (30 * US_PER_S)
#define FAILURES ARRAY_LEN(((struct policy_shared *)0)->failed_at_us)

void breaker_init(struct policy_shared *s, const char *cluster, const char *file)
{
	s->cluster = cluster;
	s->file = file;
	pthread_mutex_init(&s->lock, NULL);
}

void breaker_fini(struct policy_shared *s)
{
	pthread_mutex_destroy(&s->lock);
}

/* Of those who come when the time is over, one goes through. */
bool breaker_lets_through_at(struct policy_shared *s, uint64_t now)
{
	uint64_t until = atomic_load(&s->open_until_us);
	return until == 0 || (now >= until && atomic_compare_exchange_strong(&s->open_until_us, &until, now + REST_US));
}

/* Under the lock.  True: the oldest of the last FAILURES errors is not long ago. */
static bool note_failure(struct policy_shared *s, uint64_t now)
{
	uint64_t *at = &s->failed_at_us[s->n_failed++ % FAILURES];
	bool is_often = s->n_failed >= FAILURES && now - s->failed_at_us[s->n_failed % FAILURES] < WINDOW_US;
	*at = now;
	return is_often;
}

void breaker_failed(struct policy_shared *s, const char *hook, const char *error, uint64_t now)
{
	atomic_fetch_add_explicit(&s->errors, 1, memory_order_relaxed);
	pthread_mutex_lock(&s->lock);
	snprintf(s->last_error, sizeof s->last_error, "%s", error);
	bool was_open = atomic_load(&s->open_until_us) != 0, opens = note_failure(s, now) && !was_open;
	if (opens)
		atomic_store(&s->open_until_us, now + REST_US);
	pthread_mutex_unlock(&s->lock);
	log_warn(NULL, "policy_failed", KV_STR("cluster", s->cluster), KV_STR("hook", hook), KV_STR("error", error));
	if (opens)
		log_error(NULL, "policy_off", KV_STR("cluster", s->cluster), KV_STR("file", s->file), KV_STR("error", error),
		          KV_INT("seconds", REST_US / US_PER_S),
		          KV_STR("hint", "built-in routing meanwhile; a reload tries the policy at once"));
}

void breaker_succeeded_slowly(struct policy_shared *s)
{
	pthread_mutex_lock(&s->lock);
	bool was_open = atomic_exchange(&s->open_until_us, 0) != 0;
	s->n_failed = 0;
	pthread_mutex_unlock(&s->lock);
	if (was_open)
		log_info(NULL, "policy_on", KV_STR("cluster", s->cluster), KV_STR("file", s->file));
}
