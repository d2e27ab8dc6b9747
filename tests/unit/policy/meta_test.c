/* The annotations for editors are those of the table: `make docs` was not forgotten. */
#include <stdio.h>
#include <unistd.h>

#include "policy/meta.h"
#include "unit.h"

static size_t read_all(FILE *f, char *out, size_t room)
{
	size_t n = fread(out, 1, room - 1, f);
	out[n] = '\0';
	fclose(f);
	return n;
}

static void the_file_is_what_the_table_says(void **state)
{
	static char made[1 << 16], kept[1 << 16];
	FILE *f = tmpfile(), *file = fopen("lua/lunapool/meta/lunapool.lua", "r");
	assert_non_null(f);
	assert_non_null(file);
	policy_print_meta(fileno(f));
	rewind(f);
	assert_true(read_all(f, made, sizeof made) > 1000);
	read_all(file, kept, sizeof kept);
	assert_string_equal(made, kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_file_is_what_the_table_says) };
	return UNIT_RUN(tests);
}
