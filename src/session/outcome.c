/*
 * outcome — what becomes of the books when an entry of the reply queue ends: done, failed, skipped by the server, or lost with it.
 *
 * Each tag of an entry has one function here, and its ref is let go of here and nowhere else.
 */
#include "priv.h"

static void end_parse(struct session *s, struct naming *n, enum ending how)
{
	if (how == ENDED_DONE && n->on_server)
		statement_accept(n->is, n->generation, n->scope);
	if (n->is_kept)
		prepare_ended(s, n->server_key, n->segment, how == ENDED_DONE);
	naming_end(s, n, how);
}

static void end_setup(struct session *s, struct settings *applied, enum ending how)
{
	if (!applied)
		return;
	if (how == ENDED_DONE) {
		settings_unref(s->srv->applied);
		s->srv->applied = applied;
	} else
		settings_unref(applied);
}

static void end_preparing(struct session *s, struct preparing *p, enum ending how)
{
	if (how == ENDED_DONE)
		statement_accept(p->st, p->generation, p->scope);
	prepare_ended(s, p->server_key, p->segment, how == ENDED_DONE);
	statement_unref(s, p->st);
	mem_free(p);
}

static void end_evict(struct session *s, struct preparing *p, enum ending how)
{
	prepare_closed(s, p, how == ENDED_DONE);
	mem_free(p);
}

static void end_effect(struct session *s, struct effect *e, enum ending how, struct slice command)
{
	if (how == ENDED_DONE && !e->is_query)
		vars_on_complete(s, e, 0, command);
	effect_end(s, e);
}

/* Lost with its server: lost.c says what the client's transaction is then. */
static void end_begin(struct session *s, enum ending how)
{
	s->begin_is = how == ENDED_FAILED || how == ENDED_SKIPPED ? BEGIN_REFUSED : BEGIN_NONE;
	s->in_block = s->in_block || how == ENDED_DONE;
}

void outcome_book(struct session *s, const struct reply *entry, enum ending how, struct slice command)
{
	switch (entry->tag) {
	case TAG_PARSE:
		end_parse(s, entry->ref, how);
		break;
	case TAG_CLOSE:
	case TAG_DROP:
		naming_end(s, entry->ref, how);
		break;
	case TAG_EFFECT:
		end_effect(s, entry->ref, how, command);
		break;
	case TAG_SETUP:
	case TAG_TRIAL:
		end_setup(s, entry->ref, how);
		break;
	case TAG_SETUP_BEGIN:
		end_begin(s, how);
		break;
	case TAG_REPREPARE:
		end_preparing(s, entry->ref, how);
		break;
	case TAG_EVICT:
		end_evict(s, entry->ref, how);
		break;
	case TAG_DESCRIBE:
	case TAG_COLUMNS:
		statement_unref(s, entry->ref);
		break;
	case TAG_REFUSAL:
	case TAG_SAID:
		mem_free(entry->ref);
		break;
	default:
		break;
	}
}
