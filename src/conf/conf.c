/*
 * conf — the loaded configuration: what holds for whom, and its end.
 */
#include "conf/conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/users.h"
#include "priv.h"

#define MAX_ERRORS 100u

void conf_errors_add(struct conf_errors *e, const char *where, const char *fmt, ...)
{
	if (e->n > MAX_ERRORS)
		return;
	char text[800];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	e->at = mem_grow(e->at, (e->n + 1) * sizeof *e->at);
	bool is_last = e->n == MAX_ERRORS;
	e->at[e->n].where = mem_text(is_last ? "" : where);
	e->at[e->n].text = mem_text(is_last ? "and more errors, which are not listed" : text);
	e->n++;
}

void conf_errors_to_err(const struct conf_errors *e, struct err *err)
{
	err_set(err, "F0000", "%s%s%s", e->at[0].where, e->at[0].where[0] ? ": " : "", e->at[0].text);
	if (e->n > 1)
		err_detail(err, "There are %zu more errors.", e->n - 1);
	err_hint(err, "Everything stays as it was.");
}

void conf_errors_fini(struct conf_errors *e)
{
	for (size_t i = 0; i < e->n; i++) {
		mem_free(e->at[i].where);
		mem_free(e->at[i].text);
	}
	mem_free(e->at);
	*e = (struct conf_errors){ 0 };
}

static void cluster_fini(struct conf_cluster *c)
{
	for (size_t i = 0; i < c->n_nodes; i++) {
		params_fini(&param_blocks[BLOCK_node], &c->nodes[i]);
		mem_free(c->nodes[i].name);
	}
	mem_free(c->nodes);
	for (size_t i = 0; i < c->n_redirects; i++) {
		params_fini(&param_blocks[BLOCK_redirect], &c->redirects[i]);
		mem_free(c->redirects[i].name);
	}
	mem_free(c->redirects);
	params_fini(&param_blocks[BLOCK_cluster], c);
	mem_free(c->name);
}

/* What was made beside the settings goes with who made it. */
static void give_back_loaded(struct conf *c)
{
	if (c->lender) {
		conf_free(c->lender);
		return;
	}
	hba_unref(c->hba);
	ident_free(c->maps);
	users_free(c->secrets);
}

void conf_free(struct conf *c)
{
	if (!c || c->borrowers-- > 0)
		return;
	for (size_t i = 0; i < c->n_clusters; i++)
		cluster_fini(&c->clusters[i]);
	for (size_t i = 0; i < c->n_databases; i++) {
		params_fini(&param_blocks[BLOCK_database], &c->databases[i]);
		mem_free(c->databases[i].name);
	}
	for (size_t i = 0; i < c->n_users; i++) {
		params_fini(&param_blocks[BLOCK_user], &c->users[i]);
		mem_free(c->users[i].name);
	}
	mem_free(c->clusters);
	mem_free(c->databases);
	mem_free(c->users);
	params_fini(&param_blocks[BLOCK_listen], &c->listen);
	params_fini(&param_blocks[BLOCK_auth], &c->auth);
	params_fini(&param_blocks[BLOCK_pool], &c->pool);
	params_fini(&param_blocks[BLOCK_limits], &c->limits);
	params_fini(&param_blocks[BLOCK_global], c);
	give_back_loaded(c);
	mem_free(c);
}

const struct conf_database *conf_database(const struct conf *c, const char *name)
{
	const struct conf_database *any = NULL;
	for (size_t i = 0; i < c->n_databases; i++) {
		if (strcmp(c->databases[i].name, name) == 0)
			return &c->databases[i];
		if (strcmp(c->databases[i].name, "*") == 0)
			any = &c->databases[i];
	}
	return any;
}

const struct conf_user *conf_user(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_users; i++)
		if (strcmp(c->users[i].name, name) == 0)
			return &c->users[i];
	return NULL;
}

/* The first that says something. */
static int64_t first_number(int64_t user, int64_t database, int64_t pool)
{
	return user >= 0 ? user : database >= 0 ? database : pool;
}

static enum pool_mode first_mode(enum pool_mode user, enum pool_mode database, enum pool_mode pool)
{
	return user != POOL_MODE_UNSET ? user : database != POOL_MODE_UNSET ? database : pool;
}

static uint64_t first_duration(const struct conf_user *u, uint64_t user, uint64_t limit)
{
	return u && user != CONF_DURATION_UNSET ? user : limit;
}

static int64_t at_most(int64_t n, int64_t bound)
{
	return n < bound ? n : bound;
}

void conf_effective(const struct conf *c, const struct conf_database *d, const struct conf_user *u, struct conf_effective *out)
{
	static const struct conf_user nobody = { .pool_mode = POOL_MODE_UNSET, .pool_size = -1, .reserve_pool_size = -1 };
	const struct conf_user *user = u ? u : &nobody;
	out->mode = first_mode(user->pool_mode, d->pool_mode, c->pool.mode);
	out->read_until_write = d->read_until_write;
	out->size = first_number(user->pool_size, d->pool_size, c->pool.size);
	out->min_size = at_most(first_number(-1, d->min_pool_size, c->pool.min_size), out->size);
	out->reserve_size = first_number(user->reserve_pool_size, d->reserve_pool_size, c->pool.reserve_size);
	int64_t half = out->size / 2 > 0 ? out->size / 2 : 1;
	out->max_pinned = c->pool.max_pinned < 0 ? half : at_most(c->pool.max_pinned, out->size);
	out->query_timeout = first_duration(u, user->query_timeout, c->limits.query_timeout);
	out->idle_transaction_timeout = first_duration(u, user->idle_transaction_timeout, c->limits.idle_transaction_timeout);
	out->client_idle_timeout = first_duration(u, user->client_idle_timeout, c->limits.client_idle_timeout);
	out->transaction_timeout = first_duration(u, user->transaction_timeout, c->limits.transaction_timeout);
}

static void keep_text(void *after, const void *before, size_t size)
{
	char *old = *(char **)after;
	*(char **)after = mem_text(*(char *const *)before);
	mem_free(old);
}

static void keep_value(void *after, const void *before, size_t size)
{
	memcpy(after, before, size);
}

/* The rows that need a restart are texts and scalars of the global block.  Each configuration has texts of its own: BEFORE will be freed. */
#define KEEP_RESTART(field) \
	_Generic(after->field, char * : keep_text, default : keep_value)(&after->field, &before->field, sizeof after->field);
#define KEEP_RELOAD(field)
#define KEEP(field, type, dflt, min, max, when, sentence) KEEP_##when(field)

void conf_keep_restart(struct conf *after, const struct conf *before)
{
	PARAMS_GLOBAL(KEEP)
}
