/* Any text as rules: they load or the errors say why not; loaded ones answer for every kind of peer. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/log.h"
#include "conf/hba.h"
#include "memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct memfile file;

static void ask(const struct hba *h, int family, const char *address)
{
	static const char *const roles[] = { "ann", "staff" };
	static const struct hba_facts facts[] = { { 0 },
		                                      { .has_roles = true, .n_roles = 2, .roles = roles },
		                                      { .has_host = true, .host = "a.example.com" },
		                                      { .has_host = true, .host = "", .has_roles = true } };
	struct sockaddr_storage peer = { .ss_family = (sa_family_t)family };
	if (family == AF_INET)
		inet_pton(family, address, &((struct sockaddr_in *)(void *)&peer)->sin_addr);
	else if (family == AF_INET6)
		inet_pton(family, address, &((struct sockaddr_in6 *)(void *)&peer)->sin6_addr);
	for (unsigned i = 0; i < 16; i++) {
		const struct hba_rule *rule;
		struct hba_ask ask = { .peer = &peer,
			                   .database = i & 4 ? "app" : "ann",
			                   .user = "ann",
			                   .is_tls = i & 8,
			                   .is_replication = i & 4,
			                   .facts = facts[i % 4] };
		enum hba_answer a = hba_match(h, &ask, &rule);
		ASSERT((rule != NULL) == (a != HBA_NONE));
		ASSERT(a != HBA_NEEDS_HOST || !ask.facts.has_host);
		ASSERT(a != HBA_NEEDS_ROLES || !ask.facts.has_roles);
		ASSERT(!rule || (rule->ldap != NULL) == (rule->method == HBA_LDAP));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors = { 0 };
	struct hba *h = hba_load(memfile(&file, data, size), &errors);
	ASSERT((h != NULL) == (errors.n == 0));
	if (h) {
		ask(h, AF_UNIX, "");
		ask(h, AF_INET, "10.0.0.1");
		ask(h, AF_INET6, "fd00::1");
		ask(h, AF_INET6, "::ffff:10.0.0.1");
	}
	hba_unref(h);
	conf_errors_fini(&errors);
	return 0;
}
