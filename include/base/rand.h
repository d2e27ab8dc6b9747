/* rand — random bytes from the kernel, and a fast generator for choices that no secret depends on. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *out, size_t len); /* for secrets; dies if the kernel has none */
uint64_t rand_fast(void);               /* per thread, seeded from rand_bytes() */
void rand_seed(uint64_t seed);          /* this thread's, for simulations: the same numbers come again */

#endif
