/* dlist — intrusive doubly linked lists with a head that is a node.  An unlinked node points at itself. */
#ifndef BASE_DLIST_H
#define BASE_DLIST_H

#include <stdbool.h>

#include "base/compiler.h"

struct dlist {
	struct dlist *next, *prev;
};

static inline void dlist_init(struct dlist *l)
{
	l->next = l->prev = l;
}

static inline bool dlist_is_empty(const struct dlist *l)
{
	return l->next == l;
}

#define dlist_is_linked(node) (!dlist_is_empty(node))

static inline void dlist_insert_after(struct dlist *at, struct dlist *node)
{
	node->next = at->next;
	node->prev = at;
	at->next->prev = node;
	at->next = node;
}

static inline void dlist_push_front(struct dlist *l, struct dlist *node)
{
	dlist_insert_after(l, node);
}

static inline void dlist_push_back(struct dlist *l, struct dlist *node)
{
	dlist_insert_after(l->prev, node);
}

static inline void dlist_remove(struct dlist *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	dlist_init(node);
}

static inline struct dlist *dlist_first(struct dlist *l)
{
	return dlist_is_empty(l) ? NULL : l->next;
}

static inline struct dlist *dlist_pop_front(struct dlist *l)
{
	struct dlist *n = dlist_first(l);
	if (n)
		dlist_remove(n);
	return n;
}

/* Moves all of FROM to TO, which was empty or unset: for walking a list that may grow meanwhile. */
static inline void dlist_take(struct dlist *to, struct dlist *from)
{
	dlist_init(to);
	if (dlist_is_empty(from))
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	dlist_init(from);
}

/* Safe against removal of IT itself inside the body. */
#define DLIST_EACH(it, head)                                                                        \
	for (struct dlist *it = (head)->next, *it##_next = it->next; it != (head);                      \
	     it = it##_next, it##_next = it->next)

#endif
