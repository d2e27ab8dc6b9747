/*
 * stock — the modules lunapool.* that are written in Lua: part of the program, so that it needs no files for them.
 *
 * The assembler takes the files of lua/lunapool/ in as they are.
 */
#include <string.h>

#include "base/compiler.h"
#include "policy/control.h"
#include "priv.h"

/* clang-format off */
#define STOCK(name)                                                \
	extern const char stock_##name[], stock_##name##_end[];        \
	__asm__(".section .rodata\n"                                   \
	        ".hidden stock_" #name "\n.hidden stock_" #name "_end\n" \
	        ".global stock_" #name "\nstock_" #name ":\n"            \
	        ".incbin \"lua/lunapool/" #name ".lua\"\n"             \
	        ".global stock_" #name "_end\nstock_" #name "_end:\n"    \
	        ".byte 0\n.previous\n");
#define STOCKS(X) X(default) X(by) X(by_ssh) X(by_commands)
#define PARTS(X) X(control) X(json) X(test)
/* clang-format on */
STOCKS(STOCK)
PARTS(STOCK)

#define STOCK_PREFIX "lunapool."

struct stock {
	const char *name, *path, *text, *end;
};
#define STOCK_ROW(name) { #name, "lunapool/" #name ".lua", stock_##name, stock_##name##_end },

static bool find(const struct stock *rows, size_t n, const char *name, struct source_file *out)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, rows[i].name) == 0) {
			*out = (struct source_file){ .path = (char *)rows[i].path,
				                         .text = (char *)rows[i].text,
				                         .len = (size_t)(rows[i].end - rows[i].text) };
			return true;
		}
	return false;
}

bool stock_find(const char *module, struct source_file *out)
{
	static const struct stock modules[] = { STOCKS(STOCK_ROW) };
	if (strncmp(module, STOCK_PREFIX, strlen(STOCK_PREFIX)) != 0)
		return false;
	return find(modules, ARRAY_LEN(modules), module + strlen(STOCK_PREFIX), out);
}

bool stock_part(const char *name, struct source_file *out)
{
	static const struct stock parts[] = { PARTS(STOCK_ROW) };
	return find(parts, ARRAY_LEN(parts), name, out);
}

struct slice policy_control_part(const char *name)
{
	struct source_file part;
	return stock_part(name, &part) ? slice_of(part.text, part.len) : slice_of("", 0);
}
