/*
 * startmsg — the first packet of a connection: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest; and its opposite, the
 * messages that we send when we are the client.  Pure bytes.
 */
#ifndef WIRE_STARTMSG_H
#define WIRE_STARTMSG_H

#include "base/err.h"
#include "base/slice.h"
#include "wire/writer.h"

enum startmsg_kind { STARTMSG_STARTUP, STARTMSG_SSL, STARTMSG_GSSENC, STARTMSG_CANCEL };
enum startmsg_result {
	STARTMSG_SHORT, /* not whole yet */
	STARTMSG_OK,
	STARTMSG_BAD, /* ERR says why (SQLSTATE 08P01, or 0A000 for an unsupported major version): FATAL, then close */
};

#define STARTMSG_MAX 10000u   /* PostgreSQL's MAX_STARTUP_PACKET_LENGTH */
#define STARTMSG_KEY_MAX 256u /* bytes of a cancel key, protocol 3.2 */

#define STARTMSG_VERSION(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))

struct startmsg {
	enum startmsg_kind kind;
	size_t size; /* bytes of the packet */
	/* STARTUP */
	uint16_t major, minor;
	struct slice params; /* name NUL value NUL … without the final NUL: walk with startmsg_param() */
	/* CANCEL */
	uint32_t pid;
	struct slice key; /* 4..256 bytes */
};

enum startmsg_result startmsg_read(struct slice in, struct startmsg *m, struct err *err);
/* Walks parameters; *rest starts as m->params.  False at the end. */
bool startmsg_param(struct slice *rest, struct slice *name, struct slice *value);
/* The value of one parameter; .at == NULL when absent (the last one wins, as in PostgreSQL). */
struct slice startmsg_find(const struct startmsg *m, const char *name);
/* NegotiateProtocolVersion ('v') is needed: an unknown minor or any "_pq_." option.  Writes it: newest minor that we speak
 * (NEWEST_MINOR) and the names of all _pq_ options. */
bool startmsg_needs_negotiation(const struct startmsg *m, uint16_t newest_minor);
void startmsg_write_negotiation(struct writer *w, const struct startmsg *m, uint16_t newest_minor);

void startmsg_write_ssl(struct writer *w); /* SSLRequest */
void startmsg_write_cancel(struct writer *w, uint32_t pid, struct slice key);

/* Splits the "options" parameter (or PGOPTIONS) as pg_split_opts() does (backslash escapes a space) and calls FN for each setting in
 * "-c name=value", "-cname=value", "--name=value"; dashes in names become underscores.  False with ERR (42601 or 22023, PostgreSQL's words)
 * on anything else. */
bool startmsg_each_option(struct slice options, bool (*fn)(void *arg, struct slice name, struct slice value, struct err *err),
                          void *arg, struct err *err) MUST_CHECK;

#endif
