/*
 * A server that says anything.  Byte 0: how we log in (bit 0 password, bit 1 keys), how the bytes are cut (bits 2, 3), and whether '@' in what
 * follows becomes our nonce (bit 4), without which no fuzzer gets past the server's first SASL message.  The rest is what the server says; with
 * bit 4 it is a list of messages with one byte of length each.
 * Holds: never more taken than shown, done exactly when ready is said, bounds kept, nothing leaked.
 */
#include "base/hash.h"
#include "base/log.h"
#include "upstream/login.h"

static enum login_verdict feed(struct login *l, struct slice all, size_t step)
{
	uint8_t answer[2 * SCRAM_TEXT_MAX + 64];
	size_t from = 0, to = 0, taken;
	enum login_verdict verdict = LOGIN_MORE;
	while (to < all.len && verdict == LOGIN_MORE) {
		struct err err = { 0 };
		struct writer out;
		to = all.len - to < step ? all.len : to + step;
		writer_init(&out, answer, sizeof answer);
		verdict = login_read(l, slice_of(all.at + from, to - from), &taken, &out, &err);
		ASSERT(taken <= to - from);
		ASSERT(verdict != LOGIN_FAILED || err.sqlstate[0]);
		ASSERT((verdict == LOGIN_READY) == (l->state == LOGIN_DONE));
		from += taken; /* LOGIN_BUSY ends it, too: nobody waits for ten million hashes here */
	}
	ASSERT(l->taken <= LOGIN_TOTAL_MAX && settings_len(l->reported) <= LOGIN_PARAMETERS_MAX + 1);
	return verdict;
}

/* type, length, body: '@' in the body is our nonce. */
static enum login_verdict feed_messages(struct login *l, struct slice in, size_t step)
{
	enum login_verdict verdict = LOGIN_MORE;
	while (in.len > 2 && verdict == LOGIN_MORE) {
		uint8_t space[65536];
		struct writer w;
		size_t n = in.at[1] < in.len - 2 ? in.at[1] : in.len - 2;
		writer_init(&w, space, sizeof space);
		writer_begin(&w, in.at[0]);
		for (size_t i = 0; i < n; i++)
			if (in.at[2 + i] == '@')
				writer_bytes(&w, slice_text(l->scram.nonce));
			else
				writer_u8(&w, in.at[2 + i]);
		writer_end(&w);
		verdict = feed(l, writer_slice(&w), step);
		in = slice_skip(in, 2 + n);
	}
	return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct upstream_keys keys = { .has_scram = true,
		                                       .client_key = { 1 },
		                                       .secret = { .iterations = 4096, .salt_len = 16 } };
	static const size_t steps[] = { 1, 7, 64, SIZE_MAX };
	static struct settings_table *table;
	struct login l;
	if (!table) {
		hash_init_key((const uint8_t *)"0123456789abcdef");
		table = settings_table_new();
	}
	if (size == 0)
		return 0;
	bool has_nonce = data[0] & 16;
	const struct login_who who = {
		.user = "u", .database = "d", .password = data[0] & 1 ? "p" : NULL, .keys = data[0] & 2 ? &keys : NULL
	};
	login_init(&l, &who, table, NULL);
	if (has_nonce)
		feed_messages(&l, slice_of(data + 1, size - 1), steps[data[0] >> 2 & 3]);
	else
		feed(&l, slice_of(data + 1, size - 1), steps[data[0] >> 2 & 3]);
	login_fini(&l);
	return 0;
}
