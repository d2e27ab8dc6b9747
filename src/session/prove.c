/*
 * prove — the dialogue in which a client shows that it knows its password.
 *
 *   PASSWORD  asked in clear text: compared with what is stored, or told to LDAP or PAM
 *   MD5       asked for MD5(stored, salt)
 *   FIRST, FINAL   the two messages of SCRAM-SHA-256
 *
 * The method md5 turns to SCRAM where a SCRAM secret is stored, as in PostgreSQL.  A secret that a server told some time ago and that does not
 * fit is asked for once more: it may have been changed.
 *
 * Always: a comparison takes the same time wherever the difference is; a mock is compared, too, and never right.
 */
#include "base/clock.h"
#include "base/rand.h"
#include "base/secret.h"
#include "conf/users.h"
#include "net/tls.h"
#include "priv.h"
#include "wire/authmsg.h"
#include "wire/md5.h"

#define SAID_MAX 4096u /* bytes of a password message */

enum { PROVE_PASSWORD, PROVE_MD5, PROVE_FIRST, PROVE_FINAL };

static void prove_judge(struct session *s);

/* ---- the secret ---------------------------------------------------------------------------------------------------------------------- */

static void prove_keep_secret(struct session *s, const char *secret)
{
	struct session_login *l = s->login;
	secret_free_text(l->secret);
	l->secret = mem_text(secret);
	l->secret_is = (uint8_t)secret_kind(secret);
}

/* For who has no SCRAM secret: salt and iterations. */
static void prove_salt(const struct session *s, struct scram_secret *secret)
{
	const struct conf_auth *c = &session_conf(s)->auth;
	scram_secret_salt(slice_text(s->user), slice_text(c->scram_salt), (uint32_t)c->scram_iterations, secret);
}

/* As which kind a user without a secret is treated: nothing shall show that he has none. */
static enum secret_kind prove_kind(const struct session *s)
{
	const struct session_login *l = s->login;
	struct scram_secret secret;
	uint64_t draw;
	if (l->secret_is != SECRET_NONE)
		return (enum secret_kind)l->secret_is;
	if (l->is_asked)
		return SECRET_SCRAM;
	prove_salt(s, &secret);
	memcpy(&draw, secret.salt, sizeof draw);
	return users_likely_kind(session_conf(s)->secrets, draw);
}

/* ---- right or wrong ------------------------------------------------------------------------------------------------------------------ */

static void prove_learn_text(char *to, size_t cap, const char *text)
{
	if (strlen(text) < cap)
		strcpy(to, text);
}

/* What was shown, or what a server told of the user, opens the servers, too. */
static void prove_accept(struct session *s)
{
	struct session_login *l = s->login;
	struct upstream_keys *k = &l->keys;
	bool is_listed = l->secret && !l->is_asked; /* then the pool knows it, and hears when it changes */
	if (l->step == PROVE_PASSWORD && !(is_listed && l->secret_is == SECRET_CLEAR))
		prove_learn_text(k->password, sizeof k->password, l->said);
	else if (l->secret_is == SECRET_CLEAR && !is_listed)
		prove_learn_text(k->password, sizeof k->password, l->secret);
	if (l->secret_is == SECRET_MD5 && !is_listed)
		prove_learn_text(k->md5, sizeof k->md5, l->secret);
	if (l->step == PROVE_FINAL && l->secret_is == SECRET_SCRAM && l->scram.has_client_key) {
		k->has_scram = true;
		memcpy(k->client_key, l->scram.client_key, sizeof k->client_key);
		k->secret = l->scram.secret;
	}
	clientauth_accept(s);
}

static void prove_on_fresh(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	struct session_login *l = s->login;
	if (!clientauth_heard(s, a))
		return;
	bool is_same = a->secret && l->secret ? strcmp(a->secret, l->secret) == 0 : a->secret == l->secret;
	bool is_scram = l->step == PROVE_FINAL; /* it was held with the salt of the old one: the next login will have the new one's */
	if (is_same || is_scram) {
		clientauth_fail(s);
		return;
	}
	prove_keep_secret(s, a->secret);
	prove_judge(s);
}

static void prove_wrong(struct session *s)
{
	struct session_login *l = s->login;
	if (!l->is_asked || l->has_fresh) {
		clientauth_fail(s);
		return;
	}
	l->has_fresh = true;
	clientauth_find_secret(s, l->began_us, prove_on_fresh);
}

static void prove_verdict(struct session *s, bool is_right)
{
	if (is_right)
		prove_accept(s);
	else
		prove_wrong(s);
}

static void prove_on_verdict(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	if (clientauth_heard(s, a))
		prove_verdict(s, a->is_right);
}

/* ---- passwords in clear text ----------------------------------------------------------------------------------------------------------- */

static bool prove_equal(const char *a, const char *b)
{
	return secret_equal(slice_text(a), slice_text(b));
}

static void prove_fits_scram(struct session *s)
{
	const struct auth_help help = clientauth_help(s, prove_on_verdict);
	struct scram_secret stored;
	if (!scram_secret_parse(slice_text(s->login->secret), &stored)) {
		prove_wrong(s);
		return;
	}
	clientauth_wait(s, auth_ask_fits(s->home->env.auth, s->login->said, &stored, &help), help.timeout_us);
}

static void prove_password(struct session *s)
{
	struct session_login *l = s->login;
	char hashed[MD5_TEXT];
	switch (*l->said ? (enum secret_kind)l->secret_is : SECRET_NONE) {
	case SECRET_NONE:
		prove_wrong(s);
		return;
	case SECRET_CLEAR:
		prove_verdict(s, prove_equal(l->said, l->secret));
		return;
	case SECRET_MD5:
		prove_verdict(s, md5_secret(slice_text(l->said), slice_text(s->user), hashed) && prove_equal(hashed, l->secret));
		return;
	case SECRET_SCRAM:
		prove_fits_scram(s);
		return;
	}
}

static void prove_on_password_secret(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	if (s->state == SESSION_ASKING && !clientauth_heard(s, a))
		return;
	prove_keep_secret(s, a->secret);
	prove_password(s);
}

static void prove_elsewhere(struct session *s)
{
	const struct auth_help help = clientauth_help(s, prove_on_verdict);
	struct session_login *l = s->login;
	struct auth *a = s->home->env.auth;
	const struct addr peer = addr_lengthen(&s->peer);
	clientauth_wait(s,
	                l->rule->method == HBA_LDAP
	                    ? auth_ask_ldap(a, l->hba, l->rule, s->user, l->said, &help)
	                    : auth_ask_pam(a, l->hba, l->rule, session_conf(s)->auth.pam_dir, s->user, l->said, &peer, &help),
	                help.timeout_us);
}

static void prove_take_password(struct session *s)
{
	if (s->login->rule->method == HBA_PASSWORD)
		clientauth_find_secret(s, 0, prove_on_password_secret);
	else
		prove_elsewhere(s);
}

/* ---- MD5 ----------------------------------------------------------------------------------------------------------------------------- */

static void prove_md5(struct session *s)
{
	struct session_login *l = s->login;
	char stored[MD5_TEXT], wanted[MD5_TEXT] = "";
	enum secret_kind kind = (enum secret_kind)l->secret_is;
	bool is_there = kind == SECRET_MD5 || (kind == SECRET_CLEAR && *l->secret);
	if (kind == SECRET_MD5)
		memcpy(stored, l->secret, sizeof stored);
	else if (!md5_secret(slice_text(kind == SECRET_CLEAR ? l->secret : ""), slice_text(s->user), stored))
		is_there = false;
	bool is_equal = md5_answer(stored, l->md5_salt, wanted) && prove_equal(l->said, wanted);
	secret_wipe(stored, sizeof stored);
	secret_wipe(wanted, sizeof wanted);
	prove_verdict(s, is_equal && is_there);
}

static void prove_judge(struct session *s)
{
	if (s->login->step == PROVE_MD5)
		prove_md5(s);
	else
		prove_password(s);
}

/* ---- SCRAM --------------------------------------------------------------------------------------------------------------------------- */

static void prove_on_keys(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	if (!clientauth_heard(s, a))
		return;
	s->login->scram.secret = a->scram; /* the message that waits is offered again */
	s->login->has_keys = true;
}

/* For a clear password the keys are made when they are needed, and not here if it takes long.  False: they are waited for. */
static bool prove_has_keys(struct session *s)
{
	const struct auth_help help = clientauth_help(s, prove_on_keys);
	struct session_login *l = s->login;
	struct scram_secret *secret = &l->scram.secret;
	if (l->secret_is != SECRET_CLEAR || l->has_keys)
		return true;
	l->has_keys = auth_recall_keys(s->home->env.auth, s->user, l->secret, secret);
	if (!l->has_keys)
		clientauth_wait(s, auth_ask_keys(s->home->env.auth, s->user, l->secret, secret, &help), help.timeout_us);
	return l->has_keys;
}

static bool prove_first(struct session_login *l, struct slice body, char *out, size_t *len, struct err *err)
{
	struct slice mechanism, payload;
	if (!authmsg_read_initial(body, &mechanism, &payload))
		return err_set(err, "08P01", "malformed SASL message");
	return scram_server_choose(&l->scram, mechanism, err) && scram_server_first(&l->scram, payload, out, len, err);
}

/* False: the message must wait. */
static bool prove_scram(struct session *s, struct slice body)
{
	struct session_login *l = s->login;
	uint8_t space[SCRAM_TEXT_MAX + 64];
	char out[SCRAM_TEXT_MAX];
	size_t len = 0;
	struct writer w;
	struct err e;
	bool is_first = l->step == PROVE_FIRST;
	if (!is_first && !prove_has_keys(s))
		return false;
	if (!(is_first ? prove_first(l, body, out, &len, &e) : scram_server_final(&l->scram, body, out, &len, &e))) {
		if (strcmp(e.sqlstate, "28P01") == 0)
			prove_wrong(s);
		else
			clientauth_refuse(s, &e);
		return true;
	}
	writer_init(&w, space, sizeof space);
	authmsg_write_sasl_step(&w, is_first ? AUTHMSG_SASL_CONTINUE : AUTHMSG_SASL_FINAL, slice_of(out, len));
	session_send(s, &w);
	if (is_first) {
		l->step = PROVE_FINAL;
		l->said_us = 0;
	} else
		prove_accept(s);
	return true;
}

/* ---- how it begins ------------------------------------------------------------------------------------------------------------------- */

static void prove_begin_scram(struct session *s)
{
	struct session_login *l = s->login;
	const struct tls *tls = stream_tls(&s->stream);
	struct slice binding;
	struct scram_secret secret;
	uint8_t space[64];
	struct writer w;
	bool is_scram = l->secret_is == SECRET_SCRAM && scram_secret_parse(slice_text(l->secret), &secret);
	if (!is_scram)
		prove_salt(s, &secret);
	scram_server_init(&l->scram, &secret, !is_scram && l->secret_is != SECRET_CLEAR);
	if (tls && tls_binding(tls, &binding) && binding.len <= SCRAM_BINDING_MAX)
		scram_server_offer_plus(&l->scram, binding);
	l->step = PROVE_FIRST;
	writer_init(&w, space, sizeof space);
	authmsg_write_sasl(&w, l->scram.binding_len > 0);
	session_send(s, &w);
	secret_wipe(&secret, sizeof secret);
}

static void prove_begin_md5(struct session *s)
{
	uint8_t space[32];
	struct writer w;
	rand_bytes(s->login->md5_salt, sizeof s->login->md5_salt);
	s->login->step = PROVE_MD5;
	writer_init(&w, space, sizeof space);
	authmsg_write_md5(&w, s->login->md5_salt);
	session_send(s, &w);
}

static void prove_on_secret(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	if (s->state == SESSION_ASKING && !clientauth_heard(s, a))
		return;
	prove_keep_secret(s, a->secret);
	if (s->login->rule->method == HBA_SCRAM || prove_kind(s) == SECRET_SCRAM)
		prove_begin_scram(s);
	else
		prove_begin_md5(s);
}

static void prove_begin_password(struct session *s)
{
	uint8_t space[16];
	struct writer w;
	s->login->step = PROVE_PASSWORD;
	writer_init(&w, space, sizeof space);
	authmsg_write_cleartext(&w);
	session_send(s, &w);
}

void prove_begin(struct session *s)
{
	switch (s->login->rule->method) {
	case HBA_TRUST:
	case HBA_PEER: /* who it is was asked of others, and matched */
	case HBA_CERT:
		clientauth_accept(s);
		return;
	case HBA_PASSWORD:
	case HBA_LDAP:
	case HBA_PAM:
		prove_begin_password(s);
		return;
	case HBA_MD5:
	case HBA_SCRAM:
		clientauth_find_secret(s, 0, prove_on_secret);
		return;
	case HBA_REJECT:
		break;
	}
	die("a rule that rejects has no dialogue");
}

/* ---- the client's messages ------------------------------------------------------------------------------------------------------------- */

static void prove_said(struct session *s, struct slice body)
{
	struct session_login *l = s->login;
	struct slice text;
	struct err e;
	if (!authmsg_read_password(body, &text)) {
		err_set(&e, "08P01", "invalid password packet size");
		clientauth_refuse(s, &e);
		return;
	}
	secret_free_text(l->said);
	l->said = mem_textn((const char *)text.at, text.len);
	if (l->step == PROVE_MD5)
		prove_md5(s);
	else
		prove_take_password(s);
}

size_t clientauth_take(struct session *s, struct slice in)
{
	struct frame f;
	struct err e;
	bool is_sasl = s->login->step >= PROVE_FIRST;
	enum frame_result r = frame_next(in, FRAME_FROM_CLIENT, &f);
	if (r == FRAME_SHORT)
		return 0;
	if (r == FRAME_BAD || f.type != 'p' || f.body_len > (is_sasl ? SCRAM_TEXT_MAX : SAID_MAX) || s->login->said) {
		err_set(&e, "08P01", is_sasl ? "expected SASL response" : "expected password response");
		session_fatal(s, CLOSE_PROTOCOL, &e);
		return 0;
	}
	if (!frame_is_whole(&f))
		return 0;
	if (!s->login->said_us) { /* one that had to wait is offered again */
		s->login->said_us = clock_us();
		if (clientauth_is_barred(s)) /* else many connections would be as many guesses */
			return 0;
	}
	if (!is_sasl)
		prove_said(s, f.body);
	else if (!prove_scram(s, f.body))
		return 0;
	return frame_size(&f);
}
