/*
 * guard — the rules.
 *
 * Synchronous replication: of N standbys K have each acknowledged commit, but nobody knows which K.  Whoever asks R of them meets at least one that has
 * it if R + K > N; the one of these R that is furthest has all of them.  So with fewer than N - K + 1 that answer nobody may, and those who are
 * behind the furthest may not either.  ("FIRST k" is "ANY k" here: who was first may have changed just before.)
 *
 * Always: a node that may be primary has every rule's consent;  the order is a total one, the same on every machine.
 */
#include "ha/guard.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"

/* -- synchronous_standby_names ------------------------------------------------------------------------ */

static void skip_space(const char **at)
{
	while (isspace((unsigned char)**at))
		++*at;
}

/* Words keep their case when they stand in quotes; standby names are compared without it anyway (syncrep.c: pg_strcasecmp). */
static bool read_name(const char **at, char *out, size_t room)
{
	bool is_quoted = **at == '"';
	size_t len = 0;
	*at += is_quoted;
	while (**at && (is_quoted ? **at != '"' || (*at)[1] == '"' : isalnum((unsigned char)**at) || strchr("_$*.-", **at))) {
		*at += is_quoted && **at == '"';
		if (len + 1 == room)
			return false;
		out[len++] = *(*at)++;
	}
	out[len] = 0;
	if (is_quoted && *(*at)++ != '"')
		return false;
	skip_space(at);
	return len > 0;
}

static bool read_names(const char **at, struct guard_sync *out)
{
	do {
		skip_space(at);
		if (out->n == RECORD_NODES_MAX || !read_name(at, out->names[out->n], sizeof out->names[0]))
			return false;
		out->is_any |= strcmp(out->names[out->n], "*") == 0;
		out->n++;
	} while (**at == ',' && ++*at);
	return true;
}

/* Past "FIRST 2 (", "ANY 2 (" or "2 (" . */
static bool read_head(const char **at, unsigned *k)
{
	const char *p = *at;
	if (strncasecmp(p, "first", 5) == 0 || strncasecmp(p, "any", 3) == 0)
		p += tolower((unsigned char)*p) == 'f' ? 5 : 3;
	skip_space(&p);
	if (!isdigit((unsigned char)*p))
		return false;
	unsigned long n = strtoul(p, (char **)&p, 10);
	skip_space(&p);
	if (*p != '(' || n == 0 || n > 1000)
		return false;
	*k = (unsigned)n;
	*at = p + 1;
	return true;
}

bool guard_read_sync(const char *text, struct guard_sync *out)
{
	*out = (struct guard_sync){ .k = 1 };
	skip_space(&text);
	if (!*text)
		return true;
	bool has_head = read_head(&text, &out->k);
	if (!read_names(&text, out) || (has_head && *text++ != ')'))
		return false;
	skip_space(&text);
	return *text == 0;
}

static bool is_named(const struct guard_sync *sync, const struct guard_node *n)
{
	for (unsigned i = 0; i < sync->n; i++)
		if (strcasecmp(sync->names[i], n->alias) == 0)
			return *n->alias != 0;
	return sync->is_any;
}

/* -- rules ------------------------------------------------------------------------------------------- */

static PRINTF_LIKE(2, 3) bool refuse(struct guard_verdict *v, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(v->why, sizeof v->why, fmt, ap);
	va_end(ap);
	v->may = false;
	return false;
}

static bool is_sound(const struct guard_view *view, const struct guard_node *n, struct guard_verdict *v)
{
	const struct record *r = view->record;
	const struct record_node *said = record_node(r, n->name);
	if (strcmp(n->name, r->primary) == 0)
		return refuse(v, "it is the primary that is to be replaced");
	if (said && said->flags & RECORD_QUARANTINED && !n->was_tried)
		return refuse(v, "it is %s: %.150s", said->flags & RECORD_DETACHED ? "detached" : "in quarantine", said->why);
	if (!n->has_answered)
		return refuse(v, "it does not answer");
	if (r->system_id && n->system_id && n->system_id != r->system_id)
		return refuse(v, "it is of another cluster: system identifier %" PRIu64, n->system_id);
	if (!n->in_recovery)
		return refuse(v, "it is not in recovery, and nobody has recorded it as primary");
	if (!n->timeline)
		return refuse(v, "its timeline is not known");
	if (n->timeline != r->timeline)
		return refuse(v, "it is on timeline %" PRIu64 ", the primary was on %" PRIu64, n->timeline, r->timeline);
	if (!n->received)
		return refuse(v, "how far it has come is not known");
	return true;
}

static bool is_forgiven(const struct guard_view *view, const struct guard_node *n)
{
	return view->forgiven && strcmp(view->forgiven, n->name) == 0;
}

/* Who is left out of the choice may yet have acknowledged commits. */
static bool may_be_primary(const struct guard_view *view, const struct guard_node *n, struct guard_verdict *v)
{
	const struct record_node *said = record_node(view->record, n->name);
	if (said && said->flags & RECORD_DETACHED)
		return refuse(v, "it is detached: %.150s", said->why);
	if (n->was_tried)
		return refuse(v, "it is in quarantine: %.150s", said->why);
	if (n->priority <= 0)
		return refuse(v, "its priority is 0");
	if (n->is_delayed && !is_forgiven(view, n))
		return refuse(v, "it replays with a delay on purpose (recovery_min_apply_delay)");
	return true;
}

static uint64_t loss_of(const struct guard_view *view, const struct guard_node *n)
{
	uint64_t since = (uint64_t)((double)view->written_per_s * ((double)view->written_age_us / (double)US_PER_S));
	uint64_t most = view->written ? view->written + since : 0;
	return most > n->received ? most - n->received : 0;
}

static bool loses_little(const struct guard_view *view, const struct guard_node *n, struct guard_verdict *v)
{
	uint64_t loss = loss_of(view, n);
	if (view->max_loss && loss > view->max_loss && !is_forgiven(view, n))
		return refuse(v, "about %" PRIu64 " bytes of WAL would be lost, and max_loss is %" PRIu64, loss, view->max_loss);
	if (loss)
		snprintf(v->why, sizeof v->why, "about %" PRIu64 " bytes of WAL may be lost", loss);
	return true;
}

struct quorum {
	bool is_asked, is_met;
	unsigned answered, needed;
	uint64_t floor; /* furthest of those who answered */
	int furthest;
};

static bool counts(const struct guard_view *view, const struct guard_node *n)
{
	struct guard_verdict ignored;
	return is_sound(view, n, &ignored);
}

static struct quorum ask_quorum(const struct guard_view *view, const struct guard_sync *sync)
{
	unsigned n = sync->is_any ? (unsigned)view->n_nodes - 1 : sync->n;
	struct quorum q = { .is_asked = true, .needed = n >= sync->k ? n - sync->k + 1 : 1 };
	for (size_t i = 0; i < view->n_nodes; i++) {
		const struct guard_node *node = &view->nodes[i];
		if (!is_named(sync, node) || !counts(view, node))
			continue;
		q.answered++;
		if (node->received > q.floor) {
			q.floor = node->received;
			q.furthest = (int)i;
		}
	}
	q.is_met = q.answered >= q.needed;
	return q;
}

static struct quorum quorum_of(const struct guard_view *view)
{
	struct guard_sync sync;
	if (!guard_read_sync(view->record->sync, &sync))
		return (struct quorum){ .is_asked = true, .needed = (unsigned)view->n_nodes };
	return sync.n ? ask_quorum(view, &sync) : (struct quorum){ .is_met = true };
}

static bool has_what_was_acknowledged(const struct guard_view *view, const struct quorum *q, const struct guard_node *n,
                                      struct guard_verdict *v)
{
	bool lacks = !q->is_met || n->received < q->floor;
	if (lacks && is_forgiven(view, n)) {
		snprintf(v->why, sizeof v->why, "commits that were acknowledged may be lost");
		return true;
	}
	if (!q->is_met)
		return refuse(v, "commits that were acknowledged may be on synchronous standbys that do not answer: %u of %u needed do",
		              q->answered, q->needed);
	if (n->received >= q->floor)
		return true;
	v->source = q->furthest;
	return refuse(v, "it is %" PRIu64 " bytes behind a synchronous standby, which may have acknowledged them",
	              q->floor - n->received);
}

/* -- order ------------------------------------------------------------------------------------------- */

static bool is_better(const struct guard_node *a, const struct guard_node *b)
{
	if (a->received != b->received)
		return a->received > b->received;
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return strcmp(a->name, b->name) < 0;
}

static void insert(const struct guard_view *view, size_t *order, size_t n, size_t at)
{
	while (n > 0 && is_better(&view->nodes[at], &view->nodes[order[n - 1]])) {
		order[n] = order[n - 1];
		n--;
	}
	order[n] = at;
}

size_t guard_judge(const struct guard_view *view, struct guard_verdict *verdicts, size_t *order)
{
	struct quorum q = quorum_of(view);
	size_t n = 0;
	for (size_t i = 0; i < view->n_nodes; i++) {
		struct guard_verdict *v = &verdicts[i];
		*v = (struct guard_verdict){ .may = true, .source = -1 };
		if (is_sound(view, &view->nodes[i], v) && may_be_primary(view, &view->nodes[i], v) &&
		    has_what_was_acknowledged(view, &q, &view->nodes[i], v) && (q.is_asked || loses_little(view, &view->nodes[i], v)))
			insert(view, order, n++, i);
	}
	return n;
}
