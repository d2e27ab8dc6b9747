/* upstream against a server in the same loop that plays what it is told to. */
#include "upstream/upstream.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "net/listen.h"
#include "unitloop.h"
#include "wire/authmsg.h"
#include "wire/pgerr.h"

#define LOGIN_TIMEOUT (20 * US_PER_S)

struct scene;

/* One accepted connection of the played server. */
struct peer {
	struct stream stream;
	struct scene *scene;
	uint8_t heard[1024];
	size_t heard_len, said;
	bool is_closed;
	struct loop_timer trickle;
};

struct scene {
	struct loop *loop;
	struct engine *engine;
	struct mailbox mailbox;
	struct resolver *resolver;
	struct upstream_env env;
	struct listener *listener;
	struct writer script;
	bool closes_after_script, trickles, stays_silent;
	struct peer peers[4];
	unsigned n_peers;
	/* The owner. */
	struct upstream *up; /* heap: freed inside callbacks where `frees` says so */
	bool frees, is_ready, has_failed, is_servers, is_done;
	struct err err;
	uint8_t after[256]; /* what the new owner of the stream read */
	size_t after_len;
	bool after_closed;
};

/* -- the played server --------------------------------------------------------------------------- */

static void say(struct peer *p)
{
	struct scene *s = p->scene;
	struct slice all = writer_slice(&s->script);
	if (p->is_closed)
		return;
	size_t n = s->trickles && all.len > p->said ? 1 : all.len - p->said;
	stream_send(&p->stream, slice_of(all.at + p->said, n), NULL);
	p->said += n;
	if (p->said < all.len)
		loop_timer_start(s->loop, &p->trickle, 0);
	else if (s->closes_after_script)
		stream_close_after_flush(&p->stream);
}

static void say_more(struct loop_timer *t)
{
	say(CONTAINER_OF(t, struct peer, trickle));
}

static size_t peer_data(struct stream *st, struct slice bytes, struct lent *lent)
{
	struct peer *p = st->owner;
	assert_true(p->heard_len + bytes.len <= sizeof p->heard);
	memcpy(p->heard + p->heard_len, bytes.at, bytes.len);
	bool is_first = p->heard_len == 0;
	p->heard_len += bytes.len;
	if (is_first && !p->scene->stays_silent)
		say(p);
	return bytes.len;
}

static void peer_closed(struct stream *st, enum stream_end why, int error)
{
	((struct peer *)st->owner)->is_closed = true;
}

static const struct stream_ops peer_ops = { .on_data = peer_data, .on_closed = peer_closed };

static void on_client(void *arg, int fd, const struct addr *from)
{
	struct scene *s = arg;
	assert_true(s->n_peers < ARRAY_LEN(s->peers));
	struct peer *p = &s->peers[s->n_peers++];
	p->scene = s;
	loop_timer_init(&p->trickle, say_more);
	stream_open(&p->stream, s->engine, fd, &peer_ops, p);
}

static void script_auth_ok(struct writer *w)
{
	authmsg_write_ok(w);
	writer_begin(w, 'S');
	writer_text(w, "TimeZone");
	writer_text(w, "UTC");
	writer_end(w);
	writer_begin(w, 'K');
	writer_u32(w, 77);
	writer_u32(w, 0xcafef00d);
	writer_end(w);
	writer_begin(w, 'Z');
	writer_u8(w, 'I');
	writer_end(w);
}

static void script_fatal(struct writer *w, const char *sqlstate)
{
	struct err err;
	err_set(&err, sqlstate, "no");
	pgerr_write(w, 'E', "FATAL", &err);
}

/* -- the owner ----------------------------------------------------------------------------------- */

static size_t owner_data(struct stream *st, struct slice bytes, struct lent *lent)
{
	struct scene *s = st->owner;
	assert_true(s->after_len + bytes.len <= sizeof s->after);
	memcpy(s->after + s->after_len, bytes.at, bytes.len);
	s->after_len += bytes.len;
	return bytes.len;
}

static void owner_closed(struct stream *st, enum stream_end why, int error)
{
	((struct scene *)st->owner)->after_closed = true;
}

static const struct stream_ops owner_ops = { .on_data = owner_data, .on_closed = owner_closed };

static struct scene *the_scene;

static void on_ready(struct upstream *up)
{
	struct scene *s = the_scene;
	assert_false(s->is_done);
	assert_ptr_equal(up, s->up);
	s->is_ready = s->is_done = true;
	up->stream.ops = &owner_ops;
	up->stream.owner = s;
	if (s->frees) {
		upstream_close(up);
		mem_free(up);
		s->up = NULL;
	}
}

static void on_failed(struct upstream *up, const struct err *err, bool is_servers)
{
	struct scene *s = the_scene;
	assert_false(s->is_done);
	assert_null(up->reported);
	s->has_failed = s->is_done = true;
	s->err = *err;
	s->is_servers = is_servers;
	if (s->frees) {
		mem_free(up);
		s->up = NULL;
	}
}

static const struct upstream_ops ops = { .on_ready = on_ready, .on_failed = on_failed };

static void begin(struct scene *s)
{
	struct err err;
	*s = (struct scene){ .loop = loop_new(false), .resolver = resolver_new() };
	s->engine = engine_new(s->loop);
	mailbox_open(&s->mailbox, s->loop, s);
	s->env = (struct upstream_env){ s->engine, s->resolver, &s->mailbox, settings_table_new(), NULL, NULL };
	s->listener = listener_open(s->loop, "127.0.0.1", 0, 16, on_client, s, &err);
	assert_non_null(s->listener);
	writer_init_grow(&s->script);
	s->up = mem_alloc(sizeof *s->up);
	s->up->state = UPSTREAM_CLOSED;
	the_scene = s;
}

static void end(struct scene *s)
{
	if (s->up)
		upstream_close(s->up);
	mem_free(s->up);
	for (unsigned i = 0; i < s->n_peers; i++) {
		stream_close(&s->peers[i].stream);
		loop_timer_stop(s->loop, &s->peers[i].trickle);
	}
	if (s->listener)
		listener_close(s->listener);
	writer_fini(&s->script);
	mailbox_close(&s->mailbox);
	engine_free(s->engine);
	resolver_free(s->resolver);
	settings_table_free(s->env.settings);
	loop_free(s->loop);
}

static void open_to(struct scene *s, const char *host, uint16_t port, uint64_t timeout_us)
{
	const struct upstream_target target = {
		.host = host, .port = port, .database = "shop", .user = "app", .timeout_us = timeout_us
	};
	upstream_open(s->up, &s->env, &target, &ops);
	assert_false(s->is_done);
}

static void open_and_wait(struct scene *s, const char *host, uint64_t timeout_us)
{
	open_to(s, host, listener_port(s->listener), timeout_us);
	run_until(s->loop, is_flag_set, &s->is_done);
}

/* -- the tests ----------------------------------------------------------------------------------- */

static void is_ready_as_scripted(struct scene *s)
{
	assert_true(s->is_ready);
	assert_int_equal(s->up->state, UPSTREAM_READY);
	assert_int_equal(s->up->backend_pid, 77);
	assert_int_equal(s->up->backend_key_len, 4);
	assert_memory_equal(s->up->backend_key, "\xca\xfe\xf0\x0d", 4);
	assert_string_equal(settings_get(s->up->reported, "timezone"), "UTC");
	assert_int_equal(addr_port(&s->up->addr), listener_port(s->listener));
}

static void logs_in(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	for (unsigned i = 0; i < 2; i++) {
		struct scene s;
		begin(&s);
		script_auth_ok(&s.script);
		open_and_wait(&s, hosts[i], LOGIN_TIMEOUT);
		is_ready_as_scripted(&s);
		end(&s);
	}
}

static void logs_in_byte_by_byte(void **state)
{
	struct scene s;
	begin(&s);
	s.trickles = true;
	script_auth_ok(&s.script);
	open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
	is_ready_as_scripted(&s);
	end(&s);
}

static bool after_is_there(void *arg)
{
	struct scene *s = arg;
	return s->after_len > 0 && s->after_closed;
}

static void bytes_behind_ready_are_the_new_owners(void **state)
{
	struct scene s;
	begin(&s);
	script_auth_ok(&s.script);
	size_t login_len = s.script.len;
	script_fatal(&s.script, "57P01");
	s.closes_after_script = true;
	open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
	assert_true(s.is_ready);
	run_until(s.loop, after_is_there, &s);
	assert_int_equal(s.after_len, s.script.len - login_len);
	assert_memory_equal(s.after, s.script.data + login_len, s.after_len);
	end(&s);
}

static void a_servers_error_is_told(void **state)
{
	struct scene s;
	begin(&s);
	script_fatal(&s.script, "53300");
	s.closes_after_script = true;
	open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
	assert_true(s.has_failed && s.is_servers);
	assert_string_equal(s.err.sqlstate, "53300");
	assert_int_equal(s.up->state, UPSTREAM_CLOSED);
	end(&s);
}

static void a_close_in_the_middle_is_08006(void **state)
{
	struct scene s;
	begin(&s);
	script_auth_ok(&s.script);
	s.script.len -= 3;
	s.closes_after_script = true;
	open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
	assert_true(s.has_failed && !s.is_servers);
	assert_string_equal(s.err.sqlstate, "08006");
	end(&s);
}

static void silence_ends_in_time(void **state)
{
	struct scene s;
	begin(&s);
	s.stays_silent = true;
	open_and_wait(&s, "127.0.0.1", 30 * US_PER_MS);
	assert_true(s.has_failed && !s.is_servers);
	assert_string_equal(s.err.sqlstate, "08006");
	end(&s);
}

static void nobody_there_is_08001(void **state)
{
	static const char *const hosts[] = {
		"127.0.0.1", "localhost", "/nonexistent", "no-such-host.invalid",
		"/a-directory-whose-name-is-far-too-long-for-the-address-of-a-unix-socket-as-anybody-can-see-"
		"at-first-sight-without-counting"
	};
	for (unsigned i = 0; i < ARRAY_LEN(hosts); i++) {
		struct scene s;
		begin(&s);
		uint16_t port = listener_port(s.listener);
		listener_close(s.listener);
		s.listener = NULL;
		open_to(&s, hosts[i], port, LOGIN_TIMEOUT);
		run_until(s.loop, is_flag_set, &s.is_done);
		assert_true(s.has_failed && !s.is_servers);
		if (i < 4)
			assert_string_equal(s.err.sqlstate, "08001");
		end(&s);
	}
}

static void too_long_parameters_fail(void **state)
{
	struct scene s;
	static char startup[STARTMSG_MAX + 200];
	begin(&s);
	memset(startup, 'x', sizeof startup);
	startup[1] = '\0';
	startup[sizeof startup - 1] = '\0';
	const struct upstream_target target = { .host = "127.0.0.1",
		                                    .port = listener_port(s.listener),
		                                    .database = "shop",
		                                    .user = "app",
		                                    .timeout_us = LOGIN_TIMEOUT,
		                                    .startup = slice_of(startup, sizeof startup) };
	upstream_open(s.up, &s.env, &target, &ops);
	run_until(s.loop, is_flag_set, &s.is_done);
	assert_true(s.has_failed);
	assert_string_equal(s.err.sqlstate, "08P01");
	end(&s);
}

static void the_owner_may_free_in_its_callbacks(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct scene s;
		begin(&s);
		s.frees = true;
		if (i)
			script_fatal(&s.script, "28000");
		else
			script_auth_ok(&s.script);
		open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
		assert_int_equal(s.has_failed, i);
		run_turns(s.loop, 3);
		end(&s);
	}
}

static void closed_at_any_time_means_silence(void **state)
{
	for (int turns = 0; turns < 40; turns++) {
		struct scene s;
		begin(&s);
		s.trickles = true;
		script_auth_ok(&s.script);
		open_to(&s, turns % 2 ? "127.0.0.1" : "localhost", listener_port(s.listener), LOGIN_TIMEOUT);
		run_turns(s.loop, turns);
		upstream_close(s.up);
		assert_null(s.up->login);
		s.is_done = true; /* a callback would fail on it */
		run_turns(s.loop, 5);
		end(&s);
	}
}

static bool first_peer_is_closed(void *arg)
{
	return ((struct scene *)arg)->peers[0].is_closed;
}

static void a_ready_one_says_goodbye(void **state)
{
	struct scene s;
	begin(&s);
	script_auth_ok(&s.script);
	open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
	size_t before = s.peers[0].heard_len;
	upstream_close(s.up);
	upstream_close(s.up);
	run_until(s.loop, first_peer_is_closed, &s);
	assert_int_equal(s.peers[0].heard_len, before + 5);
	assert_memory_equal(s.peers[0].heard + before, "X\0\0\0\4", 5);
	end(&s);
}

static void an_adopted_one_goes_on(void **state)
{
	struct scene s;
	struct upstream other;
	begin(&s);
	script_auth_ok(&s.script);
	open_and_wait(&s, "127.0.0.1", LOGIN_TIMEOUT);
	int fd = stream_detach(&s.up->stream, NULL);
	assert_true(fd >= 0);
	upstream_adopt(&other, &s.env, fd, NULL, &s.up->addr, s.up->backend_pid, slice_of(s.up->backend_key, s.up->backend_key_len),
	               settings_ref(s.up->reported));
	other.stream.ops = &owner_ops;
	other.stream.owner = &s;
	upstream_close(s.up);
	stream_send(&s.peers[0].stream, slice_text("hello"), NULL);
	stream_close_after_flush(&s.peers[0].stream);
	run_until(s.loop, after_is_there, &s);
	assert_memory_equal(s.after, "hello", 5);
	assert_int_equal(other.backend_pid, 77);
	assert_memory_equal(other.backend_key, "\xca\xfe\xf0\x0d", 4);
	assert_string_equal(settings_get(other.reported, "timezone"), "UTC");
	upstream_close(&other);
	end(&s);
}

/* -- cancel -------------------------------------------------------------------------------------- */

struct cancelled {
	bool is_told, is_over;
};

static void on_cancelled(void *arg, bool is_over)
{
	struct cancelled *c = arg;
	assert_false(c->is_told);
	*c = (struct cancelled){ true, is_over };
}

static struct addr listener_addr(const struct scene *s)
{
	struct addr a;
	assert_true(addr_from_numeric(&a, "127.0.0.1", listener_port(s->listener)));
	return a;
}

static void a_cancel_waits_for_the_end(void **state)
{
	struct scene s;
	struct cancelled c = { 0 };
	struct startmsg m;
	struct err err;
	begin(&s);
	s.closes_after_script = true;
	struct addr to = listener_addr(&s);
	upstream_cancel(&s.env, &to, NULL, 4711, slice_of("longer key", 10), on_cancelled, &c);
	assert_false(c.is_told);
	run_until(s.loop, is_flag_set, &c.is_told);
	assert_true(c.is_over);
	assert_int_equal(startmsg_read(slice_of(s.peers[0].heard, s.peers[0].heard_len), &m, &err), STARTMSG_OK);
	assert_int_equal(m.kind, STARTMSG_CANCEL);
	assert_int_equal(m.pid, 4711);
	assert_true(slice_equal(m.key, slice_text("longer key")));
	end(&s);
}

static void a_cancel_that_never_went_is_over(void **state)
{
	struct scene s;
	struct cancelled c = { 0 };
	begin(&s);
	struct addr to = listener_addr(&s);
	listener_close(s.listener);
	s.listener = NULL;
	upstream_cancel(&s.env, &to, NULL, 1, slice_text("key!"), on_cancelled, &c);
	run_until(s.loop, is_flag_set, &c.is_told);
	assert_true(c.is_over);
	end(&s);
}

static void a_dropped_cancel_is_silent(void **state)
{
	for (int turns = 0; turns < 6; turns++) {
		struct scene s;
		struct cancelled c = { 0 };
		begin(&s);
		s.stays_silent = true;
		struct addr to = listener_addr(&s);
		struct upstream_cancel *ticket = upstream_cancel(&s.env, &to, NULL, 1, slice_text("key!"), on_cancelled, &c);
		run_turns(s.loop, turns);
		upstream_cancel_drop(ticket);
		run_turns(s.loop, 3);
		assert_false(c.is_told);
		end(&s);
	}
}

int main(void)
{
	hash_init();
	log_init(2);
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_KV);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logs_in),
		cmocka_unit_test(logs_in_byte_by_byte),
		cmocka_unit_test(bytes_behind_ready_are_the_new_owners),
		cmocka_unit_test(a_servers_error_is_told),
		cmocka_unit_test(a_close_in_the_middle_is_08006),
		cmocka_unit_test(silence_ends_in_time),
		cmocka_unit_test(nobody_there_is_08001),
		cmocka_unit_test(too_long_parameters_fail),
		cmocka_unit_test(the_owner_may_free_in_its_callbacks),
		cmocka_unit_test(closed_at_any_time_means_silence),
		cmocka_unit_test(a_ready_one_says_goodbye),
		cmocka_unit_test(an_adopted_one_goes_on),
		cmocka_unit_test(a_cancel_waits_for_the_end),
		cmocka_unit_test(a_cancel_that_never_went_is_over),
		cmocka_unit_test(a_dropped_cancel_is_silent),
	};
	return UNIT_RUN(tests);
}
