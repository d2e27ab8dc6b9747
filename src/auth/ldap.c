/*
 * ldap — whether a directory accepts a user's password: a simple bind with a name made of prefix and suffix, or with the entry that a search has
 * found (PostgreSQL, auth.c: CheckLDAPAuth).
 *
 * Always: an empty password is never sent, since servers take that for an anonymous bind and say yes (RFC 4513 section 5.1.2);
 *         a user's name with characters that mean something in a name or a filter is refused.
 */
#include <ldap.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "priv.h"

/* Debian's library does not say why a certificate would not do. */
static const char *hint_for(const struct auth_question *q, int rc)
{
	const struct hba_ldap *l = q->rule->ldap;
	bool is_tls = l->starttls || strncmp(l->uri, "ldaps:", 6) == 0;
	return is_tls && (rc == LDAP_CONNECT_ERROR || rc == LDAP_SERVER_DOWN)
	           ? "if it is there, its certificate must be for this name, and by an authority in ldap.conf's TLS_CACERT"
	           : "";
}

/* With what the directory says besides; it knows no password of ours. */
static void tell(const struct auth_question *q, LDAP *ld, const char *doing, int rc)
{
	char *detail = NULL;
	if (ld)
		ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &detail);
	log_info(NULL, "ldap_failed", KV_STR("server", q->rule->ldap->uri), KV_STR("user", q->user), KV_STR("while", doing),
	         KV_STR("error", ldap_err2string(rc)), KV_STR("detail", detail ? detail : ""), KV_STR("hint", hint_for(q, rc)));
	ldap_memfree(detail);
}

/* The directory was not there, or would not talk; what it says about the password is an answer. */
static bool is_trouble(int rc)
{
	return rc < 0 || rc == LDAP_BUSY || rc == LDAP_UNAVAILABLE || rc == LDAP_TIMELIMIT_EXCEEDED;
}

/* The library can wait for ever in a TLS handshake. */
static int on_connection(LDAP *ld, Sockbuf *sb, LDAPURLDesc *url, struct sockaddr *addr, struct ldap_conncb *cb)
{
	ber_socket_t fd = -1;
	return ber_sockbuf_ctrl(sb, LBER_SB_OPT_GET_FD, &fd) == 1 && question_talks(cb->lc_arg, fd) ? 0 : -1;
}

static void on_disconnection(LDAP *ld, Sockbuf *sb, struct ldap_conncb *cb)
{
	question_talks(cb->lc_arg, -1);
}

/* CB stays until LD is unbound. */
static int open_directory(struct auth_question *q, LDAP **ld, struct ldap_conncb *cb)
{
	const int version = LDAP_VERSION3;
	uint64_t now = clock_us(), left = q->due_us > now ? q->due_us - now : 1;
	const struct timeval patience = { .tv_sec = (time_t)(left / US_PER_S), .tv_usec = (suseconds_t)(left % US_PER_S) };
	int rc = ldap_initialize(ld, q->rule->ldap->uri);
	if (rc != LDAP_SUCCESS)
		return rc;
	ldap_set_option(*ld, LDAP_OPT_PROTOCOL_VERSION, &version);
	ldap_set_option(*ld, LDAP_OPT_NETWORK_TIMEOUT, &patience);
	ldap_set_option(*ld, LDAP_OPT_TIMEOUT, &patience);
	ldap_set_option(*ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
	ldap_set_option(*ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	*cb = (struct ldap_conncb){ .lc_add = on_connection, .lc_del = on_disconnection, .lc_arg = q };
	ldap_set_option(*ld, LDAP_OPT_CONNECT_CB, cb);
	return q->rule->ldap->starttls ? ldap_start_tls_s(*ld, NULL, NULL) : LDAP_SUCCESS;
}

static int bind_as(LDAP *ld, const char *dn, const char *password)
{
	struct berval secret = { .bv_val = (char *)password, .bv_len = password ? strlen(password) : 0 };
	return ldap_sasl_bind_s(ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

/* The filter for Q's user; heap. */
static char *make_filter(const struct auth_question *q)
{
	static const char mark[] = "$username";
	const struct hba_ldap *l = q->rule->ldap;
	const char *pattern = l->filter ? l->filter : "(%=$username)", *attribute = l->attribute ? l->attribute : "uid";
	size_t marks = 0;
	for (const char *at = pattern; (at = strstr(at, mark)); at++)
		marks++;
	char *out = mem_alloc(strlen(pattern) + strlen(attribute) + marks * strlen(q->user) + 1), *to = out;
	for (const char *at = pattern; *at;) {
		bool is_user = strncmp(at, mark, sizeof mark - 1) == 0, is_attribute = !l->filter && *at == '%';
		if (is_user || is_attribute)
			to = stpcpy(to, is_user ? q->user : attribute);
		else
			*to++ = *at;
		at += is_user ? sizeof mark - 1 : 1;
	}
	*to = '\0';
	return out;
}

/* The name of the one entry that is Q's user; *DN is to be ldap_memfree()d, NULL: none, or several. */
static int find_entry(const struct auth_question *q, LDAP *ld, char **dn)
{
	const struct hba_ldap *l = q->rule->ldap;
	char *no_attributes[] = { LDAP_NO_ATTRS, NULL }, *filter = make_filter(q);
	LDAPMessage *found = NULL;
	int rc = ldap_search_ext_s(ld, l->basedn, l->scope, filter, no_attributes, 0, NULL, NULL, NULL, 2, &found);
	mem_free(filter);
	*dn = NULL;
	if (rc == LDAP_SUCCESS && ldap_count_entries(ld, found) == 1)
		*dn = ldap_get_dn(ld, ldap_first_entry(ld, found));
	ldap_msgfree(found);
	return rc == LDAP_SIZELIMIT_EXCEEDED || rc == LDAP_NO_SUCH_OBJECT ? LDAP_SUCCESS : rc;
}

static bool is_harmless(const char *user)
{
	for (const char *at = user; *at; at++)
		if ((unsigned char)*at < ' ' || strchr("*()\\/,+\"<>;=#", *at))
			return false;
	return *user != '\0' && *user != ' ' && user[strlen(user) - 1] != ' '; /* a directory does not see spaces at the ends */
}

static void fail(struct auth_question *q, LDAP *ld, const char *doing, int rc)
{
	tell(q, ld, doing, rc);
	question_fail(q, "57P03", "the directory that knows the password cannot be asked now");
}

/* The name to bind with; heap, NULL: there is none, or the question has failed. */
static char *find_name(struct auth_question *q)
{
	const struct hba_ldap *l = q->rule->ldap;
	struct ldap_conncb cb;
	LDAP *ld = NULL;
	char *dn = NULL, *name = NULL;
	if (!l->basedn) {
		const char *prefix = l->prefix ? l->prefix : "", *suffix = l->suffix ? l->suffix : "";
		name = mem_alloc(strlen(prefix) + strlen(q->user) + strlen(suffix) + 1);
		sprintf(name, "%s%s%s", prefix, q->user, suffix);
		return name;
	}
	int rc = open_directory(q, &ld, &cb);
	if (rc == LDAP_SUCCESS)
		rc = bind_as(ld, l->binddn ? l->binddn : "", l->bindpasswd ? l->bindpasswd : "");
	if (rc == LDAP_SUCCESS)
		rc = find_entry(q, ld, &dn);
	if (rc != LDAP_SUCCESS)
		fail(q, ld, "looking for the user", rc);
	name = mem_text(dn);
	ldap_memfree(dn);
	if (ld)
		ldap_unbind_ext_s(ld, NULL, NULL);
	return name;
}

/* The library reads its configuration when it is first called, and does not like to be called twice then. */
void prepare_ldap(void)
{
	int version;
	ldap_get_option(NULL, LDAP_OPT_PROTOCOL_VERSION, &version);
}

void work_ldap(struct auth_question *q)
{
	struct ldap_conncb cb;
	LDAP *ld = NULL;
	q->answer.is_known = true;
	if (!*q->password || !is_harmless(q->user))
		return;
	char *name = find_name(q);
	if (!name)
		return;
	int rc = open_directory(q, &ld, &cb);
	if (rc == LDAP_SUCCESS)
		rc = bind_as(ld, name, q->password);
	q->answer.is_right = rc == LDAP_SUCCESS;
	if (is_trouble(rc))
		fail(q, ld, "asking about the password", rc);
	else if (rc != LDAP_SUCCESS)
		tell(q, ld, "asking about the password", rc);
	if (ld)
		ldap_unbind_ext_s(ld, NULL, NULL);
	mem_free(name);
}
