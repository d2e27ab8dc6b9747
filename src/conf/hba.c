/*
 * hba — pg_hba.conf's lines as rules, and the first rule that fits a client.
 *
 *     type  databases  users  [address [mask]]  method
 *
 * A name in quotes means itself, even if it is a keyword.  "all" among the databases does not include physical replication, as in
 * PostgreSQL.  What would be ignored or misread is an error: hostssl lines, options, regular expressions, roles' members.
 */
#include "conf/hba.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hbaline.h"
#include "ipnet.h"
#include "priv.h"

enum host_kind { HOST_ALL, HOST_NET, HOST_SAMEHOST, HOST_SAMENET };

struct rule {
	unsigned line;
	bool is_local;
	struct names databases, users;
	enum host_kind host;
	struct ipnet net;
	enum hba_method method;
};
struct hba {
	size_t n;
	struct rule *rules;
	size_t n_own; /* this machine's addresses with their networks, when a rule wants them */
	struct ipnet *own;
};

/*
 * From a line to a rule.
 */

static void read_type(struct hbaline *l, struct rule *r)
{
	const char *type = hbaline_word(l, 0);
	static const char *const types[] = { "local", "host", "hostnossl" };
	if (!type)
		type = "";
	r->is_local = strcmp(type, "local") == 0;
	if (r->is_local || strcmp(type, "host") == 0 || strcmp(type, "hostnossl") == 0 || strcmp(type, "hostnogssenc") == 0)
		return;
	if (strcmp(type, "hostssl") == 0)
		hbaline_bad(l, "hostssl: TLS is not available yet, so this line could never match; write host, or remove the line");
	else if (strcmp(type, "hostgssenc") == 0)
		hbaline_bad(l, "hostgssenc: GSSAPI encryption is not available, so this line could never match; remove the line");
	else if (strncmp(type, "include", 7) == 0)
		hbaline_bad(l, "%.40s is not available: write the rules into this file", type);
	else {
		const char *near = near_word(type, types, ARRAY_LEN(types));
		hbaline_bad(l, "a rule begins with local, host or hostnossl, not with \"%.60s\"%s%s%s", type,
		            near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
}

static void check_name(struct hbaline *l, const struct name *n, const char *what)
{
	if (n->is_quoted)
		return;
	if (n->text[0] == '@')
		hbaline_bad(l, "%.60s: files of names are not available; write the %s names here", n->text, what);
	else if (n->text[0] == '/')
		hbaline_bad(l, "%.60s: regular expressions are not available; write the %s names, or quote a name that begins with /",
		            n->text, what);
	else if (n->text[0] == '+')
		hbaline_bad(l, "%.60s: members of a role are not known here; write the %s names", n->text, what);
}

static void take_names(struct hbaline *l, size_t at, struct names *out, const char *what)
{
	if (at >= l->n)
		return;
	*out = l->fields[at];
	l->fields[at] = (struct names){ 0 };
	for (size_t i = 0; i < out->n; i++)
		check_name(l, &out->at[i], what);
}

static void check_databases(struct hbaline *l, const struct names *databases)
{
	for (size_t i = 0; i < databases->n; i++) {
		const struct name *n = &databases->at[i];
		if (!n->is_quoted && (strcmp(n->text, "samerole") == 0 || strcmp(n->text, "samegroup") == 0))
			hbaline_bad(l, "%s: members of a role are not known here; write the names of the databases", n->text);
	}
}

static bool is_number(const char *text, unsigned max, unsigned *out)
{
	unsigned n = 0;
	if (!*text || strlen(text) > 3)
		return false;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return false;
		n = n * 10 + (unsigned)(*text - '0');
	}
	*out = n;
	return n <= max;
}

/* "10.0.0.0/8", or "10.0.0.0" with the mask in the next field.  Returns how many fields it took. */
static size_t read_net(struct hbaline *l, size_t at, struct rule *r)
{
	const char *text = hbaline_word(l, at), *mask = hbaline_word(l, at + 1);
	char address[64];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned bits;
	snprintf(address, sizeof address, "%.*s", (int)(len < sizeof address ? len : 0), text);
	r->host = HOST_NET;
	if (!ip_parse(address, &r->net.ip)) {
		hbaline_bad(
		    l,
		    "\"%.60s\" is no address: write all, samehost, samenet, or a network as in 10.0.0.0/8 or ::1/128 (host names are not "
		    "looked up)",
		    text);
		return 1;
	}
	bool is_v4 = ip_is_v4(&r->net.ip);
	if (slash) {
		if (!is_number(slash + 1, is_v4 ? 32 : 128, &bits))
			hbaline_bad(l, "%.60s: after / comes a number of bits from 0 to %d", text, is_v4 ? 32 : 128);
		else
			r->net.mask = ip_mask_of(is_v4, bits);
		return 1;
	}
	if (!mask || !ip_parse(mask, &r->net.mask) || ip_is_v4(&r->net.mask) != is_v4) {
		hbaline_bad(l, "%.60s lacks its mask: write %.60s/%d for this address alone", text, text, is_v4 ? 32 : 128);
		return 1;
	}
	if (is_v4)
		memset(r->net.mask.at, 0xff, 12);
	if (!ip_is_mask(&r->net.mask))
		hbaline_bad(l, "%.60s is no mask: its ones must stand together at the left", mask);
	return 2;
}

static size_t read_address(struct hbaline *l, size_t at, struct rule *r, struct hba *h)
{
	const char *text = hbaline_word(l, at);
	if (!text) {
		hbaline_bad(l, "one address should stand here; give each its own line");
		return 1;
	}
	if (strcmp(text, "all") == 0) {
		r->host = HOST_ALL;
		return 1;
	}
	if (strcmp(text, "samehost") == 0 || strcmp(text, "samenet") == 0) {
		r->host = strcmp(text, "samehost") == 0 ? HOST_SAMEHOST : HOST_SAMENET;
		if (!h->own)
			h->n_own = ipnet_own(&h->own);
		return 1;
	}
	return read_net(l, at, r);
}

static void read_method(struct hbaline *l, size_t at, struct rule *r)
{
	const char *method = hbaline_word(l, at);
	if (!method)
		hbaline_bad(l, "the method is missing: trust, reject or scram-sha-256");
	else if (strcmp(method, "trust") == 0)
		r->method = HBA_TRUST;
	else if (strcmp(method, "reject") == 0)
		r->method = HBA_REJECT;
	else if (strcmp(method, "scram-sha-256") == 0)
		r->method = HBA_SCRAM;
	else
		hbaline_bad(l, "the method %.60s is not available: there are trust, reject and scram-sha-256", method);
	if (at + 1 < l->n && !l->is_bad)
		hbaline_bad(l, "nothing may follow the method: options such as \"%.60s\" are not available",
		            l->fields[at + 1].at[0].text);
}

static void rule_fini(struct rule *r)
{
	names_fini(&r->databases);
	names_fini(&r->users);
}

static void add_rule(struct hba *h, struct hbaline *l)
{
	struct rule r = { .line = l->number };
	read_type(l, &r);
	size_t least = r.is_local ? 4 : 5;
	if (!l->is_bad && l->n < least)
		hbaline_bad(l, "the rule is too short: %s",
		            r.is_local ? "local database user method" : "host database user address method");
	if (!l->is_bad) {
		take_names(l, 1, &r.databases, "database");
		check_databases(l, &r.databases);
		take_names(l, 2, &r.users, "user");
		size_t at = 3;
		if (!r.is_local)
			at += read_address(l, at, &r, h);
		if (!l->is_bad)
			read_method(l, at, &r);
	}
	if (l->is_bad) {
		rule_fini(&r);
		return;
	}
	h->rules = mem_grow(h->rules, (h->n + 1) * sizeof *h->rules);
	h->rules[h->n++] = r;
}

static void parse(struct hba *h, const char *path, char *text, size_t len, struct conf_errors *errors)
{
	struct hbaline_reader r = { .errors = errors, .path = path, .at = text, .end = text + len, .lines = 1 };
	struct hbaline l;
	while (hbaline_next(&r, &l)) {
		if (!l.is_bad)
			add_rule(h, &l);
		hbaline_fini(&l);
	}
}

/*
 * Asking.
 */

static bool is_keyword(const struct name *n, const char *keyword)
{
	return !n->is_quoted && strcmp(n->text, keyword) == 0;
}

static bool has_database(const struct names *names, const char *database, const char *user, bool replication)
{
	for (size_t i = 0; i < names->n; i++) {
		const struct name *n = &names->at[i];
		if (is_keyword(n, "replication")) {
			if (replication)
				return true;
		} else if (!replication && (is_keyword(n, "all") || (is_keyword(n, "sameuser") && strcmp(database, user) == 0) ||
		                            (!is_keyword(n, "sameuser") && strcmp(n->text, database) == 0))) {
			return true;
		}
	}
	return false;
}

static bool has_user(const struct names *names, const char *user)
{
	for (size_t i = 0; i < names->n; i++)
		if (is_keyword(&names->at[i], "all") || strcmp(names->at[i].text, user) == 0)
			return true;
	return false;
}

static bool has_host(const struct hba *h, const struct rule *r, const struct ip *ip)
{
	if (r->host == HOST_ALL)
		return true;
	if (r->host == HOST_NET)
		return ipnet_has(&r->net, ip);
	for (size_t i = 0; i < h->n_own; i++) {
		struct ipnet net = h->own[i];
		if (r->host == HOST_SAMEHOST)
			memset(net.mask.at, 0xff, 16);
		if (ipnet_has(&net, ip))
			return true;
	}
	return false;
}

struct hba *hba_load(const char *path, struct conf_errors *errors)
{
	char *text;
	size_t len, before = errors->n;
	struct err err;
	if (!file_read(path, &text, &len, &err)) {
		conf_errors_add(errors, "", "hba_file: %s", err.text);
		return NULL;
	}
	struct hba *h = mem_alloc(sizeof *h);
	if (memchr(text, '\0', len))
		conf_errors_add(errors, path, "this is no text file");
	else
		parse(h, path, text, len, errors);
	mem_free(text);
	if (h->n == 0 && errors->n == before)
		conf_errors_add(errors, path,
		                "there is no rule, so nobody could log in; one line is enough: local all all scram-sha-256");
	if (errors->n == before)
		return h;
	hba_free(h);
	return NULL;
}

void hba_free(struct hba *h)
{
	for (size_t i = 0; h && i < h->n; i++)
		rule_fini(&h->rules[i]);
	if (!h)
		return;
	mem_free(h->rules);
	mem_free(h->own);
	mem_free(h);
}

enum hba_method hba_match(const struct hba *h, const struct sockaddr_storage *peer, const char *database, const char *user,
                          bool replication, unsigned *line)
{
	struct ip ip;
	bool is_local = peer->ss_family == AF_UNIX;
	*line = 0;
	if (!is_local && !ip_of_sockaddr((const struct sockaddr *)peer, &ip))
		return HBA_REJECT;
	for (size_t i = 0; i < h->n; i++) {
		const struct rule *r = &h->rules[i];
		if (r->is_local != is_local || !has_database(&r->databases, database, user, replication) || !has_user(&r->users, user) ||
		    (!is_local && !has_host(h, r, &ip)))
			continue;
		*line = r->line;
		return r->method;
	}
	return HBA_REJECT;
}

static bool names_equal(const struct names *a, const struct names *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->at[i].is_quoted != b->at[i].is_quoted || strcmp(a->at[i].text, b->at[i].text) != 0)
			return false;
	return true;
}

bool hba_equal(const struct hba *a, const struct hba *b)
{
	if (!a || !b || a->n != b->n)
		return a == b;
	for (size_t i = 0; i < a->n; i++) {
		const struct rule *x = &a->rules[i], *y = &b->rules[i];
		if (x->is_local != y->is_local || x->host != y->host || x->method != y->method ||
		    memcmp(&x->net, &y->net, sizeof x->net) != 0 || !names_equal(&x->databases, &y->databases) ||
		    !names_equal(&x->users, &y->users))
			return false;
	}
	return true;
}
