/* dial — a node and how to log in there, in libpq's words.  libpq is used in dial.c, rows.c and service.c only. */
#ifndef UPSTREAM_DIAL_H
#define UPSTREAM_DIAL_H

#include <libpq-fe.h>

#include "upstream/service.h"

#define DIAL_HOSTS_MAX (RESOLVE_MAX * 64)

struct dial {
	char *host, *dbname, *user, *password;
	uint16_t port;
	uint64_t statement_timeout_us;
	const char *sslmode, *sslsni, *ssl_min_protocol, *channel_binding;
	char *sslrootcert, *sslcrl, *sslcert, *sslkey;
};
void dial_init(struct dial *d, const struct service_target *target); /* copies it */
void dial_free(struct dial *d);
bool dial_is_for(const struct dial *d, const struct service_target *target); /* made for the same */
/* Begins to connect, never NULL.  HOST: socket directory, or the name that the server's certificate must have.
 * HOSTADDR: numeric addresses with commas between, or NULL; HOST is not looked at then. */
bool dial_certificate_days(PGconn *conn, int *days); /* as service_certificate_days() */
PGconn *dial_open(const struct dial *d, const char *host, const char *hostaddr);

#endif
