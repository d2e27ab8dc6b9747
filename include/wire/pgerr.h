/* pgerr — ErrorResponse and NoticeResponse, both ways. Fields are borrowed from the message. */
#ifndef WIRE_PGERR_H
#define WIRE_PGERR_H

#include "base/err.h"
#include "base/slice.h"
#include "wire/writer.h"

struct pgerr {
	struct slice severity; /* field V if there is one, else S: "ERROR", "FATAL", "PANIC", "WARNING" … */
	struct slice sqlstate; /* 5 bytes, "XX000" when the server sent none */
	struct slice message, detail, hint;
};

/* Reads a body (without type and length).  False when it is malformed; missing fields are empty. */
bool pgerr_read(struct slice body, struct pgerr *e) MUST_CHECK;
/* The same from the first bytes of a body that is longer than anybody wants to keep: the fields that are whole.  False while not even the
 * severity is there. PostgreSQL sends S, V, C, M in this order. */
bool pgerr_read_head(struct slice part, struct pgerr *e) MUST_CHECK;
bool pgerr_is_fatal(const struct pgerr *e); /* FATAL or PANIC: the connection ends */
bool pgerr_has_state(const struct pgerr *e, const char *sqlstate);
void pgerr_to_err(const struct pgerr *e, struct err *err);
/* Writes 'E' with severity "ERROR" or "FATAL", or 'N' with "WARNING"/"NOTICE"/…; detail and hint where ERR has them. */
void pgerr_write(struct writer *w, uint8_t type, const char *severity, const struct err *err);

#endif
