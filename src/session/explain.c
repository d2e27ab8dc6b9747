/*
 * explain — what EXPLAIN ROUTE and SHOW LAST ROUTE say: pairs of what is told of, and what is told.
 *
 * A statement is judged as a Query of its own that would come now.  Nothing is sent to a server, no turn of the balancing is taken, and nothing of
 * the session changes; but a policy is asked, as it would be.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ledger.h"
#include "policy/set.h"
#include "priv.h"
#include "sql/hint.h"

struct teller {
	explain_fn fn;
	void *arg;
};

static void say(const struct teller *t, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(const struct teller *t, const char *what, const char *fmt, ...)
{
	char value[1000];
	va_list args;
	va_start(args, fmt);
	vsnprintf(value, sizeof value, fmt, args);
	va_end(args);
	t->fn(t->arg, what, value);
}

/* ---- the statement ------------------------------------------------------------------------------------------------------------------------- */

/* OWN: of the text itself; CLASS: of what it executes. */
static void say_statement(const struct teller *t, const struct sql_class *own, const struct sql_class *class)
{
	if (class->is_read)
		say(t, "statement", "only reads");
	else
		say(t, "statement", "is for the primary: %s%s%s", class->why_primary, class->blamed ? ": " : "",
		    class->blamed ? class->blamed : "");
	say(t, "kind", "%s", policy_kind_name(own));
	say(t, "shape", "%s", own->shape ? own->shape : "(none: too long, or not understood)");
}

static void say_complaint(const struct teller *t, const struct session *s, struct slice text, const struct sql_class *class)
{
	char complaint[300];
	if ((class->is_opaque || class->is_guess) &&
	    sql_complaint(text, query_dialect((struct session *)s), complaint, sizeof complaint))
		say(t, "parser", "%s", complaint);
}

/* ---- who decides --------------------------------------------------------------------------------------------------------------------------- */

static void say_decider(const struct teller *t, enum decider by, const char *place, uint64_t generation)
{
	say(t, "decided by", "%s%s%s", decider_names[by], *place ? ", " : "", place);
	if (generation)
		say(t, "generation", "%llu", (unsigned long long)generation);
}

static void say_decision(const struct teller *t, const struct session *s, const struct policy_decision *d)
{
	static const char *const kinds[] = {
		[POLICY_PRIMARY] = "the primary", [POLICY_STANDBYS] = "the standbys", [POLICY_ANY] = "any node",
		[POLICY_NODES] = "certain nodes", [POLICY_REJECT] = "refused",        [POLICY_WAIT] = "a standby that is fresh"
	};
	const struct ledger_reason *why = ledger_reason(s->home->ledger, d->note);
	if (d->kind != POLICY_NONE)
		say(t, "decision", "%s%s%s", kinds[d->kind], d->reason[0] ? ": " : "", d->reason);
	say_decider(t, (enum decider)d->by, why ? why->place : "", why ? why->generation : 0);
}

/* ---- where to ------------------------------------------------------------------------------------------------------------------------------- */

static const char *known(uint64_t value, uint64_t unit, const char *of, char out[32])
{
	if (value == PULSE_UNKNOWN)
		snprintf(out, 32, "unknown");
	else
		snprintf(out, 32, "%llu %s", (unsigned long long)(value / unit), of);
	return out;
}

/* Why it does not take the statement; NULL: it may. */
static const char *obstacle(struct session *s, const struct topo_cluster *c, const struct route_told *r, size_t at)
{
	const struct topo_node *n = &c->nodes[at];
	const char *why = pulse_why(n->pulse);
	if (c->primary == (int)at)
		return r->is_free && !(r->meant >> at & 1) ? "not meant" : NULL;
	if (!pulse_is_fit(n->pulse))
		return why ? why : "not known yet";
	if (!floor_is_shown(s, c, n))
		return "does not show yet what was written";
	if (!r->is_free)
		return "the session keeps its server";
	if (!r->is_read)
		return "the statement is for the primary";
	if (!(r->meant >> at & 1))
		return "not meant";
	return r->may >> at & 1 ? NULL : "takes none now";
}

static void say_node(const struct teller *t, struct session *s, const struct topo_cluster *c, const struct route_told *r,
                     size_t at)
{
	char bytes[32], ms[32], lag[100] = "", share[32] = "", each[40] = "";
	const struct topo_node *n = &c->nodes[at];
	bool is_primary = c->primary == (int)at, is_chosen = strcmp(r->name, n->name) == 0;
	const char *why = is_chosen ? NULL : obstacle(s, c, r, at);
	if (!is_primary)
		snprintf(lag, sizeof lag, ", lag %s, %s, %s what was written", known(pulse_lag_bytes(n->pulse), 1, "bytes", bytes),
		         known(pulse_lag_us(n->pulse), US_PER_MS, "ms", ms), floor_is_shown(s, c, n) ? "shows" : "lacks");
	if (r->may >> at & 1)
		snprintf(share, sizeof share, ", share %u %%", r->share[at]);
	if (pulse_time_ns(n->pulse))
		snprintf(each, sizeof each, ", %llu us each", (unsigned long long)(pulse_time_ns(n->pulse) / 1000));
	say(t, n->name, "%s, %s%s%s, weight %u%s, %u in flight%s",
	    is_primary       ? "primary"
	    : n->in_recovery ? "standby"
	                     : "node",
	    is_chosen ? "chosen"
	    : why     ? "no candidate: "
	              : "candidate",
	    why ? why : "", lag, n->weight, share, pulse_in_flight(n->pulse), each);
}

static void say_hint(const struct teller *t, const struct topo_cluster *c, struct slice text, const struct policy_decision *d)
{
	struct sql_hint hint;
	sql_hint(text, &hint);
	struct slice strange = steer_strange(c, &hint, d);
	if (strange.len)
		say(t, "hint", "not understood: %.*s", (int)(strange.len < 200 ? strange.len : 200), (const char *)strange.at);
}

static void say_place(const struct teller *t, const struct session *s, const struct policy_decision *d,
                      const struct route_told *r, const struct sql_class *class)
{
	char because[200];
	if (d->kind == POLICY_REJECT)
		say(t, "error", "%s %s", d->sqlstate, d->text);
	else if (!r->is_free)
		say(t, "runs on", "the server of its transaction or session: %s", r->name);
	else
		say(t, "runs on", "%s", r->name);
	say(t, "because", "%s", counted_because(r->how, class, because, sizeof because));
}

static void say_route(const struct teller *t, struct session *s, const struct unit *u, const struct sql_class *class)
{
	const struct topo_cluster *c = abroad_home(s);
	struct policy_decision d;
	struct route_told r;
	if (!c || !s->pool) {
		say(t, "runs on", "nothing: there is no such database");
		return;
	}
	foretell(s, c, u, &d, &r);
	say_decision(t, s, &d);
	say_hint(t, r.cluster, u->text, &d);
	if (s->home->roams)
		say(t, "cluster", "%s", r.cluster->name);
	say_place(t, s, &d, &r, class);
	for (size_t i = 0; i < r.cluster->n_nodes && i < POLICY_NODES_MAX; i++)
		say_node(t, s, r.cluster, &r, i);
}

void explain_route(struct session *s, struct unit *u, struct slice text, explain_fn fn, void *arg)
{
	struct teller t = { fn, arg };
	if (!u->own) /* it asks the same */
		u->own = sql_classify(s->home->env.cache, text, query_dialect(s));
	const struct sql_class *class = u->class ? u->class : u->own;
	say_statement(&t, u->own, class);
	say_complaint(&t, s, text, u->own);
	say_route(&t, s, u, class);
}

/* ---- what was ------------------------------------------------------------------------------------------------------------------------------- */

void explain_last(struct session *s, explain_fn fn, void *arg)
{
	struct teller t = { fn, arg };
	char because[200];
	const struct ledger_row *r = ledger_numbered(s->home->ledger, s->last);
	const struct ledger_reason *why = ledger_reason(s->home->ledger, s->last_reason);
	if (!r) {
		say(&t, "statement", s->last ? "(forgotten: too many others)" : "(none yet)");
		return;
	}
	if (r->class)
		say_statement(&t, r->class, r->class);
	else
		say(&t, "statement", "(too long to be kept)");
	say_decider(&t, (enum decider)HOW_BY(r->how), why ? why->place : "", why ? why->generation : 0);
	if (why && why->text[0])
		say(&t, "reason", "%s", why->text);
	say(&t, "ran on", "%s", r->node_id ? route_name_of(s->home->topo, r->node_id) : "no server");
	say(&t, "because", "%s", counted_because(r->how, r->class, because, sizeof because));
}

/* ---- for the console ------------------------------------------------------------------------------------------------------------------------ */

/* As a session of USER's would be told that had just begun. */
void sessions_explain(struct sessions *ss, const char *database, const char *user, struct slice text, explain_fn fn, void *arg)
{
	struct session *s = mem_alloc(sizeof *s);
	struct unit u;
	s->home = ss;
	s->state = SESSION_READY;
	s->database = (char *)database;
	s->user = (char *)user;
	s->vars = settings_empty(ss->env.upstream.settings);
	s->told = settings_ref(s->vars);
	s->tired_of_facts = 1; /* what is not known by now is not waited for */
	borrow_pool(s);
	if (!unit_of_query(s, text, &u))
		die("a session that is tired of waiting waits");
	explain_route(s, &u, text, fn, arg);
	unit_drop(s, &u);
	if (s->pool)
		pool_part(s->pool);
	divert_forget(s);
	mem_free(s->aside);
	settings_unref(s->vars);
	settings_unref(s->told);
	mem_free(s);
}
