/*
 * classify — a parsed shape to a class: one branch for each kind of statement.
 *
 *   shape --libpg_query--> tree --read_statement()--> struct sql_part, for each statement
 *
 * What is executed is walked for functions (effects.c); what is only stored, such as a view's query or a column's default, is
 * walked for temporary names alone.  Whatever a branch is not sure of errs to the side of more effects.
 */
#include "tree.h"

#include <stdio.h>

#include "base/mem.h"
#include "priv.h"

/* PostgreSQL 14 and later: nodes/parsenodes.h, CURSOR_OPT_HOLD. */
#define CURSOR_IS_HELD 0x0020

static void read_statement(struct reading *r, const node *n);

static char *name_or_null(const char *name)
{
	return name[0] ? mem_text(name) : NULL;
}

static void set_named(struct reading *r, enum sql_kind kind, uint32_t effects, const char *name)
{
	reading_set(r, kind, effects);
	r->part->name = name_or_null(name);
}

/* With ALL in place of a name: no name. */
static void set_named_or_all(struct reading *r, enum sql_kind kind, enum sql_kind all, const char *name)
{
	set_named(r, name[0] ? kind : all, 0, name);
}

/* The inner statement runs later, elsewhere or perhaps never: what it sets is seen only if it is local to the transaction. */
static void hide_settings(struct reading *r)
{
	struct sql_part *p = r->part;
	if ((p->effects & SQL_SET_CONFIG) && !(p->effects & SQL_IS_LOCAL))
		p->effects = (p->effects & ~(uint32_t)SQL_SET_CONFIG) | SQL_OPAQUE_CALL;
	p->effects &= ~(uint32_t)SQL_ADVISORY_UNLOCK_ALL;
	settings_forget(p);
}

static void read_select(struct reading *r, const node *n)
{
	const PgQuery__SelectStmt *s = n->select_stmt;
	reading_set(r, SQL_SELECT, 0);
	reading_walk(r, n, true);
	settings_read_config(r, s);
	if (effects_is_bare(s) && s->n_target_list == 1 && r->found.n_calls == 1 &&
	    effects_calls(effects_call_of(s->target_list[0]), "pg_advisory_unlock_all"))
		r->part->effects |= SQL_ADVISORY_UNLOCK_ALL;
}

static void read_change(struct reading *r, const node *n, enum sql_kind kind)
{
	reading_set(r, kind, SQL_WRITES);
	reading_blame(r, SQL_WHY_WRITES);
	reading_walk(r, n, true);
	settings_read_config(r, NULL);
}

/* PREPARE, DECLARE: the query inside, with its effects, under another kind. */
static void read_inner(struct reading *r, const node *query)
{
	if (query)
		read_statement(r, query);
	hide_settings(r);
}

static bool is_false(const node *arg)
{
	return NODE_IS(arg, STRING) && (strcmp(arg->string->sval, "off") == 0 || strcmp(arg->string->sval, "false") == 0);
}

static bool has_analyze(const PgQuery__ExplainStmt *s)
{
	bool on = false;
	for (size_t i = 0; i < s->n_options; i++) {
		const PgQuery__DefElem *d = NODE_IS(s->options[i], DEF_ELEM) ? s->options[i]->def_elem : NULL;
		if (d && strcmp(d->defname, "analyze") == 0)
			on = !is_false(d->arg);
	}
	return on;
}

/* It runs where its statement would, so that its plan is told; without ANALYZE nothing is done to the session. */
static void read_explain(struct reading *r, const PgQuery__ExplainStmt *s)
{
	char *name = NULL;
	if (s->query)
		read_statement(r, s->query);
	bool is_execute = r->part->kind == SQL_EXECUTE;
	if (is_execute)
		name = mem_text(r->part->name);
	hide_settings(r);
	r->part->name = name;
	r->part->kind = is_execute ? SQL_EXECUTE : SQL_EXPLAIN;
	r->part->effects |= r->found.effects;
	if (!has_analyze(s)) {
		r->part->effects = (r->part->effects & SQL_TEMP_OBJECT) | SQL_PLAN_ONLY;
		r->found.has_unknown = false;
	}
	if (is_execute)
		r->part->effects |= SQL_IS_NESTED;
	r->found.effects = 0;
}

static void read_create_as(struct reading *r, const PgQuery__CreateTableAsStmt *s)
{
	char *name = NULL;
	if (NODE_IS(s->query, EXECUTE_STMT))
		name = mem_text(s->query->execute_stmt->name);
	read_inner(r, s->query);
	r->part->name = name;
	r->part->kind = name ? SQL_EXECUTE : SQL_OTHER;
	r->part->effects |= SQL_WRITES | SQL_DDL | (name ? SQL_IS_NESTED : 0);
	reading_blame(r, SQL_WHY_WRITES);
	if (s->into)
		effects_find(&r->found, &s->into->base, true);
}

static void read_copy(struct reading *r, const node *n)
{
	const PgQuery__CopyStmt *s = n->copy_stmt;
	bool is_here = s->filename[0] == 0 && !s->is_program;
	if (!is_here || s->is_from)
		reading_blame(r, is_here ? SQL_WHY_WRITES : SQL_WHY_FILE);
	reading_walk(r, n, true);
	if (s->is_from && s->relation)
		effects_note(&r->found, FACTS_WRITE, s->relation->relname);
	settings_read_config(r, NULL);
	if (!is_here)
		reading_set(r, SQL_OTHER, SQL_WRITES);
	else if (s->is_from)
		reading_set(r, SQL_COPY_IN, SQL_WRITES);
	else
		reading_set(r, SQL_COPY_OUT, 0);
}

static void set_two_phase(struct reading *r, enum sql_kind kind, uint32_t effects)
{
	reading_set(r, kind, SQL_WRITES | effects);
	reading_blame(r, SQL_WHY_TWO_PHASE);
}

/* What a standby refuses: writing, and SERIALIZABLE. */
static void judge_mode(struct reading *r, const char *name, const char *value)
{
	bool is_refused = strcmp(name, "transaction_read_only") == 0
	                      ? !value || strcmp(value, "on") != 0
	                      : strcmp(name, "transaction_isolation") == 0 && (!value || strcmp(value, "serializable") == 0);
	if (is_refused)
		reading_blame(r, SQL_WHY_MODE);
}

static void judge_modes(struct reading *r)
{
	const struct sql_part *p = r->part;
	if (p->name)
		judge_mode(r, p->name, p->value);
	for (char **m = p->more_settings; m && *m; m += 2)
		judge_mode(r, m[0], m[1]);
}

static void read_transaction(struct reading *r, const PgQuery__TransactionStmt *s)
{
	uint32_t chain = s->chain ? SQL_AND_CHAIN : 0;
	switch (s->kind) {
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
		reading_set(r, SQL_BEGIN, SQL_PLAIN_BEGIN);
		r->part->more_settings = settings_read_modes(NULL, "", s->options, s->n_options);
		judge_modes(r);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT:
		reading_set(r, SQL_COMMIT, chain);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK:
		reading_set(r, SQL_ROLLBACK, chain);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
		set_named(r, SQL_SAVEPOINT, 0, s->savepoint_name);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
		set_named(r, SQL_RELEASE, 0, s->savepoint_name);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO:
		set_named(r, SQL_ROLLBACK_TO, 0, s->savepoint_name);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE:
		set_two_phase(r, SQL_PREPARE_TRANSACTION, 0);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED:
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_PREPARED:
		set_two_phase(r, SQL_COMMIT_PREPARED, SQL_NO_PIPELINE);
		break;
	default:
		reading_set(r, SQL_OPAQUE, SQL_WRITES);
		break;
	}
}

static void read_setting(struct reading *r, const PgQuery__VariableSetStmt *s)
{
	struct sql_part *p = r->part;
	settings_read(p, s);
	reading_blame(r, p->effects & SQL_NEEDS_CLEAN_TX ? SQL_WHY_SNAPSHOT : SQL_WHY_SESSION);
	if (p->kind == SQL_SET_TRANSACTION)
		judge_modes(r);
	else if (p->kind == SQL_SET && p->name && !p->value)
		effects_blame(&r->found, SQL_WHY_CHANGES_SESSION, p->name);
}

static void read_discard(struct reading *r, const PgQuery__DiscardStmt *s)
{
	reading_blame(r, SQL_WHY_SESSION);
	switch (s->target) {
	case PG_QUERY__DISCARD_MODE__DISCARD_PLANS:
		reading_set(r, SQL_DISCARD_PLANS, 0);
		break;
	case PG_QUERY__DISCARD_MODE__DISCARD_TEMP:
		reading_set(r, SQL_DISCARD_TEMP, 0);
		break;
	case PG_QUERY__DISCARD_MODE__DISCARD_SEQUENCES:
		reading_set(r, SQL_DISCARD_SEQUENCES, 0);
		break;
	default:
		reading_set(r, SQL_DISCARD_ALL, SQL_NO_PIPELINE);
		break;
	}
}

static void read_prepared(struct reading *r, const node *n)
{
	if (n->node_case == PG_QUERY__NODE__NODE_PREPARE_STMT) {
		read_inner(r, n->prepare_stmt->query);
		set_named(r, SQL_PREPARE, SQL_IS_NESTED, n->prepare_stmt->name);
	} else if (n->node_case == PG_QUERY__NODE__NODE_EXECUTE_STMT) {
		reading_walk(r, n, true);
		settings_read_config(r, NULL);
		reading_blame(r, r->found.functions || r->found.touched || r->found.fields ? SQL_WHY_ARGUMENTS : SQL_WHY_EXECUTE);
		set_named(r, SQL_EXECUTE, SQL_WRITES, n->execute_stmt->name);
	} else {
		reading_blame(r, SQL_WHY_SESSION);
		set_named_or_all(r, SQL_DEALLOCATE, SQL_DEALLOCATE_ALL, n->deallocate_stmt->name);
	}
}

static void read_declare(struct reading *r, const PgQuery__DeclareCursorStmt *s)
{
	read_inner(r, s->query);
	if (s->options & CURSOR_IS_HELD)
		reading_blame(r, SQL_WHY_HELD);
	set_named(r, SQL_DECLARE, SQL_TX_BOUND | (s->options & CURSOR_IS_HELD ? SQL_HOLD_CURSOR : 0), s->portalname);
}

/* Procedures may commit, which they cannot behind something else in a pipeline. */
static void read_call(struct reading *r, const node *n)
{
	reading_set(r, SQL_OPAQUE, SQL_WRITES | SQL_NO_PIPELINE | (NODE_IS(n, CALL_STMT) ? SQL_CALL : 0));
	reading_blame(r, SQL_WHY_CODE);
	reading_walk(r, n, true);
}

static void read_show(struct reading *r, const PgQuery__VariableShowStmt *s)
{
	set_named(r, SQL_SHOW, 0, s->name);
	effects_blame(&r->found, reads_of_setting(s->name), s->name);
}

static void read_statement(struct reading *r, const node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_SELECT_STMT:
		read_select(r, n);
		break;
	case PG_QUERY__NODE__NODE_INSERT_STMT:
		read_change(r, n, SQL_INSERT);
		break;
	case PG_QUERY__NODE__NODE_UPDATE_STMT:
		read_change(r, n, SQL_UPDATE);
		break;
	case PG_QUERY__NODE__NODE_DELETE_STMT:
		read_change(r, n, SQL_DELETE);
		break;
	case PG_QUERY__NODE__NODE_MERGE_STMT:
		read_change(r, n, SQL_MERGE);
		break;
	case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
		read_explain(r, n->explain_stmt);
		break;
	case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
		read_create_as(r, n->create_table_as_stmt);
		break;
	case PG_QUERY__NODE__NODE_COPY_STMT:
		read_copy(r, n);
		break;
	case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
		read_transaction(r, n->transaction_stmt);
		break;
	case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
		read_setting(r, n->variable_set_stmt);
		break;
	case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
		read_show(r, n->variable_show_stmt);
		break;
	case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
		reading_blame(r, SQL_WHY_SESSION);
		reading_set(r, SQL_SET_TRANSACTION, 0);
		break;
	case PG_QUERY__NODE__NODE_DISCARD_STMT:
		read_discard(r, n->discard_stmt);
		break;
	case PG_QUERY__NODE__NODE_PREPARE_STMT:
	case PG_QUERY__NODE__NODE_EXECUTE_STMT:
	case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
		read_prepared(r, n);
		break;
	case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT:
		read_declare(r, n->declare_cursor_stmt);
		break;
	case PG_QUERY__NODE__NODE_FETCH_STMT:
		set_named(r, SQL_FETCH, 0, n->fetch_stmt->portalname);
		break;
	case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
		set_named_or_all(r, SQL_CLOSE, SQL_CLOSE_ALL, n->close_portal_stmt->portalname);
		break;
	case PG_QUERY__NODE__NODE_LISTEN_STMT:
		reading_blame(r, SQL_WHY_NOTIFIES);
		set_named(r, SQL_LISTEN, SQL_WRITES, n->listen_stmt->conditionname);
		break;
	case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
		reading_blame(r, SQL_WHY_NOTIFIES);
		set_named_or_all(r, SQL_UNLISTEN, SQL_UNLISTEN_ALL, n->unlisten_stmt->conditionname);
		break;
	case PG_QUERY__NODE__NODE_NOTIFY_STMT:
		reading_blame(r, SQL_WHY_NOTIFIES);
		set_named(r, SQL_NOTIFY, SQL_WRITES, n->notify_stmt->conditionname);
		break;
	case PG_QUERY__NODE__NODE_LOCK_STMT:
		reading_set(r, SQL_LOCK, SQL_WRITES);
		reading_blame(r, SQL_WHY_LOCKS_TABLE);
		reading_walk(r, n, true);
		break;
	case PG_QUERY__NODE__NODE_DO_STMT:
	case PG_QUERY__NODE__NODE_CALL_STMT:
	case PG_QUERY__NODE__NODE_LOAD_STMT:
		read_call(r, n);
		break;
	case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
		ddl_alter_table(r, n);
		break;
	default:
		ddl_read(r, n);
		break;
	}
}

/* It calls or names what only the catalogue knows. */
static bool hangs_on_catalog(const struct sql_part *p)
{
	return p->functions || p->fields || effects_names_users(p->touched);
}

struct outcome {
	bool has_functions; /* one of unknown effect is called */
	bool adds_calls;
};

static void read_part(struct sql_part *p, const node *n, struct outcome *o)
{
	struct reading r = { .part = p };
	read_statement(&r, n);
	p->effects |= r.found.effects;
	p->functions = r.found.functions;
	p->touched = r.found.touched;
	p->fields = r.found.fields;
	p->n_fields = r.found.n_fields;
	p->blamed = r.found.blamed;
	p->why = (uint8_t)r.found.why;
	if (p->why == SQL_WHY_READ && hangs_on_catalog(p))
		p->why = SQL_WHY_CATALOG;
	p->may_be_idle = !r.found.changes || p->kind == SQL_PREPARE || (p->effects & SQL_PLAN_ONLY);
	p->is_idle = p->may_be_idle && (!hangs_on_catalog(p) || p->kind == SQL_PREPARE);
	if (o->adds_calls && hangs_on_catalog(p))
		p->effects |= SQL_OPAQUE_CALL;
	o->adds_calls |= ddl_adds_calls(&r, n);
	o->has_functions |= r.found.has_unknown;
}

static struct sql_class *read_tree(const PgQuery__ParseResult *tree)
{
	size_t n = tree->n_stmts;
	struct sql_class *c = class_new(n > 0 ? (uint32_t)n : 1);
	struct outcome o = { 0 };
	if (n == 0) {
		c->part[0].kind = SQL_EMPTY;
		c->part[0].why = SQL_WHY_READ;
	}
	for (size_t i = 0; i < n; i++)
		if (tree->stmts[i]->stmt)
			read_part(&c->part[i], tree->stmts[i]->stmt, &o);
	return class_seal(c, o.has_functions);
}

static struct sql_class *parse(const struct shape *s)
{
	struct sql_class *c = NULL;
	PgQueryProtobufParseResult r = pg_query_parse_protobuf((const char *)s->text);
	if (!r.error) {
		PgQuery__ParseResult *tree =
		    pg_query__parse_result__unpack(NULL, r.parse_tree.len, (const uint8_t *)(const void *)r.parse_tree.data);
		if (tree)
			c = read_tree(tree);
		if (tree)
			pg_query__parse_result__free_unpacked(tree, NULL);
	}
	pg_query_free_protobuf_parse_result(r);
	return c;
}

bool sql_complaint(struct slice text, struct sql_dialect dialect, char *out, size_t room)
{
	struct shape s;
	enum shape_verdict verdict = shape_make(&s, text, dialect);
	if (verdict != SHAPE_OK || s.nesting > SQL_PARSE_TOKENS) {
		snprintf(out, room, "%s",
		         verdict == SHAPE_OPAQUE ? "a literal or comment has no end, or bytes may mean something else in this encoding"
		                                 : "too long, or nested too deep, to be parsed");
		return true;
	}
	PgQueryProtobufParseResult r = pg_query_parse_protobuf((const char *)s.text);
	bool complains = r.error;
	if (complains)
		snprintf(out, room, "%s", r.error->message);
	pg_query_free_protobuf_parse_result(r);
	return complains;
}

/* The shape has neither plain literals with backslashes nor foreign bytes that its text had not, so no dialect applies to it. */
struct sql_class *classify_shape(const struct shape *s)
{
	struct sql_class *c = s->nesting <= SQL_PARSE_TOKENS ? parse(s) : NULL;
	return c ? c : class_guess(slice_of(s->text, s->len), (struct sql_dialect){ 0 });
}
