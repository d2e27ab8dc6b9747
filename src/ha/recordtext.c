/*
 * recordtext — a record as text that people can read (back: recordread.c):
 *
 *   lunapool record 1
 *    cluster "main" system 7312… epoch 4 paused 0 operations 17
 *    primary "pg2" timeline 2 switch 50331816 sync "ANY 1 (pg2, pg3)"
 *    node "pg1" flags 1 alias "pg1" why "a failover began in epoch 3"
 *    now 17 epoch 3 kind failover step promote end - noreturn 1 loss 0 attempt 1 source "pg1" target "pg2" began 1790000000 took 0
 *      at 0 12 0 … why "…" judged "…"        (one line)
 *    step "promote pg2 backup" value "…"   what a hook of it has finished
 *    past 16 …
 *   end 1a2b3c4d
 *
 * The last line has the CRC-32C of all before it.  A text in quotes has \xx for what would confuse.
 *
 * Lines are keys with a value each, in any order: a number, a word, or a text; `at` has a number for each step.  Other versions write others:
 *   an older one   lacks keys.  Those that came later have a default, FIELD_LATER there; without one of the others a record is damaged.
 *   a newer one    has more keys and kinds of lines.  They are passed over, and not written again, unless they begin with `!`: that is for what
 *                  changes the meaning of others.  Then the record is strange, as with another number in its first line, and with a kind, step
 *                  or flag that is not known here, where it still matters.  Of an operation that is over it does not: that is left out.
 * A strange record is not damaged: whoever cannot read it leaves it as it is, and does nothing in its stead.
 *
 * Always: record_read() of what record_write() made gives the same value;  nothing is longer than its place.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "ha/record.h"

uint32_t record_sum(struct slice s)
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
	    operation_kind_word(op->kind), operation_step_word(op->step), operation_end_word(op->end), op->has_no_return,
	    op->allows_loss, op->attempt);
	put_text(o, "source", op->source);
	put_text(o, "target", op->target);
	put(o, " reached %" PRIu64 " began %" PRIu64 " took %" PRIu64, op->reached, op->began_s, op->took_ms);
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
	put(&o, "lunapool record %d\n", RECORD_VERSION);
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
	for (size_t at = 0; r->op.id && record_next_step(r, &at, &key, &value);)
		put_step(&o, key, value);
	for (size_t i = 0; i < r->n_past; i++)
		put_operation(&o, " past", &r->past[i]);
	put(&o, "end %08" PRIx32 "\n", record_sum(slice_of(o.at, o.len)));
	return o.len;
}
