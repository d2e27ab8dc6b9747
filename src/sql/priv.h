/* priv — how classes are made; only for this folder. */
#ifndef SQL_PRIV_H
#define SQL_PRIV_H

#include "sql/classify.h"

#include "scan.h"
#include "shape.h"

/* A class with N parts of kind SQL_OTHER, one reference, to be filled and then sealed. */
struct sql_class *class_new(uint32_t n);
/* Sums up the parts; the class does not change any more. */
struct sql_class *class_seal(struct sql_class *c, bool has_functions);
size_t class_bytes(const struct sql_class *c);              /* what it occupies */
struct sql_class *class_copy(const struct sql_class *from); /* of its own in all; not informed */

/* Sums up what the parts' WHY say. */
void reads_judge(struct sql_class *c);
bool reads_is_open(const struct sql_class *c); /* the facts of its database decide whether it is a read */
/* The parts for which they did: no more than what they call and name stood against them. */
void reads_prove(struct sql_class *c);
/* What showing a setting's value asks for: READ, SETTING or SERVER. */
enum sql_why reads_of_setting(const char *name);

/* One part, judged without parsing. */
struct sql_class *class_guess(struct slice text, struct sql_dialect dialect);
struct sql_class *class_opaque(void);

/* Appends to a NULL-terminated array that is owned; takes TEXT over.  Returns the array. */
char **texts_add(char **texts, char *text);
void texts_free(char **texts);

/* The caller frees it. */
char *shape_shown(const struct shape *s);

/* The class of a shape: parsed, or guessed when it must not or cannot be parsed. */
struct sql_class *classify_shape(const struct shape *s);

#endif
