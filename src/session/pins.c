/*
 * pins — why a session keeps its server: state that cannot be made again elsewhere.
 *
 * Always: a session with state pins holds one of its pool's max_pinned, or is counted over it (inside a transaction).
 */
#include <stdio.h>
#include <strings.h>

#include "priv.h"

const char *pins_text(uint16_t pins, char *out, size_t size)
{
	static const struct {
		uint16_t bit;
		const char *word;
	} words[] = {
		{ PIN_TEMP, "temp" },         { PIN_HOLD, "hold_cursor" }, { PIN_LISTEN, "listen" },     { PIN_LOCK, "advisory_lock" },
		{ PIN_SEQUENCE, "sequence" }, { PIN_OPAQUE, "opaque" },    { PIN_MODE, "session_mode" },
	};
	size_t len = 0;
	out[0] = 0;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (pins & words[i].bit && len < size)
			len += (size_t)snprintf(out + len, size - len, "%s%s", len ? "," : "", words[i].word);
	return out;
}

void pins_set(struct session *s, uint16_t pins)
{
	char text[80];
	uint16_t fresh = pins & PIN_STATE & ~s->pins;
	s->pins = pins;
	if (s->srv)
		pool_keep(s->srv, pins != 0);
	if (fresh)
		log_info(&s->log, "session_pinned", KV_STR("pin", pins_text(fresh, text, sizeof text)), KV_STR("function", s->pinned_by));
	if (s->pinned_by && !(pins & PIN_STATE))
		known_blame(s, NULL);
	if (fresh && !s->pin_counted && s->pool)
		s->pin_counted = pool_pin(s->pool, true);
}

static bool part_sets_opaque(const struct sql_part *p)
{
	static const char *const unreplayable[] = { "seed" };
	if (p->kind != SQL_SET || !p->name)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(unreplayable); i++)
		if (strcasecmp(p->name, unreplayable[i]) == 0)
			return true;
	return false;
}

uint16_t pins_of_part(const struct session *s, const struct sql_part *p)
{
	uint16_t pins = 0;
	if (p->effects & SQL_TEMP_OBJECT)
		pins |= PIN_TEMP;
	if (p->effects & SQL_HOLD_CURSOR)
		pins |= PIN_HOLD;
	if (p->effects & SQL_ADVISORY_LOCK)
		pins |= PIN_LOCK;
	if (p->kind == SQL_LISTEN)
		pins |= PIN_LISTEN;
	if ((p->kind == SQL_OPAQUE && !(p->effects & SQL_HARMLESS)) || (p->effects & SQL_OPAQUE_CALL) || part_sets_opaque(p))
		pins |= PIN_OPAQUE;
	if (s->pool && pool_pins_sequences(s->pool) && ((p->effects & SQL_NEXTVAL) || p->kind == SQL_INSERT))
		pins |= PIN_SEQUENCE;
	return pins;
}

uint16_t pins_of_class(const struct session *s, const struct sql_class *class)
{
	uint16_t pins = 0;
	for (uint32_t i = 0; i < class->n; i++)
		pins |= pins_of_part(s, &class->part[i]);
	return pins & ~s->pins;
}
