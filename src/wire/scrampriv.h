/* scrampriv — formulas and grammar of SCRAM, for both roles. */
#ifndef WIRE_SCRAMPRIV_H
#define WIRE_SCRAMPRIV_H

#include "wire/base64.h"
#include "wire/scram.h"

#define SCRAM_NONCE_RAW 18u /* bytes, before base64 */
#define SCRAM_NONCE_TEXT BASE64_LEN(SCRAM_NONCE_RAW)
#define SCRAM_KEY_TEXT BASE64_LEN(SCRAM_KEY)
#define SCRAM_PLAIN "SCRAM-SHA-256"
#define SCRAM_PLUS "SCRAM-SHA-256-PLUS"
#define SCRAM_PLUS_HEADER "p=tls-server-end-point,,"
#define SCRAM_CBIND_RAW (sizeof SCRAM_PLUS_HEADER - 1 + SCRAM_BINDING_MAX)
#define SCRAM_CBIND_TEXT (BASE64_LEN(SCRAM_CBIND_RAW) + 1)

/* Of struct scram_server and struct scram_client: a machine in a wrong one answers no step. */
enum { SCRAM_START, SCRAM_SENT, SCRAM_PROVED, SCRAM_OVER, SCRAM_DEAD };

/* ---- the formulas ---- */

void scram_hmac(const uint8_t key[SCRAM_KEY], struct slice text, uint8_t out[SCRAM_KEY]);
void scram_sha256(struct slice in, uint8_t out[SCRAM_KEY]);
/* AuthMessage = client-first-bare "," server-first "," client-final-without-proof, signed with KEY. */
void scram_sign(const uint8_t key[SCRAM_KEY], const char *first_bare, const char *server_first, struct slice final_bare,
                uint8_t out[SCRAM_KEY]);
void scram_xor(uint8_t to[SCRAM_KEY], const uint8_t with[SCRAM_KEY]);
void scram_nonce(char out[SCRAM_NONCE_TEXT + 1]);
/* What c= says in the final message: the header of the first one and, with p, the channel (RFC 5802 section 5.1). */
void scram_cbind(char header, const uint8_t *binding, size_t len, char out[SCRAM_CBIND_TEXT]);

/* ---- the grammar ---- */

/* Takes "K=value" from the front of REST, with the comma behind it.  False when it is not there. */
bool scram_take(struct slice *rest, char key, struct slice *value);
bool scram_take_text(struct slice *rest, const char *text);
bool scram_is_nonce(struct slice s);
bool scram_number(struct slice s, uint32_t most, uint32_t *out);
bool scram_key(struct slice s, uint8_t out[SCRAM_KEY]);
bool scram_salt(struct slice s, struct scram_secret *out);
bool scram_is_sane(struct slice in);       /* short enough, and without a NUL */
void scram_keep(char *to, struct slice s); /* one that is sane, as a text of SCRAM_TEXT_MAX */

/* Both set *STATE to SCRAM_DEAD and are false. */
bool scram_malformed(int *state, struct err *err, const char *detail);
bool scram_refuse(int *state, struct err *err, const char *sqlstate, const char *text);

#endif
