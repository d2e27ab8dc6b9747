/*
 * manual — the parameter reference and the sample files, printed from the table.
 *
 * A sample sets only what has no default that works; every other line stands there commented out with its default, so that a fresh
 * set of samples means the same as no settings at all.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "priv.h"

/* What a sample has to say, because there is no default, and the titles of its blocks. */
static const struct {
	enum block_id block;
	const char *param, *value;
} sample_values[] = {
	{ BLOCK_auth, "hba_file", "hba.conf" }, { BLOCK_auth, "users_file", "users.conf" },
	{ BLOCK_node, "host", "127.0.0.1" },    { BLOCK_redirect, "application", "metabase*" },
	{ BLOCK_redirect, "to", "pg1" },
};
static const char *const sample_titles[BLOCK_COUNT] = {
	[BLOCK_cluster] = "main", [BLOCK_node] = "pg1", [BLOCK_redirect] = "reports", [BLOCK_database] = "*", [BLOCK_user] = "batch"
};

static const char intro[] =
    "# Configuration\n"
    "\n"
    "This page is generated (`make docs`); the table that it is made from also drives the parser, `SHOW CONFIG` and the samples "
    "in\n"
    "`conf.d/`.\n"
    "\n"
    "`lunapool -c PATH` reads one file, or a folder's `*.conf` in the order of their names. `hba_file` and `users_file` may lie "
    "in that\n"
    "folder and end in `.conf`; they are not taken for configuration.\n"
    "\n"
    "    workers = 2                        # a setting; # begins a comment\n"
    "    cluster \"main\" {                   # a block with a name\n"
    "      node \"pg1\" { host = \"10.0.0.1\"  port = 5432 }\n"
    "    }\n"
    "    listen { address = { \"10.0.0.9\", \"::1\" } }\n"
    "\n"
    "- Durations carry a unit: `us`, `ms`, `s`, `min`, `h`, `d`; only `0` stands alone. Sizes too: `B`, `kB`, `MB`, `GB`, each "
    "1024 times the one before.\n"
    "- Texts that are not one word stand in `\"…\"` (with `\\\"`, `\\\\`, `\\n`, `\\t`, `\\$`) or in `'…'` (as they are), on one "
    "line.\n"
    "- `${VAR}` in `\"…\"` or in a word is the environment's value, `${VAR:-default}` has a default; a variable that is not set "
    "and has none is an error.\n"
    "- Relative paths start at the folder of the file that they stand in.\n"
    "- A setting, a block and a block's name stand once in all files together. An unknown name is an error.\n"
    "- `SIGHUP` reads everything again. If anything is wrong, nothing changes. Settings marked *restart* keep their value until "
    "the next start.\n";

static void print_escaped(int fd, const char *text)
{
	for (; *text; text++)
		dprintf(fd, strchr("|<*", *text) ? "\\%c" : "%c", *text);
}

static void print_range(int fd, const struct param *p)
{
	switch (p->type) {
	case PARAM_BOOL:
		dprintf(fd, "true, false");
		return;
	case PARAM_MODE:
		dprintf(fd, "session, transaction, statement");
		return;
	case PARAM_LEVEL:
		dprintf(fd, "debug, info, warn, error");
		return;
	case PARAM_FORMAT:
		dprintf(fd, "kv, json");
		return;
	case PARAM_ENGINE:
		dprintf(fd, "auto, epoll, io_uring");
		return;
	case PARAM_BALANCE:
		dprintf(fd, "p2c, random, round-robin, least");
		return;
	case PARAM_FRESHNESS:
		dprintf(fd, "session, cluster, off");
		return;
	case PARAM_SCOPE:
		dprintf(fd, "statement, session");
		return;
	case PARAM_INT:
	case PARAM_OCTAL:
	case PARAM_SHARE:
	case PARAM_DURATION:
	case PARAM_SIZE:
		break;
	default:
		return;
	}
	char *min = param_show_number(p, p->min), *max = param_show_number(p, p->max);
	dprintf(fd, "%s to %s", min, max);
	mem_free(min);
	mem_free(max);
}

static void print_row(int fd, const struct param *p)
{
	dprintf(fd, "| `%s` | %s | ", p->name, param_type_name(p->type));
	if (*p->dflt)
		dprintf(fd, "`%s`", p->dflt);
	dprintf(fd, " | ");
	print_range(fd, p);
	dprintf(fd, " | %s | ", p->needs_restart ? "restart" : "reload");
	print_escaped(fd, p->sentence);
	dprintf(fd, " |\n");
}

void conf_print_manual(int fd)
{
	dprintf(fd, "%s", intro);
	for (size_t i = 0; i < BLOCK_COUNT; i++) {
		const struct param_block *b = &param_blocks[i];
		dprintf(fd, "\n## %s%s\n\n", b->name, b->is_titled ? " \"name\"" : "");
		print_escaped(fd, b->sentence);
		dprintf(fd, "\n\n| setting | type | default | values | takes effect | meaning |\n|---|---|---|---|---|---|\n");
		for (size_t j = 0; j < b->n; j++)
			print_row(fd, &b->params[j]);
	}
}

static const char *sample_value(enum block_id id, const struct param *p)
{
	for (size_t i = 0; i < ARRAY_LEN(sample_values); i++)
		if (sample_values[i].block == id && strcmp(sample_values[i].param, p->name) == 0)
			return sample_values[i].value;
	return NULL;
}

static bool is_bare(const struct param *p)
{
	return p->type != PARAM_TEXT && p->type != PARAM_SECRET && p->type != PARAM_PATH && p->type != PARAM_LIST && *p->dflt;
}

static void print_settings(int fd, enum block_id id, const char *indent)
{
	const struct param_block *b = &param_blocks[id];
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		const char *given = sample_value(id, p), *quote = is_bare(p) ? "" : "\"";
		const char *none = p->type == PARAM_LIST && !*p->dflt ? "{}" : NULL;
		dprintf(fd, "%s%s# %s%s\n", i ? "\n" : "", indent, p->sentence,
		        p->needs_restart ? " Takes effect at the next start." : "");
		dprintf(fd, "%s%s%s = ", indent, given || strchr(indent, '#') ? "" : "#", p->name);
		if (none && !given)
			dprintf(fd, "%s\n", none);
		else
			dprintf(fd, "%s%s%s\n", quote, given ? given : p->dflt, quote);
	}
}

static void print_block(int fd, enum block_id id, const char *indent)
{
	char inner[16];
	const struct param_block *b = &param_blocks[id];
	snprintf(inner, sizeof inner, "%s\t", indent);
	dprintf(fd, "%.*s# %s\n%s%s ", (int)strcspn(indent, "#"), indent, b->sentence, indent, b->name);
	if (b->is_titled)
		dprintf(fd, "\"%s\" ", sample_titles[id]);
	dprintf(fd, "{\n");
	print_settings(fd, id, inner);
	if (id == BLOCK_cluster) {
		dprintf(fd, "\n");
		print_block(fd, BLOCK_node, inner);
		dprintf(fd, "\n");
		print_block(fd, BLOCK_redirect, "\t#");
	}
	dprintf(fd, "%s}\n", indent);
}

bool conf_print_sample(int fd, const char *block)
{
	if (strcmp(block, param_blocks[BLOCK_global].name) == 0) {
		dprintf(fd, "# %s\n\n", param_blocks[BLOCK_global].sentence);
		print_settings(fd, BLOCK_global, "");
		return true;
	}
	const struct param_block *b = param_block_named(block);
	if (!b)
		return false;
	/* Nobody's users have a known name, so that block is a comment as a whole. */
	print_block(fd, (enum block_id)(b - param_blocks), b == &param_blocks[BLOCK_user] ? "#" : "");
	return true;
}
