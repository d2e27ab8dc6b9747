/*
 * hba — pg_hba.conf's lines as rules, and the first rule that fits a client.
 *
 *     type  databases  users  [address [mask]]  method  [options]
 *
 * What would be ignored or misread is an error.  What a rule needs and is not known yet (the client's host name, its roles) stops the search at
 * that rule: it goes on from the start when the fact is there, so that no later, weaker rule is taken instead.
 */
#include "conf/hba.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "authfile.h"
#include "base/mem.h"
#include "hbahost.h"
#include "hbaopts.h"
#include "priv.h"

struct rule {
	struct hba_rule pub;
	enum hba_type type;
	struct entries databases, users;
	struct host host;
};
struct hba {
	_Atomic unsigned refs;
	size_t n;
	struct rule *rules;
	struct authfiles files;
	struct own_nets own;
};

/*
 * From a line to a rule.
 */

static void read_type(struct hbaline *l, struct rule *r)
{
	static const char *const types[] = { "local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc" };
	/* Nobody speaks GSSAPI with us: as with a PostgreSQL that was built without it. */
	static const enum hba_type are[] = { TYPE_LOCAL, TYPE_HOST, TYPE_HOSTSSL, TYPE_HOSTNOSSL, TYPE_NEVER, TYPE_HOST };
	const char *type = hbaline_word(l, 0);
	for (size_t i = 0; type && i < ARRAY_LEN(types); i++)
		if (strcmp(type, types[i]) == 0) {
			r->type = are[i];
			return;
		}
	const char *near = type ? near_word(type, types, ARRAY_LEN(types)) : NULL;
	hbaline_bad(l, "a rule begins with local, host, hostssl or hostnossl, not with \"%.60s\"%s%s%s", type ? type : "",
	            near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static void rule_fini(struct rule *r)
{
	entries_fini(&r->databases);
	entries_fini(&r->users);
	host_fini(&r->host);
	method_fini(&r->pub);
}

static void read_rule(struct hba *h, struct hbaline *l, struct rule *r)
{
	read_type(l, r);
	bool is_local = r->type == TYPE_LOCAL;
	if (!l->is_bad && l->n < (is_local ? 4 : 5))
		hbaline_bad(l, "the rule is too short: %s",
		            is_local ? "local database user method" : "host database user address method");
	if (l->is_bad)
		return;
	entries_read(l, 1, &r->databases);
	entries_read(l, 2, &r->users);
	size_t at = 3;
	if (!is_local)
		at += host_read(l, at, &r->host, &h->own);
	if (!l->is_bad)
		method_read(l, at, r->type, &r->pub);
}

static void add_rule(void *arg, struct hbaline *l)
{
	struct hba *h = arg;
	struct rule r = { .pub = { .file = l->path, .line = l->number } };
	read_rule(h, l, &r);
	if (l->is_bad) {
		rule_fini(&r);
		return;
	}
	h->rules = mem_grow(h->rules, (h->n + 1) * sizeof *h->rules);
	h->rules[h->n++] = r;
}

struct hba *hba_load(const char *path, struct conf_errors *errors)
{
	size_t before = errors->n;
	struct hba *h = mem_alloc(sizeof *h);
	h->refs = 1;
	authfile_read(&h->files, path, "hba_file", errors, add_rule, h);
	if (h->n == 0 && errors->n == before)
		conf_errors_add(errors, path,
		                "there is no rule, so nobody could log in; one line is enough: local all all scram-sha-256");
	if (errors->n == before)
		return h;
	hba_unref(h);
	return NULL;
}

struct hba *hba_ref(const struct hba *h)
{
	struct hba *mine = (struct hba *)h; /* only the count changes */
	atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
	return mine;
}

void hba_unref(const struct hba *h)
{
	struct hba *mine = (struct hba *)h;
	if (!mine || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < mine->n; i++)
		rule_fini(&mine->rules[i]);
	mem_free(mine->rules);
	mem_free(mine->own.at);
	authfiles_fini(&mine->files);
	mem_free(mine);
}

/*
 * Asking.
 */

static bool fits_type(const struct rule *r, const struct hba_ask *ask, bool is_local)
{
	switch (r->type) {
	case TYPE_LOCAL:
		return is_local;
	case TYPE_HOST:
		return !is_local;
	case TYPE_HOSTSSL:
		return !is_local && ask->is_tls;
	case TYPE_HOSTNOSSL:
		return !is_local && !ask->is_tls;
	case TYPE_NEVER:
		break;
	}
	return false;
}

/* HBA_NONE: this rule does not fit. */
static enum hba_answer try_rule(const struct hba *h, const struct rule *r, const struct hba_ask *ask, bool is_local,
                                const struct ip *ip)
{
	if (!fits_type(r, ask, is_local))
		return HBA_NONE;
	enum fit database = entries_fit_database(&r->databases, ask);
	enum fit user = database == FIT_NO ? FIT_NO : entries_fit_user(&r->users, ask->user, &ask->facts);
	enum fit host = user == FIT_NO ? FIT_NO : is_local ? FIT_YES : host_fit(&r->host, &h->own, ip, &ask->facts);
	if (host == FIT_NO)
		return HBA_NONE;
	if (host == FIT_UNSURE)
		return HBA_NEEDS_HOST;
	return database == FIT_UNSURE || user == FIT_UNSURE ? HBA_NEEDS_ROLES : HBA_FOUND;
}

enum hba_answer hba_match(const struct hba *h, const struct hba_ask *ask, const struct hba_rule **rule)
{
	struct ip ip;
	bool is_local = ask->peer->ss_family == AF_UNIX;
	*rule = NULL;
	if (!is_local && !ip_of_sockaddr((const struct sockaddr *)ask->peer, &ip))
		return HBA_NONE;
	for (size_t i = 0; i < h->n; i++) {
		enum hba_answer a = try_rule(h, &h->rules[i], ask, is_local, &ip);
		if (a == HBA_NONE)
			continue;
		*rule = &h->rules[i].pub;
		return a;
	}
	return HBA_NONE;
}

bool hba_uses_roles(const struct hba *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (entries_use_roles(&h->rules[i].databases, true) || entries_use_roles(&h->rules[i].users, false))
			return true;
	return false;
}

bool hba_uses_tls(const struct hba *h, const struct hba_rule **first)
{
	for (size_t i = 0; i < h->n; i++) {
		*first = &h->rules[i].pub;
		if (h->rules[i].type == TYPE_HOSTSSL)
			return true;
	}
	return false;
}

bool hba_uses_certificates(const struct hba *h, const struct hba_rule **first)
{
	for (size_t i = 0; i < h->n; i++) {
		*first = &h->rules[i].pub;
		if (h->rules[i].pub.clientcert != HBA_CLIENTCERT_NONE)
			return true;
	}
	return false;
}

void hba_each_map(const struct hba *h, void (*fn)(void *arg, const struct hba_rule *rule), void *arg)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->rules[i].pub.map)
			fn(arg, &h->rules[i].pub);
}

static bool rules_equal(const struct rule *a, const struct rule *b)
{
	return a->type == b->type && host_equal(&a->host, &b->host) && method_equal(&a->pub, &b->pub) &&
	       entries_equal(&a->databases, &b->databases) && entries_equal(&a->users, &b->users);
}

bool hba_equal(const struct hba *a, const struct hba *b)
{
	if (!a || !b || a->n != b->n)
		return a == b;
	for (size_t i = 0; i < a->n; i++)
		if (!rules_equal(&a->rules[i], &b->rules[i]))
			return false;
	return true;
}
