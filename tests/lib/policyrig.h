/* policyrig — policies in files, loaded for one worker, and a topology to ask them about: a primary pg1, standbys pg2 and pg3, and a second
 * cluster "other" of one node, as are "shard1" and "shard2". */
#ifndef POLICYRIG_H
#define POLICYRIG_H

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "confdir.h"
#include "policy/kv.h"
#include "policy/set.h"
#include "sql/classify.h"
#include "sql/facts.h"
#include "topo/topo.h"
#include "unit.h"

struct policyrig {
	struct confdir dir;
	struct topo *topo;
	struct policy_kv *kv;
	struct policy_set *set;
	struct policy_vm *vm; /* of worker 0, cluster main */
	struct sql_cache *cache;
	struct facts *facts; /* every function is known: those that there are harmless */
	struct sql_class *class;
	struct policy_query query;
	struct policy_decision decision;
	char error[400]; /* of the last load; without the folder */
};

static const char policyrig_conf[] =
    "listen { port = 0 }\nauth { hba_file = \"rules\" }\n"
    "cluster \"main\" {\n  service_user = \"probe\"  policy = \"main.lua\"\n"
    "  node \"pg1\" { host = \"h1\" }\n  node \"pg2\" { host = \"h2\" weight = 3 priority = 7 tags = { \"dc=a\", \"spare\", \"note=x=y\" } }\n  node \"pg3\" { host = \"h3\" }\n}\n"
    "cluster \"other\" { node \"x1\" { host = \"h9\" } }\n"
    "cluster \"shard1\" { node \"s1\" { host = \"h11\" } }\ncluster \"shard2\" { node \"s2\" { host = \"h12\" } }\n"
    "database \"*\" { cluster = \"main\" }\n";

static inline void policyrig_fit(struct policyrig *r, size_t node_at, bool is_fit)
{
	struct pulse *p = r->topo->clusters[0].nodes[node_at].pulse;
	pulse_judge(p, pulse_ejections(p), is_fit ? NULL : "down", false, 0);
}

static inline void policyrig_open(struct policyrig *r)
{
	struct conf_errors errors = { 0 };
	char path[160];
	*r = (struct policyrig){ .query = { .user = "app", .database = "shop", .application = "psql", .ms_since_write = -1 } };
	hash_init();
	log_configure(LOG_LEVEL_ERROR + 1, LOG_FORMAT_KV);
	confdir_init(&r->dir);
	confdir_write(&r->dir, "lunapool.conf", policyrig_conf);
	snprintf(path, sizeof path, "%s/lunapool.conf", r->dir.path);
	struct conf *conf = conf_load(path, &errors);
	if (!conf)
		fail_msg("%s: %s", errors.at[0].where, errors.at[0].text);
	r->topo = topo_build(conf, NULL);
	r->topo->clusters[0].primary = 0;
	r->topo->clusters[0].nodes[1].in_recovery = r->topo->clusters[0].nodes[2].in_recovery = true;
	policyrig_fit(r, 1, true);
	policyrig_fit(r, 2, true);
	r->cache = sql_cache_new(1 << 20);
	r->facts = facts_seal(facts_new(true));
	r->kv = policy_kv_new(100);
}

static inline void policyrig_close(struct policyrig *r)
{
	policy_set_free(r->set);
	policy_kv_free(r->kv);
	sql_class_unref(r->class);
	sql_cache_free(r->cache);
	facts_unref(r->facts);
	topo_free(r->topo);
	confdir_fini(&r->dir);
}

/* Puts TEXT in force; false: it is refused, r->error says why, and the one before stays. */
static inline bool policyrig_try(struct policyrig *r, const char *text)
{
	struct err err;
	static uint64_t generation;
	confdir_write(&r->dir, "main.lua", text);
	struct policy_set *set = policy_set_load(r->topo->conf, 1, r->kv, ++generation, &err);
	r->error[0] = '\0';
	if (!set) {
		snprintf(r->error, sizeof r->error, "%s", err.text);
		confdir_strip(&r->dir, r->error);
		return false;
	}
	policy_set_free(r->set);
	r->set = set;
	r->vm = policy_set_vm(set, 0, 0);
	return true;
}

static inline void policyrig_load(struct policyrig *r, const char *text)
{
	if (!policyrig_try(r, text))
		fail_msg("%s", r->error);
}

/* A policy of the tree. */
static inline void policyrig_load_file(struct policyrig *r, const char *path)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	policyrig_load(r, text);
}

static inline void policyrig_statement(struct policyrig *r, const char *sql)
{
	struct sql_class *class = sql_classify(r->cache, slice_text(sql), (struct sql_dialect){ 0 });
	class = sql_class_inform(class, r->facts, slice_text(sql));
	sql_class_unref(r->class);
	r->query.text = slice_text(sql);
	r->query.class = r->class = class;
}

/* A decision in a few words: "primary", "standbys", "pg2,pg3", "reject 28000 no", "wait 5", "none"; " because …" where there is a reason. */
static inline const char *policyrig_show(struct policyrig *r)
{
	static char text[800];
	const struct policy_decision *d = &r->decision;
	const struct topo_cluster *c = &r->topo->clusters[d->cluster_at];
	size_t len = 0;
	text[0] = '\0';
	if (d->cluster_at != 0)
		len += (size_t)snprintf(text, sizeof text, "%s: ", c->name);
	switch (d->kind) {
	case POLICY_NONE:
		len += (size_t)snprintf(text + len, sizeof text - len, "none");
		break;
	case POLICY_PRIMARY:
		len += (size_t)snprintf(text + len, sizeof text - len, "primary");
		break;
	case POLICY_STANDBYS:
		len += (size_t)snprintf(text + len, sizeof text - len, "standbys");
		break;
	case POLICY_ANY:
		len += (size_t)snprintf(text + len, sizeof text - len, "any");
		break;
	case POLICY_NODES:
		for (size_t i = 0, n = 0; i < c->n_nodes; i++)
			if (d->nodes >> i & 1)
				len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", n++ ? "," : "", c->nodes[i].name);
		break;
	case POLICY_REJECT:
		len += (size_t)snprintf(text + len, sizeof text - len, "reject %s %s", d->sqlstate, d->text);
		break;
	case POLICY_WAIT:
		len += (size_t)snprintf(text + len, sizeof text - len, "wait %u", d->wait_ms);
		break;
	}
	if (*d->reason)
		snprintf(text + len, sizeof text - len, " because %s", d->reason);
	confdir_strip(&r->dir, text);
	return text;
}

static inline const char *policyrig_route(struct policyrig *r, const char *sql)
{
	policyrig_statement(r, sql);
	policy_route(r->vm, r->topo, 0, &r->query, &r->decision);
	return policyrig_show(r);
}

/* As policyrig_route(), with "ask: " in front when route() is to be asked. */
static inline const char *policyrig_plan(struct policyrig *r, const char *sql)
{
	static char text[820];
	policyrig_statement(r, sql);
	bool holds = policy_plan(r->vm, r->topo, 0, &r->query, &r->decision);
	snprintf(text, sizeof text, "%s%s", holds ? "" : "ask: ", policyrig_show(r));
	return text;
}

static inline void policyrig_note_status(void *arg, const struct policy_status *s)
{
	*(struct policy_status *)arg = *s;
}

static inline const char *policyrig_last_error(const struct policyrig *r)
{
	static struct policy_status s;
	s.last_error[0] = '\0';
	policy_set_each(r->set, policyrig_note_status, &s);
	return s.last_error;
}

#endif
