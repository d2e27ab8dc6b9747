/*
 * builtins — look-ups in the sorted tables tbl/builtins.h and tbl/keywords.h.
 *
 * The suspicious words are those rows of the same table that are neither READ nor WRITE.
 */
#include "builtins.h"

#include "base/compiler.h"

struct row {
	const char *name;
	enum builtin kind;
};

#define BUILTIN(name, kind) { #name, BUILTIN_##kind },
static const struct row builtins[] = {
#include "tbl/builtins.h"
};
#undef BUILTIN

#define KEYWORD(word) { #word, BUILTIN_UNKNOWN },
static const struct row keywords[] = {
#include "tbl/keywords.h"
};
#undef KEYWORD

static int compare(struct slice a, const char *b)
{
	size_t len = strlen(b);
	int order = memcmp(a.at, b, a.len < len ? a.len : len);
	return order ? order : (a.len > len) - (a.len < len);
}

static const struct row *find(const struct row *rows, size_t n, struct slice name)
{
	while (n > 0) {
		const struct row *middle = rows + n / 2;
		int order = compare(name, middle->name);
		if (order == 0)
			return middle;
		if (order > 0) {
			rows = middle + 1;
			n -= n / 2 + 1;
		} else {
			n /= 2;
		}
	}
	return NULL;
}

static bool begins(struct slice s, const char *prefix)
{
	size_t len = strlen(prefix);
	return s.len >= len && memcmp(s.at, prefix, len) == 0;
}

enum builtin builtin_find(struct slice name)
{
	const struct row *r = find(builtins, ARRAY_LEN(builtins), name);
	return r ? r->kind : BUILTIN_UNKNOWN;
}

bool builtin_is_dblink(struct slice name)
{
	return begins(name, "dblink");
}

bool builtin_is_settings_view(struct slice name)
{
	return slice_equal(name, slice_text("pg_settings"));
}

bool builtin_is_keyword(struct slice word)
{
	return find(keywords, ARRAY_LEN(keywords), word);
}

bool builtin_is_suspicious(struct slice word)
{
	if (word.len == 0 || !memchr("cdlnpqst", word.at[0], 8)) /* the letters that such names begin with: spares the search */
		return false;
	if (begins(word, "pg_temp") || builtin_is_dblink(word) || builtin_is_settings_view(word))
		return true;
	if (slice_equal(word, slice_text("temp")) || slice_equal(word, slice_text("temporary")))
		return true;
	return builtin_find(word) > BUILTIN_WRITE;
}
