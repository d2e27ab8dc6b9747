/* Any messages to the console, each its type and what stands before the next 0xff: each is answered with whole messages, and the conversation lives. */
#include "../../src/admin/priv.h"
#include "base/hash.h"
#include "fuzz.h"
#include "memfile.h"
#include "wire/reader.h"

static struct console console;
static struct memfile file, rules;

/* An empty world with one configuration; nobody takes letters, so an order or a survey is refused on its way. */
static void make_world(void)
{
	static const char text[] =
	    "auth { hba_file = \"%s\" }\ncluster \"main\" { node \"n\" { host = \"h\" } }\ndatabase \"shop\" { }\n";
	struct conf_errors errors = { 0 };
	char whole[256];
	hash_init();
	int len = snprintf(whole, sizeof whole, text, memfile(&rules, "local all all trust\n", 20));
	struct conf *conf = conf_load(memfile(&file, whole, (size_t)len), &errors);
	CHECK(conf);
	console = (struct console){ .topo = topo_build(conf, NULL), .pool_registry = pool_registry_new(1), .n_workers = 1 };
	console.session_registry = session_registry_new(1);
	console.shared = consoles_new(1, console.pool_registry);
}

static void check_answer(struct writer *w)
{
	struct reader r;
	CHECK(writer_ok(w));
	reader_init(&r, writer_slice(w));
	while (reader_left(&r)) {
		CHECK(strchr("123CDEINTZnst", reader_u8(&r)));
		uint32_t len = reader_u32(&r);
		CHECK(len >= 4);
		reader_bytes(&r, len - 4);
	}
	CHECK(reader_ok(&r));
	writer_fini(w);
}

/* False: the conversation is over, or waits for a letter that will not come. */
static bool tell(const struct session_console *ops, void *talk, const struct frame *f)
{
	struct writer w;
	writer_init_grow(&w);
	enum console_next next = ops->take(talk, f, &w);
	check_answer(&w);
	while (next == CONSOLE_MORE) {
		writer_init_grow(&w);
		next = ops->more(talk, &w);
		check_answer(&w);
	}
	return next == CONSOLE_READ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size);
	struct err err;
	if (!console.topo)
		make_world();
	struct session_console ops = console_for_sessions(&console);
	void *talk = ops.begin(ops.arg, "owner", true, &(struct console_place){ 0 }, &err);
	CHECK(talk);
	for (bool goes_on = true; goes_on && rest.len;) {
		struct slice part = fuzz_part(&rest);
		if (!part.len)
			continue;
		struct slice body = slice_skip(part, 1);
		uint8_t *copy = fuzz_copy(body);
		struct frame f = { .type = part.at[0], .body_len = (uint32_t)body.len, .body = slice_of(copy, body.len) };
		goes_on = tell(&ops, talk, &f);
		free(copy);
	}
	ops.cancel(talk);
	ops.end(talk);
	return 0;
}
