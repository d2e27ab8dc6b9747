/*
 * header — what another program sent as a head of HTTP, which may be anything: lines that end with LF, of which those with a colon count.
 */
#include "header.h"

#include <string.h>

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct slice trim(struct slice s)
{
	while (s.len && is_blank(s.at[0]))
		s = slice_skip(s, 1);
	while (s.len && is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

static struct slice take_line(struct slice *head)
{
	const uint8_t *end = memchr(head->at, '\n', head->len);
	size_t len = end ? (size_t)(end - head->at) : head->len;
	struct slice line = slice_of(head->at, len);
	*head = slice_skip(*head, len + (end != NULL));
	return line;
}

/* RFC 9110, 5.6.2: no blanks, no controls; the colon ends it. */
static bool copy_name(struct slice text, char name[HEADER_NAME_MAX])
{
	if (text.len == 0 || text.len >= HEADER_NAME_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.at[i];
		if (c <= ' ' || c >= 127)
			return false;
		name[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	name[text.len] = '\0';
	return true;
}

bool header_next(struct slice *head, char name[HEADER_NAME_MAX], struct slice *value)
{
	while (head->len) {
		struct slice line = take_line(head);
		const uint8_t *colon = line.len ? memchr(line.at, ':', line.len) : NULL;
		if (!colon || !copy_name(slice_of(line.at, (size_t)(colon - line.at)), name))
			continue;
		*value = trim(slice_skip(line, (size_t)(colon - line.at) + 1));
		return true;
	}
	return false;
}
