/*
 * settings — immutable, interned sets of (name, value): what a session has SET, what a server has applied, what a client was told.
 *
 * Interning makes "is it the same?" a pointer comparison, so that the common case costs nothing.  A set belongs to the table (one per
 * thread) that made it and is reference-counted; every function that returns a set returns a reference.  Names compare without case
 * (as PostgreSQL's do) and keep the spelling they came with first; a set is sorted by name.  Callers bound what strangers put in
 * (settings_bytes()): a set is less than 2 GiB (asserted).
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct settings;
struct settings_table;
struct settings_table *settings_table_new(void);
void settings_table_free(struct settings_table *t); /* every set must have been given back, except the empty one */

struct settings *settings_empty(struct settings_table *t);
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s); /* NULL is fine */
/* A set like S with NAME = VALUE (added or replaced) / without NAME.  S stays the caller's.  Returns S itself (another reference) when
 * nothing changes. */
struct settings *settings_with(struct settings *s, struct slice name, struct slice value);
struct settings *settings_without(struct settings *s, struct slice name);

size_t settings_len(const struct settings *s);
size_t settings_bytes(const struct settings *s); /* text in it, for limits */
const char *settings_get(const struct settings *s, const char *name); /* NULL: absent; borrowed */
void settings_at(const struct settings *s, size_t i, const char **name, const char **value);
/* Hash over what changes the meaning of a statement's text: search_path, role, session_authorization.  0 when none of them is in S. */
uint64_t settings_name_scope(const struct settings *s);
/* Calls FN for each name whose value differs: FROM or TO is NULL where it is absent. */
void settings_diff(const struct settings *from, const struct settings *to,
                   void (*fn)(void *arg, const char *name, const char *from_value, const char *to_value), void *arg);

/* For another thread: a self-contained copy (mem_free() it), and its set in the receiver's table. */
void *settings_export(const struct settings *s) __attribute__((warn_unused_result));
struct settings *settings_import(struct settings_table *t, const void *exported);

#endif
