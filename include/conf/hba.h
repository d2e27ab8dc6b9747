/*
 * hba — pg_hba.conf rules: who may come in from where, and how they prove it.  Methods here: trust, reject, scram-sha-256.
 * Types: local, host, hostnossl (hostssl never matches: there is no TLS yet, and loading says so as an error).
 * Databases: all, sameuser, replication, names; users: all, names; quoted names; @file is an error for now; addresses: all, samehost,
 * samenet, CIDR, address + mask.  Immutable, any thread.
 */
#ifndef CONF_HBA_H
#define CONF_HBA_H

#include <sys/socket.h>

#include "conf/conf.h"

enum hba_method { HBA_REJECT, HBA_TRUST, HBA_SCRAM };
struct hba *hba_load(const char *path, struct conf_errors *errors) MUST_CHECK;
void hba_free(struct hba *h);
/* The first rule that matches decides; none: HBA_REJECT and *LINE = 0.  PEER with family AF_UNIX is "local". */
enum hba_method hba_match(const struct hba *h, const struct sockaddr_storage *peer, const char *database, const char *user,
                          bool replication, unsigned *line);

#endif
