/*
 * effects — what a statement touches, found by walking its whole tree.
 *
 * The walk follows protobuf-c's descriptors, so that no kind of node is forgotten: what is not named below is simply walked through.
 * Depth is bounded by the shape's nesting, which was checked before the text was parsed.
 */
#include "tree.h"

#include "base/mem.h"
#include "builtins.h"
#include "priv.h"

/* The message in a Node: all members of its union are pointers. */
static const ProtobufCMessage *inside(const node *n)
{
	return n->node_case == PG_QUERY__NODE__NODE__NOT_SET ? NULL : (const ProtobufCMessage *)n->alias;
}

static const char *text_of(const node *n)
{
	return NODE_IS(n, STRING) ? n->string->sval : "";
}

static bool is_temp_schema(const char *name)
{
	return strncmp(name, "pg_temp", 7) == 0 && (name[7] == 0 || name[7] == '_');
}

static void note_name(struct findings *f, const char *name)
{
	for (char **known = f->functions; known && *known; known++)
		if (strcmp(*known, name) == 0)
			return;
	f->functions = texts_add(f->functions, mem_text(name));
}

/* What is for the primary for one of these alone changes nothing that a read, on whatever node, could show: what sequences tell only the primary is asked. */
static bool is_idle(enum sql_why why)
{
	switch (why) {
	case SQL_WHY_READ:
	case SQL_WHY_SESSION:
	case SQL_WHY_SETTING:
	case SQL_WHY_MODE:
	case SQL_WHY_LOCKS_ROWS:
	case SQL_WHY_LOCKS_TABLE:
	case SQL_WHY_NOTIFIES:
	case SQL_WHY_SERVER:
	case SQL_WHY_TRANSACTION_ID:
	case SQL_WHY_ADVISORY:
	case SQL_WHY_SEQUENCE:
		return true;
	default:
		return false;
	}
}

void effects_blame(struct findings *f, enum sql_why why, const char *name)
{
	f->changes |= !is_idle(why);
	if (why <= f->why || f->why > SQL_WHY_EXECUTE)
		return;
	f->why = why;
	mem_free(f->blamed);
	f->blamed = name && name[0] ? mem_text(name) : NULL;
}

void effects_note(struct findings *f, char kind, const char *name)
{
	for (char **known = f->touched; known && *known; known++)
		if ((*known)[0] == kind && strcmp(*known + 1, name) == 0)
			return;
	size_t len = strlen(name);
	char *text = mem_alloc(len + 2);
	text[0] = kind;
	memcpy(text + 1, name, len);
	f->touched = texts_add(f->touched, text);
}

static bool is_of_catalog(PgQuery__Node **names, size_t n)
{
	return n > 1 && strcmp(text_of(names[0]), "pg_catalog") == 0;
}

/* The last of a qualified name. */
static void note_last(struct findings *f, char kind, PgQuery__Node **names, size_t n)
{
	if (n > 0 && !is_of_catalog(names, n))
		effects_note(f, kind, text_of(names[n - 1]));
}

static void note_type(struct findings *f, const PgQuery__TypeName *t)
{
	if (t->n_names > 0)
		effects_note(f, is_of_catalog(t->names, t->n_names) ? TOUCHED_OWN_TYPE : FACTS_TYPE, text_of(t->names[t->n_names - 1]));
}

static enum builtin builtin_of(PgQuery__Node **names, size_t n)
{
	if (n == 0 || (n > 1 && strcmp(text_of(names[n - 2]), "pg_catalog") != 0))
		return BUILTIN_UNKNOWN;
	return builtin_find(slice_text(text_of(names[n - 1])));
}

/* A function, or a method of TABLESAMPLE, which is one. */
static enum builtin note_function(struct findings *f, PgQuery__Node **names, size_t n)
{
	const char *name = text_of(names[n - 1]);
	enum builtin kind = builtin_of(names, n);
	note_name(f, name);
	f->n_calls++;
	f->has_unknown |= kind == BUILTIN_UNKNOWN;
	f->effects |= builtin_effects(kind);
	effects_blame(f, builtin_why(kind), name);
	if (builtin_is_dblink(slice_text(name))) {
		f->effects |= SQL_OPAQUE_CALL;
		effects_blame(f, SQL_WHY_CHANGES_SESSION, name);
	}
	return kind;
}

/* current_setting() is as SHOW of what it names; the shape keeps a literal there. */
static void note_shown(struct findings *f, const PgQuery__FuncCall *call)
{
	const node *n = call->n_args > 0 ? call->args[0] : NULL;
	while (NODE_IS(n, TYPE_CAST))
		n = n->type_cast->arg;
	const PgQuery__AConst *c = NODE_IS(n, A_CONST) ? n->a_const : NULL;
	if (c && c->val_case == PG_QUERY__A__CONST__VAL_SVAL)
		effects_blame(f, reads_of_setting(c->sval->sval), c->sval->sval);
	else
		effects_blame(f, SQL_WHY_SETTING, NULL);
}

static void note_call(struct findings *f, const PgQuery__FuncCall *call)
{
	if (call->n_funcname == 0)
		return;
	enum builtin kind = note_function(f, call->funcname, call->n_funcname);
	if (kind == BUILTIN_SET_CONFIG) {
		f->n_config++;
		f->n_config_local += settings_is_local_call(call);
	}
	if (kind == BUILTIN_READ && strcmp(text_of(call->funcname[call->n_funcname - 1]), "current_setting") == 0)
		note_shown(f, call);
}

static void note_relation(struct findings *f, const PgQuery__RangeVar *r, bool executed)
{
	bool is_own = !r->schemaname[0] || strcmp(r->schemaname, "pg_catalog") == 0;
	if (executed && strcmp(r->schemaname, "pg_catalog") != 0)
		effects_note(f, FACTS_READ, r->relname);
	if (executed && is_own && builtin_is_servers_view(slice_text(r->relname)))
		effects_blame(f, SQL_WHY_SERVER, r->relname);
	if (!is_temp_schema(r->schemaname) && strcmp(r->relpersistence, "t") != 0)
		return;
	f->effects |= SQL_TEMP_OBJECT;
	effects_blame(f, SQL_WHY_TEMPORARY, r->relname);
}

static bool note_change(struct findings *f, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	const PgQuery__RangeVar *r;
	if (d == &pg_query__insert_stmt__descriptor)
		r = ((const PgQuery__InsertStmt *)m)->relation;
	else if (d == &pg_query__update_stmt__descriptor)
		r = ((const PgQuery__UpdateStmt *)m)->relation;
	else if (d == &pg_query__delete_stmt__descriptor)
		r = ((const PgQuery__DeleteStmt *)m)->relation;
	else if (d == &pg_query__merge_stmt__descriptor)
		r = ((const PgQuery__MergeStmt *)m)->relation;
	else
		return false;
	f->effects |= SQL_WRITES;
	effects_blame(f, SQL_WHY_WRITES, NULL);
	if (!r)
		return true;
	if (builtin_is_settings_view(slice_text(r->relname)))
		f->effects |= SQL_OPAQUE_CALL;
	effects_note(f, FACTS_WRITE, r->relname);
	return true;
}

static void note_operator(struct findings *f, const PgQuery__AExpr *e)
{
	bool is_between =
	    e->kind >= PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN && e->kind <= PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM;
	note_last(f, FACTS_OPERATOR, e->name, e->n_name);
	if (!is_between)
		return;
	effects_note(f, FACTS_OPERATOR, ">=");
	effects_note(f, FACTS_OPERATOR, "<=");
}

/* x.b: where the row x has no column b, PostgreSQL calls b(x). */
static void note_field(struct findings *f, const char *name)
{
	uint32_t field = facts_field(name);
	for (uint32_t i = 0; i < f->n_fields; i++)
		if (f->fields[i] == field)
			return;
	f->fields = mem_grow(f->fields, (f->n_fields + 1) * sizeof *f->fields);
	f->fields[f->n_fields++] = field;
}

static void note_column(struct findings *f, const PgQuery__ColumnRef *c)
{
	if (c->n_fields > 1 && NODE_IS(c->fields[c->n_fields - 1], STRING))
		note_field(f, text_of(c->fields[c->n_fields - 1]));
}

/* (x).b: the same, and x need not be a row: (1::bigint).pg_advisory_lock.  A field may have such a name, so that of sequences no more is
 * believed than that the server must stay. */
static void note_method(struct findings *f, const char *name)
{
	enum builtin kind = builtin_find(slice_text(name));
	uint32_t effects = builtin_effects(kind);
	f->n_calls++;
	effects_note(f, TOUCHED_METHOD, name);
	if (strcmp(name, "current_setting") == 0)
		effects_blame(f, SQL_WHY_SETTING, NULL);
	if (kind == BUILTIN_UNKNOWN)
		return;
	if (effects & (SQL_NEXTVAL | SQL_CURRVAL))
		effects = (effects & ~(uint32_t)(SQL_NEXTVAL | SQL_CURRVAL)) | SQL_OPAQUE_CALL;
	f->effects |= effects;
	effects_blame(f, builtin_why(kind), name);
}

static void note_methods(struct findings *f, const PgQuery__AIndirection *a)
{
	for (size_t i = 0; i < a->n_indirection; i++)
		if (NODE_IS(a->indirection[i], STRING))
			note_method(f, text_of(a->indirection[i]));
}

/* Comparisons whose operator is not written: x IN (SELECT …), CASE x WHEN …, JOIN … USING, NATURAL JOIN. */
static bool compares_unsaid(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	if (d == &pg_query__sub_link__descriptor) {
		const PgQuery__SubLink *s = (const PgQuery__SubLink *)m;
		return s->testexpr && s->n_oper_name == 0;
	}
	if (d == &pg_query__case_expr__descriptor)
		return ((const PgQuery__CaseExpr *)m)->arg;
	if (d != &pg_query__join_expr__descriptor)
		return false;
	const PgQuery__JoinExpr *j = (const PgQuery__JoinExpr *)m;
	return j->is_natural || j->n_using_clause > 0;
}

static void note_names(struct findings *f, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	if (d == &pg_query__a__expr__descriptor)
		note_operator(f, (const PgQuery__AExpr *)m);
	else if (d == &pg_query__sort_by__descriptor)
		note_last(f, FACTS_OPERATOR, ((const PgQuery__SortBy *)m)->use_op, ((const PgQuery__SortBy *)m)->n_use_op);
	else if (d == &pg_query__sub_link__descriptor)
		note_last(f, FACTS_OPERATOR, ((const PgQuery__SubLink *)m)->oper_name, ((const PgQuery__SubLink *)m)->n_oper_name);
	else if (d == &pg_query__type_name__descriptor)
		note_type(f, (const PgQuery__TypeName *)m);
	else if (d == &pg_query__column_ref__descriptor)
		note_column(f, (const PgQuery__ColumnRef *)m);
	else if (d == &pg_query__a__indirection__descriptor)
		note_methods(f, (const PgQuery__AIndirection *)m);
	if (compares_unsaid(m))
		effects_note(f, FACTS_OPERATOR, "=");
}

static void note_into(struct findings *f, const PgQuery__IntoClause *into)
{
	bool is_unlogged = into->rel && strcmp(into->rel->relpersistence, "u") == 0;
	f->effects |= SQL_WRITES | SQL_DDL | (is_unlogged ? SQL_CATALOG_DDL : 0);
	effects_blame(f, SQL_WHY_WRITES, NULL);
}

static void note_sampling(struct findings *f, const PgQuery__RangeTableSample *s)
{
	if (s->n_method > 0)
		note_function(f, s->method, s->n_method);
}

/* CURRENT_TIMESTAMP and kin, which are no calls. */
static void note_value(struct findings *f, const PgQuery__SQLValueFunction *v)
{
	if (v->op <= PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIMESTAMP_N)
		f->effects |= SQL_TX_BOUND;
}

static void note_rows_locked(struct findings *f)
{
	f->effects |= SQL_LOCKS_ROWS | SQL_WRITES;
	effects_blame(f, SQL_WHY_LOCKS_ROWS, NULL);
}

/* What is only stored now is called by what comes behind it. */
static void note_stored(struct findings *f, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	if (d == &pg_query__func_call__descriptor) {
		const PgQuery__FuncCall *call = (const PgQuery__FuncCall *)m;
		enum builtin kind = builtin_of(call->funcname, call->n_funcname);
		f->stores_calls |= kind == BUILTIN_UNKNOWN || kind > BUILTIN_SEQUENCE;
	} else if (d == &pg_query__type_name__descriptor) {
		const PgQuery__TypeName *t = (const PgQuery__TypeName *)m;
		f->stores_calls |= !is_of_catalog(t->names, t->n_names);
	} else if (d == &pg_query__table_like_clause__descriptor) {
		f->stores_calls = true;
	}
}

/* False: nothing of interest can be inside. */
static bool note(struct findings *f, const ProtobufCMessage *m, bool executed)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	if (d == &pg_query__a__const__descriptor)
		return false;
	if (d == &pg_query__range_var__descriptor)
		note_relation(f, (const PgQuery__RangeVar *)m, executed);
	else if (d == &pg_query__string__descriptor && is_temp_schema(((const PgQuery__String *)m)->sval))
		f->effects |= SQL_TEMP_OBJECT;
	if (!executed) {
		note_stored(f, m);
		return true;
	}
	if (d == &pg_query__func_call__descriptor)
		note_call(f, (const PgQuery__FuncCall *)m);
	else if (d == &pg_query__locking_clause__descriptor)
		note_rows_locked(f);
	else if (d == &pg_query__into_clause__descriptor)
		note_into(f, (const PgQuery__IntoClause *)m);
	else if (d == &pg_query__range_table_sample__descriptor)
		note_sampling(f, (const PgQuery__RangeTableSample *)m);
	else if (d == &pg_query__sqlvalue_function__descriptor)
		note_value(f, (const PgQuery__SQLValueFunction *)m);
	else if (!note_change(f, m))
		note_names(f, m);
	return true;
}

static void walk_field(struct findings *f, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field, bool executed)
{
	const uint8_t *at = (const uint8_t *)m + field->offset;
	const uint8_t *quantifier = (const uint8_t *)m + field->quantifier_offset;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)(const void *)quantifier;
		ProtobufCMessage *const *items = *(ProtobufCMessage *const *const *)(const void *)at;
		for (size_t i = 0; i < n; i++)
			effects_find(f, items[i], executed);
		return;
	}
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)(const void *)quantifier != field->id)
		return;
	const ProtobufCMessage *child = *(const ProtobufCMessage *const *)(const void *)at;
	if (child)
		effects_find(f, child, executed);
}

void effects_find(struct findings *f, const ProtobufCMessage *m, bool executed)
{
	if (m->descriptor == &pg_query__node__descriptor) { /* 238 alternatives: go straight to the one that is there */
		m = inside((const node *)m);
		if (!m)
			return;
	}
	if (!note(f, m, executed))
		return;
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		if (m->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			walk_field(f, m, &m->descriptor->fields[i], executed);
}

bool effects_names_users(char **touched)
{
	for (; touched && *touched; touched++)
		if (**touched != TOUCHED_OWN_TYPE)
			return true;
	return false;
}

bool effects_is_bare(const PgQuery__SelectStmt *s)
{
	return s->op == PG_QUERY__SET_OPERATION__SETOP_NONE && s->n_values_lists == 0 && s->n_from_clause == 0 && !s->where_clause &&
	       s->n_group_clause == 0 && !s->having_clause && s->n_distinct_clause == 0 && s->n_window_clause == 0 &&
	       s->n_sort_clause == 0 && !s->limit_offset && !s->limit_count && s->n_locking_clause == 0 && !s->with_clause &&
	       !s->into_clause;
}

const PgQuery__FuncCall *effects_call_of(const node *target)
{
	const node *n = NODE_IS(target, RES_TARGET) ? target->res_target->val : NULL;
	while (NODE_IS(n, TYPE_CAST))
		n = n->type_cast->arg;
	return NODE_IS(n, FUNC_CALL) ? n->func_call : NULL;
}

bool effects_calls(const PgQuery__FuncCall *call, const char *builtin)
{
	return call && builtin_of(call->funcname, call->n_funcname) != BUILTIN_UNKNOWN &&
	       strcmp(text_of(call->funcname[call->n_funcname - 1]), builtin) == 0;
}
