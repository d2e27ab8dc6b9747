/* What a Lunapool (or whatever sits at its socket) answers to `lunapool ctl`: each message, and the whole in each style; JSON is JSON. */
#include <jansson.h>

#include "admin/printout.h"
#include "fuzz.h"

static void print(const struct printout *p, enum printout_style style)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	CHECK(to);
	printout_print(p, style, to);
	fclose(to);
	CHECK(len > 0 && text[len - 1] == '\n');
	if (style == PRINTOUT_JSON) {
		json_t *read = json_loads(text, 0, NULL);
		CHECK(read && (p->n_columns ? json_array_size(read) == p->n_rows : json_is_object(read)));
		json_decref(read);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	struct slice rest = slice_of(copy, size);
	struct printout p;
	struct frame f;
	printout_init(&p);
	while (frame_next(rest, FRAME_FROM_SERVER, &f) == FRAME_OK && frame_is_whole(&f) && printout_take(&p, &f))
		rest = slice_skip(rest, frame_size(&f));
	for (enum printout_style style = PRINTOUT_LINES; style <= PRINTOUT_JSON; style++)
		print(&p, style);
	printout_fini(&p);
	free(copy);
	return 0;
}
