/* Input: a record's text, its checksum made right or left as it is.  It is read to a value that is written and read the same again, also with more
 * than this version knows, or it is none. */
#include "ha/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "fuzz.h"

static struct record one, two;
static char text[RECORD_TEXT_MAX], again[RECORD_TEXT_MAX];

/* What a newer version may add to the second line changes nothing, or everything. */
static void add(const char *what, size_t len)
{
	char *line = strchr(text, '\n') + 1;
	size_t body = len - strlen("end 00000000\n"), more = strlen(what);
	memmove(line + more, line, body - (size_t)(line - text));
	memcpy(line, what, more);
	sprintf(text + body + more, "end %08" PRIx32 "\n", record_sum(slice_of(text, body + more)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	bool is_strange;
	if (size > RECORD_TEXT_MAX - 32)
		return 0;
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	CHECK(!record_read(&one, slice_of(copy, size), &is_strange, &err) || one.n_nodes <= RECORD_NODES_MAX);
	free(copy);
	memcpy(text, data, size);
	size_t len = size + (size_t)sprintf(text + size, "end %08" PRIx32 "\n", record_sum(slice_of(text, size)));
	if (!record_read(&one, slice_of(text, len), &is_strange, &err))
		return 0;
	len = record_write(&one, text);
	CHECK(record_read(&two, slice_of(text, len), &is_strange, &err) && record_write(&two, again) == len &&
	      memcmp(text, again, len) == 0);
	if (len > sizeof text - 64)
		return 0;
	add(" later \"\\22\"", len);
	CHECK(record_read(&two, slice_text(text), &is_strange, &err) && record_write(&two, text) == len &&
	      memcmp(text, again, len) == 0);
	add(" !later 1", len);
	CHECK(!record_read(&two, slice_text(text), &is_strange, &err) && is_strange);
	return 0;
}
