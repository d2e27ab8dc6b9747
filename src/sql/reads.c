/*
 * reads — whether a class is a read: summed up from why its parts are none.
 *
 *   READ     nothing to be said against it                                    a read
 *   CATALOG  it calls or names something: facts.c decides   --reads_prove()-> a read, or another reason
 *   SESSION, SETTING   for the primary; a transaction that is on a standby may go on there all the same
 *   all others         for the primary
 *
 * Always: a read has no effect that ties its session to a server.
 */
#include "priv.h"

#include <strings.h>

#include "base/compiler.h"

const char *sql_why_text(enum sql_why why)
{
	static const char *const whys[] = {
#define WHY(id, text) [SQL_WHY_##id] = text,
#include "tbl/whys.h"
#undef WHY
	};
	return whys[why];
}

/* A session with one of these keeps its server, which must not be a standby. */
#define TIES (SQL_TEMP_OBJECT | SQL_HOLD_CURSOR | SQL_ADVISORY_LOCK | SQL_NEXTVAL | SQL_CURRVAL | SQL_OPAQUE_CALL)

static void judge_part(struct sql_part *p)
{
	if (p->why == SQL_WHY_CATALOG || p->why > SQL_WHY_EXECUTE)
		return;
	if (p->effects & TIES)
		p->why = p->effects & SQL_TEMP_OBJECT ? SQL_WHY_TEMPORARY : SQL_WHY_CHANGES_SESSION;
	else if (p->kind == SQL_OPAQUE)
		p->why = SQL_WHY_OPAQUE;
}

static bool part_may_stay(const struct sql_part *p)
{
	return p->why == SQL_WHY_READ || p->why == SQL_WHY_SESSION || p->why == SQL_WHY_SETTING;
}

void reads_judge(struct sql_class *c)
{
	enum sql_why first = SQL_WHY_READ; /* CATALOG gives way to what is certain */
	c->is_read = c->may_stay = c->is_idle = true;
	c->why_primary = c->blamed = NULL;
	for (uint32_t i = 0; i < c->n; i++) {
		struct sql_part *p = &c->part[i];
		judge_part(p);
		c->may_stay &= part_may_stay(p);
		c->is_idle &= part_may_stay(p) || p->is_idle;
		if (p->why == SQL_WHY_READ)
			continue;
		bool is_first = c->is_read || first == SQL_WHY_CATALOG;
		c->is_read = false;
		if (!is_first)
			continue;
		first = p->why;
		c->why_primary = sql_why_text(p->why);
		c->blamed = p->blamed;
	}
}

bool reads_is_open(const struct sql_class *c)
{
	bool is_open = false;
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->part[i].why != SQL_WHY_CATALOG && !part_may_stay(&c->part[i]))
			return false;
		is_open |= c->part[i].why == SQL_WHY_CATALOG;
	}
	return is_open;
}

void reads_prove(struct sql_class *c)
{
	c->effects = 0;
	for (uint32_t i = 0; i < c->n; i++) {
		struct sql_part *p = &c->part[i];
		if (p->why == SQL_WHY_CATALOG) {
			p->why = SQL_WHY_READ;
			p->effects &= ~(uint32_t)SQL_WRITES;
		}
		c->effects |= p->effects;
	}
	reads_judge(c);
}

enum sql_why reads_of_setting(const char *name)
{
#define SESSIONS(name) name,
	static const char *const sessions[] = {
#include "tbl/shown.h"
	};
#define SERVERS(name) name,
	static const char *const servers[] = {
#include "tbl/shown.h"
	};
	if (strchr(name, '.'))
		return SQL_WHY_READ;
	for (size_t i = 0; i < ARRAY_LEN(sessions); i++)
		if (strcasecmp(sessions[i], name) == 0)
			return SQL_WHY_READ;
	for (size_t i = 0; i < ARRAY_LEN(servers); i++)
		if (strcasecmp(servers[i], name) == 0)
			return SQL_WHY_SERVER;
	return SQL_WHY_SETTING;
}
