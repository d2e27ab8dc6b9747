/*
 * md5 — PostgreSQL's MD5 passwords: what is stored, and what answers AuthenticationMD5Password.  For those who still have them; SCRAM is better in
 * every way.
 */
#ifndef WIRE_MD5_H
#define WIRE_MD5_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

#define MD5_TEXT 36 /* "md5", 32 digits, NUL */

/* As pg_authid stores it: "md5" MD5(password user).  False: this system's OpenSSL has no MD5. */
bool md5_secret(struct slice password, struct slice user, char out[MD5_TEXT]) MUST_CHECK;
/* The answer of whoever has SECRET to a challenge: "md5" MD5(digits salt). */
bool md5_answer(const char secret[MD5_TEXT], const uint8_t salt[4], char out[MD5_TEXT]) MUST_CHECK;

#endif
