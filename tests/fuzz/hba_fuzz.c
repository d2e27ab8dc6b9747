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
	struct sockaddr_storage peer = { .ss_family = (sa_family_t)family };
	if (family == AF_INET)
		inet_pton(family, address, &((struct sockaddr_in *)(void *)&peer)->sin_addr);
	else if (family == AF_INET6)
		inet_pton(family, address, &((struct sockaddr_in6 *)(void *)&peer)->sin6_addr);
	unsigned line;
	enum hba_method method = hba_match(h, &peer, "app", "ann", false, &line);
	ASSERT(line > 0 || method == HBA_REJECT);
	method = hba_match(h, &peer, "ann", "ann", true, &line);
	ASSERT(line > 0 || method == HBA_REJECT);
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
	hba_free(h);
	conf_errors_fini(&errors);
	return 0;
}
