/*
 * dial — what libpq is told of a node, so that it looks no name up (hostaddr), reads no file (passfile leads nowhere) and prints nothing.
 */
#include "dial.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "net/tls.h"

/* What is not set must not be looked for in the home of whoever runs us. */
static const char *path_or_none(const char *path)
{
	return *path ? path : "/dev/null/none";
}

static const char *sslmode_of(const struct conf_cluster *c)
{
	if (!c || c->tls == CONF_SERVER_TLS_OFF)
		return "disable";
	return c->tls == CONF_SERVER_TLS_REQUIRE && *c->tls_ca ? "verify-ca" : conf_server_tls_name(c->tls);
}

static void copy_tls(struct dial *d, const struct conf_cluster *c)
{
	d->sslmode = sslmode_of(c);
	d->sslsni = !c || c->tls_sni ? "1" : "0";
	d->channel_binding = c && c->require_channel_binding ? "require" : "prefer";
	d->ssl_min_protocol = conf_protocol_name(c ? c->tls_min_protocol : CONF_PROTOCOL_TLS_1_2);
	d->sslrootcert = mem_text(path_or_none(c ? c->tls_ca : ""));
	d->sslcrl = mem_text(path_or_none(c ? c->tls_crl : ""));
	d->sslcert = mem_text(path_or_none(c ? c->tls_cert : ""));
	d->sslkey = mem_text(path_or_none(c ? c->tls_key : ""));
}

static void free_tls(struct dial *d)
{
	mem_free(d->sslrootcert);
	mem_free(d->sslcrl);
	mem_free(d->sslcert);
	mem_free(d->sslkey);
}

static bool has_tls_of(const struct dial *d, const struct conf_cluster *c)
{
	struct dial other = { 0 };
	copy_tls(&other, c);
	bool is_same = strcmp(d->sslmode, other.sslmode) == 0 && strcmp(d->sslsni, other.sslsni) == 0 &&
	               strcmp(d->channel_binding, other.channel_binding) == 0 &&
	               strcmp(d->ssl_min_protocol, other.ssl_min_protocol) == 0 && strcmp(d->sslrootcert, other.sslrootcert) == 0 &&
	               strcmp(d->sslcrl, other.sslcrl) == 0 && strcmp(d->sslcert, other.sslcert) == 0 &&
	               strcmp(d->sslkey, other.sslkey) == 0;
	free_tls(&other);
	return is_same;
}

void dial_init(struct dial *d, const struct service_target *target)
{
	d->host = mem_text(target->host);
	d->dbname = mem_text(target->dbname);
	d->user = mem_text(target->user);
	d->password = mem_text(target->password);
	d->port = target->port;
	d->statement_timeout_us = target->statement_timeout_us;
	copy_tls(d, target->cluster);
}

void dial_free(struct dial *d)
{
	mem_free(d->host);
	mem_free(d->dbname);
	mem_free(d->user);
	secret_free_text(d->password);
	free_tls(d);
}

bool dial_is_for(const struct dial *d, const struct service_target *t)
{
	return strcmp(d->host, t->host) == 0 && d->port == t->port && strcmp(d->dbname, t->dbname) == 0 &&
	       strcmp(d->user, t->user) == 0 && strcmp(d->password, t->password) == 0 &&
	       d->statement_timeout_us == t->statement_timeout_us && has_tls_of(d, t->cluster);
}

static void drop_notice(void *arg, const char *text)
{
}

/* libpq wants a name for each address. */
static const char *name_each(const struct dial *d, const char *hostaddr, char out[DIAL_HOSTS_MAX])
{
	size_t len = (size_t)snprintf(out, DIAL_HOSTS_MAX, "%s", d->host);
	for (const char *at = strchr(hostaddr, ','); at && len < DIAL_HOSTS_MAX; at = strchr(at + 1, ','))
		len += (size_t)snprintf(out + len, DIAL_HOSTS_MAX - len, ",%s", d->host);
	return len < DIAL_HOSTS_MAX ? out : NULL;
}

PGconn *dial_open(const struct dial *d, const char *host, const char *hostaddr)
{
	char port[8], hosts[DIAL_HOSTS_MAX] = "", settings[120];
	size_t used = (size_t)snprintf(settings, sizeof settings, "-c search_path=pg_catalog -c datestyle=ISO -c timezone=UTC");
	if (d->statement_timeout_us)
		snprintf(settings + used, sizeof settings - used, " -c statement_timeout=%llu",
		         (unsigned long long)(d->statement_timeout_us / US_PER_MS) + 1);
	snprintf(port, sizeof port, "%u", d->port);
	if (hostaddr)
		host = name_each(d, hostaddr, hosts);
	const char *const options[][2] = {
		{ "host", host },
		{ "hostaddr", hostaddr },
		{ "port", port },
		{ "dbname", d->dbname },
		{ "user", d->user },
		{ "password", d->password },
		{ "passfile", "/dev/null/none" }, /* /dev/null itself would be complained about on stderr */
		{ "application_name", "lunapool" },
		{ "client_encoding", "UTF8" },
		{ "options", settings },
		{ "sslmode", d->sslmode },
		{ "sslrootcert", d->sslrootcert },
		{ "sslcrl", d->sslcrl },
		{ "sslcert", d->sslcert },
		{ "sslkey", d->sslkey },
		{ "sslsni", d->sslsni },
		{ "ssl_min_protocol_version", d->ssl_min_protocol },
		{ "gssencmode", "disable" },
		{ "channel_binding", d->channel_binding },
		{ "target_session_attrs", "any" },
		{ "connect_timeout", "0" }, /* the timer is ours */
		{ "keepalives", "1" },
	};
	const char *names[ARRAY_LEN(options) + 1], *values[ARRAY_LEN(options) + 1];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i][1]) {
			names[n] = options[i][0];
			values[n++] = options[i][1];
		}
	names[n] = values[n] = NULL;
	PGconn *conn = PQconnectStartParams(names, values, 0);
	if (!conn)
		die("out of memory: a connection of libpq");
	PQsetNoticeProcessor(conn, drop_notice, NULL);
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	return conn;
}

bool dial_certificate_days(PGconn *conn, int *days)
{
	const struct ssl_st *ssl = PQsslStruct(conn, "OpenSSL");
	return ssl && tls_days_left(ssl, days);
}
