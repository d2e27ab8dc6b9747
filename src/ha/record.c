/*
 * record — see the header: how it changes.  As text: recordtext.c.
 *
 * Always: nothing is longer than its place;  there are steps of hooks only while an operation is under way.
 */
#include "ha/record.h"

#include <stdio.h>
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

/* Of those that are recorded: where a restart finds it. */
static enum operation_step first_step(enum operation_kind kind)
{
	if (kind == OPERATION_FAILOVER)
		return STEP_CONFIRM;
	return kind == OPERATION_SWITCHOVER || kind == OPERATION_DRAIN ? STEP_DRAIN : STEP_WORK;
}

void record_open(struct record *r, enum operation_kind kind, const char *source, const char *why, uint64_t now_s)
{
	ASSERT(!r->op.id);
	r->op = (struct record_operation){ .id = ++r->last_id, .epoch = r->epoch, .kind = kind, .began_s = now_s };
	r->op.step = first_step(kind);
	snprintf(r->op.source, sizeof r->op.source, "%s", source);
	snprintf(r->op.why, sizeof r->op.why, "%s", why);
}

bool record_next_step(const struct record *r, size_t *at, const char **key, const char **value)
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
	for (size_t at = 0; record_next_step(r, &at, &is, &value);)
		if (strcmp(is, key) == 0)
			return value;
	return NULL;
}

bool record_has_room(const struct record *r, const char *key, const char *value)
{
	size_t of_key = strlen(key) + 1, of_value = strlen(value) + 1, n = 0;
	const char *other, *its;
	for (size_t at = 0; record_next_step(r, &at, &other, &its);)
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
