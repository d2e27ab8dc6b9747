/*
 * settings — immutable, interned sets of (name, value).
 *
 * A set is one allocation: head, n pairs of offsets, and the text "name NUL value NUL" for each pair, in the order of the folded names.
 * Text and pairs are in the same order, so a changed set is made by splicing: what is before, the new pair, what is behind.
 *
 *     | head | (name, value) offsets … | DateStyle.ISO.search_path.app. |
 *
 * The hash of a set is the sum of its pairs' hashes: a splice subtracts one and adds one.
 * Always: names are unique and ascending when folded;  two sets of one table with the same pairs are one set;
 *         a set is in its table's bucket hash % cap for as long as somebody holds it, the empty one as long as the table lives.
 */
#include "base/settings.h"

#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#define LEAST_BUCKETS 64u

struct pair {
	uint32_t name, value; /* offsets into the text */
};

struct settings {
	struct settings_table *table; /* NULL in an exported copy */
	struct settings *next;        /* in the bucket */
	uint64_t hash, scope;         /* sums of the hashes of: all pairs; those that settings_name_scope() is about */
	uint32_t refs, n, text_len;
	struct pair at[]; /* n of them, then the text */
};

struct settings_table {
	struct settings **buckets;
	size_t cap, used;
	struct settings *empty;
};

static uint8_t fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static int name_compare(struct slice a, struct slice b)
{
	size_t both = a.len < b.len ? a.len : b.len;
	for (size_t i = 0; i < both; i++) {
		int diff = fold(a.at[i]) - fold(b.at[i]);
		if (diff)
			return diff;
	}
	return (a.len > b.len) - (a.len < b.len);
}

/* A name can be longer than any stack buffer: its hash is a chain over pieces. */
static uint64_t name_hash(struct slice name)
{
	struct {
		uint64_t so_far;
		uint8_t folded[120];
	} piece = { 0 };
	do {
		size_t n = name.len < sizeof piece.folded ? name.len : sizeof piece.folded;
		for (size_t i = 0; i < n; i++)
			piece.folded[i] = fold(name.at[i]);
		piece.so_far = hash64(slice_of(&piece, sizeof piece.so_far + n));
		name = slice_skip(name, n);
	} while (name.len > 0);
	return piece.so_far;
}

static uint64_t pair_hash(struct slice name, struct slice value)
{
	const uint64_t both[2] = { name_hash(name), hash64(value) };
	return hash64(slice_of(both, sizeof both));
}

static bool is_scope_name(struct slice name)
{
	static const char *const names[] = { "role", "search_path", "session_authorization" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (name_compare(name, slice_text(names[i])) == 0)
			return true;
	return false;
}

static char *text_of(const struct settings *s)
{
	return (char *)(s->at + s->n);
}

static const char *name_at(const struct settings *s, size_t i)
{
	return text_of(s) + s->at[i].name;
}

static const char *value_at(const struct settings *s, size_t i)
{
	return text_of(s) + s->at[i].value;
}

/* Where NAME is, or would be. */
static size_t find(const struct settings *s, struct slice name, bool *is_there)
{
	size_t low = 0, high = s->n;
	*is_there = false;
	while (low < high && !*is_there) {
		size_t mid = low + (high - low) / 2;
		int diff = name_compare(slice_text(name_at(s, mid)), name);
		*is_there = diff == 0;
		if (*is_there)
			return mid;
		if (diff < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_same(const struct settings *a, const struct settings *b)
{
	if (a->hash != b->hash || a->n != b->n || a->text_len != b->text_len)
		return false;
	if (memcmp(text_of(a), text_of(b), a->text_len) == 0)
		return true;
	for (size_t i = 0; i < a->n; i++)
		if (name_compare(slice_text(name_at(a, i)), slice_text(name_at(b, i))) != 0 ||
		    strcmp(value_at(a, i), value_at(b, i)) != 0)
			return false;
	return true;
}

static size_t size_of(uint32_t n, uint32_t text_len)
{
	return sizeof(struct settings) + n * sizeof(struct pair) + text_len;
}

static struct settings **bucket_of(struct settings_table *t, uint64_t hash)
{
	return &t->buckets[hash & (t->cap - 1)];
}

static void table_grow(struct settings_table *t)
{
	struct settings **old = t->buckets;
	size_t old_cap = t->cap;
	t->cap *= 2;
	t->buckets = mem_alloc(t->cap * sizeof *t->buckets);
	for (size_t i = 0; i < old_cap; i++)
		for (struct settings *s = old[i], *next; s; s = next) {
			struct settings **b = bucket_of(t, s->hash);
			next = s->next;
			s->next = *b;
			*b = s;
		}
	mem_free(old);
}

/* The set of T with MADE's content: MADE itself (taken over) or the one that was there before (MADE is freed). */
static struct settings *intern(struct settings_table *t, struct settings *made)
{
	for (struct settings *s = *bucket_of(t, made->hash); s; s = s->next)
		if (is_same(s, made)) {
			mem_free(made);
			return settings_ref(s);
		}
	if (t->used >= t->cap)
		table_grow(t);
	struct settings **b = bucket_of(t, made->hash);
	made->table = t;
	made->refs = 1;
	made->next = *b;
	*b = made;
	t->used++;
	return made;
}

static void forget(struct settings *s)
{
	struct settings_table *t = s->table;
	struct settings **at = bucket_of(t, s->hash);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	t->used--;
	mem_free(s);
}

/* Text offset at which pair I begins, or the end. */
static uint32_t text_at(const struct settings *s, size_t i)
{
	return i < s->n ? s->at[i].name : s->text_len;
}

static void copy_pairs(struct settings *to, size_t to_at, const struct settings *from, size_t from_at, size_t n, uint32_t text_to)
{
	uint32_t begin = text_at(from, from_at);
	for (size_t i = 0; i < n; i++) {
		to->at[to_at + i].name = from->at[from_at + i].name - begin + text_to;
		to->at[to_at + i].value = from->at[from_at + i].value - begin + text_to;
	}
	memcpy(text_of(to) + text_to, text_of(from) + begin, text_at(from, from_at + n) - begin);
}

/* A new set, not yet interned: S with OUT pairs taken away at AT and room for IN pairs of IN_LEN bytes there.  The hashes are still S's. */
static struct settings *splice(const struct settings *s, size_t at, size_t out, size_t in, size_t in_len)
{
	uint32_t before = text_at(s, at), behind = text_at(s, at + out);
	size_t text_len = s->text_len - (behind - before) + in_len;
	ASSERT(in_len < UINT32_MAX / 2 && text_len < UINT32_MAX / 2 && s->n < UINT32_MAX / 2);
	struct settings *made = mem_alloc(size_of((uint32_t)(s->n - out + in), (uint32_t)text_len));
	made->n = (uint32_t)(s->n - out + in);
	made->text_len = (uint32_t)text_len;
	made->hash = s->hash;
	made->scope = s->scope;
	copy_pairs(made, 0, s, 0, at, 0);
	copy_pairs(made, at + in, s, at + out, s->n - at - out, before + (uint32_t)in_len);
	return made;
}

static void count_in(struct settings *s, struct slice name, struct slice value)
{
	uint64_t h = pair_hash(name, value);
	s->hash += h;
	s->scope += is_scope_name(name) ? h : 0;
}

static void count_out(struct settings *made, const struct settings *s, size_t i)
{
	struct slice name = slice_text(name_at(s, i));
	uint64_t h = pair_hash(name, slice_text(value_at(s, i)));
	made->hash -= h;
	made->scope -= is_scope_name(name) ? h : 0;
}

static void put_pair(struct settings *s, size_t i, uint32_t text_to, struct slice name, struct slice value)
{
	char *to = text_of(s) + text_to;
	memcpy(to, name.at, name.len); /* the NULs behind are there: the memory came zeroed */
	if (value.len)
		memcpy(to + name.len + 1, value.at, value.len);
	s->at[i] = (struct pair){ text_to, text_to + (uint32_t)name.len + 1 };
	count_in(s, name, value);
}

/* Text ends at its first NUL, as it does for PostgreSQL. */
static struct slice up_to_nul(struct slice text)
{
	const void *nul = text.len ? memchr(text.at, '\0', text.len) : NULL;
	return nul ? slice_of(text.at, (size_t)((const uint8_t *)nul - text.at)) : text;
}

struct settings_table *settings_table_new(void)
{
	struct settings_table *t = mem_alloc(sizeof *t);
	t->cap = LEAST_BUCKETS;
	t->buckets = mem_alloc(t->cap * sizeof *t->buckets);
	t->empty = intern(t, mem_alloc(size_of(0, 0)));
	return t;
}

void settings_table_free(struct settings_table *t)
{
	if (!t)
		return;
	ASSERT(t->used == 1);
	mem_free(t->empty);
	mem_free(t->buckets);
	mem_free(t);
}

struct settings *settings_empty(struct settings_table *t)
{
	return settings_ref(t->empty);
}

struct settings *settings_ref(struct settings *s)
{
	s->refs++;
	return s;
}

void settings_unref(struct settings *s)
{
	if (!s)
		return;
	ASSERT(s->refs > 0);
	if (--s->refs == 0)
		forget(s);
}

struct settings *settings_with(struct settings *s, struct slice name, struct slice value)
{
	bool is_there;
	name = up_to_nul(name);
	value = up_to_nul(value);
	size_t at = find(s, name, &is_there);
	if (is_there) {
		if (slice_equal(slice_text(value_at(s, at)), value))
			return settings_ref(s);
		name = slice_text(name_at(s, at)); /* the spelling that was there first stays */
	}
	struct settings *made = splice(s, at, is_there, 1, name.len + value.len + 2);
	if (is_there)
		count_out(made, s, at);
	put_pair(made, at, text_at(s, at), name, value);
	return intern(s->table, made);
}

struct settings *settings_without(struct settings *s, struct slice name)
{
	bool is_there;
	size_t at = find(s, up_to_nul(name), &is_there);
	if (!is_there)
		return settings_ref(s);
	struct settings *made = splice(s, at, 1, 0, 0);
	count_out(made, s, at);
	return intern(s->table, made);
}

size_t settings_len(const struct settings *s)
{
	return s->n;
}

size_t settings_bytes(const struct settings *s)
{
	return s->text_len;
}

const char *settings_get(const struct settings *s, const char *name)
{
	bool is_there;
	size_t at = find(s, slice_text(name), &is_there);
	return is_there ? value_at(s, at) : NULL;
}

void settings_at(const struct settings *s, size_t i, const char **name, const char **value)
{
	ASSERT(i < s->n);
	*name = name_at(s, i);
	*value = value_at(s, i);
}

uint64_t settings_name_scope(const struct settings *s)
{
	return s->scope;
}

void settings_diff(const struct settings *from, const struct settings *to,
                   void (*fn)(void *arg, const char *name, const char *from_value, const char *to_value), void *arg)
{
	size_t f = 0, t = 0;
	while (from != to && (f < from->n || t < to->n)) {
		int order = f == from->n ? 1 : t == to->n ? -1 : name_compare(slice_text(name_at(from, f)), slice_text(name_at(to, t)));
		if (order < 0) {
			fn(arg, name_at(from, f), value_at(from, f), NULL);
		} else if (order > 0) {
			fn(arg, name_at(to, t), NULL, value_at(to, t));
		} else if (strcmp(value_at(from, f), value_at(to, t)) != 0) {
			fn(arg, name_at(to, t), value_at(from, f), value_at(to, t));
		}
		f += order <= 0;
		t += order >= 0;
	}
}

void *settings_export(const struct settings *s)
{
	struct settings *copy = mem_copy(s, size_of(s->n, s->text_len));
	copy->table = NULL;
	copy->next = NULL;
	return copy;
}

struct settings *settings_import(struct settings_table *t, const void *exported)
{
	const struct settings *s = exported;
	return intern(t, mem_copy(s, size_of(s->n, s->text_len)));
}
