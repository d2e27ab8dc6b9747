/*
 * news — two records, and what a policy wants to hear of how the one became the other: operations, nodes that are kept away, maintenance.
 *
 * Who is primary is no news of these: policies hear of that when statements run there (hooks_on_publish()).
 */
#include "ha/news.h"

#include <string.h>

typedef void (*tell_fn)(void *arg, const struct hook_event *e);

static void tell_began(const struct record *is, tell_fn fn, void *arg)
{
	const struct record_operation *op = &is->op;
	const struct hook_event e = {
		.name = "operation_began", .node = op->source, .id = op->id, .kind = operation_kind_word(op->kind), .reason = op->why
	};
	fn(arg, &e);
}

static void tell_ended(const struct record *is, const struct record_operation *op, tell_fn fn, void *arg)
{
	const struct hook_event e = { .name = "operation_ended",
		                          .node = is->primary,
		                          .old = op->source,
		                          .id = op->id,
		                          .kind = operation_kind_word(op->kind),
		                          .outcome = operation_end_word(op->end),
		                          .reason = op->why };
	fn(arg, &e);
}

static void compare_operations(const struct record *was, const struct record *is, tell_fn fn, void *arg)
{
	bool has_ended = was->op.id && was->op.id != is->op.id;
	for (size_t i = 0; i < is->n_past && has_ended; i++)
		if (is->past[i].id == was->op.id)
			tell_ended(is, &is->past[i], fn, arg);
	if (is->op.id && is->op.id != was->op.id)
		tell_began(is, fn, arg);
}

static unsigned flags_of(const struct record *r, const char *name)
{
	const struct record_node *n = record_node(r, name);
	return n ? n->flags : 0;
}

static void compare_flag(const struct record *was, const struct record_node *is, unsigned flag, const char *name, tell_fn fn,
                         void *arg)
{
	if (is->flags & flag && !(flags_of(was, is->name) & flag))
		fn(arg, &(struct hook_event){ .name = name, .node = is->name, .reason = is->why });
}

static void compare_cleared(const struct record_node *was, const struct record *is, unsigned flag, const char *name, tell_fn fn,
                            void *arg)
{
	if (was->flags & flag && !(flags_of(is, was->name) & flag))
		fn(arg, &(struct hook_event){ .name = name, .node = was->name });
}

static void compare_nodes(const struct record *was, const struct record *is, tell_fn fn, void *arg)
{
	for (size_t i = 0; i < is->n_nodes; i++) {
		compare_flag(was, &is->nodes[i], RECORD_QUARANTINED, "node_quarantined", fn, arg);
		compare_flag(was, &is->nodes[i], RECORD_DETACHED, "node_detached", fn, arg);
	}
	for (size_t i = 0; i < was->n_nodes; i++) {
		compare_cleared(&was->nodes[i], is, RECORD_QUARANTINED, "node_released", fn, arg);
		compare_cleared(&was->nodes[i], is, RECORD_DETACHED, "node_attached", fn, arg);
	}
}

void news_tell(const struct record *was, const struct record *is, tell_fn fn, void *arg)
{
	compare_operations(was, is, fn, arg);
	compare_nodes(was, is, fn, arg);
	if (was->is_paused != is->is_paused)
		fn(arg, &(struct hook_event){ .name = is->is_paused ? "maintenance_on" : "maintenance_off" });
}
