/*
 * recordread — a record from its text, which recordtext.c describes: also from one that an older or a newer version wrote.
 *
 * A line is told by its first word; its keys are looked up in tables of fields, which say where the value belongs.
 *
 * Always: of what is strange or damaged nothing is used;  a text that no version wrote is never taken for one.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "ha/record.h"

/* Latches: after the first thing that is not as it should be nothing is read any more. */
struct in {
	struct slice rest;
	unsigned line;
	bool is_bad, is_strange; /* strange is bad, too */
	char unknown[64];        /* a word of an operation that is not known here; "": none */
	struct err *err;
};

static PRINTF_LIKE(3, 4) void fail(struct in *in, bool is_strange, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	if (in->is_bad)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	in->is_bad = true;
	in->is_strange = is_strange;
	in->rest = slice_of(in->rest.at, 0);
	err_set(in->err, "F0000", "line %u: %s", in->line, text);
}

static void skip_blanks(struct in *in)
{
	while (in->rest.len && in->rest.at[0] == ' ')
		in->rest = slice_skip(in->rest, 1);
}

static struct slice next_word(struct in *in)
{
	size_t n = 0;
	skip_blanks(in);
	while (n < in->rest.len && in->rest.at[n] > ' ')
		n++;
	struct slice word = slice_of(in->rest.at, n);
	in->rest = slice_skip(in->rest, n);
	if (n == 0)
		fail(in, false, "a word is missing");
	return word;
}

static bool is_at_end(struct in *in)
{
	skip_blanks(in);
	return in->is_bad || !in->rest.len || in->rest.at[0] == '\n';
}

static void take_line_end(struct in *in)
{
	if (!is_at_end(in))
		fail(in, false, "there is more than there should be");
	else if (!in->is_bad && in->rest.len)
		in->rest = slice_skip(in->rest, 1);
	in->line++;
}

static uint64_t take_number(struct in *in, uint64_t most)
{
	uint64_t n = 0;
	struct slice w = next_word(in);
	for (size_t i = 0; i < w.len; i++)
		if (w.at[i] < '0' || w.at[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(w.at[i] - '0'), &n)) {
			fail(in, false, "a number is none");
			return 0;
		}
	if (n > most)
		fail(in, false, "a number is too large");
	return in->is_bad ? 0 : n;
}

static int nibble(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash; 0 is no character of a text. */
static uint8_t take_escape(struct in *in)
{
	int hi = in->rest.len > 1 ? nibble(in->rest.at[0]) : -1, lo = in->rest.len > 1 ? nibble(in->rest.at[1]) : -1;
	if (hi < 0 || lo < 0 || (hi | lo) == 0) {
		fail(in, false, "a text is none");
		return 0;
	}
	in->rest = slice_skip(in->rest, 2);
	return (uint8_t)(hi << 4 | lo);
}

static void take_text(struct in *in, char *out, size_t room)
{
	size_t len = 0;
	out[0] = 0;
	if (is_at_end(in) || in->rest.at[0] != '"') {
		fail(in, false, "a text is missing");
		return;
	}
	in->rest = slice_skip(in->rest, 1);
	while (in->rest.len && in->rest.at[0] != '"' && in->rest.at[0] >= ' ' && len + 1 < room) {
		uint8_t c = in->rest.at[0];
		in->rest = slice_skip(in->rest, 1);
		out[len++] = (char)(c == '\\' ? take_escape(in) : c);
	}
	out[len] = 0;
	if (!in->rest.len || in->rest.at[0] != '"')
		fail(in, false, "a text is cut off, or too long");
	else
		in->rest = slice_skip(in->rest, 1);
}

typedef const char *(*word_fn)(unsigned value);

static const char *word_of_kind(unsigned value)
{
	return operation_kind_word((enum operation_kind)value);
}

static const char *word_of_step(unsigned value)
{
	return operation_step_word((enum operation_step)value);
}

static const char *word_of_end(unsigned value)
{
	return operation_end_word((enum operation_end)value);
}

/* 0 is for one that is not known, too. */
static unsigned take_word_of(struct in *in, word_fn word_of, unsigned n)
{
	struct slice w = next_word(in);
	for (unsigned i = 0; i < n; i++)
		if (slice_equal(w, slice_text(word_of(i))))
			return i;
	if (!in->is_bad && !*in->unknown)
		snprintf(in->unknown, sizeof in->unknown, "%.*s", w.len < 40 ? (int)w.len : 40, (const char *)w.at);
	return 0;
}

/* An older version knew fewer steps, a newer one may know more. */
static void take_times(struct in *in, uint32_t at_ms[STEP_COUNT])
{
	for (unsigned i = STEP_NONE + 1; !is_at_end(in) && in->rest.at[0] >= '0' && in->rest.at[0] <= '9'; i++) {
		uint64_t ms = take_number(in, UINT32_MAX);
		if (i < STEP_COUNT)
			at_ms[i] = (uint32_t)ms;
	}
}

/* -- keys --------------------------------------------------------------------------------------------- */

enum field_kind { FIELD_NUMBER, FIELD_COUNT, FIELD_YES, FIELD_TEXT, FIELD_FLAGS, FIELD_KIND, FIELD_STEP, FIELD_END, FIELD_TIMES };
struct field {
	const char *key;
	enum field_kind kind;
	size_t at, room; /* in the struct */
	bool may_lack;
};
#define PLACE(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)
#define FIELD(type, member, key, kind)                \
	{                                                 \
		key, FIELD_##kind, PLACE(type, member), false \
	}
#define FIELD_LATER(type, member, key, kind)         \
	{                                                \
		key, FIELD_##kind, PLACE(type, member), true \
	} /* without it: 0 */

static const struct field of_cluster[] = {
	FIELD(record, cluster, "cluster", TEXT),
	FIELD(record, system_id, "system", NUMBER),
	FIELD(record, epoch, "epoch", NUMBER),
	FIELD(record, is_paused, "paused", YES),
	FIELD(record, last_id, "operations", NUMBER),
	FIELD(record, primary, "primary", TEXT),
	FIELD(record, timeline, "timeline", NUMBER),
	FIELD(record, switch_lsn, "switch", NUMBER),
	FIELD(record, sync, "sync", TEXT),
};
static const struct field of_node[] = {
	FIELD(record_node, flags, "flags", FLAGS),
	FIELD(record_node, alias, "alias", TEXT),
	FIELD(record_node, why, "why", TEXT),
};
static const struct field of_operation[] = {
	FIELD(record_operation, epoch, "epoch", NUMBER),
	FIELD(record_operation, kind, "kind", KIND),
	FIELD(record_operation, step, "step", STEP),
	FIELD(record_operation, end, "end", END),
	FIELD(record_operation, has_no_return, "noreturn", YES),
	FIELD_LATER(record_operation, allows_loss, "loss", YES), /* nobody has said so */
	FIELD(record_operation, attempt, "attempt", COUNT),
	FIELD(record_operation, source, "source", TEXT),
	FIELD(record_operation, target, "target", TEXT),
	FIELD_LATER(record_operation, reached, "reached", NUMBER), /* not known */
	FIELD(record_operation, began_s, "began", NUMBER),
	FIELD(record_operation, took_ms, "took", NUMBER),
	FIELD(record_operation, at_ms, "at", TIMES),
	FIELD(record_operation, why, "why", TEXT),
	FIELD(record_operation, judged, "judged", TEXT),
};

static unsigned take_flags(struct in *in)
{
	const unsigned known = RECORD_QUARANTINED | RECORD_DETACHED;
	unsigned flags = (unsigned)take_number(in, UINT32_MAX);
	if (flags & ~known)
		fail(in, true, "a node's flags %u are not known here", flags);
	return flags;
}

static void take_value(struct in *in, const struct field *f, void *to)
{
	void *at = (char *)to + f->at;
	switch (f->kind) {
	case FIELD_NUMBER:
		*(uint64_t *)at = take_number(in, UINT64_MAX);
		break;
	case FIELD_COUNT:
		*(unsigned *)at = (unsigned)take_number(in, UINT32_MAX);
		break;
	case FIELD_YES:
		*(bool *)at = take_number(in, UINT64_MAX) != 0;
		break;
	case FIELD_TEXT:
		take_text(in, at, f->room);
		break;
	case FIELD_FLAGS:
		*(unsigned *)at = take_flags(in);
		break;
	case FIELD_KIND:
		*(enum operation_kind *)at = (enum operation_kind)take_word_of(in, word_of_kind, OPERATION_KIND_COUNT);
		break;
	case FIELD_STEP:
		*(enum operation_step *)at = (enum operation_step)take_word_of(in, word_of_step, STEP_COUNT);
		break;
	case FIELD_END:
		*(enum operation_end *)at = (enum operation_end)take_word_of(in, word_of_end, END_COUNT);
		break;
	case FIELD_TIMES:
		take_times(in, at);
		break;
	}
}

/* The value of a key, or a line, that is not known here: \22 is a quote inside a text. */
static void pass_over(struct in *in)
{
	if (is_at_end(in) || in->rest.at[0] != '"') {
		next_word(in);
		return;
	}
	do
		in->rest = slice_skip(in->rest, 1);
	while (in->rest.len && in->rest.at[0] != '"' && in->rest.at[0] >= ' ');
	if (in->rest.len && in->rest.at[0] == '"')
		in->rest = slice_skip(in->rest, 1);
	else
		fail(in, false, "a text is cut off");
}

/* KEY is not one of ours. */
static void judge_stranger(struct in *in, struct slice key)
{
	if (key.len && key.at[0] == '!')
		fail(in, true, "\"%.*s\" is not known here, and changes what the rest means", key.len < 60 ? (int)key.len : 60,
		     (const char *)key.at);
	else if (!key.len || key.at[0] < 'a' || key.at[0] > 'z')
		fail(in, false, "a key is none");
}

static void take_field(struct in *in, const struct field *fields, unsigned n, void *to, uint32_t *seen)
{
	struct slice key = next_word(in);
	for (unsigned i = 0; i < n; i++)
		if (slice_equal(key, slice_text(fields[i].key))) {
			if (*seen >> i & 1)
				fail(in, false, "\"%s\" is there twice", fields[i].key);
			*seen |= UINT32_C(1) << i;
			take_value(in, &fields[i], to);
			return;
		}
	judge_stranger(in, key);
	pass_over(in);
}

static void take_fields(struct in *in, const struct field *fields, unsigned n, void *to, uint32_t *seen)
{
	while (!is_at_end(in))
		take_field(in, fields, n, to, seen);
}

static void want(struct in *in, const struct field *fields, unsigned n, uint32_t seen)
{
	for (unsigned i = 0; i < n; i++)
		if (!(seen >> i & 1) && !fields[i].may_lack)
			fail(in, false, "\"%s\" is missing", fields[i].key);
}

#define TAKE_FIELDS(in, fields, to, seen) take_fields(in, fields, ARRAY_LEN(fields), to, seen)
#define WANT_ALL(in, fields, seen) want(in, fields, ARRAY_LEN(fields), seen)

/* -- lines -------------------------------------------------------------------------------------------- */

static void take_operation(struct in *in, struct record_operation *op)
{
	uint32_t seen = 0;
	op->id = take_number(in, UINT64_MAX);
	TAKE_FIELDS(in, of_operation, op, &seen);
	WANT_ALL(in, of_operation, seen);
	take_line_end(in);
	if (!*in->unknown && (op->id == 0 || op->kind == OPERATION_NONE || op->step == STEP_NONE))
		fail(in, false, "an operation is none");
}

static void take_now(struct in *in, struct record *r)
{
	if (r->op.id)
		fail(in, false, "there is one operation too many");
	take_operation(in, &r->op);
	if (*in->unknown)
		fail(in, true, "an operation is under way, of which \"%s\" is not known here", in->unknown);
}

static void take_past(struct in *in, struct record *r)
{
	struct record_operation *op = &r->past[r->n_past];
	if (r->n_past == RECORD_PAST_MAX) {
		fail(in, false, "too many operations are over");
		return;
	}
	take_operation(in, op);
	r->n_past++;
	if (*in->unknown)
		r->past[--r->n_past] = (struct record_operation){ 0 };
	in->unknown[0] = 0;
}

static void take_node(struct in *in, struct record *r)
{
	uint32_t seen = 0;
	if (r->n_nodes == RECORD_NODES_MAX) {
		fail(in, false, "there are too many nodes");
		return;
	}
	struct record_node *n = &r->nodes[r->n_nodes++];
	take_text(in, n->name, sizeof n->name);
	TAKE_FIELDS(in, of_node, n, &seen);
	WANT_ALL(in, of_node, seen);
	take_line_end(in);
}

struct step {
	char key[RECORD_KEY_MAX], value[RECORD_VALUE_MAX];
};
static const struct field of_step[] = { FIELD(step, value, "value", TEXT) };

static void take_step(struct in *in, struct record *r)
{
	struct step step;
	uint32_t seen = 0;
	take_text(in, step.key, sizeof step.key);
	TAKE_FIELDS(in, of_step, &step, &seen);
	WANT_ALL(in, of_step, seen);
	take_line_end(in);
	if (!in->is_bad && !record_finish_step(r, step.key, step.value))
		fail(in, false, "a step is there twice, or of no operation");
}

static void take_version(struct in *in)
{
	uint64_t version;
	if (!slice_equal(next_word(in), slice_text("lunapool")) || !slice_equal(next_word(in), slice_text("record")))
		fail(in, false, "it is no record");
	version = take_number(in, UINT64_MAX);
	if (version != RECORD_VERSION)
		fail(in, version > RECORD_VERSION, "it is of version %" PRIu64 ", and this Lunapool knows %d", version, RECORD_VERSION);
	take_line_end(in);
}

/* A line without a word of its own is about the cluster. */
static void take_line(struct in *in, struct record *r, uint32_t *seen)
{
	struct in at_key = *in;
	struct slice key = next_word(in);
	if (slice_equal(key, slice_text("node")))
		take_node(in, r);
	else if (slice_equal(key, slice_text("now")))
		take_now(in, r);
	else if (slice_equal(key, slice_text("step")))
		take_step(in, r);
	else if (slice_equal(key, slice_text("past")))
		take_past(in, r);
	else {
		*in = at_key;
		TAKE_FIELDS(in, of_cluster, r, seen);
		take_line_end(in);
	}
}

static void take_all(struct in *in, struct record *r)
{
	uint32_t seen = 0;
	take_version(in);
	while (!in->is_bad && in->rest.len)
		take_line(in, r, &seen);
	WANT_ALL(in, of_cluster, seen);
}

/* The last line, without which the text was cut off; false: it is not there, or tells another sum. */
static bool is_whole(struct slice text, size_t *body)
{
	char last[16];
	const size_t len = strlen("end 00000000\n");
	if (text.len < len)
		return false;
	*body = text.len - len;
	snprintf(last, sizeof last, "end %08" PRIx32 "\n", record_sum(slice_of(text.at, *body)));
	return memcmp(text.at + *body, last, len) == 0;
}

bool record_read(struct record *out, struct slice text, bool *is_strange, struct err *err)
{
	size_t body = 0;
	*out = (struct record){ 0 };
	*is_strange = false;
	if (text.len == 0)
		return err_set(err, "F0000", "it is empty");
	if (text.len >= RECORD_TEXT_MAX || !is_whole(text, &body))
		return err_set(err, "F0000", "it was cut off or damaged: its checksum is wrong");
	struct in in = { .rest = slice_of(text.at, body), .line = 1, .err = err };
	take_all(&in, out);
	*is_strange = in.is_strange;
	return !in.is_bad;
}
