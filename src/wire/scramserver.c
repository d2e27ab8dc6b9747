/*
 * scramserver — the server's half of SCRAM-SHA-256 (RFC 5802, 7677): somebody logs in to us.
 *
 *   START --first--> SENT --final--> OVER       any of them, on a bad message --> DEAD
 *
 * Always: a machine in a wrong state answers no step;  proofs are compared in constant time;  a mock does all the work and then says no.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/secret.h"
#include "scrampriv.h"

void scram_server_init(struct scram_server *s, const struct scram_secret *secret, bool is_mock)
{
	*s = (struct scram_server){ .secret = *secret, .is_mock = is_mock, .state = SCRAM_START };
}

void scram_server_offer_plus(struct scram_server *s, struct slice binding)
{
	ASSERT(binding.len <= sizeof s->binding);
	if (binding.len)
		memcpy(s->binding, binding.at, binding.len);
	s->binding_len = (uint8_t)binding.len;
}

bool scram_server_choose(struct scram_server *s, struct slice mechanism, struct err *err)
{
	s->is_plus = slice_equal(mechanism, slice_text(SCRAM_PLUS));
	if (s->is_plus ? s->binding_len > 0 : slice_equal(mechanism, slice_text(SCRAM_PLAIN)))
		return true;
	return scram_refuse(&s->state, err, "08P01", "client selected an invalid SASL authentication mechanism");
}

/* The flag: p when the client binds, n when it cannot, y when it could but believes that we cannot.  The last one, where we offered it, is the
 * trace of somebody who took our offer away (RFC 5802 section 6). */
static bool read_flag(struct scram_server *s, struct slice *rest, struct err *err)
{
	if (scram_take_text(rest, "p=")) {
		s->gs2_header = 'p';
		if (!s->is_plus)
			return scram_malformed(&s->state, err,
			                       "The client selected SCRAM-SHA-256 without channel binding, but the message includes it.");
		return scram_take_text(rest, "tls-server-end-point,") ||
		       scram_malformed(&s->state, err, "The channel binding type is not supported.");
	}
	if (rest->len < 2 || (rest->at[0] != 'n' && rest->at[0] != 'y') || rest->at[1] != ',')
		return scram_malformed(&s->state, err, "The channel binding flag is not n, y or p.");
	s->gs2_header = (char)rest->at[0];
	*rest = slice_skip(*rest, 2);
	if (s->is_plus)
		return scram_malformed(&s->state, err,
		                       "The client selected SCRAM-SHA-256-SCRAM_PLUS, but the message does not include channel binding.");
	if (s->gs2_header == 'n' || !s->binding_len)
		return true;
	scram_refuse(&s->state, err, "28000", "SCRAM channel binding negotiation error");
	err_detail(
	    err, "The client supports SCRAM channel binding but thinks the server does not.  However, this server does support it.");
	return false;
}

/* gs2-header: "n,,", "y,," or "p=tls-server-end-point,,".  What is left is client-first-bare. */
static bool read_gs2_header(struct scram_server *s, struct slice *rest, struct err *err)
{
	if (!read_flag(s, rest, err))
		return false;
	if (scram_take_text(rest, "a="))
		return scram_refuse(&s->state, err, "0A000", "client uses authorization identity, but it is not supported");
	return scram_take_text(rest, ",") || scram_malformed(&s->state, err, "A comma is missing behind the header.");
}

/* client-first-bare: n=user (ours is from the startup packet), r=nonce, and extensions that nobody has defined. */
static bool read_first_bare(struct scram_server *s, struct slice bare, struct slice *nonce, struct err *err)
{
	struct slice rest = bare, user;
	if (scram_take_text(&rest, "m="))
		return scram_refuse(&s->state, err, "0A000", "client requires an unsupported SCRAM extension");
	if (!scram_take(&rest, 'n', &user) || !scram_take(&rest, 'r', nonce) || !scram_is_nonce(*nonce))
		return scram_malformed(&s->state, err, "The user name or the nonce is missing or wrong.");
	scram_keep(s->client_first_bare, bare);
	return true;
}

bool scram_server_first(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err)
{
	struct slice rest = in, nonce = { 0 };
	if (s->state != SCRAM_START || !scram_is_sane(in))
		return scram_malformed(&s->state, err, "The message is too long or comes at the wrong time.");
	if (!read_gs2_header(s, &rest, err) || !read_first_bare(s, rest, &nonce, err))
		return false;
	char ours[SCRAM_NONCE_TEXT + 1], salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	scram_nonce(ours);
	base64_encode(slice_of(s->secret.salt, s->secret.salt_len), salt);
	/* What the client must send back: its nonce and ours.  It is kept as part of server_first. */
	snprintf(s->nonce, sizeof s->nonce, "%s", ours);
	int len = snprintf(s->server_first, sizeof s->server_first, "r=%.*s%s,s=%s,i=%u", (int)nonce.len, (const char *)nonce.at,
	                   ours, salt, s->secret.iterations);
	if (len < 0 || (size_t)len >= sizeof s->server_first)
		return scram_malformed(&s->state, err, "The nonce is too long.");
	memcpy(out, s->server_first, (size_t)len);
	*out_len = (size_t)len;
	s->state = SCRAM_SENT;
	return true;
}

/* client-final: c=gs2-header, r=nonces, extensions, p=proof.  *BARE is all before ",p=". */
static bool read_final(struct scram_server *s, struct slice in, struct slice *bare, uint8_t proof[SCRAM_KEY], struct err *err)
{
	struct slice rest = in, header, nonce, wanted, first = slice_text(s->server_first);
	char cbind[SCRAM_CBIND_TEXT];
	scram_cbind(s->gs2_header, s->binding, s->binding_len, cbind);
	bool has_header = scram_take(&rest, 'c', &header), is_it = has_header && slice_equal(header, slice_text(cbind));
	if (has_header && !is_it && s->is_plus)
		return scram_refuse(&s->state, err, "28000", "SCRAM channel binding check failed");
	if (!is_it)
		return scram_malformed(&s->state, err, "The channel binding data is not that of the first message.");
	if (!scram_take(&first, 'r', &wanted) || !scram_take(&rest, 'r', &nonce) || !slice_equal(nonce, wanted))
		return scram_malformed(&s->state, err, "The nonce is not the one that was sent.");
	while (rest.len && rest.at[0] != 'p') {
		struct slice ignored;
		if (!scram_take(&rest, (char)rest.at[0], &ignored))
			return scram_malformed(&s->state, err, "An attribute has no value.");
	}
	*bare = slice_of(in.at, (size_t)(rest.at - in.at) - 1);
	struct slice text = rest.len > 2 ? slice_skip(rest, 2) : rest;
	if (!scram_take_text(&rest, "p=") || !scram_key(text, proof))
		return scram_malformed(&s->state, err, "The proof is missing or wrong.");
	return true;
}

static bool is_proof_right(struct scram_server *s, struct slice bare, const uint8_t proof[SCRAM_KEY])
{
	uint8_t stored_key[SCRAM_KEY];
	scram_sign(s->secret.stored_key, s->client_first_bare, s->server_first, bare, s->client_key);
	scram_xor(s->client_key, proof);
	scram_sha256(slice_of(s->client_key, SCRAM_KEY), stored_key);
	bool is_equal = secret_equal(slice_of(stored_key, SCRAM_KEY), slice_of(s->secret.stored_key, SCRAM_KEY));
	return is_equal && !s->is_mock;
}

bool scram_server_final(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err)
{
	struct slice bare = { 0 };
	uint8_t proof[SCRAM_KEY], signature[SCRAM_KEY];
	if (s->state != SCRAM_SENT || !scram_is_sane(in))
		return scram_malformed(&s->state, err, "The message is too long or comes at the wrong time.");
	if (!read_final(s, in, &bare, proof, err))
		return false;
	if (!is_proof_right(s, bare, proof)) {
		secret_wipe(s->client_key, sizeof s->client_key);
		return scram_refuse(&s->state, err, "28P01", "password authentication failed");
	}
	scram_sign(s->secret.server_key, s->client_first_bare, s->server_first, bare, signature);
	memcpy(out, "v=", 2);
	*out_len = 2 + base64_encode(slice_of(signature, sizeof signature), out + 2);
	s->has_client_key = true;
	s->state = SCRAM_OVER;
	return true;
}

void scram_server_fini(struct scram_server *s)
{
	secret_wipe(s, sizeof *s);
	s->state = SCRAM_DEAD;
}
