/* Input: a record's text, its checksum made right or left as it is.  It is read to a value that is written and read the same again, or it is none. */
#include "ha/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "fuzz.h"

static struct record one, two;
static char text[RECORD_TEXT_MAX], again[RECORD_TEXT_MAX];

static uint32_t crc32c(const char *at, size_t len)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < len; i++)
		for (int k = (crc ^= (uint8_t)at[i], 0); k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
	return ~crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	if (size > RECORD_TEXT_MAX - 32)
		return 0;
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	CHECK(!record_read(&one, slice_of(copy, size), &err) || one.n_nodes <= RECORD_NODES_MAX);
	free(copy);
	memcpy(text, data, size);
	size_t len = size + (size_t)sprintf(text + size, "end %08" PRIx32 "\n", crc32c(text, size));
	if (!record_read(&one, slice_of(text, len), &err))
		return 0;
	len = record_write(&one, text);
	CHECK(record_read(&two, slice_of(text, len), &err) && record_write(&two, again) == len && memcmp(text, again, len) == 0);
	return 0;
}
