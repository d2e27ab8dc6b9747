/*
 * log — formats a line on the stack and gives it to the kernel in one write(2).
 *
 * Always: a line holds exactly one '\n', its last byte; a fact is in the line whole or not at all (then "cut" says so), so that
 * a reader of key=value or JSON can always parse it.  Bytes below 0x20, 0x7f, C1 controls and broken UTF-8 are escaped: nothing
 * that a stranger sends can start a new line or drive a terminal.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 8192
#define TAIL_BYTES 32 /* always free: the cut mark, a brace, the newline */
#define VALUE_BYTES 2048
#define WHO_MAX 8

static atomic_int log_fd = STDERR_FILENO;
atomic_int log_least_ = LOG_LEVEL_INFO;
static atomic_int log_format = LOG_FORMAT_KV;

static void (*divert)(void *arg, const char *line, size_t len); /* NULL: to log_fd */
static void *divert_arg;

struct line {
	char text[LINE_BYTES];
	size_t len;
	bool is_json, is_over, is_cut;
};

static void line_put(struct line *l, const char *bytes, size_t n)
{
	if (n > sizeof l->text - TAIL_BYTES - l->len) {
		l->is_over = true;
		return;
	}
	memcpy(l->text + l->len, bytes, n);
	l->len += n;
}

static void line_text(struct line *l, const char *text)
{
	line_put(l, text, strlen(text));
}

/* The length of the valid, printable UTF-8 character at S, 0 if there is none. */
static size_t printable_utf8(struct slice s)
{
	static const uint32_t least[] = { 0, 0, 0xa0, 0x800, 0x10000 }; /* shorter forms and C1 controls refused */
	uint8_t c = s.at[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
	if (n == 1)
		return c >= 0x20 && c != 0x7f;
	if (n == 0 || c >= 0xf5 || n > s.len)
		return 0;
	uint32_t code = c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s.at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s.at[i] & 0x3f);
	}
	bool is_surrogate = code >= 0xd800 && code <= 0xdfff, is_separator = code == 0x2028 || code == 0x2029;
	return code < least[n] || code > 0x10ffff || is_surrogate || is_separator ? 0 : n;
}

static void line_escape(struct line *l, uint8_t c)
{
	static const char special[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
	char esc[8];
	const char *at = memchr(special, c, sizeof special - 1);
	if (at)
		snprintf(esc, sizeof esc, "\\%c", letters[at - special]);
	else
		snprintf(esc, sizeof esc, l->is_json ? "\\u%04x" : "\\x%02x", c);
	line_text(l, esc);
}

static void line_quoted(struct line *l, struct slice s)
{
	line_put(l, "\"", 1);
	while (s.len && !l->is_over) {
		size_t n = s.at[0] == '"' || s.at[0] == '\\' ? 0 : printable_utf8(s);
		if (n)
			line_put(l, (const char *)s.at, n);
		else
			line_escape(l, s.at[0]);
		s = slice_skip(s, n ? n : 1);
	}
	line_put(l, "\"", 1);
}

static bool is_bare(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] <= ' ' || s.at[i] >= 0x7f || s.at[i] == '=' || s.at[i] == '"' || s.at[i] == '\\')
			return false;
	return s.len > 0;
}

static void line_key(struct line *l, const char *key)
{
	line_text(l, l->is_json ? l->len > 1 ? ",\"" : "\"" : " ");
	line_text(l, key);
	line_text(l, l->is_json ? "\":" : "=");
}

/* A fact that does not fit is taken out again, whole. */
static void line_string(struct line *l, const char *key, struct slice s)
{
	size_t before = l->len;
	if (s.len > VALUE_BYTES) {
		s.len = VALUE_BYTES;
		while (s.len && (s.at[s.len] & 0xc0) == 0x80) /* not inside a character */
			s.len--;
		l->is_cut = true;
	}
	line_key(l, key);
	if (!l->is_json && is_bare(s))
		line_put(l, (const char *)s.at, s.len);
	else
		line_quoted(l, s);
	if (l->is_over) {
		l->len = before;
		l->is_over = false;
		l->is_cut = true;
	}
}

static void line_number(struct line *l, const char *key, int64_t num)
{
	char text[24];
	size_t before = l->len;
	line_key(l, key);
	line_put(l, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)num));
	if (l->is_over) {
		l->len = before;
		l->is_over = false;
		l->is_cut = true;
	}
}

static void line_err(struct line *l, const char *key, const struct err *err)
{
	line_string(l, "sqlstate", slice_text(err->sqlstate));
	line_string(l, key, slice_text(err->text));
	if (err->detail[0])
		line_string(l, "detail", slice_text(err->detail));
	if (err->hint[0])
		line_string(l, "hint", slice_text(err->hint));
}

static void line_facts(struct line *l, const struct log_kv *kv, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (kv[i].is == KV_IS_INT)
			line_number(l, kv[i].key, kv[i].num);
		else if (kv[i].is == KV_IS_SLICE)
			line_string(l, kv[i].key, kv[i].bytes);
		else if (kv[i].is == KV_IS_STR && kv[i].str)
			line_string(l, kv[i].key, slice_text(kv[i].str));
		else if (kv[i].is == KV_IS_ERR && kv[i].err)
			line_err(l, kv[i].key, kv[i].err);
	}
}

static void line_head(struct line *l, enum log_level level, const char *event)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	struct timespec now;
	struct tm tm;
	char stamp[40];
	if (divert) {
		line_text(l, event);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + n, sizeof stamp - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
	if (l->is_json) {
		line_text(l, "{");
		line_string(l, "time", slice_text(stamp));
		line_string(l, "level", slice_text(names[level]));
		line_string(l, "event", slice_text(event));
		return;
	}
	line_text(l, stamp);
	line_text(l, " ");
	line_text(l, names[level]);
	line_text(l, " ");
	line_text(l, event);
}

/* Uses the reserved tail: never fails. */
static void line_end(struct line *l)
{
	const char *cut = !l->is_cut ? "" : l->is_json ? ",\"cut\":1" : " cut=1";
	l->len += (size_t)sprintf(l->text + l->len, "%s%s\n", cut, l->is_json ? "}" : "");
}

static void write_line(int fd, const char *text, size_t len)
{
	while (write(fd, text, len) < 0 && errno == EINTR) {
	}
}

void log_init(int fd)
{
	atomic_store(&log_fd, fd);
}

void log_divert(void (*fn)(void *arg, const char *line, size_t len), void *arg)
{
	divert = fn;
	divert_arg = arg;
}

void log_configure(enum log_level least, enum log_format format)
{
	atomic_store_explicit(&log_least_, (int)least, memory_order_relaxed);
	atomic_store_explicit(&log_format, (int)format, memory_order_relaxed);
}

void log_write(enum log_level level, const struct log *log, const char *event, const struct log_kv *kv, unsigned n)
{
	int saved = errno; /* logging between a failed call and the look at errno must not change the story */
	struct line l;
	l.len = 0;
	l.is_json = atomic_load_explicit(&log_format, memory_order_relaxed) == LOG_FORMAT_JSON;
	l.is_over = l.is_cut = false;
	line_head(&l, level, event);
	if (log && log->who) {
		struct log_kv who[WHO_MAX];
		line_facts(&l, who, log->who(log, who, WHO_MAX));
	}
	if (log && log->doing)
		line_string(&l, "while", slice_text(log->doing));
	line_facts(&l, kv, n);
	line_end(&l);
	if (divert)
		divert(divert_arg, l.text, l.len - 1);
	else
		write_line(atomic_load(&log_fd), l.text, l.len);
	errno = saved;
}

void die(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	divert = NULL;
	if (atomic_load(&log_fd) != STDERR_FILENO)
		fprintf(stderr, "%s\n", text);
	log_write(LOG_LEVEL_ERROR, NULL, "fatal", &KV_STR("error", text), 1);
	abort();
}
