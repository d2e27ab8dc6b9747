/*
 * saslprep — a password as SCRAM hashes it (RFC 4013 as PostgreSQL applies it: what cannot be prepared is used as it is).
 *
 * Limit: done are the mappings (spaces that are not ASCII become a space, soft hyphens and the like vanish) and the prohibited characters.
 * Not done is normalization (NFKC), and the checks for mixed writing directions and for most unassigned characters: a password typed
 * as decomposed or compatibility characters ("e" + U+0301, full-width letters, ligatures) hashes to something else than PostgreSQL's.
 * It fails to log in; store such a password as a SCRAM secret instead.
 */
#ifndef WIRE_SASLPREP_H
#define WIRE_SASLPREP_H

#include "base/slice.h"

/* OUT has room for in.len bytes.  Returns IN itself or what was written to OUT. */
struct slice saslprep(struct slice in, uint8_t *out);

#endif
