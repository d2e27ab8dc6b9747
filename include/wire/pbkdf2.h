/*
 * pbkdf2 — PBKDF2 with HMAC-SHA-256, one block of it (RFC 8018 section 5.2; what RFC 5802 calls Hi()), in portions: whoever may not stall makes a
 * few thousand hashes at a time, whoever has a deadline looks at the clock in between.
 */
#ifndef WIRE_PBKDF2_H
#define WIRE_PBKDF2_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

#define PBKDF2_KEY 32

struct pbkdf2;
struct pbkdf2 *pbkdf2_new(struct slice password, struct slice salt, uint32_t iterations); /* at least 1 */
/* Makes at most so many hashes more.  True: all are made. */
bool pbkdf2_go(struct pbkdf2 *p, uint32_t at_most) MUST_CHECK;
void pbkdf2_key(const struct pbkdf2 *p, uint8_t out[PBKDF2_KEY]); /* once all are made */
void pbkdf2_free(struct pbkdf2 *p);                               /* wipes; NULL is fine */

#endif
