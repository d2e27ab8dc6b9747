/*
 * handover — a server connection travels to another worker, because another loop's watcher cannot be stolen: its owner detaches the
 * descriptor and mails it with everything that the books say about it.
 *
 *   parcel_pack() ── mailbox ──► unpack: to the oldest local wait that was promised one, else as if it had been given back here
 *                        └─────► refused, or nobody here wants this kind any more: closed
 *
 * Always: a parcel holds the server's tokens and a reference to the shared pool;  only an idle server with nothing unread is packed.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"
#include "priv.h"

struct parcel_stmt {
	struct hash128 key;
	uint64_t value;
};

struct parcel {
	struct letter letter;
	struct pool_shared *shared;
	int fd;
	struct tls *tls; /* NULL: plain */
	struct addr addr;
	uint32_t pid;
	uint16_t key_len;
	uint8_t key[STARTMSG_KEY_MAX];
	uint64_t id, opened_us, idle_since_us, retire_us, retired;
	void *reported, *applied, *committed; /* settings_export() */
	uint32_t n_stmts;
	struct parcel_stmt *stmts;
};

static void pack_stmt(void *arg, struct hash128 key, uint64_t value)
{
	struct parcel *c = arg;
	c->stmts[c->n_stmts++] = (struct parcel_stmt){ key, value };
}

static void parcel_free(struct parcel *c)
{
	secret_wipe(c->key, sizeof c->key);
	mem_free(c->reported);
	mem_free(c->applied);
	mem_free(c->committed);
	mem_free(c->stmts);
	shared_unref(c->shared);
	mem_free(c);
}

/* Any thread.  Nothing is queued on it, so five bytes of Terminate fit; behind TLS its end must do. */
static void throw_away(struct parcel *c)
{
	static const uint8_t terminate[] = { 'X', 0, 0, 0, 4 };
	stream_drop_tls(c->tls);
	if (!c->tls && send(c->fd, terminate, sizeof terminate, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug(NULL, "parcel_terminate_failed", KV_INT("server", c->id));
	close(c->fd);
	tokens_return(c->shared);
	parcel_free(c);
}

static void refuse(struct letter *letter)
{
	throw_away(CONTAINER_OF(letter, struct parcel, letter));
}

static struct server *unpack(struct pool *pool, struct parcel *c)
{
	struct pools *p = pool->pools;
	struct settings_table *table = p->env.settings;
	struct server *srv = server_new(pool);
	upstream_adopt(&srv->up, &p->env, c->fd, c->tls, &c->addr, c->pid, slice_of(c->key, c->key_len),
	               settings_import(table, c->reported));
	srv->up.stream.ops = &server_stream;
	srv->up.stream.owner = srv;
	srv->state = SERVER_IDLE;
	srv->id = c->id;
	srv->opened_us = c->opened_us;
	srv->idle_since_us = c->idle_since_us;
	srv->retire_us = c->retire_us;
	srv->retired = c->retired;
	srv->applied = settings_import(table, c->applied);
	srv->committed = settings_import(table, c->committed);
	for (uint32_t i = 0; i < c->n_stmts; i++)
		stmts_add(&srv->stmts, c->stmts[i].key, c->stmts[i].value);
	return srv;
}

/* The wait that it was meant for keeps its ticket. */
static void disappoint(struct pool *pool)
{
	struct pool_wait *w = queue_promised(pool);
	if (w)
		queue_rejoin(w);
	queue_look(pool);
	grow(pool);
}

static void deliver(struct letter *letter, void *receiver)
{
	struct pools *p = receiver;
	struct parcel *c = CONTAINER_OF(letter, struct parcel, letter);
	struct pool *pool = c->shared->slots[p->worker].local;
	if (!pool || pool->is_gone || pool->is_paused || pool->plan.is_cut || c->retired != atomic_load(&pool->retired->value)) {
		throw_away(c);
		if (pool)
			disappoint(pool);
		return;
	}
	struct server *srv = unpack(pool, c);
	struct pool_wait *w = queue_promised(pool);
	parcel_free(c);
	if (w)
		queue_deliver(w, srv);
	else
		queue_dispatch(srv);
}

struct parcel *parcel_pack(struct server *srv)
{
	ASSERT(srv->state == SERVER_IDLE && !srv->cancels && replies_is_empty(&srv->replies));
	struct tls *tls = NULL;
	int fd = stream_detach(&srv->up.stream, &tls);
	if (fd < 0)
		return NULL;
	const struct upstream *up = &srv->up;
	struct parcel *c = mem_alloc(sizeof *c);
	c->letter = (struct letter){ .deliver = deliver, .refuse = refuse };
	c->shared = shared_ref(srv->pool->shared);
	c->fd = fd;
	c->tls = tls;
	c->addr = up->addr;
	c->pid = up->backend_pid;
	c->key_len = up->backend_key_len;
	memcpy(c->key, up->backend_key, up->backend_key_len);
	c->id = srv->id;
	c->opened_us = srv->opened_us;
	c->idle_since_us = srv->idle_since_us;
	c->retire_us = srv->retire_us;
	c->retired = srv->retired;
	c->reported = settings_export(up->reported);
	c->applied = settings_export(srv->applied);
	c->committed = settings_export(srv->committed);
	c->stmts = stmts_len(&srv->stmts) ? mem_alloc(stmts_len(&srv->stmts) * sizeof *c->stmts) : NULL;
	stmts_each(&srv->stmts, pack_stmt, c);
	upstream_close(&srv->up);
	return c;
}

void parcel_send(struct parcel *c, unsigned worker)
{
	mailbox_send(&c->shared->registry->mailboxes[worker], &c->letter);
}
