/*
 * strikes — failed logins by address.
 *
 * Counted is from the first failure for a minute; then from the next one.  IPv6 hosts have a /64 each to choose addresses from, so that is what
 * counts as one.  Any thread.  Always: at most MOST addresses, so that a stranger with many cannot make it grow; beyond that all are forgotten,
 * which is quick: who has so many addresses needs none of them twice.
 */
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "priv.h"

#define WINDOW_US (60 * US_PER_S)
#define MOST 65536u

struct entry {
	uint64_t since_us;
	unsigned n;
};
struct strikes {
	_Atomic uint32_t n; /* entries: nobody has failed is the usual case, and costs one load */
	pthread_mutex_t lock;
	struct map by_address;
};

struct strikes *strikes_new(void)
{
	struct strikes *s = mem_alloc(sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

/* What counts as one address; false: a unix socket. */
static bool key_of(const struct addr *peer, struct slice *key)
{
	const struct sockaddr *sa = (const struct sockaddr *)&peer->sa;
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;
	if (sa->sa_family == AF_INET)
		*key = slice_of(&v4->sin_addr, 4);
	else if (sa->sa_family == AF_INET6)
		*key = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? slice_of(&v6->sin6_addr.s6_addr[12], 4) : slice_of(&v6->sin6_addr, 8);
	else
		return false;
	return true;
}

static bool is_over(const struct entry *e, uint64_t now_us)
{
	return now_us - e->since_us >= WINDOW_US;
}

static void forget_all(struct strikes *s)
{
	void *value;
	for (uint32_t at = 0; map_next(&s->by_address, &at, NULL, &value);)
		mem_free(value);
	map_fini(&s->by_address);
	s->by_address = (struct map){ 0 };
}

void strikes_free(struct strikes *s)
{
	forget_all(s);
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}

unsigned auth_failures(struct auth *a, const struct addr *peer, uint64_t now_us)
{
	struct strikes *s = a->strikes;
	struct slice key;
	if (atomic_load_explicit(&s->n, memory_order_relaxed) == 0 || !key_of(peer, &key))
		return 0;
	pthread_mutex_lock(&s->lock);
	const struct entry *e = map_get(&s->by_address, key);
	unsigned n = e && !is_over(e, now_us) ? e->n : 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned auth_note_failure(struct auth *a, const struct addr *peer, uint64_t now_us)
{
	struct strikes *s = a->strikes;
	struct slice key;
	if (!key_of(peer, &key))
		return 1;
	pthread_mutex_lock(&s->lock);
	struct entry *e = map_get(&s->by_address, key);
	if (!e) {
		if (map_len(&s->by_address) >= MOST)
			forget_all(s);
		e = mem_alloc(sizeof *e);
		e->since_us = now_us;
		map_put(&s->by_address, key, e);
		atomic_store_explicit(&s->n, map_len(&s->by_address), memory_order_relaxed);
	}
	if (is_over(e, now_us))
		*e = (struct entry){ .since_us = now_us };
	unsigned n = ++e->n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void auth_each_failing(struct auth *a, uint64_t now_us, void (*fn)(void *arg, struct slice address, unsigned failures), void *arg)
{
	struct strikes *s = a->strikes;
	struct slice key;
	void *value;
	pthread_mutex_lock(&s->lock);
	for (uint32_t at = 0; map_next(&s->by_address, &at, &key, &value);) {
		const struct entry *e = value;
		if (!is_over(e, now_us))
			fn(arg, key, e->n);
	}
	pthread_mutex_unlock(&s->lock);
}
