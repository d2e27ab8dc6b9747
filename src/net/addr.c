/* addr — socket addresses and their text. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool v4_from_text(struct addr *a, const char *text, uint16_t port)
{
	struct sockaddr_in *in = (void *)&a->sa;
	if (inet_pton(AF_INET, text, &in->sin_addr) != 1)
		return false;
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	a->len = sizeof *in;
	return true;
}

/* "fe80::1%eth0": the part behind % names the interface, or numbers it. */
static bool scope_from_text(const char *text, uint32_t *scope)
{
	char *end;
	*scope = if_nametoindex(text);
	if (*scope)
		return true;
	unsigned long number = strtoul(text, &end, 10);
	*scope = (uint32_t)number;
	return number > 0 && number <= UINT32_MAX && *end == '\0';
}

static bool v6_from_text(struct addr *a, const char *text, uint16_t port)
{
	struct sockaddr_in6 *in6 = (void *)&a->sa;
	char host[INET6_ADDRSTRLEN];
	const char *percent = strchr(text, '%');
	size_t len = percent ? (size_t)(percent - text) : strlen(text);
	if (len >= sizeof host)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return false;
	if (percent && !scope_from_text(percent + 1, &in6->sin6_scope_id))
		return false;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	a->len = sizeof *in6;
	return true;
}

static const char *unix_text(const struct addr *a, char *out)
{
	const struct sockaddr_un *un = (const void *)&a->sa;
	size_t len = a->len > offsetof(struct sockaddr_un, sun_path) ? a->len - offsetof(struct sockaddr_un, sun_path) : 0;
	bool is_abstract = len > 0 && un->sun_path[0] == '\0';
	if (is_abstract)
		snprintf(out, ADDR_TEXT_MAX, "unix:@%.*s", (int)len - 1, un->sun_path + 1);
	else
		snprintf(out, ADDR_TEXT_MAX, "unix:%.*s", (int)len, un->sun_path);
	return out;
}

bool addr_from_numeric(struct addr *a, const char *text, uint16_t port)
{
	*a = (struct addr){ 0 };
	return v4_from_text(a, text, port) || v6_from_text(a, text, port);
}

bool addr_from_socket_dir(struct addr *a, const char *dir, uint16_t port, struct err *err)
{
	*a = (struct addr){ 0 };
	struct sockaddr_un *un = (void *)&a->sa;
	int len = snprintf(un->sun_path, sizeof un->sun_path, "%s/.s.PGSQL.%u", dir, port);
	if (len < 0 || (size_t)len >= sizeof un->sun_path)
		return err_set(err, "08001", "the socket path %s/.s.PGSQL.%u is longer than %zu bytes", dir, port,
		               sizeof un->sun_path - 1);
	un->sun_family = AF_UNIX;
	bool is_abstract = dir[0] == '@';
	if (is_abstract)
		un->sun_path[0] = '\0';
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len + !is_abstract);
	return true;
}

bool addr_is_unix(const struct addr *a)
{
	return a->sa.ss_family == AF_UNIX;
}

uint16_t addr_port(const struct addr *a)
{
	if (a->sa.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)&a->sa)->sin_port);
	if (a->sa.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_port);
	return 0;
}

const char *addr_text(const struct addr *a, char *out)
{
	char host[INET6_ADDRSTRLEN] = "?";
	if (addr_is_unix(a))
		return unix_text(a, out);
	if (a->sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)&a->sa;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		if (in6->sin6_scope_id)
			snprintf(out, ADDR_TEXT_MAX, "[%s%%%u]:%u", host, in6->sin6_scope_id, addr_port(a));
		else
			snprintf(out, ADDR_TEXT_MAX, "[%s]:%u", host, addr_port(a));
		return out;
	}
	if (a->sa.ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)&a->sa)->sin_addr, host, sizeof host);
	snprintf(out, ADDR_TEXT_MAX, "%s:%u", host, addr_port(a));
	return out;
}

void addr_shorten(struct addr_short *to, const struct addr *a)
{
	_Static_assert(sizeof to->bytes >= sizeof(struct sockaddr_in6), "a TCP address fits");
	size_t len = addr_is_unix(a) || a->len > sizeof to->bytes ? sizeof a->sa.ss_family : a->len;
	*to = (struct addr_short){ .len = (uint8_t)len };
	memcpy(to->bytes, &a->sa, len);
}

struct addr addr_lengthen(const struct addr_short *from)
{
	struct addr a = { .len = from->len };
	memcpy(&a.sa, from->bytes, from->len);
	return a;
}
