/*
 * Frames of both sides, and the reply queue behind them.  Input: a byte that says who speaks (and for the client, with which fate), a frame, and so
 * on.  A client's frame is pushed, a server's is judged; every entry must end exactly once, and the counters must be those of the ring.
 */
#include "wire/frame.h"
#include "wire/replies.h"

#include "fuzz.h"

static uint32_t accepted, ended;

static void check_counters(const struct replies *q)
{
	uint32_t syncs = 0, doubtful = 0;
	for (uint32_t i = 0; i < q->len; i++) {
		const struct reply *e = &q->ring[(q->head + i) & (q->cap - 1)];
		bool is_answered = e->kind == REPLY_SYNC || e->kind == REPLY_QUERY || e->kind == REPLY_FUNCTION;
		syncs += is_answered && e->fate != REPLY_LOCAL;
		doubtful += e->kind == REPLY_SYNC_DOUBTFUL;
	}
	CHECK(syncs == q->syncs && doubtful == q->doubtful);
	CHECK(q->len <= q->cap && (q->cap & (q->cap - 1)) == 0);
}

static void drain(struct replies *q)
{
	struct reply e;
	bool again = true;
	while (again) {
		again = false;
		while (replies_skipped(q, &e))
			ended++;
		while (replies_local(q, &e)) {
			ended++;
			again = true;
		}
	}
	check_counters(q);
}

static void clear(struct replies *q)
{
	struct reply e;
	while (replies_clear(q, &e))
		ended++;
	CHECK(accepted == ended && q->syncs == 0 && q->doubtful == 0);
}

static int kind_of(const struct frame *f)
{
	switch (f->type) {
	case 'P':
		return REPLY_PARSE;
	case 'B':
		return REPLY_BIND;
	case 'D':
		return f->body.at[0] == 'S' ? REPLY_DESCRIBE_STATEMENT : REPLY_DESCRIBE_PORTAL;
	case 'E':
		return REPLY_EXECUTE;
	case 'C':
		return REPLY_CLOSE;
	case 'S':
		return REPLY_SYNC;
	case 'Q':
		return REPLY_QUERY;
	case 'F':
		return REPLY_FUNCTION;
	case 'c':
	case 'f':
		return REPLY_COPY_END;
	}
	return -1;
}

static void from_client(struct replies *q, const struct frame *f, uint8_t how)
{
	int kind = kind_of(f);
	if (kind < 0)
		return;
	bool is_in =
	    replies_push(q, (struct reply){ .kind = (uint8_t)kind, .fate = kind == REPLY_COPY_END ? 0 : (uint8_t)(how >> 1) % 3 });
	accepted += is_in && kind != REPLY_COPY_END;
	drain(q);
}

static void from_server(struct replies *q, const struct frame *f)
{
	struct reply e;
	switch (replies_on_message(q, f->type, &e)) {
	case REPLY_DONE:
	case REPLY_FAILED:
		ended++;
		break;
	case REPLY_UNEXPECTED:
		clear(q);
		break;
	case REPLY_PART:
	case REPLY_ASYNC:
		break;
	}
	drain(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct replies q = { 0 };
	struct slice in = slice_of(data, size);
	accepted = ended = 0;
	while (in.len > 0) {
		uint8_t how = in.at[0];
		struct frame f;
		in = slice_skip(in, 1);
		enum frame_side side = how & 1 ? FRAME_FROM_SERVER : FRAME_FROM_CLIENT;
		if (frame_next(in, side, &f) != FRAME_OK || !frame_is_whole(&f))
			break;
		CHECK(frame_size(&f) <= in.len && frame_name(side, f.type)[0] != '?');
		if (side == FRAME_FROM_CLIENT)
			from_client(&q, &f, how);
		else
			from_server(&q, &f);
		in = slice_skip(in, frame_size(&f));
	}
	clear(&q);
	replies_fini(&q);
	return 0;
}
