/* Heads of HTTP, as lp.http() reads them: any bytes are lines or none; names and values are what they say. */
#include <string.h>

#include "../../src/hooks/header.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice head = slice_of(data, size), value;
	char name[HEADER_NAME_MAX];
	size_t left = size;
	while (header_next(&head, name, &value)) {
		CHECK(head.len < left && *name && strlen(name) < HEADER_NAME_MAX && !strpbrk(name, ": \n"));
		CHECK(value.len == 0 || (value.at >= data && value.at + value.len <= data + size && !memchr(value.at, '\n', value.len)));
		left = head.len;
	}
	CHECK(head.len == 0);
	return 0;
}
