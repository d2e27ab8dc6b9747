/* hbahost — the address field of a rule: all, samehost, samenet, a network, or a host's name. */
#ifndef CONF_HBAHOST_H
#define CONF_HBAHOST_H

#include "hbaname.h"
#include "ipnet.h"

enum host_kind { HOST_ALL, HOST_NET, HOST_SAMEHOST, HOST_SAMENET, HOST_NAME };
struct host {
	enum host_kind kind;
	struct ipnet net;
	char *name; /* ".example.com" is all of that domain */
};
/* This machine's addresses, looked up when the first rule wants them. */
struct own_nets {
	bool is_known;
	size_t n;
	struct ipnet *at;
};
/* Returns how many fields it took. */
size_t host_read(struct hbaline *l, size_t at, struct host *out, struct own_nets *own);
void host_fini(struct host *h);
bool host_equal(const struct host *a, const struct host *b);
enum fit host_fit(const struct host *h, const struct own_nets *own, const struct ip *ip, const struct hba_facts *facts);

#endif
