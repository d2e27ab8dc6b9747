/* graph — functions and what calls them, for learn.c: nodes with effects, edges along which effects spread. */
#ifndef SQL_GRAPH_H
#define SQL_GRAPH_H

#include "base/map.h"
#include "sql/body.h"
#include "sql/class.h"

#define EFFECTS_OPAQUE (SQL_OPAQUE_CALL | SQL_TEMP_OBJECT | SQL_ADVISORY_LOCK | SQL_HOLD_CURSOR)

struct node {
	char kind;
	bool is_seen;   /* in this round */
	bool is_wanted; /* its source is not known */
	bool is_tree;
	bool is_safe; /* the configuration says so */
	bool is_volatile;
	bool takes_row; /* a function that t.f may call */
	bool is_told;   /* though it has no effects */
	uint32_t oid, length;
	char *name;
	char version[16];
	uint32_t own;          /* effects by its own words; of a relation: when it is written to */
	uint32_t own_read;     /* of a relation or a type: when it is read */
	const char *own_cause; /* a name of tbl/builtins.h; NULL: its own */
	struct body body;      /* functions with a source */
	uint32_t read, write;
	const char *cause; /* the function that they come from: another node's name */
	uint32_t callers;  /* the first edge to it, plus 1 */
	bool is_queued;
	struct node *next;      /* in the queue */
	struct node *same_name; /* the next whose name has the same hash */
};

struct edge {
	struct node *from, *to;
	uint32_t next;             /* to the same node, plus 1 */
	bool only_write, by_write; /* … only when FROM is written to; what reading TO does belongs to it as well */
};

struct graph {
	struct map nodes; /* kind and oid -> struct node, whose memory is the owner's */
	struct map names; /* 32 bits of hash -> struct node */
	struct edge *edges;
	uint32_t n_edges, cap_edges;
};
bool graph_add(struct graph *g, struct edge e); /* false: too many */
/* From what nodes say of themselves, and along all edges and what sources name, to what reading and writing each of them does.  SAFE: names of
 * functions that are harmless whatever they say.  False: too many edges; nothing is known then. */
bool graph_spread(struct graph *g, char *const *safe, size_t n_safe);
void graph_forget_edges(struct graph *g); /* and names */

#endif
