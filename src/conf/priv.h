/*
 * priv — what the files of conf/ share: text becomes a tree (tree.c), the tree a struct by the table (params.c, load.c), and the
 * struct is asked whether it makes sense (check.c).
 */
#ifndef CONF_PRIV_H
#define CONF_PRIV_H

#include "base/map.h"
#include "conf/conf.h"

/* One "key = value" or one "block { … }" as it stands in a file. */
enum item_kind { ITEM_VALUE, ITEM_LIST, ITEM_BLOCK, ITEM_BROKEN /* reported already: only its key counts */ };
struct conf_item {
	enum item_kind kind;
	unsigned line;
	char *key;
	char *title;            /* blocks; NULL: none */
	struct conf_list texts; /* ITEM_VALUE: one */
	size_t n_items;         /* blocks */
	struct conf_item *items;
};
struct conf_tree {
	char *file;
	struct conf_item root;
	struct conf_errors errors; /* of syntax */
};
/* TEXT is the whole of FILE; always leaves a tree of what could be understood. */
void tree_parse(struct conf_tree *t, const char *file, const char *text, size_t len);
void tree_fini(struct conf_tree *t); /* wipes */

/* The table as data. */
enum param_type {
	PARAM_INT,
	PARAM_OCTAL,
	PARAM_BOOL,
	PARAM_TEXT,
	PARAM_SECRET,
	PARAM_PATH,
	PARAM_LIST,
	PARAM_DURATION,
	PARAM_SIZE,
	PARAM_MODE,
	PARAM_LEVEL,
	PARAM_FORMAT,
	PARAM_ENGINE,
	PARAM_CLIENT_TLS,
	PARAM_SERVER_TLS,
	PARAM_TLS_START,
	PARAM_PROTOCOL,
	PARAM_BALANCE,
	PARAM_FAILOVER,
	PARAM_FRESHNESS,
	PARAM_SCOPE,
	PARAM_SHARE
};
struct param {
	const char *name;
	enum param_type type;
	size_t at; /* offset in the block's struct */
	const char *dflt;
	int64_t min, max;
	bool needs_restart;
	const char *sentence;
};
enum block_id {
#define BLOCK_ID(block, rows, title, sentence) BLOCK_##block,
	PARAMS_BLOCKS(BLOCK_ID)
#undef BLOCK_ID
	    BLOCK_COUNT
};
struct param_block {
	const char *name;
	const char *sentence;
	bool is_titled;
	size_t n;
	const struct param *params;
};
extern const struct param_block param_blocks[BLOCK_COUNT];
const struct param_block *param_block_named(const char *name); /* NULL: none; "global" is not a name that a file may use */
const struct param *param_named(const struct param_block *b, const char *name);

void params_init(const struct param_block *b, void *base); /* defaults */
void params_own(const struct param_block *b, void *base);  /* BASE is a copy, byte by byte, of another: gets texts of its own */
void params_fini(const struct param_block *b, void *base);
/* Sets one setting; relative paths start at FILE's folder (NULL: they stay). */
bool param_set(const struct param *p, void *base, const struct conf_list *texts, const char *file, struct err *err) MUST_CHECK;
char *param_show(const struct param *p, const void *base); /* as a file would have it, without quotes; heap.  Not for secrets */
char *param_show_number(const struct param *p, int64_t number); /* minimum and maximum in the setting's own units; heap */
const char *param_type_name(enum param_type type);
bool param_equal(const struct param *p, const void *a, const void *b);

/* The candidate that a person may have meant by WORD; NULL: none is near. */
const char *near_word(const char *word, const char *const *candidates, size_t n);

/* The blocks of CONF with their names ("cluster.main.node.pg1"; "" for global), in the manual's order. */
typedef void (*blocks_fn)(void *arg, const struct param_block *b, const char *name, const void *base);
void blocks_each(const struct conf *c, blocks_fn fn, void *arg);

/* Everything while it is being put together. */
struct conf_load {
	struct conf *conf;
	struct conf_errors *errors;
	size_t n_trees;
	struct conf_tree *trees;
};
void load_report(struct conf_load *l, const struct conf_tree *t, unsigned line, const char *fmt, ...) PRINTF_LIKE(4, 5);
void load_bind(struct conf_load *l);
char *item_where(const struct conf_tree *t, unsigned line); /* "file:line", heap */
/* Finds the block TITLE of kind KEY (NULL title: a plain one) inside WITHIN, or at top level if WITHIN is NULL; TREE gets its file. */
const struct conf_item *load_find(const struct conf_load *l, const struct conf_item *within, const char *key, const char *title,
                                  const struct conf_tree **tree);
void load_check(struct conf_load *l); /* after load_bind(): what makes no sense together */

char *path_beside(const char *file, const char *name); /* NAME as seen from FILE's folder; heap */
/* A whole file; 16 MB at most. */
bool file_read(const char *path, char **text, size_t *len, struct err *err) MUST_CHECK;
bool hba_equal(const struct hba *a, const struct hba *b);
bool users_equal(const struct users *a, const struct users *b);

#endif
