/*
 * clientauth — by which rule a client must prove who it is, and how that ends.
 *
 *   begin ──► choose a rule ──► prove.c ──► accept | fail (in a moment) | refuse (at once)
 *                │  ▲             │  ▲
 *                ▼  │             ▼  │    ASKING: the stream is paused until auth/ answers
 *               a fact       secret, verdict
 *
 * Users that nobody knows go through the same dialogue as the others, with a secret that nothing matches, and fail at its end with the same
 * words.  Every failure is told auth_failure_delay after the client's last message, so that neither shows how much work it was: a stranger cannot
 * tell who exists.  What cannot be found out ends the login; no later and weaker rule is tried.
 */
#include <netdb.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/secret.h"
#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/users.h"
#include "net/tls.h"
#include "pool/poolkeys.h"
#include "priv.h"
#include "wire/authmsg.h"

#define DOUBLED_MOST 4u

static void clientauth_choose(struct session *s);

/* ---- how it ends --------------------------------------------------------------------------------------------------------------------- */

/* Remembers what lets us log in to the servers as this user without its password. */
void clientauth_learn(struct session *s)
{
	const struct conf_database *d = conf_database(session_conf(s), s->database);
	const struct upstream_keys *k = &s->login->keys;
	poolkeys_drop(s->keys);
	s->keys = NULL;
	if ((k->has_scram || k->md5[0] || k->password[0]) && !console_is_for(s) && d && !*d->user)
		s->keys = poolkeys_learn(s->home->env.pool_registry, s->database, s->user, k);
}

void clientauth_accept(struct session *s)
{
	uint8_t space[16];
	struct writer w;
	writer_init(&w, space, sizeof space);
	authmsg_write_ok(&w);
	session_send(s, &w);
	clientauth_learn(s);
	session_enter(s, SESSION_WELCOME);
	stream_pause(&s->stream);
	startup_welcome(s);
}

void clientauth_refuse(struct session *s, const struct err *err)
{
	session_fatal(s, CLOSE_REFUSED, err);
}

void clientauth_fail_as(struct session *s, const struct err *err)
{
	const struct addr peer = addr_lengthen(&s->peer);
	unsigned n = auth_note_failure(s->home->env.auth, &peer, loop_now_us(session_loop(s)));
	uint64_t delay = session_conf(s)->limits.auth_failure_delay << (n - 1 < DOUBLED_MOST ? n - 1 : DOUBLED_MOST);
	uint64_t spent = s->login->said_us ? clock_us() - s->login->said_us : 0;
	s->login->refusal = *err;
	if (delay <= spent) {
		clientauth_refuse(s, err);
		return;
	}
	s->login->wait_us = delay - spent;
	session_enter(s, SESSION_REFUSING);
	stream_pause(&s->stream);
	patience_watch(s);
}

/* In PostgreSQL's words (auth.c, auth_failed). */
void clientauth_fail(struct session *s)
{
	struct err e;
	switch (s->login->rule->method) {
	case HBA_LDAP:
		err_set(&e, "28000", "LDAP authentication failed for user \"%s\"", s->user);
		break;
	case HBA_PAM:
		err_set(&e, "28000", "PAM authentication failed for user \"%s\"", s->user);
		break;
	case HBA_PEER:
		err_set(&e, "28000", "Peer authentication failed for user \"%s\"", s->user);
		break;
	case HBA_CERT:
		err_set(&e, "28000", "certificate authentication failed for user \"%s\"", s->user);
		break;
	default:
		err_set(&e, "28P01", "password authentication failed for user \"%s\"", s->user);
		break;
	}
	log_info(&s->log, "login_failed", KV_STR("method", hba_method_name(s->login->rule->method)),
	         KV_STR("rule", s->login->rule->file), KV_INT("line", s->login->rule->line));
	clientauth_fail_as(s, &e);
}

static void clientauth_reject(struct session *s, bool by_rule)
{
	struct err e;
	char peer[NI_MAXHOST] = "[local]";
	const struct addr from = addr_lengthen(&s->peer);
	if (!addr_is_unix(&from))
		getnameinfo((const struct sockaddr *)&from.sa, from.len, peer, sizeof peer, NULL, 0, NI_NUMERICHOST);
	err_set(&e, "28000", "%s host \"%s\", user \"%s\", database \"%s\", %s",
	        by_rule ? "pg_hba.conf rejects connection for" : "no pg_hba.conf entry for", peer, s->user, s->database,
	        stream_tls(&s->stream) ? "SSL encryption" : "no encryption");
	clientauth_refuse(s, &e);
}

/* ---- asking somebody ----------------------------------------------------------------------------------------------------------------- */

void clientauth_wait(struct session *s, struct auth_question *q, uint64_t at_most_us)
{
	struct err e;
	if (!q) {
		err_set(&e, "53300", "too many logins are waiting");
		clientauth_refuse(s, &e);
		return;
	}
	s->login->question = q;
	s->login->wait_us = at_most_us;
	session_enter(s, SESSION_ASKING);
	stream_pause(&s->stream);
	patience_watch(s);
}

bool clientauth_heard(struct session *s, const struct auth_answer *a)
{
	s->login->question = NULL;
	session_enter(s, SESSION_AUTH);
	if (a->is_known) {
		stream_resume(&s->stream);
		patience_watch(s);
		return true;
	}
	clientauth_refuse(s, &a->err);
	return false;
}

void clientauth_give_up(struct session *s)
{
	struct err e;
	err_set(&e, "57P03", "who the client is cannot be found out now");
	err_detail(&e, "Whoever was asked did not answer in time.");
	clientauth_refuse(s, &e);
}

struct auth_help clientauth_help(struct session *s, auth_fn fn)
{
	const struct conf_auth *c = &session_conf(s)->auth;
	return (struct auth_help){ .queue_max = c->helper_queue,
		                       .timeout_us = c->helper_timeout,
		                       .reply_to = s->home->env.upstream.mailbox,
		                       .fn = fn,
		                       .arg = s };
}

static const char *first_text(const char *a, const char *b, const char *c)
{
	return *a ? a : *b ? b : c;
}

/* Who is asked about the users of this session's database; borrowed from the configuration. */
static struct auth_source clientauth_source(const struct session *s)
{
	static const struct conf_database nothing = { .auth_query = "", .auth_user = "", .auth_dbname = "" };
	const struct conf *c = session_conf(s);
	const struct conf_database *own = conf_database(c, s->database), *d = own ? own : &nothing;
	const struct conf_cluster *cluster = &c->clusters[own ? own->cluster_at : 0];
	const char *user = first_text(d->auth_user, c->auth.query_user, cluster->service_user);
	const char *listed = users_secret(c->secrets, user);
	const char *clear = secret_kind(listed) == SECRET_CLEAR ? listed : "";
	bool is_service = !*d->auth_user && !*c->auth.query_user;
	bool has_own = !*d->auth_user && *c->auth.query_password;
	return (struct auth_source){ .cluster = cluster->name,
		                         .dbname = first_text(d->auth_dbname, c->auth.query_dbname, cluster->service_dbname),
		                         .user = user,
		                         .password = is_service ? cluster->service_password
		                                     : has_own  ? c->auth.query_password
		                                                : clear,
		                         .query = first_text(d->auth_query, c->auth.query, ""),
		                         .ttl_us = c->auth.query_ttl,
		                         .recheck_us = c->auth.query_recheck,
		                         .timeout_us = c->auth.query_timeout };
}

void clientauth_find_secret(struct session *s, uint64_t not_before_us, auth_fn fn)
{
	const struct auth_source source = clientauth_source(s);
	const char *listed = users_secret(session_conf(s)->secrets, s->user);
	s->login->is_asked = *source.query && !users_has(session_conf(s)->secrets, s->user);
	if (s->login->is_asked) {
		clientauth_wait(s,
		                auth_ask_secret(s->home->env.auth, &source, s->user, not_before_us, s->home->env.upstream.mailbox, fn, s),
		                source.timeout_us);
		return;
	}
	const struct auth_answer a = { .is_known = true, .secret = (char *)listed };
	fn(s, &a);
}

/* ---- facts --------------------------------------------------------------------------------------------------------------------------- */

static void clientauth_on_host(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	if (!clientauth_heard(s, a))
		return;
	memcpy(s->login->host, a->host, sizeof s->login->host);
	s->login->has_host = true;
	clientauth_choose(s);
}

static void clientauth_ask_host(struct session *s)
{
	const struct auth_help help = clientauth_help(s, clientauth_on_host);
	const struct addr peer = addr_lengthen(&s->peer);
	clientauth_wait(s, auth_ask_host(s->home->env.auth, &peer, &help), help.timeout_us);
}

static void clientauth_on_roles(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	struct session_login *l = s->login;
	if (!clientauth_heard(s, a))
		return;
	l->roles = mem_alloc((a->n_roles + 1) * sizeof *l->roles);
	for (; l->n_roles < a->n_roles; l->n_roles++)
		l->roles[l->n_roles] = mem_text(a->roles[l->n_roles]);
	l->has_roles = true;
	clientauth_choose(s);
}

static void clientauth_ask_roles(struct session *s)
{
	const struct auth_source source = clientauth_source(s);
	clientauth_wait(s, auth_ask_roles(s->home->env.auth, &source, s->user, s->home->env.upstream.mailbox, clientauth_on_roles, s),
	                source.timeout_us);
}

static struct hba_facts clientauth_facts(const struct session_login *l)
{
	return (struct hba_facts){ .has_host = l->has_host,
		                       .host = l->host,
		                       .has_roles = l->has_roles,
		                       .n_roles = l->n_roles,
		                       .roles = (const char *const *)l->roles };
}

/* ---- names that somebody else vouches for ------------------------------------------------------------------------------------------------ */

/* Whether SYSTEM, who the client is elsewhere, may come in as its user. */
static void clientauth_map(struct session *s, const char *system)
{
	const struct hba_facts facts = clientauth_facts(s->login);
	switch (ident_match(session_conf(s)->maps, s->login->rule->map, system, s->user, &facts)) {
	case IDENT_YES:
		prove_begin(s);
		return;
	case IDENT_NEEDS_ROLES:
		clientauth_ask_roles(s);
		return;
	case IDENT_NO:
		log_info(&s->log, "name_does_not_map", KV_STR("system", system), KV_STR("map", s->login->rule->map));
		clientauth_fail(s);
		return;
	}
}

static void clientauth_on_peer(void *arg, const struct auth_answer *a)
{
	struct session *s = arg;
	if (clientauth_heard(s, a))
		clientauth_map(s, a->host);
}

/* Who the kernel says has opened the socket. */
static void clientauth_peer(struct session *s)
{
	const struct auth_help help = clientauth_help(s, clientauth_on_peer);
	struct ucred who;
	socklen_t len = sizeof who;
	if (getsockopt(stream_fd(&s->stream), SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || len != sizeof who) {
		clientauth_fail(s);
		return;
	}
	clientauth_wait(s, auth_ask_user(s->home->env.auth, who.uid, &help), help.timeout_us);
}

/* The certificate that the client has shown, if it is good; the method comes after it. */
static void clientauth_certificate(struct session *s)
{
	const struct hba_rule *rule = s->login->rule;
	const struct tls *tls = stream_tls(&s->stream);
	char name[1024];
	struct err e;
	enum tls_name what = rule->by_dn || rule->clientcert == HBA_CLIENTCERT_CA ? TLS_NAME_DN : TLS_NAME_CN;
	bool has_name = tls && tls_peer_name(tls, what, name, sizeof name);
	if (!tls || (!has_name && !tls_peer_name(tls, TLS_NAME_DN, name, sizeof name))) {
		err_set(&e, "28000", "connection requires a valid client certificate");
		clientauth_fail_as(s, &e);
	} else if (rule->clientcert == HBA_CLIENTCERT_CA)
		prove_begin(s);
	else if (has_name)
		clientauth_map(s, name);
	else
		clientauth_fail(s);
}

/* ---- which rule ---------------------------------------------------------------------------------------------------------------------- */

static void clientauth_by_rule(struct session *s, const struct hba_rule *rule)
{
	struct session_login *l = s->login;
	hba_unref(l->hba);
	l->hba = hba_ref(session_conf(s)->hba);
	l->rule = rule;
	if (rule->method == HBA_REJECT)
		clientauth_reject(s, true);
	else if (rule->clientcert != HBA_CLIENTCERT_NONE)
		clientauth_certificate(s);
	else if (rule->method == HBA_PEER)
		clientauth_peer(s);
	else
		prove_begin(s);
}

static void clientauth_choose(struct session *s)
{
	const struct addr peer = addr_lengthen(&s->peer);
	const struct hba_rule *rule;
	const struct hba_ask ask = { .peer = &peer.sa,
		                         .is_tls = stream_tls(&s->stream) != NULL,
		                         .database = s->database,
		                         .user = s->user,
		                         .is_replication = s->login->start.is_replication_physical,
		                         .facts = clientauth_facts(s->login) };
	switch (hba_match(session_conf(s)->hba, &ask, &rule)) {
	case HBA_FOUND:
		clientauth_by_rule(s, rule);
		return;
	case HBA_NONE:
		clientauth_reject(s, false);
		return;
	case HBA_NEEDS_HOST:
		clientauth_ask_host(s);
		return;
	case HBA_NEEDS_ROLES:
		clientauth_ask_roles(s);
		return;
	}
}

bool clientauth_is_barred(struct session *s)
{
	struct err e;
	const struct addr peer = addr_lengthen(&s->peer);
	int64_t most = session_conf(s)->limits.auth_failures_per_address;
	if (!most || auth_failures(s->home->env.auth, &peer, loop_now_us(session_loop(s))) < most)
		return false;
	err_set(&e, "28000", "too many failed logins from this address");
	err_hint(&e, "Try again in a minute.");
	clientauth_refuse(s, &e);
	return true;
}

void clientauth_begin(struct session *s)
{
	s->login->began_us = clock_us();
	if (console_knows_peer(s))
		clientauth_accept(s);
	else if (!clientauth_is_barred(s))
		clientauth_choose(s);
}

void clientauth_free(struct session_login *l)
{
	auth_forget(l->question);
	hba_unref(l->hba);
	secret_free_text(l->secret);
	secret_free_text(l->said);
	for (size_t i = 0; i < l->n_roles; i++)
		mem_free(l->roles[i]);
	mem_free(l->roles);
	scram_server_fini(&l->scram);
}
