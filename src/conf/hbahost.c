/*
 * hbahost — where a client comes from.
 *
 * A host's name counts only when looking up the client's address gives it, and looking up that name gives the address (as PostgreSQL,
 * hba.c: check_hostname); both look-ups are somebody else's, so until they were made the answer is "unsure".
 */
#include "hbahost.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

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

static bool is_host_name(const char *text)
{
	size_t len = strlen(text), dots = 0, letters = 0;
	for (const char *at = text; *at; at++) {
		if (!isalnum((unsigned char)*at) && !strchr("-_.", *at))
			return false;
		dots += *at == '.';
		letters += isalpha((unsigned char)*at) != 0;
	}
	return len > 0 && len < 254 && letters > 0 && len > dots;
}

/* Behind an address without bits stands its mask. */
static size_t read_mask(struct hbaline *l, size_t at, bool is_v4, struct ipnet *net)
{
	const char *text = hbaline_word(l, at), *mask = hbaline_word(l, at + 1);
	if (!mask || !ip_parse(mask, &net->mask) || ip_is_v4(&net->mask) != is_v4) {
		hbaline_bad(l, "%.60s lacks its mask: write %.60s/%d for this address alone", text, text, is_v4 ? 32 : 128);
		return 1;
	}
	if (is_v4)
		memset(net->mask.at, 0xff, 12);
	if (!ip_is_mask(&net->mask))
		hbaline_bad(l, "%.60s is no mask: its ones must stand together at the left", mask);
	return 2;
}

static void read_bits(struct hbaline *l, const char *text, const char *bits, bool is_v4, struct ipnet *net)
{
	unsigned n;
	if (is_number(bits, is_v4 ? 32 : 128, &n))
		net->mask = ip_mask_of(is_v4, n);
	else
		hbaline_bad(l, "%.60s: after / comes a number of bits from 0 to %d", text, is_v4 ? 32 : 128);
}

/* "10.0.0.0/8", or "10.0.0.0" with the mask in the next field, or a name. */
static size_t read_net(struct hbaline *l, size_t at, struct host *h)
{
	const char *text = hbaline_word(l, at), *slash = strchr(text, '/');
	char address[64];
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	snprintf(address, sizeof address, "%.*s", (int)(len < sizeof address ? len : 0), text);
	if (!ip_parse(address, &h->net.ip)) {
		if (slash || !is_host_name(text))
			hbaline_bad(l,
			            "\"%.60s\" is no address: write all, samehost, samenet, a host's name, or a network as in 10.0.0.0/8 or "
			            "::1/128",
			            text);
		h->kind = HOST_NAME;
		h->name = mem_text(text);
		return 1;
	}
	h->kind = HOST_NET;
	bool is_v4 = ip_is_v4(&h->net.ip);
	if (!slash)
		return read_mask(l, at, is_v4, &h->net);
	read_bits(l, text, slash + 1, is_v4, &h->net);
	return 1;
}

static void know_own(struct own_nets *own)
{
	if (!own->is_known)
		own->n = ipnet_own(&own->at);
	own->is_known = true;
}

size_t host_read(struct hbaline *l, size_t at, struct host *out, struct own_nets *own)
{
	const char *text = hbaline_word(l, at);
	if (!text) {
		hbaline_bad(l, "one address should stand here; give each its own line");
		return 1;
	}
	bool is_quoted = l->fields[at].at[0].is_quoted;
	if (!is_quoted && strcmp(text, "all") == 0) {
		out->kind = HOST_ALL;
		return 1;
	}
	if (!is_quoted && (strcmp(text, "samehost") == 0 || strcmp(text, "samenet") == 0)) {
		out->kind = strcmp(text, "samehost") == 0 ? HOST_SAMEHOST : HOST_SAMENET;
		know_own(own);
		return 1;
	}
	return read_net(l, at, out);
}

void host_fini(struct host *h)
{
	mem_free(h->name);
}

bool host_equal(const struct host *a, const struct host *b)
{
	return a->kind == b->kind && memcmp(&a->net, &b->net, sizeof a->net) == 0 && !a->name == !b->name &&
	       (!a->name || strcmp(a->name, b->name) == 0);
}

static enum fit fit_name(const char *name, const struct hba_facts *facts)
{
	if (!facts->has_host)
		return FIT_UNSURE;
	size_t len = strlen(name), has = strlen(facts->host);
	const char *end = name[0] == '.' && has > len ? facts->host + has - len : facts->host;
	return strcasecmp(end, name) == 0 ? FIT_YES : FIT_NO;
}

static bool is_own(const struct own_nets *own, bool is_host, const struct ip *ip)
{
	for (size_t i = 0; i < own->n; i++) {
		struct ipnet net = own->at[i];
		if (is_host)
			memset(net.mask.at, 0xff, 16);
		if (ipnet_has(&net, ip))
			return true;
	}
	return false;
}

enum fit host_fit(const struct host *h, const struct own_nets *own, const struct ip *ip, const struct hba_facts *facts)
{
	switch (h->kind) {
	case HOST_ALL:
		return FIT_YES;
	case HOST_NET:
		return ipnet_has(&h->net, ip) ? FIT_YES : FIT_NO;
	case HOST_SAMEHOST:
	case HOST_SAMENET:
		return is_own(own, h->kind == HOST_SAMEHOST, ip) ? FIT_YES : FIT_NO;
	case HOST_NAME:
		break;
	}
	return fit_name(h->name, facts);
}
