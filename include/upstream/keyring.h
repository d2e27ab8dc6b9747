/*
 * keyring — the TLS of the process as the configuration has it: one struct tls_conf for clients, one for each cluster's nodes.
 *
 * Reload in two steps: a plan is made, which may fail, and then applied, which may not.  What has not changed, texts and files, stays the
 * same object, so that connections can be told apart that were made under other settings.  A file that was renewed and is no good is
 * said in the log, and what held before holds on; a setting that is no good refuses the reload.
 */
#ifndef UPSTREAM_KEYRING_H
#define UPSTREAM_KEYRING_H

#include "conf/conf.h"
#include "net/tls.h"

struct keyring;
struct keyring *keyring_new(void);
void keyring_free(struct keyring *k); /* NULL is fine */

struct keyring_plan;
/* Reads files; control thread.  K may be NULL: what a process would begin with.  NULL with ERR. */
struct keyring_plan *keyring_plan(struct keyring *k, const struct conf *c, struct err *err) MUST_CHECK;
/* Whether PLAN has something new, or lacks something; FN for each block (a cluster's name, or "listen") that had TLS and would have other. */
bool keyring_differs(const struct keyring *k, const struct keyring_plan *plan, void (*fn)(void *arg, const char *block),
                     void *arg);
bool keyring_apply(struct keyring *k,
                   struct keyring_plan *plan); /* takes PLAN over; true: something is not as it was, a renewed file for one */
void keyring_drop(struct keyring_plan *plan);

/* For those who ask at our door: a reference, or NULL: no TLS.  Any thread. */
struct tls_conf *keyring_clients(struct keyring *k);

/* How to speak with a cluster's nodes.  CONF is NULL with mode off, else a reference. */
struct upstream_tls {
	enum conf_server_tls mode;
	bool is_direct;
	struct tls_conf *conf;
};
/* Any thread.  K may be NULL: off. */
struct upstream_tls keyring_cluster(struct keyring *k, const struct conf_cluster *c);
bool upstream_tls_equal(const struct upstream_tls *a, const struct upstream_tls *b);

#endif
