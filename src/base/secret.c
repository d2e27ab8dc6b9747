/* secret — wiping that the compiler may not drop, comparing that does not stop at the first difference. */
#include "base/secret.h"

#include <string.h>

#include "base/mem.h"

void secret_wipe(void *at, size_t len)
{
	if (len)
		explicit_bzero(at, len);
}

void secret_free_text(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	mem_free(text);
}

bool secret_equal(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	volatile uint8_t diff = 0;
	for (size_t i = 0; i < a.len; i++)
		diff |= a.at[i] ^ b.at[i];
	return diff == 0;
}
