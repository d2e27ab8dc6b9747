/*
 * clientauth — a client proves who it is: the first hba rule that matches says how.
 *
 * Users that are not in the users file go through the same dialogue as the others, with a secret that nothing matches, and fail at its end with
 * the same words: a stranger cannot tell who exists.
 */
#include <netdb.h>

#include "conf/hba.h"
#include "conf/users.h"
#include "priv.h"
#include "wire/authmsg.h"

enum { SCRAM_WAIT_FIRST, SCRAM_WAIT_FINAL };

static bool clientauth_is_replication(const struct session *s)
{
	return s->login->start.is_replication_physical;
}

static void clientauth_accept(struct session *s)
{
	uint8_t space[16];
	struct writer w;
	writer_init(&w, space, sizeof space);
	authmsg_write_ok(&w);
	session_send(s, &w);
	session_enter(s, SESSION_WELCOME);
	stream_pause(&s->stream);
	startup_welcome(s);
}

static void clientauth_fail(struct session *s)
{
	struct err e;
	err_set(&e, "28P01", "password authentication failed for user \"%s\"", s->user);
	session_fatal(s, CLOSE_REFUSED, &e);
}

static void clientauth_reject(struct session *s, unsigned line)
{
	struct err e;
	char peer[NI_MAXHOST] = "[local]";
	const struct addr from = addr_lengthen(&s->peer);
	if (!addr_is_unix(&from))
		getnameinfo((const struct sockaddr *)&from.sa, from.len, peer, sizeof peer, NULL, 0, NI_NUMERICHOST);
	if (line)
		err_set(&e, "28000", "pg_hba.conf rejects connection for host \"%s\", user \"%s\", database \"%s\", no encryption", peer,
		        s->user, s->database);
	else
		err_set(&e, "28000", "no pg_hba.conf entry for host \"%s\", user \"%s\", database \"%s\", no encryption", peer, s->user,
		        s->database);
	session_fatal(s, CLOSE_REFUSED, &e);
}

static void clientauth_scram(struct session *s)
{
	struct scram_secret secret;
	const char *stored = users_secret(session_conf(s)->secrets, s->user);
	uint8_t space[64];
	struct writer w;
	bool known = stored && (scram_secret_parse(slice_text(stored), &secret) || scram_secret_make(slice_text(stored), &secret));
	if (!known)
		scram_secret_mock(slice_text(s->user), &secret);
	scram_server_init(&s->login->scram, &secret, !known);
	s->login->scram_step = SCRAM_WAIT_FIRST;
	s->login->scram_used = true;
	writer_init(&w, space, sizeof space);
	authmsg_write_sasl(&w, "SCRAM-SHA-256");
	session_send(s, &w);
}

void clientauth_begin(struct session *s)
{
	unsigned line = 0;
	const struct addr peer = addr_lengthen(&s->peer);
	switch (hba_match(session_conf(s)->hba, &peer.sa, s->database, s->user, clientauth_is_replication(s), &line)) {
	case HBA_TRUST:
		clientauth_accept(s);
		return;
	case HBA_SCRAM:
		clientauth_scram(s);
		return;
	case HBA_REJECT:
		clientauth_reject(s, line);
		return;
	}
}

/* Remembers what lets us log in to the servers as this user without its password. */
static void clientauth_learn(struct session *s)
{
	struct upstream_keys keys;
	if (!s->login->scram.has_client_key || session_is_for_console(s) || !conf_database(session_conf(s), s->database))
		return;
	memcpy(keys.client_key, s->login->scram.client_key, sizeof keys.client_key);
	keys.secret = s->login->scram.secret;
	borrow_pool(s);
	if (s->pool)
		pool_learn_keys(s->pool, &keys);
	explicit_bzero(&keys, sizeof keys);
}

static bool clientauth_step(struct session *s, struct slice body, struct writer *w, struct err *err)
{
	struct scram_server *scram = &s->login->scram;
	struct slice mechanism, payload = body;
	char out[SCRAM_TEXT_MAX];
	size_t len = 0;
	if (s->login->scram_step == SCRAM_WAIT_FIRST) {
		if (!authmsg_read_initial(body, &mechanism, &payload))
			return err_set(err, "08P01", "malformed SASL message");
		if (!slice_equal(mechanism, slice_text("SCRAM-SHA-256")))
			return err_set(err, "08P01", "client selected an invalid SASL authentication mechanism");
		if (!scram_server_first(scram, payload, out, &len, err))
			return false;
		authmsg_write_sasl_step(w, AUTHMSG_SASL_CONTINUE, slice_of(out, len));
		return true;
	}
	if (!scram_server_final(scram, payload, out, &len, err))
		return false;
	authmsg_write_sasl_step(w, AUTHMSG_SASL_FINAL, slice_of(out, len));
	return true;
}

static void clientauth_go_on(struct session *s, struct slice body)
{
	uint8_t space[SCRAM_TEXT_MAX + 64];
	struct writer w;
	struct err e;
	writer_init(&w, space, sizeof space);
	if (!clientauth_step(s, body, &w, &e)) {
		if (strcmp(e.sqlstate, "28P01") == 0)
			clientauth_fail(s);
		else
			session_fatal(s, CLOSE_REFUSED, &e);
		return;
	}
	session_send(s, &w);
	if (s->login->scram_step++ == SCRAM_WAIT_FIRST)
		return;
	clientauth_learn(s);
	clientauth_accept(s);
}

size_t clientauth_take(struct session *s, struct slice in)
{
	struct frame f;
	struct err e;
	size_t size;
	enum frame_result r = frame_next(in, FRAME_FROM_CLIENT, &f);
	if (r == FRAME_SHORT)
		return 0;
	if (r == FRAME_BAD || f.type != 'p' || f.body_len > SCRAM_TEXT_MAX) {
		err_set(&e, "08P01", "expected SASL response");
		session_fatal(s, CLOSE_PROTOCOL, &e);
		return 0;
	}
	if (!frame_is_whole(&f))
		return 0;
	size = frame_size(&f);
	clientauth_go_on(s, f.body);
	return size;
}
