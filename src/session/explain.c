/*
 * explain — EXPLAIN ROUTE <statement>: where it would run now, who says so, and what is known of each node.  Nothing is sent to a server.
 *
 * A Query of its own only; in a transaction, or with a pin, the answer is the server that the session has.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "policy/set.h"
#include "priv.h"

static struct slice skip_blanks(struct slice s)
{
	while (s.len && strchr(" \t\r\n\f", s.at[0]))
		s = slice_skip(s, 1);
	return s;
}

/* TEXT behind WORD and a blank; .at NULL: it begins otherwise. */
static struct slice behind_word(struct slice text, const char *word)
{
	size_t len = strlen(word);
	text = skip_blanks(text);
	if (text.len <= len || strncasecmp((const char *)text.at, word, len) != 0 || !strchr(" \t\r\n\f", text.at[len]))
		return slice_of(NULL, 0);
	return skip_blanks(slice_skip(text, len));
}

struct slice explain_route_of(struct slice text)
{
	struct slice rest = { NULL, 0 };
	if (!text.len || (text.at[0] != 'e' && text.at[0] != 'E' && text.at[0] > ' '))
		return rest;
	rest = behind_word(text, "explain");
	return rest.at ? behind_word(rest, "route") : rest;
}

static void line(struct writer *w, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void line(struct writer *w, const char *what, const char *fmt, ...)
{
	char value[600];
	va_list args;
	va_start(args, fmt);
	vsnprintf(value, sizeof value, fmt, args);
	va_end(args);
	writer_begin(w, 'D');
	writer_u16(w, 2);
	writer_u32(w, (uint32_t)strlen(what));
	writer_bytes(w, slice_text(what));
	writer_u32(w, (uint32_t)strlen(value));
	writer_bytes(w, slice_text(value));
	writer_end(w);
}

static void column(struct writer *w, const char *name)
{
	enum { TEXT_OID = 25 };
	writer_text(w, name);
	writer_u32(w, 0);
	writer_u16(w, 0);
	writer_u32(w, TEXT_OID);
	writer_u16(w, UINT16_MAX);
	writer_u32(w, UINT32_MAX);
	writer_u16(w, 0);
}

static const char *known(uint64_t value, uint64_t unit, const char *of, char out[32])
{
	if (value == PULSE_UNKNOWN)
		snprintf(out, 32, "unknown");
	else
		snprintf(out, 32, "%llu %s", (unsigned long long)(value / unit), of);
	return out;
}

static void node_line(struct writer *w, struct session *s, const struct topo_cluster *c, size_t at)
{
	char bytes[32], ms[32];
	const struct topo_node *n = &c->nodes[at];
	const char *why = pulse_why(n->pulse);
	if (c->primary == (int)at) {
		line(w, n->name, "primary, %u in flight", pulse_in_flight(n->pulse));
		return;
	}
	if (!pulse_is_fit(n->pulse))
		why = why ? why : "not known yet";
	else if (!floor_is_shown(s, c, n))
		why = "does not show yet what was written";
	else
		why = NULL;
	line(w, n->name, "%s%s, lag %s, %s, weight %u, %u in flight", why ? "no candidate: " : "candidate", why ? why : "",
	     known(pulse_lag_bytes(n->pulse), 1, "bytes", bytes), known(pulse_lag_us(n->pulse), US_PER_MS, "ms", ms), n->weight,
	     pulse_in_flight(n->pulse));
}

static const char *decider_name(const struct session *s, const struct topo_cluster *c, enum decider by)
{
	static const char *const names[] = {
#define DECIDER(id, name) [DECIDER_##id] = name,
#include "tbl/deciders.h"
	};
	const struct topo *topo = s->home->topo;
	if (by != DECIDER_PLAN && by != DECIDER_ROUTE)
		return names[by];
	return policy_where(policy_set_vm(topo->policies, s->home->env.worker, (size_t)(c - topo->clusters)),
	                    by == DECIDER_PLAN ? POLICY_HOOK_PLAN : POLICY_HOOK_ROUTE);
}

static void decided_line(struct writer *w, const struct session *s, const struct topo_cluster *c, const struct policy_decision *d)
{
	static const char *const kinds[] = {
		[POLICY_PRIMARY] = "the primary", [POLICY_STANDBYS] = "the standbys", [POLICY_ANY] = "any node",
		[POLICY_NODES] = "certain nodes", [POLICY_REJECT] = "refused",        [POLICY_WAIT] = "a standby that is fresh"
	};
	line(w, "decision", "%s%s%s", kinds[d->kind], d->reason[0] ? ": " : "", d->reason);
	line(w, "decided by", "%s", decider_name(s, c, d->by));
}

static const char *primary_name(const struct topo_cluster *c)
{
	return c->primary < 0 ? "nothing: no primary is known" : c->nodes[c->primary].name;
}

static void explain_lines(struct writer *w, struct session *s, const struct sql_class *class, struct slice text)
{
	struct unit u = { .is_read = class->is_read, .text = text, .class = (struct sql_class *)class };
	const struct topo_cluster *c = abroad_home(s);
	struct policy_decision d;
	const struct topo_node *node;
	if (class->is_read)
		line(w, "statement", "only reads");
	else
		line(w, "statement", "is for the primary: %s%s%s", class->why_primary, class->blamed ? ": " : "",
		     class->blamed ? class->blamed : "");
	if (!c || c->primary < 0) {
		line(w, "runs on", "nothing: no primary is known");
		return;
	}
	node = route_explain(s, c, &u, &d);
	decided_line(w, s, c, &d);
	c = &s->home->topo->clusters[d.cluster_at];
	if (s->home->roams)
		line(w, "cluster", "%s", c->name);
	if (d.kind == POLICY_REJECT)
		line(w, "error", "%s %s", d.sqlstate, d.text);
	else if (s->srv || s->vtx != VTX_NONE)
		line(w, "runs on", "the server of its transaction or session: %s", s->srv ? route_node_name(s, s->srv) : primary_name(c));
	else
		line(w, "runs on", "%s", node ? node->name : primary_name(c));
	for (size_t i = 0; i < c->n_nodes; i++)
		node_line(w, s, c, i);
}

/* TEXT: the statement that is asked about.  False: it must wait. */
bool explain_route(struct session *s, struct slice text)
{
	struct writer w;
	struct sql_class *class;
	if (borrow_earlier_is_under_way(s))
		return borrow_wait_for_earlier(s), false;
	class = sql_classify(s->home->env.cache, text, query_dialect(s));
	if (!known_class(s, &class, text)) {
		sql_class_unref(class);
		return false;
	}
	writer_init_grow(&w);
	writer_begin(&w, 'T');
	writer_u16(&w, 2);
	column(&w, "what");
	column(&w, "answer");
	writer_end(&w);
	explain_lines(&w, s, class, text);
	writer_begin(&w, 'C');
	writer_text(&w, "EXPLAIN");
	writer_end(&w);
	sql_class_unref(class);
	session_send(s, &w);
	writer_fini(&w);
	session_send_ready(s);
	return true;
}
