/*
 * pins — what makes a session keep its server: temporary table, LISTEN, advisory lock, WITH HOLD cursor.
 * A client needs one of a few slots, so that pins never exceed what the pool allows; it uses them much and gives them back soon.
 */
#include <stdio.h>
#include <string.h>

#include "mixup.h"

static bool take_slot(struct client *c)
{
	if (!c->has_slot && slots_free > 0) {
		slots_free--;
		c->has_slot = true;
		tally.pins++;
	}
	return c->has_slot;
}

void op_temp(struct client *c)
{
	char sql[96];
	if (c->temp && strcmp(c->now.v[ROLE], "postgres") != 0)
		op_echo(c); /* may not read it */
	else if (c->temp) {
		send_query(c, "select who from pg_temp.mine");
		expect_value(c, MIX_TEMP, "c%d", c->id);
	} else if (rnd(2)) {
		send_query(c, "select who from pg_temp.mine");
		expect_error(c, "42P01", MIX_TEMP);
	} else if (take_slot(c)) {
		snprintf(sql, sizeof sql, "create temp table mine as select 'c%d' as who", c->id);
		c->temp = command(c, MIX_TEMP, sql);
	} else
		op_echo(c);
}

void op_listen(struct client *c)
{
	if (!c->listening) {
		if (rnd(2)) { /* speak to somebody: it must not come here */
			send_query(c, "select pg_notify('ch%u', 'c%d')", rnd(400), c->id);
			expect_add(c, PGRES_TUPLES_OK, MIX_NOTIFY);
		} else if (take_slot(c)) {
			char sql[32];
			snprintf(sql, sizeof sql, "listen ch%d", c->id);
			c->listening = command(c, MIX_NOTIFY, sql);
		} else
			op_echo(c);
	} else if (rnd(4)) {
		snprintf(c->notify, sizeof c->notify, "c%d:%u", c->id, rnd(1000000));
		c->wants_notify = true;
		send_query(c, "notify ch%d, '%s'", c->id, c->notify);
		expect_add(c, PGRES_COMMAND_OK, MIX_NOTIFY);
	} else {
		send_query(c, "unlisten *");
		expect_add(c, PGRES_COMMAND_OK, MIX_NOTIFY);
		c->listening = false;
	}
}

void op_lock(struct client *c)
{
	if (!c->lock && take_slot(c)) {
		send_query(c, "select pg_advisory_lock(%u, %d)", c->life, c->id);
		expect_add(c, PGRES_TUPLES_OK, MIX_LOCK);
		c->lock = true;
	} else if (c->lock) {
		send_query(c, "select pg_advisory_unlock(%u, %d)", c->life, c->id);
		expect_value(c, MIX_LOCK, "t");
		c->lock = false;
	} else
		op_echo(c);
}

void op_hold(struct client *c)
{
	char sql[160];
	if (c->hold && rnd(5)) {
		send_query(c, "fetch 1 from held");
		expect_value(c, MIX_CURSOR, "c%d:%d", c->id, ++c->hold_at);
	} else if (c->hold) {
		c->hold = !command(c, MIX_CURSOR, "close held");
	} else if (rnd(2)) {
		send_query(c, "fetch 1 from held");
		expect_error(c, "34000", MIX_CURSOR);
	} else if (take_slot(c)) {
		snprintf(sql, sizeof sql, "declare held cursor with hold for select 'c%d:' || g from generate_series(1, 1000) g", c->id);
		c->hold = command(c, MIX_CURSOR, sql);
		c->hold_at = 0;
	} else
		op_echo(c);
}
