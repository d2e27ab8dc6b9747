/* authmsg — Authentication… ('R') messages and the 'p' family, both ways.  Pure bytes. */
#ifndef WIRE_AUTHMSG_H
#define WIRE_AUTHMSG_H

#include "base/compiler.h"
#include "base/slice.h"
#include "wire/writer.h"

enum authmsg_kind {
	AUTHMSG_OK = 0,
	AUTHMSG_CLEARTEXT = 3,
	AUTHMSG_MD5 = 5,
	AUTHMSG_SASL = 10,
	AUTHMSG_SASL_CONTINUE = 11,
	AUTHMSG_SASL_FINAL = 12,
};
struct authmsg {
	uint32_t kind;     /* enum authmsg_kind, or a number that we do not speak */
	struct slice data; /* SASL: list of mechanism names, each NUL-terminated; CONTINUE/FINAL: payload; MD5: 4 bytes of salt */
};
bool authmsg_read(struct slice body, struct authmsg *m) MUST_CHECK;
bool authmsg_offers(const struct authmsg *m, const char *mechanism);
void authmsg_write_ok(struct writer *w);
void authmsg_write_cleartext(struct writer *w);
void authmsg_write_md5(struct writer *w, const uint8_t salt[4]);
void authmsg_write_sasl(struct writer *w, bool has_plus); /* SCRAM-SHA-256, and before it SCRAM-SHA-256-PLUS */
void authmsg_write_sasl_step(struct writer *w, enum authmsg_kind kind, struct slice payload);
/* SASLInitialResponse body: mechanism and payload.  Payload .at == NULL when the length was -1. */
bool authmsg_read_initial(struct slice body, struct slice *mechanism, struct slice *payload) MUST_CHECK;
bool authmsg_read_password(struct slice body, struct slice *password) MUST_CHECK; /* PasswordMessage: a text, nothing behind it */
void authmsg_write_initial(struct writer *w, const char *mechanism, struct slice payload);
void authmsg_write_response(struct writer *w, struct slice payload); /* SASLResponse */
void authmsg_write_password(struct writer *w, const char *password); /* PasswordMessage */

#endif
