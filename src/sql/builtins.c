/*
 * builtins — look-ups in the sorted tables tbl/builtins.h and tbl/keywords.h.
 *
 * The suspicious words are those rows of the same table that touch the session.
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

const char *builtin_name(struct slice name)
{
	const struct row *r = find(builtins, ARRAY_LEN(builtins), name);
	return r ? r->name : NULL;
}

uint32_t builtin_effects(enum builtin kind)
{
	static const uint32_t effects[] = {
		[BUILTIN_UNKNOWN] = SQL_WRITES | SQL_TX_BOUND,
		[BUILTIN_READ] = 0,
		[BUILTIN_FRESH] = 0,
		[BUILTIN_FIXED] = 0,
		[BUILTIN_TIME] = SQL_TX_BOUND,
		[BUILTIN_WRITE] = SQL_WRITES,
		[BUILTIN_SERVER] = SQL_WRITES,
		[BUILTIN_XID] = SQL_WRITES,
		[BUILTIN_LARGE] = SQL_WRITES,
		[BUILTIN_XACT_LOCK] = SQL_WRITES,
		[BUILTIN_SEQUENCE] = SQL_WRITES,
		[BUILTIN_LOCK] = SQL_WRITES | SQL_ADVISORY_LOCK,
		[BUILTIN_UNLOCK_ALL] = SQL_WRITES,
		[BUILTIN_NEXTVAL] = SQL_WRITES | SQL_NEXTVAL,
		[BUILTIN_CURRVAL] = SQL_WRITES | SQL_CURRVAL,
		[BUILTIN_SET_CONFIG] = SQL_WRITES,
		[BUILTIN_OPAQUE] = SQL_WRITES | SQL_OPAQUE_CALL,
	};
	return effects[kind];
}

enum sql_why builtin_why(enum builtin kind)
{
	static const enum sql_why whys[] = {
		[BUILTIN_WRITE] = SQL_WHY_FUNCTION,         [BUILTIN_SERVER] = SQL_WHY_SERVER,
		[BUILTIN_XID] = SQL_WHY_TRANSACTION_ID,     [BUILTIN_LARGE] = SQL_WHY_LARGE_OBJECT,
		[BUILTIN_XACT_LOCK] = SQL_WHY_ADVISORY,     [BUILTIN_SEQUENCE] = SQL_WHY_SEQUENCE,
		[BUILTIN_LOCK] = SQL_WHY_ADVISORY,          [BUILTIN_UNLOCK_ALL] = SQL_WHY_ADVISORY,
		[BUILTIN_NEXTVAL] = SQL_WHY_SEQUENCE,       [BUILTIN_CURRVAL] = SQL_WHY_SEQUENCE,
		[BUILTIN_OPAQUE] = SQL_WHY_CHANGES_SESSION,
	};
	return kind < ARRAY_LEN(whys) ? whys[kind] : SQL_WHY_READ;
}

bool builtin_is_servers_view(struct slice relation)
{
#define RELATIONS(prefix) prefix,
	static const char *const prefixes[] = {
#include "tbl/relations.h"
	};
#define RELATION(name) name,
	static const char *const names[] = {
#include "tbl/relations.h"
	};
	if (!begins(relation, "pg_"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (begins(relation, prefixes[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (slice_equal(relation, slice_text(names[i])))
			return true;
	return false;
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
	return builtin_find(word) > BUILTIN_SEQUENCE;
}
