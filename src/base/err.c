/*
 * err — fills struct err; too long a text is cut, never lost.
 *
 * Setting an err clears detail and hint, so that an err used twice cannot mix two stories.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *err, const char *sqlstate, const char *fmt, ...)
{
	if (!err)
		return false;
	/* The arguments may point into err->text ("… : %s"), so format aside first. */
	char text[sizeof err->text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
	memcpy(err->text, text, sizeof text);
	err->detail[0] = err->hint[0] = '\0';
	return false;
}

void err_detail(struct err *err, const char *fmt, ...)
{
	if (!err)
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->detail, sizeof err->detail, fmt, ap);
	va_end(ap);
}

void err_hint(struct err *err, const char *fmt, ...)
{
	if (!err)
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof err->hint, fmt, ap);
	va_end(ap);
}
