/* A datagram at the control socket: what it is taken for is within it, and numbers come back as they were written. */
#include "../../src/packet.c"

#include "fuzz.h"

static void check_within(const struct packet *p, const char *at)
{
	CHECK(at >= p->text && at <= p->text + p->len);
}

static void check_door(const struct packet *p, const char *text)
{
	struct packet_door door;
	if (!packet_read_door(text, &door))
		return;
	check_within(p, door.address);
	CHECK(door.is_fixed <= 1 && door.port <= 65535 && door.real_port <= 65535 && *door.address);
}

static void check_cancel(const struct packet *p)
{
	struct packet_cancel cancel;
	if (!packet_read_cancel(p, &cancel))
		return;
	check_within(p, (const char *)cancel.key.at);
	CHECK((const char *)cancel.key.at + cancel.key.len == p->text + p->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packet *p = malloc(sizeof *p);
	struct packet_control control;
	const char *rest;
	CHECK(p);
	p->len = size < PACKET_MAX ? size : PACKET_MAX;
	memcpy(p->text, data, p->len);
	p->text[p->len] = '\0';
	p->n_fds = 0;
	if ((rest = packet_after(p, "DOOR")))
		check_door(p, rest);
	if ((rest = packet_after(p, "CONTROL")) && packet_read_control(rest, &control))
		check_within(p, control.path);
	check_cancel(p);
	free(p);
	return 0;
}
