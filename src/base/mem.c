/*
 * mem — malloc that never fails quietly, and slabs.
 *
 * A slab takes chunks of about 16 kB, cuts them into objects and keeps the free ones in a list that runs through their first
 * word.  Chunks go back only in slab_fini(): what is freed now is wanted again soon.  Under AddressSanitizer free objects are
 * poisoned, so that a use after slab_put() is found as one after free() would be.
 */
#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern size_t __sanitizer_get_current_allocated_bytes(void); /* gcc has no header for it */
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(at, len) __asan_poison_memory_region(at, len)
#define UNPOISON(at, len) __asan_unpoison_memory_region(at, len)
#else
#define POISON(at, len) ((void)(at), (void)(len))
#define UNPOISON(at, len) ((void)(at), (void)(len))
#endif

#define CHUNK_BYTES 16384u
#define ALIGN 8u /* of objects: nothing in a slab asks for more */

struct slab_free {
	struct slab_free *next;
};

struct slab_chunk {
	struct slab_chunk *next;
	void *pad; /* objects start at a multiple of ALIGN */
};

static void *or_die(void *got, size_t size)
{
	if (!got)
		die("out of memory: %zu bytes wanted", size);
	return got;
}

static void slab_add_chunk(struct slab *slab)
{
	size_t n = CHUNK_BYTES / slab->size ? CHUNK_BYTES / slab->size : 1;
	struct slab_chunk *chunk = mem_alloc(sizeof *chunk + n * slab->size);
	chunk->next = slab->chunks;
	slab->chunks = chunk;
	char *at = (char *)(chunk + 1);
	for (size_t i = n; i-- > 0;) {
		struct slab_free *f = (void *)(at + i * slab->size);
		f->next = slab->free_list;
		slab->free_list = f;
		POISON(f + 1, slab->size - sizeof *f);
	}
}

void *mem_alloc(size_t size)
{
	return or_die(calloc(1, size ? size : 1), size);
}

void *mem_grow(void *old, size_t size)
{
	return or_die(realloc(old, size ? size : 1), size);
}

void *mem_try(size_t size)
{
	return malloc(size ? size : 1);
}

void *mem_copy(const void *from, size_t size)
{
	void *to = or_die(mem_try(size), size);
	if (size)
		memcpy(to, from, size);
	return to;
}

char *mem_text(const char *text)
{
	return text ? mem_copy(text, strlen(text) + 1) : NULL;
}

char *mem_textn(const char *text, size_t len)
{
	char *to = or_die(mem_try(len + 1), len + 1);
	if (len)
		memcpy(to, text, len);
	to[len] = '\0';
	return to;
}

void mem_free(void *what)
{
	free(what);
}

/* What the kernel counts would not do: what was freed stays with the process for long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
size_t mem_in_use(void)
{
	return __sanitizer_get_current_allocated_bytes();
}
#else
size_t mem_in_use(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}
#endif

void mem_trim(void)
{
	malloc_trim(0);
}

void slab_init(struct slab *slab, size_t object_size)
{
	size_t size = object_size > sizeof(struct slab_free) ? object_size : sizeof(struct slab_free);
	*slab = (struct slab){ .size = (size + ALIGN - 1) / ALIGN * ALIGN };
}

void slab_fini(struct slab *slab)
{
	ASSERT(slab->in_use == 0);
	for (struct slab_chunk *c = slab->chunks, *next; c; c = next) {
		next = c->next;
		mem_free(c);
	}
	slab->chunks = slab->free_list = NULL;
}

void *slab_take(struct slab *slab)
{
	if (!slab->free_list)
		slab_add_chunk(slab);
	struct slab_free *f = slab->free_list;
	slab->free_list = f->next;
	slab->in_use++;
	UNPOISON(f, slab->size);
	return f;
}

void *slab_get(struct slab *slab)
{
	return memset(slab_take(slab), 0, slab->size);
}

size_t slab_free_count(const struct slab *slab)
{
	size_t per_chunk = CHUNK_BYTES / slab->size ? CHUNK_BYTES / slab->size : 1, n = 0;
	for (const struct slab_chunk *c = slab->chunks; c; c = c->next)
		n += per_chunk;
	return n - slab->in_use;
}

void slab_put(struct slab *slab, void *object)
{
	ASSERT(slab->in_use > 0);
	struct slab_free *f = object;
	f->next = slab->free_list;
	slab->free_list = f;
	slab->in_use--;
	POISON(f + 1, slab->size - sizeof *f);
}
