/*
 * hbaopts — methods and options, and which go with which (PostgreSQL, hba.c: parse_hba_line, parse_hba_auth_opt).
 *
 * An option that a method would not look at is an error: whoever wrote it believes that it protects something.
 */
#include "hbaopts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "priv.h"

static const char *const methods[] = {
	[HBA_REJECT] = "reject",       [HBA_TRUST] = "trust", [HBA_PASSWORD] = "password", [HBA_MD5] = "md5", [HBA_CERT] = "cert",
	[HBA_SCRAM] = "scram-sha-256", [HBA_PEER] = "peer",   [HBA_LDAP] = "ldap",         [HBA_PAM] = "pam",
};

const char *hba_method_name(enum hba_method method)
{
	return methods[method];
}

/* ---- the method ---------------------------------------------------------------------------------------- */

static bool find_method(struct hbaline *l, const char *word, enum hba_method *out)
{
	static const char *const absent[] = { "ident", "gss", "sspi", "radius", "bsd", "krb5", "oauth" };
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strcmp(methods[i], word) == 0) {
			*out = (enum hba_method)i;
			return true;
		}
	for (size_t i = 0; i < ARRAY_LEN(absent); i++)
		if (strcmp(absent[i], word) == 0) {
			hbaline_bad(l,
			            "the method %s is not available: there are trust, reject, scram-sha-256, md5, password, cert, peer, ldap "
			            "and pam",
			            word);
			return false;
		}
	const char *near = near_word(word, methods, ARRAY_LEN(methods));
	hbaline_bad(l, "there is no method %.60s%s%s%s", word, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return false;
}

static void check_type(struct hbaline *l, enum hba_type type, enum hba_method method)
{
	if (method == HBA_PEER && type != TYPE_LOCAL)
		hbaline_bad(l, "peer asks the kernel who is at the other end of a unix socket: it goes with local alone");
	if (method == HBA_CERT && type != TYPE_HOSTSSL)
		hbaline_bad(l, "cert needs TLS, so it goes with hostssl alone");
}

/* ---- options ------------------------------------------------------------------------------------------- */

/* What is being put together; ldap's own parts until they make a URI. */
struct options {
	struct hbaline *l;
	enum hba_type type;
	struct hba_rule *rule;
	char *ldap_servers, *ldap_scheme;
	unsigned ldap_port;
	bool has_url;
};

static void set_text(char **to, const char *value)
{
	secret_free_text(*to);
	*to = mem_text(value);
}

static void opt_map(struct options *o, const char *value)
{
	if (o->rule->method != HBA_PEER && o->rule->method != HBA_CERT)
		hbaline_bad(o->l, "map goes with peer and cert alone");
	set_text(&o->rule->map, value);
}

static void opt_clientcert(struct options *o, const char *value)
{
	if (o->type != TYPE_HOSTSSL)
		hbaline_bad(o->l, "clientcert goes with hostssl alone");
	else if (strcmp(value, "verify-full") == 0)
		o->rule->clientcert = HBA_CLIENTCERT_FULL;
	else if (strcmp(value, "verify-ca") != 0)
		hbaline_bad(o->l, "clientcert is verify-ca or verify-full, not \"%.60s\"", value);
	else if (o->rule->method == HBA_CERT)
		hbaline_bad(o->l, "the method cert always means clientcert=verify-full");
	else
		o->rule->clientcert = HBA_CLIENTCERT_CA;
}

static void opt_clientname(struct options *o, const char *value)
{
	if (o->type != TYPE_HOSTSSL)
		hbaline_bad(o->l, "clientname goes with hostssl alone");
	else if (strcmp(value, "CN") != 0 && strcmp(value, "DN") != 0)
		hbaline_bad(o->l, "clientname is CN or DN, not \"%.60s\"", value);
	o->rule->by_dn = strcmp(value, "DN") == 0;
}

static void opt_ldapport(struct options *o, const char *value)
{
	char *end;
	unsigned long port = strtoul(value, &end, 10);
	if (*end || end == value || port == 0 || port > 65535 || value[0] == '-')
		hbaline_bad(o->l, "ldapport is a number from 1 to 65535, not \"%.60s\"", value);
	o->ldap_port = (unsigned)port;
}

static void opt_ldaptls(struct options *o, const char *value)
{
	if (strcmp(value, "1") != 0 && strcmp(value, "0") != 0)
		hbaline_bad(o->l, "ldaptls is 0 or 1, not \"%.60s\"", value);
	o->rule->ldap->starttls = value[0] == '1';
}

static void opt_ldapscheme(struct options *o, const char *value)
{
	if (strcmp(value, "ldap") != 0 && strcmp(value, "ldaps") != 0)
		hbaline_bad(o->l, "ldapscheme is ldap or ldaps, not \"%.60s\"", value);
	set_text(&o->ldap_scheme, value);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The part of a URL up to END, its %xx resolved; NULL when it is empty. */
static char *url_part(const char *from, const char *end)
{
	char *out = mem_alloc((size_t)(end - from) + 1), *to = out;
	for (; from < end; from++) {
		bool is_escape = *from == '%' && end - from > 2 && hex(from[1]) >= 0 && hex(from[2]) > 0;
		*to++ = is_escape ? (char)(hex(from[1]) * 16 + hex(from[2])) : *from;
		from += is_escape ? 2 : 0;
	}
	if (*out)
		return out;
	mem_free(out);
	return NULL;
}

/* RFC 4516: scheme://host:port/basedn?attribute?scope?filter */
static void opt_ldapurl(struct options *o, const char *value)
{
	struct hba_ldap *ldap = o->rule->ldap;
	const char *host = strstr(value, "://");
	if (!host || (strncmp(value, "ldap://", 7) != 0 && strncmp(value, "ldaps://", 8) != 0)) {
		hbaline_bad(o->l, "ldapurl begins with ldap:// or ldaps://");
		return;
	}
	const char *at = host + 3 + strcspn(host + 3, "/?"), *parts[4] = { NULL }, *ends[4] = { NULL };
	secret_free_text(ldap->uri);
	ldap->uri = mem_textn(value, (size_t)(at - value));
	for (size_t i = 0; i < 4 && *at; i++) {
		parts[i] = at + 1;
		at += 1 + strcspn(at + 1, "?");
		ends[i] = at;
	}
	if (*at)
		hbaline_bad(o->l, "ldapurl has more parts than basedn?attribute?scope?filter");
	char *scope = parts[2] ? url_part(parts[2], ends[2]) : NULL;
	if (scope && strcmp(scope, "base") != 0 && strcmp(scope, "one") != 0 && strcmp(scope, "sub") != 0)
		hbaline_bad(o->l, "the scope in ldapurl is base, one or sub, not \"%.60s\"", scope);
	ldap->scope = !scope || strcmp(scope, "base") == 0 ? 0 : strcmp(scope, "one") == 0 ? 1 : 2;
	mem_free(scope);
	char **to[] = { &ldap->basedn, &ldap->attribute, NULL, &ldap->filter };
	for (size_t i = 0; i < 4; i++) {
		if (!to[i] || !parts[i])
			continue;
		secret_free_text(*to[i]);
		*to[i] = url_part(parts[i], ends[i]);
	}
	o->has_url = true;
}

static void ldap_option(struct options *o, const char *name, const char *value)
{
	struct hba_ldap *ldap = o->rule->ldap;
	if (!ldap) {
		hbaline_bad(o->l, "%s goes with the method ldap alone", name);
		return;
	}
	const struct {
		const char *name;
		char **to;
	} texts[] = {
		{ "ldapserver", &o->ldap_servers },
		{ "ldapprefix", &ldap->prefix },
		{ "ldapsuffix", &ldap->suffix },
		{ "ldapbasedn", &ldap->basedn },
		{ "ldapbinddn", &ldap->binddn },
		{ "ldapbindpasswd", &ldap->bindpasswd },
		{ "ldapsearchattribute", &ldap->attribute },
		{ "ldapsearchfilter", &ldap->filter },
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strcmp(texts[i].name, name) == 0) {
			set_text(texts[i].to, value);
			return;
		}
	if (strcmp(name, "ldapurl") == 0)
		opt_ldapurl(o, value);
	else if (strcmp(name, "ldapport") == 0)
		opt_ldapport(o, value);
	else if (strcmp(name, "ldapscheme") == 0)
		opt_ldapscheme(o, value);
	else
		opt_ldaptls(o, value);
}

static void pam_option(struct options *o, const char *name, const char *value)
{
	if (o->rule->method != HBA_PAM)
		hbaline_bad(o->l, "%s goes with the method pam alone", name);
	else if (strcmp(name, "pam_use_hostname") != 0)
		set_text(&o->rule->pam_service, value);
	else if (strcmp(value, "1") != 0 && strcmp(value, "0") != 0)
		hbaline_bad(o->l, "pam_use_hostname is 0 or 1, not \"%.60s\"", value);
	else
		o->rule->pam_use_hostname = value[0] == '1';
}

static void read_option(struct options *o, const char *name, const char *value)
{
	static const char *const names[] = { "map",
		                                 "clientcert",
		                                 "clientname",
		                                 "pamservice",
		                                 "pam_use_hostname",
		                                 "ldapserver",
		                                 "ldapport",
		                                 "ldapscheme",
		                                 "ldaptls",
		                                 "ldapprefix",
		                                 "ldapsuffix",
		                                 "ldapbasedn",
		                                 "ldapbinddn",
		                                 "ldapbindpasswd",
		                                 "ldapsearchattribute",
		                                 "ldapsearchfilter",
		                                 "ldapurl" };
	const char *near = near_word(name, names, ARRAY_LEN(names));
	if (strcmp(name, "map") == 0)
		opt_map(o, value);
	else if (strcmp(name, "clientcert") == 0)
		opt_clientcert(o, value);
	else if (strcmp(name, "clientname") == 0)
		opt_clientname(o, value);
	else if (strcmp(name, "pamservice") == 0 || strcmp(name, "pam_use_hostname") == 0)
		pam_option(o, name, value);
	else if (strncmp(name, "ldap", 4) == 0 && near && strcmp(near, name) == 0)
		ldap_option(o, name, value);
	else
		hbaline_bad(o->l, "there is no option %.60s%s%s%s", name, near ? "; did you mean " : "", near ? near : "",
		            near ? "?" : "");
}

static void read_options(struct options *o, size_t at)
{
	struct hbaline *l = o->l;
	for (; at < l->n && !l->is_bad; at++) {
		const char *word = hbaline_word(l, at), *equals = word ? strchr(word, '=') : NULL;
		if (!equals || equals == word) {
			hbaline_bad(l, "behind the method stand options, name=value; \"%.60s\" is none", l->fields[at].at[0].text);
			return;
		}
		char *name = mem_textn(word, (size_t)(equals - word));
		read_option(o, name, equals + 1);
		mem_free(name);
	}
}

/* ---- what they say together ---------------------------------------------------------------------------- */

static void append(char **to, const char *fmt, const char *scheme, const char *host, unsigned port)
{
	char one[400];
	int len = snprintf(one, sizeof one, fmt, *to ? " " : "", scheme, host, port);
	size_t has = *to ? strlen(*to) : 0;
	*to = mem_grow(*to, has + (size_t)len + 1);
	memcpy(*to + has, one, (size_t)len + 1);
}

/* A server may have its own port, as in "one two:1389". */
static void make_uri(struct options *o)
{
	const char *scheme = o->ldap_scheme ? o->ldap_scheme : "ldap";
	unsigned port = o->ldap_port ? o->ldap_port : strcmp(scheme, "ldaps") == 0 ? 636 : 389;
	for (const char *at = o->ldap_servers; *at;) {
		char host[260];
		size_t len = strcspn(at, " ");
		if (len >= sizeof host) {
			hbaline_bad(o->l, "a name in ldapserver is too long");
			return;
		}
		snprintf(host, sizeof host, "%.*s", (int)len, at);
		if (len)
			append(&o->rule->ldap->uri, strchr(host, ':') ? "%s%s://%s" : "%s%s://%s:%u", scheme, host, port);
		at += len + (at[len] == ' ');
	}
}

static void check_ldap(struct options *o)
{
	struct hba_ldap *ldap = o->rule->ldap;
	bool searches = ldap->basedn || ldap->binddn || ldap->bindpasswd || ldap->attribute || ldap->filter;
	if (o->has_url && (o->ldap_servers || o->ldap_port || o->ldap_scheme))
		hbaline_bad(o->l, "ldapurl has the server, its port and the scheme in it: leave ldapserver, ldapport and ldapscheme out");
	else if (!o->has_url && (!o->ldap_servers || !*o->ldap_servers))
		hbaline_bad(o->l, "ldap needs ldapserver or ldapurl");
	else if (searches && (ldap->prefix || ldap->suffix))
		hbaline_bad(o->l,
		            "ldapprefix and ldapsuffix make the name at once, ldapbasedn and its kin search it: use one of the two");
	else if (searches && !ldap->basedn)
		hbaline_bad(o->l, "to search for the user, ldap needs ldapbasedn");
	else if (!searches && !ldap->prefix && !ldap->suffix)
		hbaline_bad(o->l, "ldap needs ldapbasedn, ldapprefix or ldapsuffix");
	else if (ldap->attribute && ldap->filter)
		hbaline_bad(o->l, "ldapsearchattribute and ldapsearchfilter say the same: use one of the two");
	else if (ldap->starttls && strncmp(o->has_url ? ldap->uri : o->ldap_scheme ? o->ldap_scheme : "ldap", "ldaps", 5) == 0)
		hbaline_bad(o->l, "ldaptls=1 begins TLS on a plain connection; ldaps has it from the start: use one of the two");
	else if (!o->has_url)
		make_uri(o);
}

static void check_together(struct options *o)
{
	struct hba_rule *r = o->rule;
	if (r->method == HBA_CERT)
		r->clientcert = HBA_CLIENTCERT_FULL;
	if (r->method == HBA_PAM && !r->pam_service)
		r->pam_service = mem_text("postgresql");
	if (r->by_dn && r->clientcert != HBA_CLIENTCERT_FULL)
		hbaline_bad(o->l, "clientname says which name of a certificate is compared: that needs cert or clientcert=verify-full");
	else if (r->method == HBA_LDAP)
		check_ldap(o);
}

void method_read(struct hbaline *l, size_t at, enum hba_type type, struct hba_rule *rule)
{
	const char *word = hbaline_word(l, at);
	struct options o = { .l = l, .type = type, .rule = rule };
	if (!word) {
		hbaline_bad(l, "the method is missing: trust, reject, scram-sha-256, md5, password, cert, peer, ldap or pam");
		return;
	}
	if (!find_method(l, word, &rule->method))
		return;
	if (rule->method == HBA_LDAP)
		rule->ldap = mem_alloc(sizeof *rule->ldap);
	if (rule->method == HBA_LDAP)
		rule->ldap->scope = 2;
	check_type(l, type, rule->method);
	read_options(&o, at + 1);
	if (!l->is_bad)
		check_together(&o);
	mem_free(o.ldap_servers);
	mem_free(o.ldap_scheme);
}

static void ldap_free(struct hba_ldap *ldap)
{
	char *texts[] = { ldap->uri,    ldap->prefix,     ldap->suffix,    ldap->basedn,
		              ldap->binddn, ldap->bindpasswd, ldap->attribute, ldap->filter };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		secret_free_text(texts[i]);
	mem_free(ldap);
}

void method_fini(struct hba_rule *rule)
{
	if (rule->ldap)
		ldap_free(rule->ldap);
	mem_free(rule->map);
	mem_free(rule->pam_service);
}

static bool texts_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool ldaps_equal(const struct hba_ldap *a, const struct hba_ldap *b)
{
	if (!a || !b)
		return a == b;
	return a->starttls == b->starttls && a->scope == b->scope && texts_equal(a->uri, b->uri) &&
	       texts_equal(a->prefix, b->prefix) && texts_equal(a->suffix, b->suffix) && texts_equal(a->basedn, b->basedn) &&
	       texts_equal(a->binddn, b->binddn) && texts_equal(a->bindpasswd, b->bindpasswd) &&
	       texts_equal(a->attribute, b->attribute) && texts_equal(a->filter, b->filter);
}

bool method_equal(const struct hba_rule *a, const struct hba_rule *b)
{
	return a->method == b->method && a->clientcert == b->clientcert && a->by_dn == b->by_dn && texts_equal(a->map, b->map) &&
	       texts_equal(a->pam_service, b->pam_service) && a->pam_use_hostname == b->pam_use_hostname &&
	       ldaps_equal(a->ldap, b->ldap);
}
