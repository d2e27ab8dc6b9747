/*
 * proof — a message in the WAL, which only a logical decoder could see, and as it takes no place in any table needs none; and a file that a sort or
 * function spills to, which is gone at its end: a full disk may have room for WAL long after tables cannot grow.
 *
 *   begin ──► prepare (over a new connection or the one that is kept) ──► write ──► told        only what waits behind "write" is a commit that hangs:
 *                                                                                              a connection that does not come says something else
 */
#include "ha/proof.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define PREPARE_US (2 * US_PER_S)

static const char question_prepare[] =
    "select set_config('synchronous_commit', 'local', false), set_config('work_mem', '64kB', false), "
    "has_function_privilege(3577, "
    "'execute')"; /* 3577: pg_logical_emit_message, whose parameters differ from version to version */
static const char question_write[] =
    "select pg_logical_emit_message(true, 'lunapool', ''), (select count(*) from generate_series(1, 10000))";

struct proof {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	void (*fn)(void *arg, enum proof_end how, const struct err *err);
	void *arg;
	struct service *service; /* NULL: nowhere */
	bool is_under_way;
	uint64_t timeout_us, wrote_us;
};

enum proof_end proof_end_of(const struct err *err)
{
	static const char *const disk[] = { "53100", "58" }; /* disk_full; system_error, io_error, undefined_file … */
	for (size_t i = 0; i < sizeof disk / sizeof disk[0]; i++)
		if (strncmp(err->sqlstate, disk[i], strlen(disk[i])) == 0)
			return PROOF_REFUSED;
	return PROOF_NOTHING;
}

static void tell(struct proof *p, enum proof_end how, const struct err *err)
{
	p->is_under_way = false;
	p->wrote_us = 0;
	p->fn(p->arg, how, err);
}

static void end(struct proof *p, const struct err *err)
{
	tell(p, err ? proof_end_of(err) : PROOF_WROTE, err);
}

/* PostgreSQL says of a file system that can only be read what it says of a lack of privileges (errcode_for_file_access: EROFS is 42501), and of a
 * temporary file that cannot be created that this is an internal error.  That the service role has its privileges is known by now. */
static void on_written(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	if (err && (strcmp(err->sqlstate, "42501") == 0 || strcmp(err->sqlstate, "XX000") == 0))
		tell(arg, PROOF_REFUSED, err);
	else
		end(arg, err);
}

static void on_prepared(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct proof *p = arg;
	if (err) {
		end(p, err);
		return;
	}
	if (n > 2 && values[2] && strcmp(values[2], "t") != 0) {
		struct err denied;
		err_set(&denied, "42501", "the service role may not execute pg_logical_emit_message");
		tell(p, PROOF_NOTHING, &denied);
		return;
	}
	p->wrote_us = clock_us();
	bool is_asking = service_ask(p->service, question_write, p->timeout_us, on_written, p);
	ASSERT(is_asking);
}

struct proof *proof_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                        void (*fn)(void *arg, enum proof_end how, const struct err *err), void *arg)
{
	struct proof *p = mem_alloc(sizeof *p);
	*p = (struct proof){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .fn = fn, .arg = arg };
	return p;
}

void proof_drop(struct proof *p)
{
	service_free(p->service);
	p->service = NULL;
	p->is_under_way = false;
	p->wrote_us = 0;
}

void proof_free(struct proof *p)
{
	if (!p)
		return;
	proof_drop(p);
	mem_free(p);
}

bool proof_is_under_way(const struct proof *p)
{
	return p->is_under_way;
}

uint64_t proof_waits_since(const struct proof *p)
{
	return p->wrote_us;
}

void proof_begin(struct proof *p, const struct service_target *node, uint64_t timeout_us)
{
	ASSERT(!p->is_under_way);
	if (p->service && !service_is_for(p->service, node))
		proof_drop(p);
	if (!p->service)
		p->service = service_new(p->loop, p->resolver, p->mailbox, node);
	p->timeout_us = timeout_us;
	p->is_under_way = true;
	bool is_asking = service_ask(p->service, question_prepare, PREPARE_US, on_prepared, p);
	ASSERT(is_asking);
}
