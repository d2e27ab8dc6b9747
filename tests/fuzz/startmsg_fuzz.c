/* The first packet of a connection; what was read is walked, negotiated, and its options are split. */
#include "wire/startmsg.h"

#include "fuzz.h"

static bool see(void *arg, struct slice name, struct slice value, struct err *err)
{
	size_t *total = arg;
	*total += name.len + value.len;
	return true;
}

static void use_startup(const struct startmsg *m)
{
	struct slice rest = m->params, name, value;
	struct writer w;
	struct err err;
	size_t total = 0, n = 0;
	while (startmsg_param(&rest, &name, &value)) {
		n++;
		total += name.len + value.len + 2;
		CHECK(name.at[name.len] == 0 && value.at[value.len] == 0);
	}
	CHECK(total == m->params.len);
	struct slice options = startmsg_find(m, "options");
	total = 0;
	if (options.at && startmsg_each_option(options, see, &total, &err))
		CHECK(total <= options.len);
	writer_init_grow(&w);
	startmsg_write_negotiation(&w, m, 2);
	CHECK(writer_ok(&w) && (n > 0 || writer_slice(&w).len == 13));
	writer_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct startmsg m;
	struct err err = { 0 };
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	enum startmsg_result is = startmsg_read(slice_of(copy, size), &m, &err);
	if (is == STARTMSG_BAD)
		CHECK(err.text[0] && strlen(err.sqlstate) == 5);
	if (is == STARTMSG_OK) {
		CHECK(m.size <= size);
		if (m.kind == STARTMSG_STARTUP)
			use_startup(&m);
		if (m.kind == STARTMSG_CANCEL)
			CHECK(m.key.len >= 4 && m.key.len <= STARTMSG_KEY_MAX);
	}
	/* The same bytes as an options text. */
	size_t total = 0;
	if (startmsg_each_option(slice_of(copy, size), see, &total, &err))
		CHECK(total <= size);
	free(copy);
	return 0;
}
