/*
 * kv — what policies remember: a small store of names and values that all workers share and reloads leave alone.
 *
 * Bounded in entries and bytes.  Any thread.
 */
#ifndef POLICY_KV_H
#define POLICY_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

#define POLICY_KV_KEY_MAX 256u
#define POLICY_KV_VALUE_MAX 1024u

struct policy_kv;
struct policy_kv *policy_kv_new(size_t max_entries);
void policy_kv_free(struct policy_kv *kv); /* NULL is fine */

struct policy_value {
	enum { POLICY_KV_NIL, POLICY_KV_BOOL, POLICY_KV_NUMBER, POLICY_KV_TEXT } is;
	bool truth;
	double number;
	size_t len;
	char text[POLICY_KV_VALUE_MAX];
};
void policy_kv_get(struct policy_kv *kv, struct slice key, uint64_t now_us, struct policy_value *out);
/* TTL_US 0: until it is replaced.  False: the store is full of what has not run out yet. */
bool policy_kv_set(struct policy_kv *kv, struct slice key, const struct policy_value *v, uint64_t now_us,
                   uint64_t ttl_us) MUST_CHECK;
/* Adds to a number (one that is not there is 0, and gets TTL_US).  False: full, or it holds something else. */
bool policy_kv_add(struct policy_kv *kv, struct slice key, double by, uint64_t now_us, uint64_t ttl_us, double *sum) MUST_CHECK;

#endif
