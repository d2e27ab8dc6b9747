/* Heads of HTTP: the lines that count, and those that do not. */
#include "../../../src/hooks/header.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static const char *read_all(const char *text)
{
	static char out[1000];
	struct slice head = slice_text(text), value;
	char name[HEADER_NAME_MAX];
	out[0] = '\0';
	while (header_next(&head, name, &value))
		snprintf(out + strlen(out), sizeof out - strlen(out), "[%s=%.*s]", name, (int)value.len, (const char *)value.at);
	return out;
}

static void lines_with_a_colon_count(void **state)
{
	assert_string_equal(read_all("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX:y\n\r\n"), "[content-type=text/plain][x=y]");
	assert_string_equal(read_all("Empty:\r\nA:  b: c \t\r\n"), "[empty=][a=b: c]");
	assert_string_equal(read_all("no end: here"), "");
	assert_string_equal(read_all("end: here"), "[end=here]");
}

static void what_is_no_header_is_passed_over(void **state)
{
	char text[400];
	assert_string_equal(read_all(""), "");
	assert_string_equal(read_all(": x\n a: b\nA\x01: c\nB\xc3: d\nok: e"), "[ok=e]");
	memset(text, 'n', 200);
	strcpy(text + 200, ": too long\nok: e");
	assert_string_equal(read_all(text), "[ok=e]");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(lines_with_a_colon_count),
		                                cmocka_unit_test(what_is_no_header_is_passed_over) };
	return UNIT_RUN(tests);
}
