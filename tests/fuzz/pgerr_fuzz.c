/* Errors and notices: whole, as a part, and written again. */
#include "wire/pgerr.h"

#include "fuzz.h"

static void write_and_read_again(const struct pgerr *e)
{
	struct err err, again;
	struct pgerr back;
	struct writer w;
	pgerr_to_err(e, &err);
	writer_init_grow(&w);
	pgerr_write(&w, 'E', pgerr_is_fatal(e) ? "FATAL" : "ERROR", &err);
	CHECK(pgerr_read(slice_skip(writer_slice(&w), 5), &back));
	pgerr_to_err(&back, &again);
	CHECK(strcmp(err.text, again.text) == 0 && strcmp(err.sqlstate, again.sqlstate) == 0);
	CHECK(strcmp(err.detail, again.detail) == 0 && strcmp(err.hint, again.hint) == 0);
	writer_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pgerr e, head;
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	bool is_whole = pgerr_read(slice_of(copy, size), &e);
	bool has_head = pgerr_read_head(slice_of(copy, size), &head);
	if (is_whole) {
		CHECK(has_head == (e.severity.len > 0) && e.sqlstate.len == 5);
		write_and_read_again(&e);
	}
	free(copy);
	return 0;
}
