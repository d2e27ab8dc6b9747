/*
 * startmsg — the first packet of a connection (PostgreSQL "Start-up", "Cancelling Requests in Progress", "SSL Session Encryption").
 *
 *   length | code | body        the code is a protocol version (major << 16 | minor) or one of three requests (major 1234)
 *
 * Lies about the length are refused from the first four bytes on, so nobody makes us wait for or keep more than STARTMSG_MAX.
 */
#include "wire/startmsg.h"

#include "wire/reader.h"

#define CODE_CANCEL STARTMSG_VERSION(1234, 5678)
#define CODE_SSL STARTMSG_VERSION(1234, 5679)
#define CODE_GSSENC STARTMSG_VERSION(1234, 5680)
#define HEADER 8u /* length and code */
#define KEY_MIN 4u

static enum startmsg_result bad(struct err *err, const char *text)
{
	err_set(err, "08P01", "%s", text);
	return STARTMSG_BAD;
}

/* Every name and value must be there, and after them exactly one more zero byte. */
static enum startmsg_result read_startup(struct reader *r, struct startmsg *m, struct err *err)
{
	if (m->major != 3) {
		err_set(err, "0A000", "unsupported frontend protocol %u.%u: server supports protocol 3", m->major, m->minor);
		return STARTMSG_BAD;
	}
	const uint8_t *from = r->at;
	while (reader_text(r).len > 0)
		reader_text(r);
	if (!reader_done(r))
		return bad(err, "invalid startup packet layout: expected terminator as last byte");
	m->kind = STARTMSG_STARTUP;
	m->params = slice_of(from, (size_t)(r->at - from) - 1);
	return STARTMSG_OK;
}

static enum startmsg_result read_cancel(struct reader *r, struct startmsg *m, struct err *err)
{
	m->kind = STARTMSG_CANCEL;
	m->pid = reader_u32(r);
	m->key = reader_bytes(r, reader_left(r));
	if (!reader_ok(r) || m->key.len < KEY_MIN || m->key.len > STARTMSG_KEY_MAX)
		return bad(err, "invalid length of cancel request packet");
	return STARTMSG_OK;
}

static enum startmsg_result read_request(struct reader *r, struct startmsg *m, enum startmsg_kind kind, struct err *err)
{
	m->kind = kind;
	return reader_done(r) ? STARTMSG_OK : bad(err, "invalid length of startup packet");
}

enum startmsg_result startmsg_read(struct slice in, struct startmsg *m, struct err *err)
{
	struct reader r;
	reader_init(&r, in);
	uint32_t size = reader_u32(&r);
	if (!reader_ok(&r))
		return STARTMSG_SHORT;
	if (size < HEADER || size > STARTMSG_MAX)
		return bad(err, "invalid length of startup packet");
	if (in.len < size)
		return STARTMSG_SHORT;
	*m = (struct startmsg){ .size = size };
	reader_init(&r, slice_of(in.at + 4, size - 4));
	uint32_t code = reader_u32(&r);
	switch (code) {
	case CODE_CANCEL:
		return read_cancel(&r, m, err);
	case CODE_SSL:
		return read_request(&r, m, STARTMSG_SSL, err);
	case CODE_GSSENC:
		return read_request(&r, m, STARTMSG_GSSENC, err);
	}
	m->major = (uint16_t)(code >> 16);
	m->minor = (uint16_t)code;
	return read_startup(&r, m, err);
}

bool startmsg_param(struct slice *rest, struct slice *name, struct slice *value)
{
	if (rest->len == 0)
		return false;
	struct reader r;
	reader_init(&r, *rest);
	*name = reader_text(&r);
	*value = reader_text(&r);
	*rest = slice_of(r.at, reader_left(&r));
	return reader_ok(&r);
}

struct slice startmsg_find(const struct startmsg *m, const char *wanted)
{
	struct slice rest = m->params, name, value, found = { 0 };
	while (startmsg_param(&rest, &name, &value))
		if (slice_equal(name, slice_text(wanted)))
			found = value;
	return found;
}

static bool is_protocol_option(struct slice name)
{
	return name.len >= 5 && memcmp(name.at, "_pq_.", 5) == 0;
}

static uint32_t count_protocol_options(const struct startmsg *m)
{
	struct slice rest = m->params, name, value;
	uint32_t n = 0;
	while (startmsg_param(&rest, &name, &value))
		n += is_protocol_option(name);
	return n;
}

bool startmsg_needs_negotiation(const struct startmsg *m, uint16_t newest_minor)
{
	return m->minor > newest_minor || count_protocol_options(m) > 0;
}

void startmsg_write_negotiation(struct writer *w, const struct startmsg *m, uint16_t newest_minor)
{
	struct slice rest = m->params, name, value;
	uint16_t minor = m->minor < newest_minor ? m->minor : newest_minor;
	writer_begin(w, 'v');
	/* The documentation says "newest minor version"; servers send, and libpq insists on, the whole version, no newer than was asked for. */
	writer_u32(w, STARTMSG_VERSION(3, minor));
	writer_u32(w, count_protocol_options(m));
	while (startmsg_param(&rest, &name, &value))
		if (is_protocol_option(name))
			writer_slice_text(w, name);
	writer_end(w);
}

void startmsg_write_ssl(struct writer *w)
{
	writer_begin(w, 0);
	writer_u32(w, CODE_SSL);
	writer_end(w);
}

void startmsg_write_cancel(struct writer *w, uint32_t pid, struct slice key)
{
	writer_begin(w, 0);
	writer_u32(w, CODE_CANCEL);
	writer_u32(w, pid);
	writer_bytes(w, key);
	writer_end(w);
}

/* -- the "options" parameter ------------------------------------------------------------------ */

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next word of REST with its backslashes resolved, written to *TO, which moves on.  Empty at the end. */
static struct slice next_word(struct slice *rest, uint8_t **to)
{
	uint8_t *from = *to;
	bool escaped = false;
	while (rest->len && is_space(rest->at[0]))
		*rest = slice_skip(*rest, 1);
	for (; rest->len && (escaped || !is_space(rest->at[0])); *rest = slice_skip(*rest, 1)) {
		escaped = !escaped && rest->at[0] == '\\';
		if (!escaped)
			*(*to)++ = rest->at[0];
	}
	return slice_of(from, (size_t)(*to - from));
}

static bool refuse(struct err *err, struct slice word)
{
	err_set(err, "42601", "invalid command-line argument for server process: %.*s", (int)(word.len < 100 ? word.len : 100),
	        (const char *)word.at);
	err_hint(err, "Only settings can be given here: -c name=value or --name=value.");
	return false;
}

/* NAME=VALUE in TEXT, which is ours to change.  DASHES is how it was introduced, for the error. */
static bool split_setting(struct slice text, const char *dashes, struct slice *name, struct slice *value, struct err *err)
{
	uint8_t *at = (uint8_t *)text.at, *equals = memchr(at, '=', text.len);
	if (!equals)
		return err_set(err, "42601", "%s%.*s requires a value", dashes, (int)(text.len < 100 ? text.len : 100), (const char *)at);
	*name = slice_of(at, (size_t)(equals - at));
	*value = slice_skip(text, name->len + 1);
	for (uint8_t *c = at; c < equals; c++)
		if (*c == '-')
			*c = '_';
	return true;
}

bool startmsg_each_option(struct slice options, bool (*fn)(void *arg, struct slice name, struct slice value, struct err *err),
                          void *arg, struct err *err)
{
	uint8_t words[STARTMSG_MAX], *to = words;
	if (options.len > sizeof words)
		return err_set(err, "22023", "the value of parameter \"options\" is too long");
	for (;;) {
		struct slice word = next_word(&options, &to), name, value;
		const char *dashes = "--";
		if (word.len == 0)
			return true;
		if (slice_equal(word, slice_text("--"))) { /* as in getopt(): the end of all settings */
			word = next_word(&options, &to);
			return word.len == 0 || refuse(err, word);
		}
		if (word.len < 2 || word.at[0] != '-' || (word.at[1] != '-' && word.at[1] != 'c'))
			return refuse(err, word);
		struct slice setting = slice_skip(word, 2);
		if (word.at[1] == 'c') {
			dashes = "-c ";
			if (setting.len == 0)
				setting = next_word(&options, &to);
		}
		if (setting.len == 0)
			return refuse(err, word);
		if (!split_setting(setting, dashes, &name, &value, err) || !fn(arg, name, value, err))
			return false;
	}
}
