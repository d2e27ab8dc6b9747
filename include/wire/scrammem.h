/*
 * scrammem — keys that were derived from passwords before, so that logging in again costs no thousands of hashes: many connections are opened
 * when a node comes back.  One thread; wiped at the end.
 */
#ifndef WIRE_SCRAMMEM_H
#define WIRE_SCRAMMEM_H

#include "wire/scram.h"

struct scram_memory *scram_memory_new(void);
void scram_memory_free(struct scram_memory *m); /* NULL is fine */
/* Fills S's keys and CLIENT_KEY if they are known for PASSWORD under S's salt and iterations. */
bool scram_memory_get(const struct scram_memory *m, const char *password, struct scram_secret *s, uint8_t client_key[SCRAM_KEY]);
void scram_memory_put(struct scram_memory *m, const char *password, const struct scram_secret *s,
                      const uint8_t client_key[SCRAM_KEY]);

#endif
