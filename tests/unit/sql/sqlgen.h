/* sqlgen — statements made by chance from a small grammar, and the same statements written differently. */
#ifndef SQLGEN_H
#define SQLGEN_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

/* A seeded generator, so that a failure can be repeated. */
struct sqlgen {
	uint64_t seed;
	FILE *out;
	unsigned depth;
};

static inline unsigned gen_below(struct sqlgen *g, unsigned n)
{
	g->seed = g->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)((g->seed >> 33) % n);
}

static inline const char *gen_of(struct sqlgen *g, const char *const *texts, unsigned n)
{
	return texts[gen_below(g, n)];
}
#define GEN(g, ...)                                                                 \
	do {                                                                            \
		static const char *const all_[] = { __VA_ARGS__ };                          \
		fputs(gen_of(g, all_, (unsigned)(sizeof all_ / sizeof all_[0])), (g)->out); \
	} while (0)

/* A statement is written with markers: '\1' where white space may go, '\2' a number, '\3' a string. */
static inline void gen_expr(struct sqlgen *g)
{
	if (++g->depth > 4) {
		GEN(g, "\2", "\3", "a");
		g->depth--;
		return;
	}
	switch (gen_below(g, 14)) {
	case 0:
	case 1:
		fputs("\2", g->out);
		break;
	case 2:
	case 3:
		fputs("\3", g->out);
		break;
	case 4:
		GEN(g, "a", "t\1.\1b", "\"Q x\"", "$1", "$2", "null", "true", "u&\"d\\0061t\"");
		break;
	case 5:
		fputs("(\1", g->out);
		gen_expr(g);
		GEN(g, "\1=\1", "\1||\1", "\1+\1", "\1and\1", "\1::int\1-\1", "\1<>\1-\1");
		gen_expr(g);
		fputs("\1)", g->out);
		break;
	case 6:
		GEN(g, "lower", "now", "f", "s.g", "nextval", "pg_advisory_lock", "currval", "set_config", "dblink");
		fputs("\1(\1", g->out);
		gen_expr(g);
		fputs("\1)", g->out);
		break;
	case 7:
		GEN(g, "set_config(\1'a.b'\1,\1'c'\1,\1false)", "set_config(\1'a.b'\1,\1$2\1,\1true)", "pg_advisory_unlock_all()");
		break;
	case 8:
		fputs("a\1in\1(", g->out);
		for (unsigned i = gen_below(g, 5) + 1; i-- > 0; fputs(i ? "\1,\1" : "", g->out))
			gen_expr(g);
		fputs("\1)", g->out);
		break;
	case 9:
		fputs("array\1[", g->out);
		for (unsigned i = gen_below(g, 5) + 1; i-- > 0; fputs(i ? "\1,\1" : "", g->out))
			gen_expr(g);
		fputs("]", g->out);
		break;
	case 10:
		fputs("case\1when\1true\1then\1", g->out);
		gen_expr(g);
		fputs("\1else\1\2\1end", g->out);
		break;
	case 11:
		fputs("(\1select\1", g->out);
		gen_expr(g);
		fputs("\1)", g->out);
		break;
	case 12:
		fputs("a\1in\1(select\1\2)", g->out);
		break;
	default:
		fputs("-\1", g->out);
		gen_expr(g);
		break;
	}
	g->depth--;
}

static inline void gen_rows(struct sqlgen *g)
{
	unsigned columns = gen_below(g, 3) + 1;
	fputs("values\1", g->out);
	for (unsigned i = gen_below(g, 5) + 1; i-- > 0; fputs(i ? "\1,\1" : "", g->out)) {
		fputs("(", g->out);
		for (unsigned j = columns; j-- > 0; fputs(j ? "\1,\1" : "", g->out))
			gen_expr(g);
		fputs(")", g->out);
	}
}

static inline void gen_select(struct sqlgen *g)
{
	fputs("select\1", g->out);
	for (unsigned i = gen_below(g, 3) + 1; i-- > 0; fputs(i ? "\1,\1" : "", g->out))
		gen_expr(g);
	GEN(g, "", "", "\1from\1t", "\1from\1pg_temp\1.\1t", "\1from\1t\1join\1u\1on\1true", "\1into\1temp\1x\1from\1t");
	if (gen_below(g, 2)) {
		fputs("\1where\1", g->out);
		gen_expr(g);
	}
	GEN(g, "", "", "\1limit\1\2", "\1for\1update", "\1order\1by\1\2");
}

static inline void gen_statement(struct sqlgen *g)
{
	switch (gen_below(g, 9)) {
	case 0:
		GEN(g, "begin", "commit", "set\1work_mem\1=\1'64'", "set\1search_path\1to\1'A',b", "show\1x", "discard\1all", "vacuum\1t",
		    "listen\1x", "create\1temp\1table\1x(a\1numeric(\2,\2))", "do\1\3", "copy\1t\1from\1stdin", "copy\1t\1to\1'f'",
		    "copy\1t\1from\1'f'", "set\1time\1zone\1'x'", "set\1local\1a.b\1=\1\2",
		    "fetch\1"
		    "2\1from\1c",
		    "notify\1x\1,\1\3");
		break;
	case 1:
		fputs("insert\1into\1t\1", g->out);
		gen_rows(g);
		GEN(g, "", "\1on\1conflict\1do\1nothing", "\1returning\1a");
		break;
	case 2:
		fputs("update\1t\1set\1a\1=\1", g->out);
		gen_expr(g);
		fputs("\1where\1", g->out);
		gen_expr(g);
		break;
	case 3:
		GEN(g, "explain\1", "explain\1analyze\1", "explain\1(analyze\1off)\1", "prepare\1p\1as\1", "create\1table\1x\1as\1",
		    "declare\1c\1cursor\1with\1hold\1for\1", "copy\1(");
		gen_select(g);
		fputs("\1", g->out);
		break;
	case 4:
		gen_rows(g);
		break;
	case 5:
		fputs("execute\1p\1(", g->out);
		gen_expr(g);
		fputs(")", g->out);
		break;
	default:
		gen_select(g);
		break;
	}
}

/* TEMPLATE with its markers written out, each time differently: the caller frees. */
static inline char *gen_write(struct sqlgen *g, const char *template)
{
	char *text = NULL;
	size_t len = 0;
	g->out = open_memstream(&text, &len);
	bool is_quoted = false;
	for (; *template; template ++) {
		is_quoted ^= *template == '\'' || *template == '"';
		if (*template == 1)
			GEN(g, " ", " ", "\n", " /* c'/*\"*/ */ ", " -- it's\n", "\t ", " /**/");
		else if (*template == 2)
			GEN(g, "1", "42", "0.5", "1e5", "9999999999", ".5", "7.");
		else if (*template == 3)
			GEN(g, "'x'", "''", "'it''s'", "e'\\''", "$$a'b$$", "$q$ $$ $q$", "'a'\n'b'", "'set_config('", "'; --'");
		else
			fputc(!is_quoted && gen_below(g, 4) == 0 && *template >= 'a' && *template <= 'z' ? *template - 32 : *template,
			      g->out);
	}
	GEN(g, "", ";", " ; ", " -- end");
	fclose(g->out);
	return text;
}

static inline char *gen_template(struct sqlgen *g)
{
	char *text = NULL;
	size_t len = 0;
	g->depth = 0;
	g->out = open_memstream(&text, &len);
	gen_statement(g);
	if (gen_below(g, 5) == 0) {
		fputs("\1;\1", g->out);
		gen_statement(g);
	}
	fclose(g->out);
	return text;
}

#endif
