/* addr — where a socket is: TCP v4/v6 or a unix path.  Pure values. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

struct addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* Numeric v4/v6 literal with PORT (host order).  False when TEXT is not numeric. */
bool addr_from_numeric(struct addr *a, const char *text, uint16_t port) MUST_CHECK;
/* Unix socket at DIR/.s.PGSQL.PORT; "@name" directories are Linux abstract ones, as in libpq. */
bool addr_from_socket_dir(struct addr *a, const char *dir, uint16_t port, struct err *err) MUST_CHECK;
bool addr_is_unix(const struct addr *a);
uint16_t addr_port(const struct addr *a); /* 0 for unix */
/* An address as who has thousands of them keeps it: a TCP one whole, of a unix socket (a client's has no name) that it is one. */
struct addr_short {
	uint8_t len, bytes[28];
};
void addr_shorten(struct addr_short *to, const struct addr *a);
struct addr addr_lengthen(const struct addr_short *from);
#define ADDR_TEXT_MAX 160
/* "10.0.0.1:5432", "[::1]:5432", "unix:/path"; writes into OUT (ADDR_TEXT_MAX) and returns it. */
const char *addr_text(const struct addr *a, char *out);

#endif
