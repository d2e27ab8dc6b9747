/*
 * authmsg — Authentication… and its answers (PostgreSQL "Message Formats": AuthenticationOk … SASLFinal, SASLInitialResponse, SASLResponse,
 * PasswordMessage).  What is in a SASL payload is scram's business.
 */
#include "wire/authmsg.h"

#include "wire/reader.h"

/* Mechanism names, each with its zero byte, at least one, and an empty one at the end. */
static bool is_mechanism_list(struct slice data)
{
	struct reader r;
	unsigned n = 0;
	reader_init(&r, data);
	while (reader_text(&r).len > 0)
		n++;
	return reader_done(&r) && n > 0;
}

bool authmsg_read(struct slice body, struct authmsg *m)
{
	struct reader r;
	reader_init(&r, body);
	m->kind = reader_u32(&r);
	m->data = reader_bytes(&r, reader_left(&r));
	if (!reader_ok(&r))
		return false;
	switch (m->kind) {
	case AUTHMSG_OK:
	case AUTHMSG_CLEARTEXT:
		return m->data.len == 0;
	case AUTHMSG_MD5:
		return m->data.len == 4;
	case AUTHMSG_SASL:
		return is_mechanism_list(m->data);
	}
	return true;
}

bool authmsg_offers(const struct authmsg *m, const char *mechanism)
{
	struct reader r;
	if (m->kind != AUTHMSG_SASL)
		return false;
	reader_init(&r, m->data);
	for (struct slice name = reader_text(&r); name.len > 0; name = reader_text(&r))
		if (slice_equal(name, slice_text(mechanism)))
			return true;
	return false;
}

void authmsg_write_ok(struct writer *w)
{
	authmsg_write_sasl_step(w, AUTHMSG_OK, slice_of(NULL, 0));
}

void authmsg_write_cleartext(struct writer *w)
{
	authmsg_write_sasl_step(w, AUTHMSG_CLEARTEXT, slice_of(NULL, 0));
}

void authmsg_write_md5(struct writer *w, const uint8_t salt[4])
{
	authmsg_write_sasl_step(w, AUTHMSG_MD5, slice_of(salt, 4));
}

void authmsg_write_sasl(struct writer *w, bool has_plus)
{
	writer_begin(w, 'R');
	writer_u32(w, AUTHMSG_SASL);
	if (has_plus)
		writer_text(w, "SCRAM-SHA-256-PLUS");
	writer_text(w, "SCRAM-SHA-256");
	writer_u8(w, 0);
	writer_end(w);
}

void authmsg_write_sasl_step(struct writer *w, enum authmsg_kind kind, struct slice payload)
{
	writer_begin(w, 'R');
	writer_u32(w, kind);
	writer_bytes(w, payload);
	writer_end(w);
}

bool authmsg_read_initial(struct slice body, struct slice *mechanism, struct slice *payload)
{
	struct reader r;
	reader_init(&r, body);
	*mechanism = reader_text(&r);
	uint32_t len = reader_u32(&r);
	*payload = len == UINT32_MAX ? slice_of(NULL, 0) : reader_bytes(&r, len);
	return reader_done(&r);
}

bool authmsg_read_password(struct slice body, struct slice *password)
{
	struct reader r;
	reader_init(&r, body);
	*password = reader_text(&r);
	return reader_done(&r);
}

void authmsg_write_initial(struct writer *w, const char *mechanism, struct slice payload)
{
	writer_begin(w, 'p');
	writer_text(w, mechanism);
	writer_u32(w, payload.at ? (uint32_t)payload.len : UINT32_MAX);
	writer_bytes(w, payload);
	writer_end(w);
}

void authmsg_write_response(struct writer *w, struct slice payload)
{
	writer_begin(w, 'p');
	writer_bytes(w, payload);
	writer_end(w);
}

void authmsg_write_password(struct writer *w, const char *password)
{
	writer_begin(w, 'p');
	writer_text(w, password);
	writer_end(w);
}
