/*
 * addresses — how many clients each address has, from their first byte to their last.
 *
 *   n < max: OPEN    max <= n < max + POLITE: OVER, a session only to say so    else SHUT: closed as it is
 *
 * A session can only tell a client why it may not come in after that has said hello, so an address over its limit may have a few sessions for
 * that and no more: a thousand connections from there cost no memory.  An IPv6 client has a network of 64 bits to choose its address from.
 * Always: an entry's number is not 0.
 */
#include <netinet/in.h>

#include "priv.h"

#define POLITE 8

static struct slice key_of(const struct addr *a)
{
	if (a->sa.ss_family == AF_INET)
		return slice_of(&((const struct sockaddr_in *)(const void *)&a->sa)->sin_addr, 4);
	if (a->sa.ss_family == AF_INET6)
		return slice_of(&((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_addr, 8);
	return slice_of(NULL, 0);
}

/* Lock held. */
static void put(struct session_addresses *at, struct slice key, int64_t n)
{
	if (n > 0)
		map_put(&at->clients, key, (void *)(uintptr_t)n);
	else
		map_remove(&at->clients, key);
}

static int64_t get(struct session_addresses *at, struct slice key)
{
	return (int64_t)(uintptr_t)map_get(&at->clients, key);
}

enum session_gate session_registry_admit(struct session_registry *r, const struct addr *peer, int64_t max)
{
	struct session_addresses *at = &r->addresses;
	struct slice key = key_of(peer);
	if (!key.len)
		return SESSION_GATE_OPEN;
	pthread_mutex_lock(&at->lock);
	int64_t n = get(at, key);
	enum session_gate gate = !max || n < max ? SESSION_GATE_OPEN : n < max + POLITE ? SESSION_GATE_OVER : SESSION_GATE_SHUT;
	if (gate != SESSION_GATE_SHUT)
		put(at, key, n + 1);
	pthread_mutex_unlock(&at->lock);
	return gate;
}

void addresses_leave(struct session_registry *r, const struct addr *peer)
{
	struct session_addresses *at = &r->addresses;
	struct slice key = key_of(peer);
	if (!key.len)
		return;
	pthread_mutex_lock(&at->lock);
	put(at, key, get(at, key) - 1);
	pthread_mutex_unlock(&at->lock);
}

void session_registry_each_address(struct session_registry *r, void (*fn)(void *arg, struct slice address, int64_t clients),
                                   void *arg)
{
	struct slice key;
	void *n;
	pthread_mutex_lock(&r->addresses.lock);
	for (uint32_t it = 0; map_next(&r->addresses.clients, &it, &key, &n);)
		fn(arg, key, (int64_t)(uintptr_t)n);
	pthread_mutex_unlock(&r->addresses.lock);
}
