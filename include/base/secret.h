/* secret — wipe and compare what nobody may learn. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

void secret_wipe(void *at, size_t len);
void secret_free_text(char *text);                       /* wipes, then frees; NULL is fine */
bool secret_equal(struct slice a, struct slice b);       /* time depends on the lengths only */

#endif
