/*
 * settings — names and values of session settings, as set_config() would take them.
 *
 * SET a = b, c   value "b, c", each element quoted like an identifier for the settings that PostgreSQL keeps as lists of names
 * SET TIME ZONE, NAMES, ROLE, SESSION AUTHORIZATION, SESSION CHARACTERISTICS   become the settings that they stand for
 * set_config()   literals and parameters, through casts to text
 *
 * A value that cannot be told stays NULL: the caller of the class must then hold on to the server.
 */
#include <ctype.h>
#include <stdio.h>

#include "tree.h"

#include "base/mem.h"
#include "builtins.h"
#include "lex.h"
#include "priv.h"

static char *lowered(const char *name)
{
	char *text = mem_text(name);
	for (char *c = text; *c; c++)
		*c = (char)lex_lower[(uint8_t)*c];
	return text;
}

/* TEXT grown by MORE; TEXT may be NULL. */
static char *joined(char *text, const char *more, size_t len)
{
	size_t old = text ? strlen(text) : 0;
	text = mem_grow(text, old + len + 1);
	memcpy(text + old, more, len);
	text[old + len] = 0;
	return text;
}

static char *joined_text(char *text, const char *more)
{
	return joined(text, more, strlen(more));
}

static bool needs_quotes(const char *name)
{
	if (!islower((unsigned char)name[0]) && name[0] != '_')
		return true;
	for (const char *c = name; *c; c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_')
			return true;
	return builtin_is_keyword(slice_text(name));
}

static char *joined_name(char *text, const char *name)
{
	if (!needs_quotes(name))
		return joined_text(text, name);
	text = joined_text(text, "\"");
	for (; *name; name++) {
		text = joined(text, name, 1);
		if (*name == '"')
			text = joined_text(text, "\"");
	}
	return joined_text(text, "\"");
}

static bool is_one_of(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(name, *list) == 0)
			return true;
	return false;
}

/* Settings whose elements are names (GUC_LIST_QUOTE in PostgreSQL). */
static bool is_list_of_names(const char *setting)
{
	static const char *const all[] = { "search_path",
		                               "temp_tablespaces",
		                               "local_preload_libraries",
		                               "session_preload_libraries",
		                               "shared_preload_libraries",
		                               "unix_socket_directories",
		                               NULL };
	return is_one_of(setting, all);
}

/* They end with the transaction, however they are set. */
static bool is_of_transaction(const char *setting)
{
	static const char *const all[] = { "transaction_isolation", "transaction_read_only", "transaction_deferrable", NULL };
	return is_one_of(setting, all);
}

/* TEXT with the constant appended; frees TEXT and returns NULL when it is none. */
static char *joined_constant(char *text, const node *n, bool as_name)
{
	char number[16];
	const PgQuery__AConst *c = NODE_IS(n, A_CONST) ? n->a_const : NULL;
	switch (c ? c->val_case : PG_QUERY__A__CONST__VAL__NOT_SET) {
	case PG_QUERY__A__CONST__VAL_IVAL:
		snprintf(number, sizeof number, "%d", c->ival->ival);
		return joined_text(text, number);
	case PG_QUERY__A__CONST__VAL_FVAL:
		return joined_text(text, c->fval->fval);
	case PG_QUERY__A__CONST__VAL_BOOLVAL:
		return joined_text(text, c->boolval->boolval ? "true" : "false");
	case PG_QUERY__A__CONST__VAL_SVAL:
		return as_name ? joined_name(text, c->sval->sval) : joined_text(text, c->sval->sval);
	default:
		mem_free(text);
		return NULL;
	}
}

static char *flattened(const char *setting, PgQuery__Node **args, size_t n)
{
	char *value = NULL;
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			value = joined_text(value, ", ");
		value = joined_constant(value, args[i], is_list_of_names(setting));
		if (!value)
			return NULL;
	}
	return value;
}

/* What is created without a schema goes to the first schema of the path that exists: is that pg_temp, or may it be? */
static bool path_leads_to_temp(const char *path)
{
	static const char user[] = "\"$user\"";
	for (;;) {
		path += strspn(path, " \t\n,");
		if (strncmp(path, user, sizeof user - 1) != 0)
			break;
		path += sizeof user - 1;
	}
	path += *path == '"';
	return strncmp(path, "pg_temp", 7) == 0;
}

/* Settings that do more than to be settings. */
static uint32_t effects_of(const char *setting, const char *value)
{
	if (strcmp(setting, "search_path") == 0 && value && path_leads_to_temp(value))
		return SQL_TEMP_OBJECT;
	return strcmp(setting, "seed") == 0 ? SQL_OPAQUE_CALL : 0;
}

char **settings_read_modes(char **pairs, const char *prefix, PgQuery__Node **modes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!NODE_IS(modes[i], DEF_ELEM))
			continue;
		const PgQuery__DefElem *d = modes[i]->def_elem;
		bool is_number = NODE_IS(d->arg, A_CONST) && d->arg->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL;
		char *value = is_number ? mem_text(d->arg->a_const->ival->ival ? "on" : "off") : joined_constant(NULL, d->arg, false);
		if (!value)
			continue;
		pairs = texts_add(pairs, joined_text(mem_text(prefix), d->defname));
		pairs = texts_add(pairs, value);
	}
	return pairs;
}

/* PAIRS' first goes to name and value. */
static void take_first_pair(struct sql_part *p, char **pairs)
{
	if (!pairs)
		return;
	p->name = pairs[0];
	p->value = pairs[1];
	for (char **rest = pairs + 2; *rest; rest++)
		p->more_settings = texts_add(p->more_settings, *rest);
	mem_free(pairs);
}

static void read_multi(struct sql_part *p, const PgQuery__VariableSetStmt *s)
{
	if (strcmp(s->name, "SESSION CHARACTERISTICS") == 0) {
		p->kind = s->is_local ? SQL_SET_LOCAL : SQL_SET;
		take_first_pair(p, settings_read_modes(NULL, "default_", s->args, s->n_args));
		return;
	}
	p->kind = SQL_SET_TRANSACTION;
	if (strcmp(s->name, "TRANSACTION SNAPSHOT") == 0)
		p->effects |= SQL_NEEDS_CLEAN_TX;
	else
		p->more_settings = settings_read_modes(NULL, "", s->args, s->n_args);
}

static void read_value(struct sql_part *p, const PgQuery__VariableSetStmt *s)
{
	p->kind = s->is_local ? SQL_SET_LOCAL : SQL_SET;
	p->name = lowered(s->name);
	if (s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE)
		p->value = flattened(p->name, s->args, s->n_args);
	p->effects |= effects_of(p->name, p->value);
	if (is_of_transaction(p->name))
		p->kind = SQL_SET_TRANSACTION;
}

static void read_reset(struct sql_part *p, const PgQuery__VariableSetStmt *s)
{
	p->name = lowered(s->name);
	p->kind = is_of_transaction(p->name) ? SQL_SET_TRANSACTION : s->is_local ? SQL_SET_LOCAL : SQL_RESET;
}

void settings_read(struct sql_part *p, const PgQuery__VariableSetStmt *s)
{
	switch (s->kind) {
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI:
		read_multi(p, s);
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
	case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
		read_reset(p, s);
		break;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
		p->kind = SQL_RESET_ALL;
		break;
	default:
		read_value(p, s);
		break;
	}
}

static bool is_cast_to(const PgQuery__TypeName *t, const char *const *types)
{
	if (!t || t->n_names == 0 || t->n_typmods > 0 || t->n_array_bounds > 0)
		return false;
	const node *last = t->names[t->n_names - 1];
	return NODE_IS(last, STRING) && is_one_of(last->string->sval, types);
}

static const node *without_casts(const node *n, const char *const *types)
{
	while (NODE_IS(n, TYPE_CAST) && is_cast_to(n->type_cast->type_name, types))
		n = n->type_cast->arg;
	return n;
}

/* An argument that is text: a literal (owned) in *TEXT or a parameter in *PARAM. */
static bool read_text(const node *n, char **text, int16_t *param)
{
	static const char *const types[] = { "text", "varchar", NULL };
	n = without_casts(n, types);
	if (NODE_IS(n, PARAM_REF) && n->param_ref->number > 0 && n->param_ref->number < INT16_MAX) {
		*param = (int16_t)(n->param_ref->number - 1);
		return true;
	}
	if (!NODE_IS(n, A_CONST) || n->a_const->isnull || n->a_const->val_case != PG_QUERY__A__CONST__VAL_SVAL)
		return false;
	*text = mem_text(n->a_const->sval->sval);
	return true;
}

/* An argument that is a boolean: 0 or 1 in *VALUE, or a parameter in *PARAM. */
static bool read_bool(const node *n, int *value, int16_t *param)
{
	static const char *const types[] = { "bool", NULL };
	static const char *const yes[] = { "t", "true", "on", "yes", "y", "1", NULL };
	static const char *const no[] = { "f", "false", "off", "no", "n", "0", NULL };
	n = without_casts(n, types);
	*value = -1;
	if (NODE_IS(n, PARAM_REF) && n->param_ref->number > 0 && n->param_ref->number < INT16_MAX) {
		*param = (int16_t)(n->param_ref->number - 1);
		return true;
	}
	if (!NODE_IS(n, A_CONST))
		return false;
	const PgQuery__AConst *c = n->a_const;
	if (c->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL)
		*value = c->boolval->boolval;
	else if (c->val_case == PG_QUERY__A__CONST__VAL_SVAL)
		*value = is_one_of(c->sval->sval, yes) ? 1 : is_one_of(c->sval->sval, no) ? 0 : -1;
	return *value >= 0;
}

static bool is_column(const node *n, const char *name)
{
	return NODE_IS(n, COLUMN_REF) && n->column_ref->n_fields == 1 && NODE_IS(n->column_ref->fields[0], STRING) &&
	       strcmp(n->column_ref->fields[0]->string->sval, name) == 0;
}

static bool has_three_plain_arguments(const PgQuery__FuncCall *c)
{
	return c->n_args == 3 && c->n_agg_order == 0 && !c->agg_filter && !c->over && !c->func_variadic;
}

bool settings_is_local_call(const PgQuery__FuncCall *call)
{
	int value = 0;
	int16_t param = SQL_NO_PARAM;
	return has_three_plain_arguments(call) && read_bool(call->args[2], &value, &param) && value == 1;
}

void settings_forget(struct sql_part *p)
{
	for (char **t = p->more_settings; t && *t; t++)
		mem_free(*t);
	mem_free(p->more_settings);
	mem_free(p->name);
	mem_free(p->value);
	p->name = p->value = NULL;
	p->more_settings = NULL;
	p->name_param = p->value_param = p->local_param = SQL_NO_PARAM;
}

/* The first call: parameters are allowed. */
static bool read_first_call(struct sql_part *p, const PgQuery__FuncCall *c)
{
	int is_local;
	if (!has_three_plain_arguments(c) || !read_text(c->args[0], &p->name, &p->name_param) ||
	    !read_text(c->args[1], &p->value, &p->value_param) || !read_bool(c->args[2], &is_local, &p->local_param))
		return false;
	if (p->name) {
		char *name = lowered(p->name);
		mem_free(p->name);
		p->name = name;
		p->effects |= effects_of(p->name, p->value);
	}
	p->effects |= SQL_SET_CONFIG | (is_local == 1 ? SQL_IS_LOCAL : 0);
	return true;
}

/* A further call: literals only, and as local as the first. */
static bool read_further_call(struct sql_part *p, const PgQuery__FuncCall *c)
{
	struct sql_part other = { .name_param = SQL_NO_PARAM, .value_param = SQL_NO_PARAM, .local_param = SQL_NO_PARAM };
	bool ok = read_first_call(&other, c) && other.name && other.value && other.local_param == SQL_NO_PARAM &&
	          p->local_param == SQL_NO_PARAM && (p->effects & SQL_IS_LOCAL) == (other.effects & SQL_IS_LOCAL);
	p->effects |= other.effects & ~(uint32_t)SQL_IS_LOCAL;
	if (!ok) {
		settings_forget(&other);
		return false;
	}
	p->more_settings = texts_add(texts_add(p->more_settings, other.name), other.value);
	return true;
}

/* The name in "name = '…'", or NULL. */
static const char *name_asked_for(const node *where)
{
	const PgQuery__AExpr *e = NODE_IS(where, A_EXPR) ? where->a_expr : NULL;
	if (!e || e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP || e->n_name != 1 || !NODE_IS(e->name[0], STRING) ||
	    strcmp(e->name[0]->string->sval, "=") != 0 || !is_column(e->lexpr, "name") || !NODE_IS(e->rexpr, A_CONST) ||
	    e->rexpr->a_const->val_case != PG_QUERY__A__CONST__VAL_SVAL)
		return NULL;
	return e->rexpr->a_const->sval->sval;
}

bool settings_read_if_there(struct sql_part *p, const PgQuery__SelectStmt *s)
{
	const node *from = s->n_from_clause == 1 ? s->from_clause[0] : NULL;
	PgQuery__SelectStmt bare = *s;
	bare.n_from_clause = 0;
	bare.where_clause = NULL;
	if (!NODE_IS(from, RANGE_VAR) || strcmp(from->range_var->relname, "pg_settings") != 0 || from->range_var->alias ||
	    !effects_is_bare(&bare) || s->n_target_list != 1)
		return false;
	const PgQuery__FuncCall *c = effects_call_of(s->target_list[0]);
	const char *name = name_asked_for(s->where_clause);
	int is_local = 0;
	if (!name || !effects_calls(c, "set_config") || !has_three_plain_arguments(c) || !is_column(c->args[0], "name") ||
	    !read_bool(c->args[2], &is_local, &p->local_param) || !read_text(c->args[1], &p->value, &p->value_param))
		return false;
	p->name = lowered(name);
	p->effects |= SQL_SET_CONFIG | (is_local == 1 ? SQL_IS_LOCAL : 0) | effects_of(p->name, p->value);
	return true;
}

unsigned settings_read_calls(struct sql_part *p, const PgQuery__SelectStmt *s)
{
	unsigned n = 0;
	for (size_t i = 0; i < s->n_target_list; i++) {
		const PgQuery__FuncCall *c = effects_call_of(s->target_list[i]);
		if (!effects_calls(c, "set_config"))
			continue;
		if (!(n == 0 ? read_first_call(p, c) : read_further_call(p, c)))
			return 0;
		n++;
	}
	return n;
}

void settings_read_config(struct reading *r, const PgQuery__SelectStmt *s)
{
	const struct findings *f = &r->found;
	if (f->n_config == 0)
		return;
	if (s && effects_is_bare(s) && f->n_calls == f->n_config && settings_read_calls(r->part, s) == f->n_config) {
		effects_blame(&r->found, effects_names_users(f->touched) || f->fields ? SQL_WHY_CHANGES_SESSION : SQL_WHY_SESSION,
		              "set_config");
		return;
	}
	effects_blame(&r->found, SQL_WHY_CHANGES_SESSION, "set_config");
	if (s && f->n_calls == 1 && settings_read_if_there(r->part, s))
		return;
	settings_forget(r->part);
	r->part->effects &= ~(uint32_t)(SQL_SET_CONFIG | SQL_IS_LOCAL);
	r->part->effects |= f->n_config == f->n_config_local ? SQL_SET_CONFIG | SQL_IS_LOCAL : SQL_OPAQUE_CALL;
}
