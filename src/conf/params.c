/*
 * params — the rows of tbl/params.h as data: how each type is read, shown, compared and freed.
 *
 * Always: what param_show() prints, param_set() reads back to the same value; a failed param_set() leaves the old value.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "conf/conf.h"
#include "priv.h"

#define WHEN_RELOAD false
#define WHEN_RESTART true
#define ROW(S, field, type, dflt, min, max, when, sentence) \
	{ #field, PARAM_##type, offsetof(struct S, field), dflt, min, max, WHEN_##when, sentence },
#define ROW_GLOBAL(...) ROW(conf, __VA_ARGS__)
#define ROW_LISTEN(...) ROW(conf_listen, __VA_ARGS__)
#define ROW_AUTH(...) ROW(conf_auth, __VA_ARGS__)
#define ROW_CLUSTER(...) ROW(conf_cluster, __VA_ARGS__)
#define ROW_NODE(...) ROW(conf_node, __VA_ARGS__)
#define ROW_REDIRECT(...) ROW(conf_redirect, __VA_ARGS__)
#define ROW_POOL(...) ROW(conf_pool, __VA_ARGS__)
#define ROW_DATABASE(...) ROW(conf_database, __VA_ARGS__)
#define ROW_USER(...) ROW(conf_user, __VA_ARGS__)
#define ROW_LIMITS(...) ROW(conf_limits, __VA_ARGS__)
static const struct param global_params[] = { PARAMS_GLOBAL(ROW_GLOBAL) };
static const struct param listen_params[] = { PARAMS_LISTEN(ROW_LISTEN) };
static const struct param auth_params[] = { PARAMS_AUTH(ROW_AUTH) };
static const struct param cluster_params[] = { PARAMS_CLUSTER(ROW_CLUSTER) };
static const struct param node_params[] = { PARAMS_NODE(ROW_NODE) };
static const struct param redirect_params[] = { PARAMS_REDIRECT(ROW_REDIRECT) };
static const struct param pool_params[] = { PARAMS_POOL(ROW_POOL) };
static const struct param database_params[] = { PARAMS_DATABASE(ROW_DATABASE) };
static const struct param user_params[] = { PARAMS_USER(ROW_USER) };
static const struct param limits_params[] = { PARAMS_LIMITS(ROW_LIMITS) };

#define TITLE_PLAIN false
#define TITLE_TITLED true
#define BLOCK(block, rows, title, sentence) { #block, sentence, TITLE_##title, ARRAY_LEN(block##_params), block##_params },
const struct param_block param_blocks[BLOCK_COUNT] = { PARAMS_BLOCKS(BLOCK) };

struct unit {
	const char *name;
	uint64_t factor;
};
/* Rising: what is shown takes the last that divides. */
static const struct unit durations[] = {
	{ "us", 1 }, { "ms", 1000 }, { "s", US_PER_S }, { "min", 60 * US_PER_S }, { "h", 3600 * US_PER_S }, { "d", 86400 * US_PER_S }
};
static const struct unit sizes[] = { { "B", 1 }, { "kB", 1 << 10 }, { "MB", 1 << 20 }, { "GB", 1 << 30 } };

static const char *const modes[] = { "session", "transaction", "statement" }; /* enum pool_mode begins with UNSET */
static const char *const levels[] = { "debug", "info", "warn", "error" };
static const char *const formats[] = { "kv", "json" };
static const char *const engines[] = { "auto", "epoll", "io_uring" };
static const char *const client_tls[] = { "off", "allow", "require", "verify" };
static const char *const server_tls[] = { "off", "allow", "prefer", "require", "verify-ca", "verify-full" };
static const char *const tls_starts[] = { "postgres", "direct" };
static const char *const protocols[] = { "TLSv1.2", "TLSv1.3" };
static const char *const balances[] = { "random", "round-robin", "least", "p2c" };
static const char *const freshnesses[] = { "off", "session", "cluster" }; /* enum conf_freshness begins with UNSET */
static const char *const failovers[] = { "external", "auto", "manual" };
static const char *const scopes[] = { "statement", "session" };
static const char *const truths[] = { "false", "true", "off", "on", "no", "yes" };

const char *pool_mode_name(enum pool_mode mode)
{
	return mode == POOL_MODE_UNSET ? "" : modes[mode - 1];
}

const char *conf_server_tls_name(enum conf_server_tls mode)
{
	return server_tls[mode];
}

const char *conf_protocol_name(enum conf_protocol p)
{
	return protocols[p];
}

const char *param_type_name(enum param_type type)
{
	static const char *const names[] = { "integer",  "octal",    "boolean",  "text",      "text",        "path",
		                                 "list",     "duration", "size",     "pool mode", "log level",   "log format",
		                                 "engine",   "TLS mode", "TLS mode", "TLS start", "TLS version", "algorithm",
		                                 "failover", "writes",   "scope",    "share" };
	return names[type];
}

const struct param_block *param_block_named(const char *name)
{
	for (size_t i = BLOCK_global + 1; i < BLOCK_COUNT; i++)
		if (strcmp(param_blocks[i].name, name) == 0)
			return &param_blocks[i];
	return NULL;
}

const struct param *param_named(const struct param_block *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->params[i].name, name) == 0)
			return &b->params[i];
	return NULL;
}

/* Digits at *AT, left behind them; false: none, or too many. */
static bool read_number(const char **at, unsigned base, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = *at;
	for (; *p >= '0' && *p < (char)('0' + base); p++)
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	if (p == *at)
		return false;
	*at = p;
	*out = n;
	return true;
}

static bool read_int(const char *text, int64_t *out)
{
	bool minus = *text == '-';
	uint64_t n;
	text += minus;
	if (!read_number(&text, 10, &n) || *text || n > INT64_MAX)
		return false;
	*out = minus ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool read_octal(const char *text, int64_t *out)
{
	uint64_t n;
	if (*text != '0' || !read_number(&text, 8, &n) || *text || n > INT64_MAX)
		return false;
	*out = (int64_t)n;
	return true;
}

enum read_unit { UNIT_READ, UNIT_MISSING, UNIT_WRONG };
static enum read_unit read_with_unit(const char *text, const struct unit *units, size_t n_units, int64_t *out)
{
	uint64_t n;
	if (!read_number(&text, 10, &n))
		return UNIT_WRONG;
	if (!*text && n > 0)
		return UNIT_MISSING;
	for (size_t i = 0; i < n_units; i++) {
		if (*text && strcmp(text, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(n, units[i].factor, &n) || n > INT64_MAX)
			n = INT64_MAX; /* out of every range */
		*out = (int64_t)n;
		return UNIT_READ;
	}
	return UNIT_WRONG;
}

static char *show_with_unit(uint64_t n, const struct unit *units, size_t n_units)
{
	char out[40] = "0";
	for (size_t i = n_units; n > 0 && i-- > 0;) {
		if (n % units[i].factor != 0)
			continue;
		snprintf(out, sizeof out, "%" PRIu64 "%s", n / units[i].factor, units[i].name);
		break;
	}
	return mem_text(out);
}

#define SHARE_ONE 1000000 /* of a million */

/* 0 … 1 with up to six places behind the point; 1.5 is a number, but out of every range. */
static bool read_share(const char *text, int64_t *out)
{
	uint64_t n, unit = SHARE_ONE;
	if (!read_number(&text, 10, &n) || n > INT32_MAX)
		return false;
	*out = (int64_t)n * SHARE_ONE;
	if (*text == '.' && !text[1])
		return false;
	for (text += *text == '.'; *text >= '0' && *text <= '9' && unit > 1; text++)
		*out += (int64_t)(unit /= 10) * (*text - '0');
	return *text == '\0';
}

static char *show_share(int64_t parts)
{
	char out[40];
	size_t len = (size_t)snprintf(out, sizeof out, "%" PRId64 ".%06" PRId64, parts / SHARE_ONE, parts % SHARE_ONE);
	while (out[len - 1] == '0')
		len--;
	return mem_textn(out, len - (out[len - 1] == '.'));
}

char *param_show_number(const struct param *p, int64_t number)
{
	char out[40];
	if (p->type == PARAM_DURATION)
		return show_with_unit((uint64_t)number, durations, ARRAY_LEN(durations));
	if (p->type == PARAM_SIZE)
		return show_with_unit((uint64_t)number, sizes, ARRAY_LEN(sizes));
	if (p->type == PARAM_SHARE)
		return show_share(number);
	snprintf(out, sizeof out, p->type == PARAM_OCTAL ? "0%" PRIo64 : "%" PRId64, number);
	return mem_text(out);
}

static bool out_of_range(const struct param *p, const char *text, struct err *err)
{
	char *min = param_show_number(p, p->min), *max = param_show_number(p, p->max);
	err_set(err, "F0000", "%s = %.60s is out of range: from %s to %s", p->name, text, min, max);
	mem_free(min);
	mem_free(max);
	return false;
}

/* "" where the default is "": the sentinel of a duration that is not set. */
static bool is_unset(const struct param *p, const char *text)
{
	return *text == '\0' && *p->dflt == '\0';
}

static bool parse_number(const struct param *p, const char *text, int64_t *out, struct err *err)
{
	enum read_unit got = UNIT_WRONG;
	const char *what = "", *units = "";
	switch (p->type) {
	case PARAM_INT:
		got = read_int(text, out) ? UNIT_READ : UNIT_WRONG;
		what = "a whole number";
		break;
	case PARAM_SHARE:
		got = read_share(text, out) ? UNIT_READ : UNIT_WRONG;
		what = "a share: a number from 0 to 1, as in 0.01";
		break;
	case PARAM_OCTAL:
		got = read_octal(text, out) ? UNIT_READ : UNIT_WRONG;
		what = "an octal number that begins with 0, as in 0770";
		break;
	case PARAM_DURATION:
		got = read_with_unit(text, durations, ARRAY_LEN(durations), out);
		what = "a duration: a whole number with us, ms, s, min, h or d, as in 200ms or 5min";
		units = "us, ms, s, min, h or d";
		break;
	default:
		got = read_with_unit(text, sizes, ARRAY_LEN(sizes), out);
		what = "a size: a whole number with B, kB, MB or GB, as in 10MB";
		units = "B, kB, MB or GB";
		break;
	}
	if (got == UNIT_WRONG)
		return err_set(err, "F0000", "%s: \"%.60s\" is not %s", p->name, text, what);
	if (got == UNIT_MISSING)
		return err_set(err, "F0000", "%s = %.60s lacks its unit: %s", p->name, text, units);
	if (*out < p->min || *out > p->max)
		return out_of_range(p, text, err);
	return true;
}

/* The index of TEXT in WORDS. */
static bool parse_word(const struct param *p, const char *text, const char *const *words, size_t n, size_t *out, struct err *err)
{
	char all[80] = "";
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], text) == 0) {
			*out = i;
			return true;
		}
		size_t len = strlen(all);
		snprintf(all + len, sizeof all - len, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", words[i]);
	}
	const char *near = near_word(text, words, n);
	return err_set(err, "F0000", "%s: \"%.60s\" is none of %s%s%s%s", p->name, text, all, near ? "; did you mean \"" : "",
	               near ? near : "", near ? "\"?" : "");
}

static void set_text(char **at, char *text)
{
	secret_free_text(*at);
	*at = text;
}

static void list_drop(struct conf_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		mem_free(l->at[i]);
	mem_free(l->at);
	*l = (struct conf_list){ 0 };
}

static struct conf_list list_of(const struct conf_list *texts)
{
	struct conf_list l = { .n = texts->n, .at = mem_alloc(texts->n * sizeof *l.at) };
	for (size_t i = 0; i < l.n; i++)
		l.at[i] = mem_text(texts->at[i]);
	return l;
}

/* Types whose values are words: an enum that counts from FIRST. */
struct words {
	const char *const *at;
	size_t n;
	int first;
};
static const struct words *words_of(enum param_type type)
{
	static const struct words all[] = {
		[PARAM_MODE] = { modes, ARRAY_LEN(modes), POOL_MODE_UNSET + 1 },
		[PARAM_LEVEL] = { levels, ARRAY_LEN(levels), 0 },
		[PARAM_FORMAT] = { formats, ARRAY_LEN(formats), 0 },
		[PARAM_ENGINE] = { engines, ARRAY_LEN(engines), 0 },
		[PARAM_CLIENT_TLS] = { client_tls, ARRAY_LEN(client_tls), 0 },
		[PARAM_SERVER_TLS] = { server_tls, ARRAY_LEN(server_tls), 0 },
		[PARAM_TLS_START] = { tls_starts, ARRAY_LEN(tls_starts), 0 },
		[PARAM_PROTOCOL] = { protocols, ARRAY_LEN(protocols), 0 },
		[PARAM_BALANCE] = { balances, ARRAY_LEN(balances), 0 },
		[PARAM_FRESHNESS] = { freshnesses, ARRAY_LEN(freshnesses), CONF_FRESH_UNSET + 1 },
		[PARAM_FAILOVER] = { failovers, ARRAY_LEN(failovers), 0 },
		[PARAM_SCOPE] = { scopes, ARRAY_LEN(scopes), 0 },
	};
	return type < ARRAY_LEN(all) && all[type].n ? &all[type] : NULL;
}

static bool set_word(const struct param *p, void *at, const char *text, struct err *err)
{
	const struct words *w = words_of(p->type);
	size_t i = 0;
	if (!w) {
		if (!parse_word(p, text, truths, ARRAY_LEN(truths), &i, err))
			return false;
		*(bool *)at = i % 2 == 1;
		return true;
	}
	if (!parse_word(p, text, w->at, w->n, &i, err))
		return false;
	memcpy(at, &(int){ w->first + (int)i }, sizeof(int)); /* as wide as every enum */
	return true;
}

/* Below FIRST: not set. */
static char *show_word(const struct words *w, const void *at)
{
	int value;
	memcpy(&value, at, sizeof value);
	return mem_text(value < w->first ? "" : w->at[value - w->first]);
}

static void set_unset(const struct param *p, void *at)
{
	if (p->type == PARAM_MODE)
		*(enum pool_mode *)at = POOL_MODE_UNSET;
	else if (p->type == PARAM_FRESHNESS)
		*(enum conf_freshness *)at = CONF_FRESH_UNSET;
	else if (p->type == PARAM_DURATION)
		*(uint64_t *)at = CONF_DURATION_UNSET;
}

bool param_set(const struct param *p, void *base, const struct conf_list *texts, const char *file, struct err *err)
{
	void *at = (char *)base + p->at;
	const char *text = texts->n ? texts->at[0] : "";
	int64_t number;
	if (p->type == PARAM_LIST) {
		list_drop(at);
		*(struct conf_list *)at = list_of(texts);
		return true;
	}
	switch (p->type) {
	case PARAM_TEXT:
	case PARAM_SECRET:
	case PARAM_PATH:
		if (!*text && *p->dflt)
			return err_set(err, "F0000", "%s must not be empty", p->name);
		set_text(at, p->type == PARAM_PATH && file ? path_beside(file, text) : mem_text(text));
		return true;
	default:
		break;
	}
	if (is_unset(p, text)) {
		set_unset(p, at);
		return true;
	}
	switch (p->type) {
	case PARAM_INT:
	case PARAM_OCTAL:
	case PARAM_SHARE:
	case PARAM_DURATION:
	case PARAM_SIZE:
		if (!parse_number(p, text, &number, err))
			return false;
		*(int64_t *)at = number; /* the unsigned ones are as wide, and not above INT64_MAX */
		return true;
	default:
		return set_word(p, at, text, err);
	}
}

static char *show_list(const struct conf_list *l)
{
	size_t len = 1;
	for (size_t i = 0; i < l->n; i++)
		len += strlen(l->at[i]) + 2;
	char *out = mem_alloc(len), *at = out;
	for (size_t i = 0; i < l->n; i++)
		at += sprintf(at, "%s%s", i ? ", " : "", l->at[i]);
	return out;
}

char *param_show(const struct param *p, const void *base)
{
	const void *at = (const char *)base + p->at;
	if (words_of(p->type))
		return show_word(words_of(p->type), at);
	switch (p->type) {
	case PARAM_BOOL:
		return mem_text(truths[*(const bool *)at]);
	case PARAM_TEXT:
	case PARAM_SECRET:
	case PARAM_PATH:
		return mem_text(*(char *const *)at);
	case PARAM_LIST:
		return show_list(at);
	case PARAM_DURATION:
		if (*(const uint64_t *)at == CONF_DURATION_UNSET)
			return mem_text("");
		break;
	default:
		break;
	}
	return param_show_number(p, *(const int64_t *)at);
}

bool param_equal(const struct param *p, const void *a, const void *b)
{
	char *x = param_show(p, a), *y = param_show(p, b);
	bool is_same = strcmp(x, y) == 0;
	secret_free_text(x);
	secret_free_text(y);
	return is_same;
}

static bool is_text(const struct param *p)
{
	return p->type == PARAM_TEXT || p->type == PARAM_SECRET || p->type == PARAM_PATH;
}

void params_init(const struct param_block *b, void *base)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		char *text = (char *)p->dflt;
		struct conf_list one = { .n = *text || p->type != PARAM_LIST ? 1 : 0, .at = &text };
		struct err err;
		if (!param_set(p, base, &one, NULL, &err))
			die("tbl/params.h: %s", err.text);
	}
}

void params_own(const struct param_block *b, void *base)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		void *at = (char *)base + p->at;
		if (p->type == PARAM_LIST)
			*(struct conf_list *)at = list_of(at);
		else if (is_text(p))
			*(char **)at = mem_text(*(char **)at);
	}
}

void params_fini(const struct param_block *b, void *base)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		void *at = (char *)base + p->at;
		if (p->type == PARAM_LIST)
			list_drop(at);
		else if (is_text(p))
			set_text(at, NULL);
	}
}
