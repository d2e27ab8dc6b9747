/*
 * log — one line, one event, facts as key=value (or one JSON object).
 *
 *   log_info(&s->log, "client_closed", KV_STR("reason", why), KV_INT("ms", age));
 *
 * gives   2026-01-31T12:00:00.123Z info client_closed client=42 user=app db=shop while="waiting for a server" reason=… ms=12
 * Values are typed and escaped here, so nothing that a stranger sends can forge a line.  Any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_KV, LOG_FORMAT_JSON };

struct log_kv {
	const char *key;
	enum { KV_IS_STR, KV_IS_INT, KV_IS_SLICE, KV_IS_ERR } is;
	union {
		const char *str; /* NULL is left out */
		int64_t num;
		struct slice bytes;
		const struct err *err; /* prints sqlstate=… error="…" */
	};
};
#define KV_STR(k, v)   ((struct log_kv){ .key = (k), .is = KV_IS_STR, .str = (v) })
#define KV_INT(k, v)   ((struct log_kv){ .key = (k), .is = KV_IS_INT, .num = (int64_t)(v) })
#define KV_SLICE(k, v) ((struct log_kv){ .key = (k), .is = KV_IS_SLICE, .bytes = (v) })
#define KV_ERR(v)      ((struct log_kv){ .key = "error", .is = KV_IS_ERR, .err = (v) })

/* Who speaks and what it is doing; embedded in whatever logs.  `who` adds at most MAX facts and returns how many. */
struct log {
	const char *doing;
	unsigned (*who)(const struct log *log, struct log_kv *out, unsigned max); /* may be NULL */
};

static inline void log_while(struct log *log, const char *doing)
{
	log->doing = doing;
}

/* Before threads; FD stays the caller's. */
void log_init(int fd);
/* Instead, for simulations, in the one thread that there is: a line at a time, without its end and its time.  NULL: to the descriptor again. */
void log_divert(void (*fn)(void *arg, const char *line, size_t len), void *arg);
/* Any time, any thread. */
void log_configure(enum log_level least, enum log_format format);
extern atomic_int log_least_; /* by log_configure() only */
static inline bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log_least_, memory_order_relaxed);
}

/* LOG may be NULL: then nobody and nothing are named. */
void log_write(enum log_level level, const struct log *log, const char *event, const struct log_kv *kv, unsigned n);

#define LOG_AT(level, log, event, ...)                                                               \
	do {                                                                                             \
		if (log_is_on(level)) {                                                                      \
			const struct log_kv log_kvs_[] = { KV_STR("", NULL), ##__VA_ARGS__ };                    \
			log_write(level, log, event, log_kvs_ + 1, sizeof log_kvs_ / sizeof log_kvs_[0] - 1);    \
		}                                                                                            \
	} while (0)
#define log_debug(log, event, ...) LOG_AT(LOG_LEVEL_DEBUG, log, event, ##__VA_ARGS__)
#define log_info(log, event, ...)  LOG_AT(LOG_LEVEL_INFO, log, event, ##__VA_ARGS__)
#define log_warn(log, event, ...)  LOG_AT(LOG_LEVEL_WARN, log, event, ##__VA_ARGS__)
#define log_error(log, event, ...) LOG_AT(LOG_LEVEL_ERROR, log, event, ##__VA_ARGS__)

/* Says why on stderr and in the log, then aborts: for what must never be. */
NORETURN void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Always on: the price is a branch, the gain a stop before data goes wrong. */
#define ASSERT(cond)                                                                                 \
	do {                                                                                             \
		if (UNLIKELY(!(cond)))                                                                       \
			die("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond);                           \
	} while (0)

#endif
