/*
 * channels — the books of what a session LISTENs to, so that another server can be told.
 *
 * As PostgreSQL has it (commands/async.c): LISTEN and UNLISTEN take effect with their transaction, and are undone with it or with their savepoint.  So a
 * set is immutable and counted: the session's, the one of its last commit point and those of savepoints are often the same.
 *
 * Always: a set without names that is not partial is NULL;  from a partial one something is missing, so nobody can take the session elsewhere.
 */
#include <string.h>

#include "priv.h"

#define CHANNELS_MAX 1000u
#define CHANNEL_BYTES_MAX 32768u
#define IDENTIFIER_MAX 63u /* NAMEDATALEN - 1 */

struct channels {
	uint32_t refs, n;
	bool is_partial; /* it listens to more */
	bool is_utf8;    /* some name is not ASCII */
	size_t bytes;
	char names[]; /* with their NULs, as they were LISTENed to */
};

struct channels *channels_ref(struct channels *c)
{
	if (c)
		c->refs++;
	return c;
}

void channels_unref(struct channels *c)
{
	if (c && --c->refs == 0)
		mem_free(c);
}

const char *channels_next(const struct channels *c, const char *name)
{
	const char *next = !c ? NULL : name ? name + strlen(name) + 1 : c->names;
	return next && next < c->names + c->bytes ? next : NULL;
}

uint32_t channels_count(const struct channels *c)
{
	return c ? c->n : 0;
}

static bool speaks_utf8(const struct session *s)
{
	const char *encoding = s->told ? settings_get(s->told, "client_encoding") : NULL;
	return encoding && strcmp(encoding, "UTF8") == 0;
}

bool channels_are_known(const struct session *s)
{
	const struct channels *c = session_aside(s)->base_channels;
	return c && c->n && !c->is_partial && (!c->is_utf8 || speaks_utf8(s));
}

static const char *find(const struct channels *c, const char *name)
{
	for (const char *it = NULL; (it = channels_next(c, it));)
		if (strcmp(it, name) == 0)
			return it;
	return NULL;
}

/* The same with ROOM more bytes; whose copy it is. */
static struct channels *copy(const struct channels *c, size_t room)
{
	size_t bytes = c ? c->bytes : 0;
	struct channels *made = mem_alloc(sizeof *made + bytes + room);
	if (c)
		memcpy(made, c, sizeof *c + bytes);
	made->refs = 1;
	return made;
}

static bool is_ascii(const char *name)
{
	while (*name > 0)
		name++;
	return *name == 0;
}

/* Outside ASCII a name means what it did in the encoding that it was sent in, and one that PostgreSQL has cut may have lost part of a character. */
static bool can_be_repeated(const struct session *s, const char *name)
{
	return is_ascii(name) || (speaks_utf8(s) && strlen(name) < IDENTIFIER_MAX - 3);
}

static void replace(struct channels **where, struct channels *with)
{
	channels_unref(*where);
	*where = with;
}

void channels_listen(struct session *s, const char *name)
{
	struct channels **now = &session_aside_of(s)->channels, *made;
	size_t len = name ? strlen(name) + 1 : 0;
	if (name && find(*now, name))
		return;
	made = copy(*now, len);
	if (!name || !can_be_repeated(s, name) || made->n == CHANNELS_MAX || made->bytes + len > CHANNEL_BYTES_MAX) {
		made->is_partial = true;
	} else {
		memcpy(made->names + made->bytes, name, len);
		made->bytes += len;
		made->n++;
		made->is_utf8 |= !is_ascii(name);
	}
	replace(now, made);
}

bool channels_unlisten(struct session *s, const char *name)
{
	struct channels *now = session_aside(s)->channels;
	const char *it = name ? find(now, name) : NULL;
	if (!now)
		return true;
	if (!it)
		return false;
	if (now->n == 1 && !now->is_partial) {
		channels_forget(s);
		return true;
	}
	struct channels *made = copy(now, 0);
	size_t at = (size_t)(it - now->names), len = strlen(name) + 1;
	made->bytes -= len;
	made->n--;
	memmove(made->names + at, made->names + at + len, made->bytes - at);
	replace(&s->aside->channels, made);
	return false;
}

void channels_forget(struct session *s)
{
	if (s->aside)
		replace(&s->aside->channels, NULL);
}

void channels_commit(struct session *s)
{
	if (UNLIKELY(session_aside(s)->base_channels != session_aside(s)->channels))
		replace(&s->aside->base_channels, channels_ref(s->aside->channels));
}

void channels_go_back(struct session *s, struct channels *to)
{
	if (UNLIKELY(session_aside(s)->channels != to))
		replace(&session_aside_of(s)->channels, channels_ref(to));
}

void channels_end_life(struct session *s)
{
	channels_forget(s);
	channels_commit(s);
}
