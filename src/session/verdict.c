/*
 * verdict — what was decided of a read, for as long as the same would be decided again: nobody is asked then.
 *
 * That is what a plan said, or built-in routing where there is neither policy nor redirect; outside of transactions, in one cluster, of a statement without
 * a hint, from a session that has not set lunapool.route.  Which node it is to be is chosen each time.
 *
 * Always: a class is kept alive with its verdict, and settings with their place, so that no other takes its address.
 */
#include "policy/policy.h"

#include "ledger.h"
#include "priv.h"
#include "sql/hint.h"

#define VERDICTS 512u /* a power of 2 */
#define SILENT 16u    /* the same */

struct verdicts {
	struct settings *silent[SILENT]; /* references: settings without lunapool.route */
	struct verdict at[VERDICTS];
};

void verdicts_init(struct sessions *ss)
{
	ss->verdicts = mem_alloc(sizeof *ss->verdicts);
}

void verdicts_fini(struct sessions *ss)
{
	for (unsigned i = 0; i < SILENT; i++)
		settings_unref(ss->verdicts->silent[i]);
	for (unsigned i = 0; i < VERDICTS; i++)
		sql_class_unref(ss->verdicts->at[i].class);
	mem_free(ss->verdicts);
}

static inline struct verdict *place_of(const struct session *s, const struct sql_class *class)
{
	uint64_t h = ((uintptr_t) class >> 4) * UINT64_C(0x9e3779b97f4a7c15) ^ s->who * UINT64_C(0xc2b2ae3d27d4eb4f);
	return &s->home->verdicts->at[h >> 40 & (VERDICTS - 1)];
}

static inline struct settings **silent_place(const struct session *s)
{
	return &s->home->verdicts->silent[((uintptr_t)s->vars >> 5) & (SILENT - 1)];
}

const struct verdict *verdict_of(const struct session *s, const struct unit *u)
{
	const struct verdict *v = place_of(s, u->class);
	if (v->class != u->class || v->who != s->who || v->generation != s->topo_generation)
		return NULL;
	if (*silent_place(s) != s->vars || UNLIKELY(sql_may_hint(u->text)))
		return NULL;
	return !v->note || ledger_reason(s->home->ledger, v->note) ? v : NULL;
}

void verdict_note(struct session *s, const struct unit *u, const struct policy_decision *d, uint64_t meant)
{
	struct verdict *v = place_of(s, u->class);
	struct settings **silent = silent_place(s);
	if (sql_may_hint(u->text) || settings_get(s->vars, "lunapool.route"))
		return;
	if (*silent != s->vars) {
		settings_unref(*silent);
		*silent = settings_ref(s->vars);
	}
	sql_class_unref(v->class);
	*v = (struct verdict){ .class = sql_class_ref(u->class),
		                   .who = s->who,
		                   .generation = s->topo_generation,
		                   .meant = meant,
		                   .how = s->how,
		                   .note = d->note };
}
