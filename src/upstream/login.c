/*
 * login — from StartupMessage to the first ReadyForQuery (PostgreSQL "Start-up", "SASL Authentication").
 *
 *   asked ──AuthenticationSASL──► sasl asked ──Continue──► sasl proven ──Final──► sasl verified
 *     │ │ login_start()             sasl_begin()             sasl_prove()           sasl_verify() │
 *     │ └──Cleartext, MD5──► password sent ─────────────┐                                          │
 *     └───────────AuthenticationOk (trust)──► welcomed ◄┴─────────AuthenticationOk────────────────┘
 *                                              │  ParameterStatus, BackendKeyData
 *                                              └──ReadyForQuery──► done
 *
 * NoticeResponse is passed over in any state, ErrorResponse ends the login in any state.
 * Always: a server that began SASL is believed only after it has shown that it knows the secret too (RFC 5802, ServerSignature);
 *         a password goes out in clear text only where nobody on the way can read it;  where channel binding is required, a server that does
 *         without it, be it by asking for nothing at all, is not believed.
 */
#include "upstream/login.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/secret.h"
#include "wire/authmsg.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

#define MECHANISM "SCRAM-SHA-256"

typedef enum login_verdict (*message_fn)(struct login *l, struct slice body, struct writer *out, struct err *err);

static enum login_verdict fail(struct err *err, const char *sqlstate, const char *text)
{
	err_set(err, sqlstate, "%s", text);
	return LOGIN_FAILED;
}

static enum login_verdict broken(struct err *err, const char *message)
{
	err_set(err, "08P01", "the server sent a malformed %s during login", message);
	return LOGIN_FAILED;
}

static enum login_verdict refuse_method(struct err *err, const char *what)
{
	err_set(err, "28000", "the server asks for %s, which is not sent to servers", what);
	err_hint(err, "Let the server's pg_hba.conf say scram-sha-256 for connections from here, and set the role's password again "
	              "with password_encryption = 'scram-sha-256'.");
	return LOGIN_FAILED;
}

static enum login_verdict lacks_password(struct err *err)
{
	fail(err, "28P01", "the server asks for a password, and there is none for this user");
	err_hint(err, "List the user in auth.users_file, in clear text or with the same secret that the server has.");
	return LOGIN_FAILED;
}

static enum login_verdict lacks_binding(struct err *err)
{
	fail(err, "28000", "channel binding is required, but the server does not offer SCRAM-SHA-256-PLUS");
	err_hint(err, "The cluster says require_channel_binding: that needs TLS and a server that asks for scram-sha-256.");
	return LOGIN_FAILED;
}

/* -- authentication ------------------------------------------------------------------------------ */

static enum login_verdict send_password(struct login *l, struct writer *out, struct err *err)
{
	if (l->requires_binding)
		return lacks_binding(err);
	if (!l->password)
		return lacks_password(err);
	if (!l->is_private) {
		fail(err, "28000",
		     "the server asks for the password in clear text, over a connection that somebody on the way could read");
		err_hint(
		    err,
		    "Use TLS with tls_ca, so that the server is known to be the right one, let its pg_hba.conf say scram-sha-256, or set "
		    "cleartext_password in the cluster.");
		return LOGIN_FAILED;
	}
	authmsg_write_password(out, l->password);
	l->state = LOGIN_PASSWORD_SENT;
	return LOGIN_MORE;
}

static enum login_verdict send_md5(struct login *l, const struct authmsg *m, struct writer *out, struct err *err)
{
	char stored[MD5_TEXT], answer[MD5_TEXT];
	if (l->requires_binding)
		return lacks_binding(err);
	if (!l->password && !l->md5[0])
		return l->has_scram ? refuse_method(err, "an MD5 password") : lacks_password(err);
	memcpy(stored, l->md5, sizeof stored);
	if ((l->password && !md5_secret(slice_text(l->password), slice_text(l->user), stored)) ||
	    !md5_answer(stored, m->data.at, answer))
		return fail(err, "0A000", "the server asks for an MD5 password, which this system's OpenSSL cannot make");
	authmsg_write_password(out, answer);
	secret_wipe(stored, sizeof stored);
	secret_wipe(answer, sizeof answer);
	l->state = LOGIN_PASSWORD_SENT;
	return LOGIN_MORE;
}

/* With channel binding where both sides can; over TLS without it the server is told that we could, and refuses if it had offered it. */
static enum login_verdict sasl_begin(struct login *l, const struct authmsg *m, struct writer *out, struct err *err)
{
	char first[SCRAM_TEXT_MAX];
	size_t len;
	bool is_plus = l->binding_len > 0 && authmsg_offers(m, MECHANISM "-PLUS");
	if (l->requires_binding && !is_plus)
		return lacks_binding(err);
	if (!is_plus && !authmsg_offers(m, MECHANISM))
		return refuse_method(err, "a SASL mechanism other than " MECHANISM);
	if (!l->has_scram)
		return lacks_password(err);
	if (is_plus || (l->is_tls && l->binding_len > 0))
		scram_client_over_tls(&l->scram, slice_of(l->binding, is_plus ? l->binding_len : 0));
	if (!scram_client_first(&l->scram, first, &len))
		return fail(err, "XX000", "could not begin the SCRAM exchange");
	authmsg_write_initial(out, scram_client_mechanism(&l->scram), slice_of(first, len));
	l->state = LOGIN_SASL_ASKED;
	return LOGIN_MORE;
}

static enum login_verdict sasl_prove(struct login *l, const struct authmsg *m, struct writer *out, struct err *err)
{
	char final[SCRAM_TEXT_MAX];
	size_t len;
	enum scram_result result = scram_client_final(&l->scram, m->data, final, &len, err);
	if (result != SCRAM_DONE)
		return result == SCRAM_BUSY ? LOGIN_BUSY : LOGIN_FAILED;
	authmsg_write_response(out, slice_of(final, len));
	l->state = LOGIN_SASL_PROVEN;
	return LOGIN_MORE;
}

static enum login_verdict sasl_verify(struct login *l, const struct authmsg *m, struct err *err)
{
	if (!scram_client_verify(&l->scram, m->data, err))
		return LOGIN_FAILED;
	l->state = LOGIN_SASL_VERIFIED;
	return LOGIN_MORE;
}

static enum login_verdict on_authentication(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	struct authmsg m;
	if (!authmsg_read(body, &m))
		return broken(err, "Authentication message");
	switch (m.kind) {
	case AUTHMSG_OK:
		if (l->state == LOGIN_ASKED && l->requires_binding)
			return lacks_binding(err);
		if (l->state != LOGIN_ASKED && l->state != LOGIN_PASSWORD_SENT && l->state != LOGIN_SASL_VERIFIED)
			return fail(err, "08P01", "the server ended the authentication without proving that it knows the secret");
		l->state = LOGIN_WELCOMED;
		return LOGIN_MORE;
	case AUTHMSG_CLEARTEXT:
		return l->state == LOGIN_ASKED ? send_password(l, out, err) : broken(err, "AuthenticationCleartextPassword");
	case AUTHMSG_MD5:
		return l->state == LOGIN_ASKED ? send_md5(l, &m, out, err) : broken(err, "AuthenticationMD5Password");
	case AUTHMSG_SASL:
		return l->state == LOGIN_ASKED ? sasl_begin(l, &m, out, err) : broken(err, "AuthenticationSASL");
	case AUTHMSG_SASL_CONTINUE:
		return l->state == LOGIN_SASL_ASKED ? sasl_prove(l, &m, out, err) : broken(err, "AuthenticationSASLContinue");
	case AUTHMSG_SASL_FINAL:
		return l->state == LOGIN_SASL_PROVEN ? sasl_verify(l, &m, err) : broken(err, "AuthenticationSASLFinal");
	}
	return refuse_method(err, "an authentication method other than trust, password, md5 and " MECHANISM);
}

/* -- everything else ----------------------------------------------------------------------------- */

static enum login_verdict on_error(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	struct pgerr e;
	if (!pgerr_read(body, &e))
		return broken(err, "ErrorResponse");
	pgerr_to_err(&e, err);
	l->is_servers = true;
	return LOGIN_FAILED;
}

static enum login_verdict on_notice(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	struct pgerr e;
	if (!pgerr_read(body, &e))
		return broken(err, "NoticeResponse");
	log_debug(l->log, "server_notice", KV_SLICE("sqlstate", e.sqlstate), KV_SLICE("text", e.message));
	return LOGIN_MORE;
}

/* We ask for 3.0 and for no options, so there is nothing to step back from. */
static enum login_verdict on_negotiate(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	return LOGIN_MORE;
}

static enum login_verdict on_parameter(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice name = reader_text(&r), value = reader_text(&r);
	if (!reader_done(&r) || name.len == 0)
		return broken(err, "ParameterStatus");
	struct settings *before = l->reported;
	l->reported = settings_with(before, name, value);
	settings_unref(before);
	if (settings_len(l->reported) > LOGIN_PARAMETERS_MAX)
		return fail(err, "08P01", "the server reports more settings than any server has");
	return LOGIN_MORE;
}

static enum login_verdict on_key(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	l->pid = reader_u32(&r);
	struct slice key = reader_bytes(&r, reader_left(&r));
	if (!reader_ok(&r) || key.len < 4 || key.len > sizeof l->key)
		return broken(err, "BackendKeyData");
	memcpy(l->key, key.at, key.len);
	l->key_len = (uint16_t)key.len;
	return LOGIN_MORE;
}

static enum login_verdict on_ready(struct login *l, struct slice body, struct writer *out, struct err *err)
{
	if (body.len != 1 || body.at[0] != 'I')
		return broken(err, "ReadyForQuery");
	l->state = LOGIN_DONE;
	return LOGIN_READY;
}

/* What a message means where we are; NULL: it has no business here. */
static message_fn handler_of(const struct login *l, uint8_t type)
{
	bool is_in = l->state == LOGIN_WELCOMED;
	switch (type) {
	case 'E':
		return on_error;
	case 'N':
		return on_notice;
	case 'R':
		return is_in ? NULL : on_authentication;
	case 'v':
		return l->state == LOGIN_ASKED ? on_negotiate : NULL;
	case 'S':
		return is_in ? on_parameter : NULL;
	case 'K':
		return is_in ? on_key : NULL;
	case 'Z':
		return is_in ? on_ready : NULL;
	}
	return NULL;
}

/*
 * A postmaster that cannot fork says so in the manner of protocol 2: 'E' and a line of text, without a length
 * (PostgreSQL, report_fork_failure_to_client).  Its first letters make a length that no login message has.
 */
static enum login_verdict on_bad_frame(const struct login *l, struct slice in, struct err *err)
{
	if (in.at[0] != 'E' || l->state != LOGIN_ASKED)
		return fail(err, "08P01", "the server's answer is not that of a PostgreSQL server");
	size_t n = 1;
	while (n < in.len && n < 200 && in.at[n] >= ' ' && in.at[n] < 0x7f)
		n++;
	err_set(err, "08006", "the server refused the connection: %.*s", (int)n - 1, (const char *)in.at + 1);
	return LOGIN_FAILED;
}

static enum login_verdict on_message(struct login *l, const struct frame *f, struct writer *out, struct err *err)
{
	message_fn fn = handler_of(l, f->type);
	if (!fn) {
		err_set(err, "08P01", "the server sent %s in the middle of the login", frame_name(FRAME_FROM_SERVER, f->type));
		return LOGIN_FAILED;
	}
	enum login_verdict verdict = fn(l, f->body, out, err);
	if (verdict != LOGIN_FAILED && !writer_ok(out))
		return fail(err, "XX000", "an answer of the login did not fit");
	return verdict;
}

/* -- public -------------------------------------------------------------------------------------- */

void login_init(struct login *l, const struct login_who *who, struct settings_table *table, struct log *log)
{
	*l = (struct login){ .state = LOGIN_ASKED, .log = log, .reported = settings_empty(table) };
	const struct upstream_keys *k = who->keys;
	l->user = mem_text(who->user);
	l->password = mem_text(who->password ? who->password : k && k->password[0] ? k->password : NULL);
	const char *md5 = who->md5 ? who->md5 : k ? k->md5 : "";
	snprintf(l->md5, sizeof l->md5, "%s", md5);
	l->is_private = who->is_private;
	l->is_tls = who->is_tls;
	l->requires_binding = who->requires_binding;
	ASSERT(who->binding.len <= sizeof l->binding);
	l->binding_len = (uint8_t)who->binding.len;
	if (l->binding_len)
		memcpy(l->binding, who->binding.at, l->binding_len);
	l->has_scram = l->password || (k && k->has_scram);
	if (l->password)
		scram_client_init_password(&l->scram, l->password);
	else if (l->has_scram)
		scram_client_init_keys(&l->scram, k->client_key, &k->secret);
	l->scram.memory = who->memory;
}

void login_fini(struct login *l)
{
	if (l->has_scram)
		scram_client_fini(&l->scram);
	mem_free(l->user);
	secret_free_text(l->password);
	settings_unref(l->reported);
	secret_wipe(l, sizeof *l);
}

void login_start(const struct login_who *who, struct writer *out)
{
	struct slice rest = who->startup, name, value;
	writer_begin(out, 0);
	writer_u32(out, STARTMSG_VERSION(3, 0));
	writer_text(out, "user");
	writer_text(out, who->user);
	if (who->database[0]) {
		writer_text(out, "database");
		writer_text(out, who->database);
	}
	while (startmsg_param(&rest, &name, &value)) {
		if (slice_equal(name, slice_text("user")) || slice_equal(name, slice_text("database")))
			continue;
		writer_slice_text(out, name);
		writer_slice_text(out, value);
	}
	writer_u8(out, 0);
	writer_end(out);
}

enum login_verdict login_read(struct login *l, struct slice in, size_t *taken, struct writer *out, struct err *err)
{
	enum login_verdict verdict = LOGIN_MORE;
	struct frame f;
	for (*taken = 0; verdict == LOGIN_MORE;) {
		struct slice rest = slice_skip(in, *taken);
		enum frame_result found = frame_next(rest, FRAME_FROM_SERVER, &f);
		if (found == FRAME_SHORT)
			break;
		if (found == FRAME_BAD)
			return on_bad_frame(l, rest, err);
		if (f.body_len > LOGIN_MESSAGE_MAX || l->taken + frame_size(&f) > LOGIN_TOTAL_MAX)
			return fail(err, "08P01", "the server sends more than belongs into a login");
		if (!frame_is_whole(&f))
			break;
		verdict = on_message(l, &f, out, err);
		if (verdict == LOGIN_BUSY)
			break;
		*taken += frame_size(&f);
		l->taken += frame_size(&f);
	}
	return verdict;
}
