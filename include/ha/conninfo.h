/* conninfo — a standby's primary_conninfo that is a URI, turned to another primary.  Pure. */
#ifndef HA_CONNINFO_H
#define HA_CONNINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

bool conninfo_is_uri(const char *text);
/* With another host and port, all else as it was; false: it is not one that we understand, or too long. */
bool conninfo_turn(const char *uri, const char *host, uint16_t port, char *out, size_t room) MUST_CHECK;

#endif
