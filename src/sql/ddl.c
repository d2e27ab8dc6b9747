/*
 * ddl — statements that change the database or act upon the server: what they do to the session all the same.
 *
 * Most of what they hold is stored for later: that is walked for temporary names alone.  But an index is built, a table written anew, a check
 * tried at once, and what stands behind a command in the same text may call what that has just defined.
 */
#include "tree.h"

/* Its indexes and checks may be computed anew. */
static void note_written(struct reading *r, const PgQuery__RangeVar *relation)
{
	if (relation)
		effects_note(&r->found, FACTS_WRITE, relation->relname);
}

static void read_ddl(struct reading *r, const node *n, uint32_t effects)
{
	reading_set(r, SQL_OTHER, SQL_WRITES | effects);
	reading_blame(r, SQL_WHY_COMMAND);
	reading_walk(r, n, false);
}

/* Statements that PostgreSQL refuses in a transaction block, always or in some form (PreventInTransactionBlock and kin). */
static bool refuses_transaction(const node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_CREATEDB_STMT:
	case PG_QUERY__NODE__NODE_DROPDB_STMT:
	case PG_QUERY__NODE__NODE_ALTER_DATABASE_STMT:
	case PG_QUERY__NODE__NODE_CREATE_TABLE_SPACE_STMT:
	case PG_QUERY__NODE__NODE_DROP_TABLE_SPACE_STMT:
	case PG_QUERY__NODE__NODE_ALTER_SYSTEM_STMT:
	case PG_QUERY__NODE__NODE_CREATE_SUBSCRIPTION_STMT:
	case PG_QUERY__NODE__NODE_ALTER_SUBSCRIPTION_STMT:
	case PG_QUERY__NODE__NODE_DROP_SUBSCRIPTION_STMT:
	case PG_QUERY__NODE__NODE_CLUSTER_STMT:
	case PG_QUERY__NODE__NODE_REINDEX_STMT:
		return true;
	case PG_QUERY__NODE__NODE_VACUUM_STMT:
		return n->vacuum_stmt->is_vacuumcmd;
	case PG_QUERY__NODE__NODE_INDEX_STMT:
		return n->index_stmt->concurrent;
	case PG_QUERY__NODE__NODE_DROP_STMT:
		return n->drop_stmt->concurrent;
	default:
		return false;
	}
}

/* What may change which functions are called, what they do, or which relations a standby lacks.  What only takes something away is not in it. */
static bool is_catalog_ddl(const node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT:
	case PG_QUERY__NODE__NODE_ALTER_FUNCTION_STMT:
	case PG_QUERY__NODE__NODE_CREATE_FOREIGN_TABLE_STMT:
	case PG_QUERY__NODE__NODE_IMPORT_FOREIGN_SCHEMA_STMT:
	case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
	case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
	case PG_QUERY__NODE__NODE_CREATE_EVENT_TRIG_STMT:
	case PG_QUERY__NODE__NODE_ALTER_EVENT_TRIG_STMT:
	case PG_QUERY__NODE__NODE_RULE_STMT:
	case PG_QUERY__NODE__NODE_VIEW_STMT:
	case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
	case PG_QUERY__NODE__NODE_ALTER_POLICY_STMT:
	case PG_QUERY__NODE__NODE_CREATE_STMT:
	case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
	case PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT:
	case PG_QUERY__NODE__NODE_ALTER_DOMAIN_STMT:
	case PG_QUERY__NODE__NODE_CREATE_CAST_STMT:
	case PG_QUERY__NODE__NODE_CREATE_OP_CLASS_STMT:
	case PG_QUERY__NODE__NODE_ALTER_OP_FAMILY_STMT:
	case PG_QUERY__NODE__NODE_CREATE_RANGE_STMT:
	case PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT:
	case PG_QUERY__NODE__NODE_DEFINE_STMT: /* operators, aggregates, types */
	case PG_QUERY__NODE__NODE_CREATE_EXTENSION_STMT:
	case PG_QUERY__NODE__NODE_ALTER_EXTENSION_STMT:
	case PG_QUERY__NODE__NODE_RENAME_STMT:
		return true;
	default:
		return false;
	}
}

static void note_all_written(struct reading *r, PgQuery__Node **relations, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const node *at = relations[i];
		if (NODE_IS(at, VACUUM_RELATION))
			note_written(r, at->vacuum_relation->relation);
		else if (NODE_IS(at, RANGE_VAR))
			note_written(r, at->range_var);
	}
}

/* What commands other than ALTER TABLE compute anew, or fire. */
static void note_rewritten(struct reading *r, const node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
		note_all_written(r, n->truncate_stmt->relations, n->truncate_stmt->n_relations);
		break;
	case PG_QUERY__NODE__NODE_VACUUM_STMT:
		note_all_written(r, n->vacuum_stmt->rels, n->vacuum_stmt->n_rels);
		break;
	case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
		note_written(r, n->refresh_mat_view_stmt->relation);
		break;
	case PG_QUERY__NODE__NODE_CLUSTER_STMT:
		note_written(r, n->cluster_stmt->relation);
		break;
	case PG_QUERY__NODE__NODE_REINDEX_STMT:
		note_written(r, n->reindex_stmt->relation);
		break;
	case PG_QUERY__NODE__NODE_INDEX_STMT:
		reading_walk(r, n, true);
		break;
	default:
		break;
	}
}

void ddl_read(struct reading *r, const node *n)
{
	uint32_t effects = SQL_DDL | (is_catalog_ddl(n) ? SQL_CATALOG_DDL : 0);
	note_rewritten(r, n);
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_ALTER_SYSTEM_STMT:
	case PG_QUERY__NODE__NODE_ALTER_ROLE_SET_STMT:
	case PG_QUERY__NODE__NODE_ALTER_DATABASE_SET_STMT:
		effects = SQL_ALTERS_DEFAULTS;
		break;
	case PG_QUERY__NODE__NODE_VACUUM_STMT:
	case PG_QUERY__NODE__NODE_CLUSTER_STMT:
	case PG_QUERY__NODE__NODE_REINDEX_STMT:
	case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
	case PG_QUERY__NODE__NODE_CHECK_POINT_STMT:
	case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
	case PG_QUERY__NODE__NODE_COMMENT_STMT:
	case PG_QUERY__NODE__NODE_SEC_LABEL_STMT:
		effects = 0;
		break;
	default:
		break;
	}
	read_ddl(r, n, effects | (refuses_transaction(n) ? SQL_NO_PIPELINE : 0));
	if (r->found.effects & SQL_TEMP_OBJECT) /* the session is pinned; nobody else sees it */
		r->part->effects &= ~(uint32_t)SQL_CATALOG_DDL;
}

/* Defaults are stored for later; all else that a command holds may run now (a new column's default, USING, CHECK). */
void ddl_alter_table(struct reading *r, const node *n)
{
	const PgQuery__AlterTableStmt *s = n->alter_table_stmt;
	reading_blame(r, SQL_WHY_COMMAND);
	reading_set(r, SQL_OTHER, SQL_WRITES | SQL_DDL | SQL_CATALOG_DDL);
	reading_walk(r, n, false);
	note_written(r, s->relation);
	for (size_t i = 0; i < s->n_cmds; i++) {
		const PgQuery__AlterTableCmd *c = NODE_IS(s->cmds[i], ALTER_TABLE_CMD) ? s->cmds[i]->alter_table_cmd : NULL;
		if (!c || c->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault)
			continue;
		reading_walk(r, c->def, true);
		if (NODE_IS(c->def, PARTITION_CMD) && c->def->partition_cmd->concurrent)
			r->part->effects |= SQL_NO_PIPELINE;
	}
	settings_read_config(r, NULL);
}

/* Column definitions and constraints call what they name, and nothing else; other changes may make it call what was there before. */
static bool only_defines_columns(const PgQuery__AlterTableStmt *s)
{
	for (size_t i = 0; i < s->n_cmds; i++) {
		const PgQuery__AlterTableCmd *c = NODE_IS(s->cmds[i], ALTER_TABLE_CMD) ? s->cmds[i]->alter_table_cmd : NULL;
		switch (c ? c->subtype : PG_QUERY__ALTER_TABLE_TYPE__ALTER_TABLE_TYPE_UNDEFINED) {
		case PG_QUERY__ALTER_TABLE_TYPE__AT_AddColumn:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_DropNotNull:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_SetNotNull:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_DropColumn:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_DropConstraint:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType:
		case PG_QUERY__ALTER_TABLE_TYPE__AT_ChangeOwner:
			break;
		default:
			return false;
		}
	}
	return true;
}

bool ddl_adds_calls(const struct reading *r, const node *n)
{
	if (!(r->part->effects & SQL_CATALOG_DDL))
		return false;
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_CREATE_STMT:
		return r->found.stores_calls || n->create_stmt->n_inh_relations > 0;
	case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
		return r->found.stores_calls || !only_defines_columns(n->alter_table_stmt);
	case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
		return n->create_schema_stmt->n_schema_elts > 0;
	case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
		return false;
	default:
		return true;
	}
}
