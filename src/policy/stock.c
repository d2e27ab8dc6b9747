/*
 * stock — the modules lunapool.* that are written in Lua: part of the program, so that it needs no files for them.
 *
 * The assembler takes the files of lua/lunapool/ in as they are.
 */
#include <string.h>

#include "base/compiler.h"
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
#define STOCKS(X) X(default)
/* clang-format on */
STOCKS(STOCK)

#define STOCK_PREFIX "lunapool."

bool stock_find(const char *module, struct source_file *out)
{
	static const struct {
		const char *name, *path, *text, *end;
	} files[] = {
#define STOCK_ROW(name) { #name, "lunapool/" #name ".lua", stock_##name, stock_##name##_end },
		STOCKS(STOCK_ROW)
	};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (strncmp(module, STOCK_PREFIX, strlen(STOCK_PREFIX)) == 0 &&
		    strcmp(module + strlen(STOCK_PREFIX), files[i].name) == 0) {
			*out = (struct source_file){ .path = (char *)files[i].path,
				                         .text = (char *)files[i].text,
				                         .len = (size_t)(files[i].end - files[i].text) };
			return true;
		}
	return false;
}
