/*
 * record — the text:
 *
 *   lunapool record 1
 *   cluster "main" system 7312… epoch 4 paused 0 operations 17
 *   primary "pg2" timeline 2 switch 50331816 sync "ANY 1 (pg2, pg3)"
 *   node "pg1" flags 1 alias "pg1" why "a failover began in epoch 3"
 *   now 17 epoch 3 kind failover step promote end - noreturn 1 loss 0 attempt 1 source "pg1" target "pg2" began 1790000000 took 0
 *     at 0 12 0 … why "…" judged "…"        (one line)
 *   step "promote pg2 backup" value "…"   what a hook of it has finished
 *   past 16 …
 *   end 1a2b3c4d
 *
 * The last line has the CRC-32C of all before it.  A text in quotes has \xx for what would confuse.
 *
 * Always: record_read() of what record_write() made gives the same value;  nothing is longer than its place.
 */
#include "ha/record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define WORD_OF(id, word, ...) word,
static const char *const kinds[] = { "-", OPERATION_KINDS(WORD_OF) };
static const char *const steps[] = { "-", OPERATION_STEPS(WORD_OF) };
static const char *const ends[] = { "-", OPERATION_ENDS(WORD_OF) };

const char *operation_kind_word(enum operation_kind kind)
{
	return kinds[kind];
}

const char *operation_step_word(enum operation_step step)
{
	return steps[step];
}

const char *operation_end_word(enum operation_end end)
{
	return ends[end];
}

/* -- changing ---------------------------------------------------------------------------------------- */

static struct record_node *find(const struct record *r, const char *name)
{
	for (size_t i = 0; i < r->n_nodes; i++)
		if (strcmp(r->nodes[i].name, name) == 0)
			return (struct record_node *)&r->nodes[i];
	return NULL;
}

static struct record_node *find_or_add(struct record *r, const char *name)
{
	struct record_node *n = find(r, name);
	if (n || r->n_nodes == RECORD_NODES_MAX || strlen(name) >= sizeof n->name)
		return n;
	n = &r->nodes[r->n_nodes++];
	*n = (struct record_node){ 0 };
	snprintf(n->name, sizeof n->name, "%s", name);
	return n;
}

static void drop_if_empty(struct record *r, struct record_node *n)
{
	if (!n->flags && !*n->alias)
		*n = r->nodes[--r->n_nodes];
}

const struct record_node *record_node(const struct record *r, const char *name)
{
	return find(r, name);
}

bool record_is_barred(const struct record *r, const char *name)
{
	const struct record_node *n = find(r, name);
	return n && n->flags;
}

bool record_flag(struct record *r, const char *name, unsigned set, unsigned clear, const char *why)
{
	struct record_node *n = set ? find_or_add(r, name) : find(r, name);
	if (!n)
		return !set;
	n->flags = (n->flags & ~clear) | set;
	if (set)
		snprintf(n->why, sizeof n->why, "%s", why);
	else if (!n->flags)
		n->why[0] = 0;
	drop_if_empty(r, n);
	return true;
}

bool record_alias(struct record *r, const char *name, const char *alias)
{
	struct record_node *n = *alias ? find_or_add(r, name) : find(r, name);
	if (!n || strcmp(n->alias, alias) == 0)
		return false;
	snprintf(n->alias, sizeof n->alias, "%s", alias);
	drop_if_empty(r, n);
	return true;
}

void record_close(struct record *r, enum operation_end end, const char *why, uint64_t took_ms)
{
	if (!r->op.id)
		return;
	r->steps_len = 0;
	size_t kept = r->n_past < RECORD_PAST_MAX ? r->n_past : RECORD_PAST_MAX - 1;
	memmove(&r->past[1], &r->past[0], kept * sizeof r->past[0]);
	r->n_past = kept + 1;
	r->past[0] = r->op;
	r->past[0].end = end;
	r->past[0].took_ms = took_ms;
	if (*why)
		snprintf(r->past[0].why, sizeof r->past[0].why, "%s", why);
	r->op = (struct record_operation){ 0 };
}

void record_open(struct record *r, enum operation_kind kind, const char *source, const char *why, uint64_t now_s)
{
	ASSERT(!r->op.id);
	r->op =
	    (struct record_operation){ .id = ++r->last_id, .epoch = r->epoch, .kind = kind, .step = STEP_CONFIRM, .began_s = now_s };
	snprintf(r->op.source, sizeof r->op.source, "%s", source);
	snprintf(r->op.why, sizeof r->op.why, "%s", why);
}

/* The entry behind AT; false: there is none. */
static bool next_step(const struct record *r, size_t *at, const char **key, const char **value)
{
	if (*at >= r->steps_len)
		return false;
	*key = r->steps + *at;
	*value = *key + strlen(*key) + 1;
	*at = (size_t)(*value - r->steps) + strlen(*value) + 1;
	return true;
}

const char *record_step(const struct record *r, const char *key)
{
	const char *is, *value;
	for (size_t at = 0; next_step(r, &at, &is, &value);)
		if (strcmp(is, key) == 0)
			return value;
	return NULL;
}

bool record_has_room(const struct record *r, const char *key, const char *value)
{
	size_t of_key = strlen(key) + 1, of_value = strlen(value) + 1, n = 0;
	const char *other, *its;
	for (size_t at = 0; next_step(r, &at, &other, &its);)
		n++;
	return r->op.id && n < RECORD_STEPS_N_MAX && of_key <= RECORD_KEY_MAX && of_value <= RECORD_VALUE_MAX &&
	       of_key + of_value <= sizeof r->steps - r->steps_len;
}

bool record_finish_step(struct record *r, const char *key, const char *value)
{
	size_t of_key = strlen(key) + 1, of_value = strlen(value) + 1;
	if (record_step(r, key) || !record_has_room(r, key, value))
		return false;
	memcpy(r->steps + r->steps_len, key, of_key);
	memcpy(r->steps + r->steps_len + of_key, value, of_value);
	r->steps_len += of_key + of_value;
	return true;
}

/* -- writing ----------------------------------------------------------------------------------------- */

static uint32_t crc32c(struct slice s)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < s.len; i++) {
		crc ^= s.at[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & (0u - (crc & 1)));
	}
	return ~crc;
}

struct out {
	char *at;
	size_t len;
};

static PRINTF_LIKE(2, 3) void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(o->at + o->len, RECORD_TEXT_MAX - o->len, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0 && (size_t)n < RECORD_TEXT_MAX - o->len);
	o->len += (size_t)n;
}

static void put_text(struct out *o, const char *key, const char *text)
{
	put(o, " %s \"", key);
	for (const uint8_t *c = (const uint8_t *)text; *c; c++)
		if (*c < ' ' || *c == '"' || *c == '\\')
			put(o, "\\%02x", *c);
		else
			put(o, "%c", *c);
	put(o, "\"");
}

static void put_operation(struct out *o, const char *head, const struct record_operation *op)
{
	put(o, "%s %" PRIu64 " epoch %" PRIu64 " kind %s step %s end %s noreturn %d loss %d attempt %u", head, op->id, op->epoch,
	    kinds[op->kind], steps[op->step], ends[op->end], op->has_no_return, op->allows_loss, op->attempt);
	put_text(o, "source", op->source);
	put_text(o, "target", op->target);
	put(o, " began %" PRIu64 " took %" PRIu64, op->began_s, op->took_ms);
	for (unsigned i = STEP_NONE + 1; i < STEP_COUNT; i++)
		put(o, "%s%" PRIu32, i == STEP_NONE + 1 ? " at " : " ", op->at_ms[i]);
	put_text(o, "why", op->why);
	put_text(o, "judged", op->judged);
	put(o, "\n");
}

static void put_node(struct out *o, const struct record_node *n)
{
	put_text(o, "node", n->name);
	put(o, " flags %u", n->flags);
	put_text(o, "alias", n->alias);
	put_text(o, "why", n->why);
	put(o, "\n");
}

static void put_step(struct out *o, const char *key, const char *value)
{
	put_text(o, "step", key);
	put_text(o, "value", value);
	put(o, "\n");
}

size_t record_write(const struct record *r, char *out)
{
	struct out o = { .at = out };
	put(&o, "lunapool record 1\n");
	put_text(&o, "cluster", r->cluster);
	put(&o, " system %" PRIu64 " epoch %" PRIu64 " paused %d operations %" PRIu64 "\n", r->system_id, r->epoch, r->is_paused,
	    r->last_id);
	put_text(&o, "primary", r->primary);
	put(&o, " timeline %" PRIu64 " switch %" PRIu64, r->timeline, r->switch_lsn);
	put_text(&o, "sync", r->sync);
	put(&o, "\n");
	for (size_t i = 0; i < r->n_nodes; i++)
		put_node(&o, &r->nodes[i]);
	if (r->op.id)
		put_operation(&o, " now", &r->op);
	const char *key, *value;
	for (size_t at = 0; r->op.id && next_step(r, &at, &key, &value);)
		put_step(&o, key, value);
	for (size_t i = 0; i < r->n_past; i++)
		put_operation(&o, " past", &r->past[i]);
	put(&o, "end %08" PRIx32 "\n", crc32c(slice_of(o.at, o.len)));
	return o.len;
}

/* -- reading ----------------------------------------------------------------------------------------- */

/* Latches: after the first thing that is not as it should be nothing is read any more. */
struct in {
	struct slice rest;
	bool is_bad;
};

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
	in->is_bad |= n == 0;
	return word;
}

static void take_key(struct in *in, const char *key)
{
	if (!in->is_bad && !slice_equal(next_word(in), slice_text(key)))
		in->is_bad = true;
}

static bool is_next(struct in *in, const char *key)
{
	struct in ahead = *in;
	return !in->is_bad && slice_equal(next_word(&ahead), slice_text(key));
}

static void take_line_end(struct in *in)
{
	if (!in->is_bad && in->rest.len && in->rest.at[0] == '\n')
		in->rest = slice_skip(in->rest, 1);
	else
		in->is_bad = true;
}

static uint64_t take_number(struct in *in, const char *key)
{
	uint64_t n = 0;
	if (key)
		take_key(in, key);
	if (in->is_bad)
		return 0;
	struct slice w = next_word(in);
	for (size_t i = 0; i < w.len; i++)
		if (w.at[i] < '0' || w.at[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(w.at[i] - '0'), &n))
			in->is_bad = true;
	return in->is_bad ? 0 : n;
}

static unsigned take_word_of(struct in *in, const char *key, const char *const *words, unsigned n)
{
	take_key(in, key);
	if (in->is_bad)
		return 0;
	struct slice w = next_word(in);
	for (unsigned i = 0; i < n; i++)
		if (slice_equal(w, slice_text(words[i])))
			return i;
	in->is_bad = true;
	return 0;
}

static int nibble(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash; 0 is no character of a text. */
static uint8_t take_escape(struct in *in)
{
	int hi = in->rest.len > 1 ? nibble(in->rest.at[0]) : -1, lo = in->rest.len > 1 ? nibble(in->rest.at[1]) : -1;
	in->is_bad |= hi < 0 || lo < 0 || (hi | lo) == 0;
	if (in->is_bad)
		return 0;
	in->rest = slice_skip(in->rest, 2);
	return (uint8_t)(hi << 4 | lo);
}

static void take_text(struct in *in, const char *key, char *out, size_t room)
{
	size_t len = 0;
	take_key(in, key);
	skip_blanks(in);
	in->is_bad |= in->rest.len == 0 || in->rest.at[0] != '"';
	out[0] = 0;
	if (in->is_bad)
		return;
	in->rest = slice_skip(in->rest, 1);
	while (in->rest.len && in->rest.at[0] != '"' && in->rest.at[0] >= ' ' && len + 1 < room && !in->is_bad) {
		uint8_t c = in->rest.at[0];
		in->rest = slice_skip(in->rest, 1);
		out[len++] = (char)(c == '\\' ? take_escape(in) : c);
	}
	out[len] = 0;
	in->is_bad |= in->rest.len == 0 || in->rest.at[0] != '"';
	if (!in->is_bad)
		in->rest = slice_skip(in->rest, 1);
}

static void take_operation(struct in *in, const char *head, struct record_operation *op)
{
	take_key(in, head);
	op->id = take_number(in, NULL);
	op->epoch = take_number(in, "epoch");
	op->kind = (enum operation_kind)take_word_of(in, "kind", kinds, OPERATION_KIND_COUNT);
	op->step = (enum operation_step)take_word_of(in, "step", steps, STEP_COUNT);
	op->end = (enum operation_end)take_word_of(in, "end", ends, END_COUNT);
	op->has_no_return = take_number(in, "noreturn") != 0;
	op->allows_loss = take_number(in, "loss") != 0;
	op->attempt = (unsigned)take_number(in, "attempt");
	take_text(in, "source", op->source, sizeof op->source);
	take_text(in, "target", op->target, sizeof op->target);
	op->began_s = take_number(in, "began");
	op->took_ms = take_number(in, "took");
	for (unsigned i = STEP_NONE + 1; i < STEP_COUNT && !is_next(in, "why"); i++) /* an older version knew fewer */
		op->at_ms[i] = (uint32_t)take_number(in, i == STEP_NONE + 1 ? "at" : NULL);
	take_text(in, "why", op->why, sizeof op->why);
	take_text(in, "judged", op->judged, sizeof op->judged);
	take_line_end(in);
	in->is_bad |= op->id == 0 || op->kind == OPERATION_NONE || op->step == STEP_NONE;
}

static void take_node(struct in *in, struct record_node *n)
{
	take_text(in, "node", n->name, sizeof n->name);
	n->flags = (unsigned)take_number(in, "flags");
	take_text(in, "alias", n->alias, sizeof n->alias);
	take_text(in, "why", n->why, sizeof n->why);
	take_line_end(in);
	in->is_bad |= n->flags & ~(unsigned)(RECORD_QUARANTINED | RECORD_DETACHED);
}

static void take_step(struct in *in, struct record *r)
{
	char key[RECORD_KEY_MAX], value[RECORD_VALUE_MAX];
	take_text(in, "step", key, sizeof key);
	take_text(in, "value", value, sizeof value);
	take_line_end(in);
	in->is_bad = in->is_bad || !record_finish_step(r, key, value);
}

static void take_all(struct in *in, struct record *r)
{
	take_key(in, "lunapool");
	take_key(in, "record");
	in->is_bad |= take_number(in, NULL) != 1;
	take_line_end(in);
	take_text(in, "cluster", r->cluster, sizeof r->cluster);
	r->system_id = take_number(in, "system");
	r->epoch = take_number(in, "epoch");
	r->is_paused = take_number(in, "paused") != 0;
	r->last_id = take_number(in, "operations");
	take_line_end(in);
	take_text(in, "primary", r->primary, sizeof r->primary);
	r->timeline = take_number(in, "timeline");
	r->switch_lsn = take_number(in, "switch");
	take_text(in, "sync", r->sync, sizeof r->sync);
	take_line_end(in);
	while (is_next(in, "node") && r->n_nodes < RECORD_NODES_MAX)
		take_node(in, &r->nodes[r->n_nodes++]);
	if (is_next(in, "now"))
		take_operation(in, "now", &r->op);
	while (is_next(in, "step"))
		take_step(in, r);
	while (is_next(in, "past") && r->n_past < RECORD_PAST_MAX)
		take_operation(in, "past", &r->past[r->n_past++]);
}

/* The last line, without which the text was cut off; false: it is not there, or tells another sum. */
static bool is_whole(struct slice text, size_t *body)
{
	char last[16];
	const size_t len = strlen("end 00000000\n");
	if (text.len < len)
		return false;
	*body = text.len - len;
	snprintf(last, sizeof last, "end %08" PRIx32 "\n", crc32c(slice_of(text.at, *body)));
	return memcmp(text.at + *body, last, len) == 0;
}

bool record_read(struct record *out, struct slice text, struct err *err)
{
	size_t body = 0;
	*out = (struct record){ 0 };
	if (text.len == 0)
		return err_set(err, "F0000", "it is empty");
	if (text.len >= RECORD_TEXT_MAX || !is_whole(text, &body))
		return err_set(err, "F0000", "it was cut off or damaged: its checksum is wrong");
	struct in in = { .rest = slice_of(text.at, body) };
	take_all(&in, out);
	if (in.is_bad || in.rest.len)
		return err_set(err, "F0000", "it is written in a way that this version does not know");
	return true;
}
