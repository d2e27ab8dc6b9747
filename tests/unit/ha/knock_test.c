/* knock: what is told of a server that answers, one that is silent, one that hangs up, and a port where nobody listens. */
#include "ha/knock.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "unitloop.h"

static struct loop *loop;
static struct resolver *resolver;
static struct mailbox mailbox;

struct visit {
	struct knock *knock;
	bool is_over;
	enum ladder_event how;
	int listener, guest;
	struct loop_io io;
	const char *answer; /* NULL: none; "": it hangs up */
};

static void on_knocked(void *arg, enum ladder_event how)
{
	struct visit *v = arg;
	v->is_over = true;
	v->how = how;
}

/* The kernel takes the connection; this answers what comes. */
static void on_guest(struct loop_io *io, unsigned events)
{
	struct visit *v = CONTAINER_OF(io, struct visit, io);
	uint8_t bytes[8];
	v->guest = accept(v->listener, NULL, NULL);
	assert_true(v->guest >= 0);
	assert_int_equal(recv(v->guest, bytes, sizeof bytes, MSG_WAITALL), 8);
	assert_memory_equal(bytes, "\0\0\0\10\4\322\26\57", 8);
	if (*v->answer)
		assert_int_equal(send(v->guest, v->answer, 1, 0), 1);
	close(v->guest);
	loop_io_set(loop, io, 0);
}

static uint16_t open_door(struct visit *v)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	v->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(v->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(v->listener, 8), 0);
	assert_int_equal(getsockname(v->listener, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static enum ladder_event knock_at(struct visit *v, const char *host, uint16_t port, uint64_t timeout_us)
{
	v->knock = knock_new(loop, resolver, &mailbox, on_knocked, v);
	knock_begin(v->knock, host, port, timeout_us);
	assert_true(knock_is_under_way(v->knock) && !v->is_over);
	run_until(loop, is_flag_set, &v->is_over);
	assert_false(knock_is_under_way(v->knock));
	knock_free(v->knock);
	return v->how;
}

static enum ladder_event knock_at_door(const char *answer)
{
	struct visit v = { .answer = answer };
	uint16_t port = open_door(&v);
	loop_io_init(&v.io, v.listener, on_guest);
	if (answer)
		loop_io_set(loop, &v.io, LOOP_READ);
	enum ladder_event how = knock_at(&v, "127.0.0.1", port, answer ? UNIT_DEADLINE_US : 50 * US_PER_MS);
	loop_io_set(loop, &v.io, 0);
	close(v.listener);
	return how;
}

static void each_door_is_told_from_the_others(void **state)
{
	struct visit v = { 0 };
	assert_int_equal(knock_at_door("S"), LADDER_OPENED);
	assert_int_equal(knock_at_door("N"), LADDER_OPENED);
	assert_int_equal(knock_at_door(""), LADDER_REFUSED);
	assert_int_equal(knock_at_door(NULL), LADDER_SILENT);
	uint16_t port = open_door(&v);
	close(v.listener);
	assert_int_equal(knock_at(&v, "127.0.0.1", port, UNIT_DEADLINE_US), LADDER_REFUSED);
	v.is_over = false;
	assert_int_equal(knock_at(&v, "/nowhere/at/all", port, UNIT_DEADLINE_US), LADDER_REFUSED);
	v.is_over = false;
	assert_int_equal(knock_at(&v, "no-such-host.invalid", port, UNIT_DEADLINE_US), LADDER_OURS); /* row 61 */
}

static void who_goes_away_hears_nothing(void **state)
{
	struct visit v = { 0 };
	uint16_t port = open_door(&v);
	v.knock = knock_new(loop, resolver, &mailbox, on_knocked, &v);
	knock_begin(v.knock, "127.0.0.1", port, UNIT_DEADLINE_US);
	knock_free(v.knock);
	close(v.listener);
	run_turns(loop, 3);
	assert_false(v.is_over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_door_is_told_from_the_others),
		cmocka_unit_test(who_goes_away_hears_nothing),
	};
	hash_init();
	loop = loop_new(false);
	resolver = resolver_new();
	mailbox_open(&mailbox, loop, NULL);
	int failed = UNIT_RUN(tests);
	mailbox_close(&mailbox);
	resolver_free(resolver);
	loop_free(loop);
	return failed;
}
