/*
 * hosts — a map by address, without the port.  Always: at most MOST entries; beyond that all are forgotten, which costs time only.
 */
#include "auth/hosts.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#define MOST 10000u
#define FRESH_US (10 * US_PER_S)
#define FAILED_US US_PER_S /* DNS may be back soon; until then each question takes its time */

struct entry {
	uint64_t until_us;
	bool is_known;
	char name[];
};
struct hosts {
	pthread_mutex_t lock;
	struct map by_address;
};

struct hosts *hosts_new(void)
{
	struct hosts *h = mem_alloc(sizeof *h);
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

static void forget_all(struct hosts *h)
{
	void *value;
	for (uint32_t at = 0; map_next(&h->by_address, &at, NULL, &value);)
		mem_free(value);
	map_fini(&h->by_address);
	h->by_address = (struct map){ 0 };
}

void hosts_free(struct hosts *h)
{
	forget_all(h);
	pthread_mutex_destroy(&h->lock);
	mem_free(h);
}

/* Of a unix socket: nothing. */
static struct slice key_of(const struct addr *peer)
{
	const struct sockaddr *sa = (const struct sockaddr *)&peer->sa;
	if (sa->sa_family == AF_INET)
		return slice_of(&((const struct sockaddr_in *)(const void *)sa)->sin_addr, sizeof(struct in_addr));
	if (sa->sa_family == AF_INET6)
		return slice_of(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, sizeof(struct in6_addr));
	return slice_of(NULL, 0);
}

bool hosts_get(struct hosts *h, const struct addr *peer, uint64_t now_us, bool *is_known, char name[HOSTS_NAME_MAX])
{
	struct slice key = key_of(peer);
	if (!key.len)
		return false;
	pthread_mutex_lock(&h->lock);
	const struct entry *e = map_get(&h->by_address, key);
	bool is_there = e && now_us < e->until_us;
	if (is_there) {
		*is_known = e->is_known;
		snprintf(name, HOSTS_NAME_MAX, "%s", e->name);
	}
	pthread_mutex_unlock(&h->lock);
	return is_there;
}

void hosts_put(struct hosts *h, const struct addr *peer, uint64_t now_us, bool is_known, const char *name)
{
	struct slice key = key_of(peer);
	size_t len = strlen(name) + 1;
	if (!key.len)
		return;
	struct entry *e = mem_alloc(sizeof *e + len);
	e->until_us = now_us + (is_known ? FRESH_US : FAILED_US);
	e->is_known = is_known;
	memcpy(e->name, name, len);
	pthread_mutex_lock(&h->lock);
	if (map_len(&h->by_address) >= MOST)
		forget_all(h);
	struct entry *before = map_put(&h->by_address, key, e);
	pthread_mutex_unlock(&h->lock);
	mem_free(before);
}
