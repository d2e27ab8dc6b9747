/*
 * conninfo — scheme://[user[:password]@][host[:port],…][/dbname][?key=value&…], read as libpq does (conninfo_uri_parse_options in fe-connect.c): what
 * stands before the first '@' that no '/' comes before is the user, and a key behind '?' takes the place of what was said before.
 *
 * So hosts and ports are left out wherever they stand, and the new ones come last.
 */
#include "ha/conninfo.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const schemes[] = { "postgresql://", "postgres://" };

struct text {
	char *at;
	size_t len, room;
	bool is_full;
};

static void put(struct text *t, const char *at, size_t n)
{
	t->is_full |= n >= t->room - t->len;
	if (t->is_full)
		return;
	memcpy(t->at + t->len, at, n);
	t->at[t->len += n] = 0;
}

static void put_escaped(struct text *t, const char *at)
{
	char code[4];
	for (; *at; at++)
		if (isalnum((unsigned char)*at) || strchr("-._~", *at))
			put(t, at, 1);
		else
			put(t, code, (size_t)snprintf(code, sizeof code, "%%%02X", (unsigned char)*at));
}

static size_t scheme_len(const char *text)
{
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			return strlen(schemes[i]);
	return 0;
}

bool conninfo_is_uri(const char *text)
{
	return scheme_len(text) > 0;
}

/* The keys that say where, by their plain names: who hides one behind %xx is not understood. */
static bool is_kept(const char *key, size_t n, bool *is_bad)
{
	static const char *const where[] = { "host", "hostaddr", "port" };
	*is_bad |= n == 0 || memchr(key, '%', n) != NULL;
	for (size_t i = 0; i < sizeof where / sizeof where[0]; i++)
		if (strlen(where[i]) == n && memcmp(where[i], key, n) == 0)
			return false;
	return true;
}

/* "key=value&…", behind the '?'. */
static bool put_parameters(struct text *t, const char *at)
{
	bool is_bad = false;
	while (*at && !is_bad) {
		size_t n = strcspn(at, "&"), key = strcspn(at, "=&");
		is_bad |= key == n;
		if (is_kept(at, key, &is_bad)) {
			put(t, at, n);
			put(t, "&", 1);
		}
		at += n + (at[n] == '&');
	}
	return !is_bad;
}

bool conninfo_turn(const char *uri, const char *host, uint16_t port, char *out, size_t room)
{
	struct text t = { .at = out, .room = room };
	char number[8];
	const char *at = uri + scheme_len(uri);
	out[0] = 0;
	size_t user = strcspn(at, "@/");
	user = at[user] == '@' ? user + 1 : 0;
	put(&t, uri, (size_t)(at - uri) + user);
	at += user;
	at += strcspn(at, "/?");
	size_t path = strcspn(at, "?");
	put(&t, path ? at : "/", path ? path : 1);
	put(&t, "?", 1);
	at += path + (at[path] == '?');
	if (!put_parameters(&t, at))
		return false;
	put(&t, "host=", 5);
	put_escaped(&t, host);
	put(&t, "&port=", 6);
	put(&t, number, (size_t)snprintf(number, sizeof number, "%u", port));
	return !t.is_full;
}
