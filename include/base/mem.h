/*
 * mem — memory that is there or the process says why not.
 *
 * mem_alloc() and kin never return NULL: they are for fixed objects and for sizes
 * that were checked before.  A size that a peer chose goes through mem_try().
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

void *mem_alloc(size_t size) MUST_CHECK;           /* zeroed */
void *mem_grow(void *old, size_t size) MUST_CHECK; /* realloc */
void *mem_try(size_t size) MUST_CHECK;             /* malloc; NULL when there is none */
void *mem_copy(const void *from, size_t size) MUST_CHECK;
char *mem_text(const char *text) MUST_CHECK;              /* NULL stays NULL */
char *mem_textn(const char *text, size_t len) MUST_CHECK; /* adds the NUL */
void mem_free(void *what);
size_t mem_in_use(void); /* bytes of the process's heap that are not free, about: for memory_limit.  Not for a hot path */
void mem_trim(void);     /* gives what is free back to the system: other threads may have to wait for some ms */

/* A slab: objects of one size that come and go.  One thread. Keeps what was freed for reuse, a chunk at a time. */
struct slab {
	size_t size;
	size_t in_use;
	void *free_list;
	void *chunks;
};
void slab_init(struct slab *slab, size_t object_size);
void slab_fini(struct slab *slab);               /* every object must have been given back */
void *slab_get(struct slab *slab) MUST_CHECK;    /* zeroed */
void *slab_take(struct slab *slab) MUST_CHECK;   /* not zeroed */
size_t slab_free_count(const struct slab *slab); /* objects that are there for reuse */
void slab_put(struct slab *slab, void *object);

#endif
