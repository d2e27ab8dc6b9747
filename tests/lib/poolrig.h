/* poolrig — one worker's pools on a loop, a topology from a text, and borrowers that count what happens to them. */
#ifndef POOLRIG_H
#define POOLRIG_H

#include "base/hash.h"
#include "base/log.h"
#include "confdir.h"
#include "fakepg.h"
#include "pool/pool.h"
#include "unitloop.h"
#include "wire/frame.h"
#include "wire/writer.h"

struct rig {
	struct fakepg pg;
	struct confdir dir;
	struct loop *loop;
	struct engine *engine;
	struct settings_table *settings;
	struct pool_registry *registry;
	struct pools *pools;
	struct topo *topo;
	unsigned troubles;
};

struct borrower {
	struct pool_wait wait; /* first */
	struct server *srv;
	struct err err;
	bool has_failed, is_gone;
	unsigned turn;  /* the how-manieth that was served */
	unsigned ready; /* ReadyForQuery seen */
};

static unsigned rig_turns;

static inline size_t borrower_on_data(struct server *srv, struct slice bytes, struct lent *lent)
{
	struct borrower *b = srv->borrower;
	struct frame f;
	struct reply entry;
	size_t taken = 0;
	while (frame_next(slice_skip(bytes, taken), FRAME_FROM_SERVER, &f) == FRAME_OK && frame_is_whole(&f)) {
		taken += frame_size(&f);
		assert_int_not_equal(replies_on_message(&srv->replies, f.type, &entry), REPLY_UNEXPECTED);
		while (replies_skipped(&srv->replies, &entry))
			;
		if (f.type == 'Z') {
			srv->tx_status = f.body.at[0];
			b->ready++;
		}
	}
	return taken;
}

static inline void borrower_on_gone(struct server *srv, const struct err *err)
{
	struct borrower *b = srv->borrower;
	b->is_gone = true;
	b->err = *err;
	b->srv = NULL;
}

static const struct server_user borrower_user = { .on_data = borrower_on_data, .on_gone = borrower_on_gone };

static inline void borrower_take(struct borrower *b, struct server *srv)
{
	b->srv = srv;
	b->turn = ++rig_turns;
	srv->user = &borrower_user;
	srv->borrower = b;
}

static inline void borrower_on_server(struct pool_wait *w, struct server *srv)
{
	borrower_take((struct borrower *)w, srv);
}

static inline void borrower_on_failed(struct pool_wait *w, const struct err *err)
{
	struct borrower *b = (struct borrower *)w;
	b->has_failed = true;
	b->err = *err;
}

static inline void borrow(struct pool *pool, struct borrower *b)
{
	static const struct pool_wait_ops ops = { .on_server = borrower_on_server, .on_failed = borrower_on_failed };
	*b = (struct borrower){ .wait = { .ops = &ops } };
	struct server *srv = pool_checkout(pool, &b->wait);
	if (srv)
		borrower_take(b, srv);
}

static inline void give_back(struct borrower *b)
{
	struct server *srv = b->srv;
	b->srv = NULL;
	pool_give_back(srv);
}

static inline void borrower_send(struct borrower *b, enum reply_kind kind, uint8_t type, const char *text)
{
	uint8_t space[256];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, type);
	if (text)
		writer_text(&w, text);
	writer_end(&w);
	assert_true(replies_push(&b->srv->replies, (struct reply){ .kind = kind, .fate = REPLY_FORWARD }));
	stream_send(&b->srv->up.stream, writer_slice(&w), NULL);
}

static inline bool has_server(void *arg)
{
	return ((struct borrower *)arg)->srv != NULL;
}

static inline bool has_failed(void *arg)
{
	return ((struct borrower *)arg)->has_failed;
}

static inline bool is_gone(void *arg)
{
	return ((struct borrower *)arg)->is_gone;
}

static inline bool is_answered(void *arg)
{
	struct borrower *b = arg;
	return b->srv && replies_is_empty(&b->srv->replies);
}

static inline void ask(struct rig *rig, struct borrower *b, const char *sql)
{
	borrower_send(b, REPLY_QUERY, 'Q', sql);
	run_until(rig->loop, is_answered, b);
}

static inline void sum_row(void *arg, const struct pool_row *row)
{
	struct pool_row *sum = arg;
	sum->idle += row->idle;
	sum->lent += row->lent;
	sum->opening += row->opening;
	sum->waiting += row->waiting;
	sum->clients += row->clients;
	sum->pinned += row->pinned;
}

static inline struct pool_row rig_sum(struct rig *rig)
{
	struct pool_row sum = { 0 };
	pool_registry_each(rig->registry, sum_row, &sum);
	return sum;
}

static inline bool is_all_idle(void *arg)
{
	struct pool_row sum = rig_sum(arg);
	return sum.lent == 0 && sum.opening == 0;
}

static inline void on_rig_trouble(void *arg, uint32_t node_id)
{
	((struct rig *)arg)->troubles++;
}

static inline struct topo *rig_topo(struct rig *rig, const char *node, const char *more, const struct topo *before)
{
	char text[1024];
	snprintf(text, sizeof text,
	         "auth { hba_file = rules }\ncluster main { node pg1 { host = \"%s\" %s } }\ndatabase \"*\" {}\n%s\n", rig->pg.dir,
	         node, more);
	struct conf *conf = confdir_text(&rig->dir, text);
	assert_string_equal(rig->dir.told, "");
	return topo_build(conf, before);
}

/* NODE: inside the node's block; MORE: further blocks. */
static inline void rig_init(struct rig *rig, const char *node, const char *more)
{
	memset(rig, 0, sizeof *rig);
	rig_turns = 0;
	hash_init();
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_KV);
	fakepg_start(&rig->pg);
	confdir_init(&rig->dir);
	rig->loop = loop_new(false);
	rig->engine = engine_new(rig->loop);
	rig->settings = settings_table_new();
	rig->registry = pool_registry_new(1);
	pool_registry_on_trouble(rig->registry, on_rig_trouble, rig);
	struct upstream_env env = { .engine = rig->engine, .settings = rig->settings };
	rig->pools = pools_new(rig->registry, 0, &env);
	rig->topo = rig_topo(rig, node, more, NULL);
}

static inline struct pool *rig_pool(struct rig *rig, const char *database, const char *user)
{
	struct pool_key key = { .node_id = rig->topo->clusters[0].nodes[0].id, .database = database, .user = user };
	struct pool *pool = pools_get(rig->pools, rig->topo, &key);
	assert_non_null(pool);
	return pool;
}

static inline void rig_reload(struct rig *rig, const char *node, const char *more)
{
	struct topo *before = rig->topo;
	rig->topo = rig_topo(rig, node, more, before);
	pools_on_topology(rig->pools, rig->topo);
	topo_free(before);
}

static inline void rig_fini(struct rig *rig)
{
	pools_free(rig->pools);
	pool_registry_free(rig->registry);
	settings_table_free(rig->settings);
	engine_free(rig->engine);
	loop_free(rig->loop);
	topo_free(rig->topo);
	confdir_fini(&rig->dir);
	fakepg_stop(&rig->pg);
}

#endif
