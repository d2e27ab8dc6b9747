/* TLS under streams: both ends are ours, between them somebody who counts, cuts, delays and falsifies what passes. */
#include "net/tls.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rand.h"
#include "certs.h"
#include "net/stream.h"
#include "unitengine.h"
#include "unitloop.h"

#define BIG (3u << 20)

static struct certs certs;
static struct loop *loop;
static struct engine *engine;
static struct tls_conf *server_conf, *client_conf;

struct end {
	struct stream s;
	struct buf got;
	struct end *echo_to;
	size_t take_at_most;
	bool is_secured, is_closed, is_drained, pauses_once_secured;
	enum stream_end why;
	int error;
	char text[200];
};

/* left <-> [wire] <-> right: what is written to one socket is carried to the other by pump(). */
struct wire {
	int fd[2];
	struct buf passed[2]; /* [0]: from left */
	size_t step;          /* bytes at most in one go */
	size_t falsify_at;    /* of what comes from left; 0: nothing */
};
static struct end left, right; /* client, server */
static struct wire wire;

static size_t end_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct end *e = s->owner;
	if (e->take_at_most && bytes.len > e->take_at_most)
		bytes.len = e->take_at_most;
	if (e->echo_to)
		stream_send(&e->echo_to->s, bytes, lent);
	else
		assert_true(buf_append(&e->got, bytes));
	return bytes.len;
}

static void end_closed(struct stream *s, enum stream_end why, int error)
{
	struct end *e = s->owner;
	assert_false(e->is_closed);
	e->is_closed = true;
	e->why = why;
	e->error = error;
	snprintf(e->text, sizeof e->text, "%s", stream_end_text(s, why, error));
}

static void end_secured(struct stream *s)
{
	struct end *e = s->owner;
	assert_false(e->is_secured);
	e->is_secured = true;
	if (e->pauses_once_secured)
		stream_pause(s);
}

static void end_drained(struct stream *s)
{
	((struct end *)s->owner)->is_drained = true;
}

static const struct stream_ops end_ops = {
	.on_data = end_data, .on_closed = end_closed, .on_secured = end_secured, .on_drained = end_drained
};

static struct tls_setup server_setup(void)
{
	return (struct tls_setup){ .is_server = true,
		                       .verify = TLS_VERIFY_NONE,
		                       .cert = certs_path(&certs, "server", "crt"),
		                       .key = certs_path(&certs, "server", "key"),
		                       .ca = "",
		                       .crl = "",
		                       .min_protocol = "TLSv1.2",
		                       .ciphers = "ECDHE+AESGCM",
		                       .ciphersuites = "",
		                       .groups = "" };
}

static struct tls_setup client_setup(void)
{
	struct tls_setup s = server_setup();
	s.is_server = false;
	s.has_sni = true;
	s.verify = TLS_VERIFY_FULL;
	s.cert = s.key = "";
	s.ca = certs_path(&certs, "ca", "crt");
	return s;
}

static struct tls_conf *make_conf(struct tls_setup setup)
{
	struct err err;
	struct tls_conf *c = tls_conf_new(&setup, &err);
	if (!c)
		fail_msg("%s", err.text);
	return c;
}

static int unit_setup(void **state)
{
	loop = loop_new(false);
	engine = unit_engine(loop);
	server_conf = make_conf(server_setup());
	client_conf = make_conf(client_setup());
	return 0;
}

static int unit_teardown(void **state)
{
	tls_conf_unref(server_conf);
	tls_conf_unref(client_conf);
	engine_free(engine);
	loop_free(loop);
	return 0;
}

/* ---- the wire ----------------------------------------------------------------------------------------------------------------- */

static int open_end(struct end *e)
{
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	*e = (struct end){ 0 };
	stream_open(&e->s, engine, fds[0], &end_ops, e);
	return fds[1];
}

static void open_wire(size_t step)
{
	wire = (struct wire){ .step = step };
	wire.fd[0] = open_end(&left);
	wire.fd[1] = open_end(&right);
}

/* Carries what is there, each way. */
static void pump(void)
{
	static uint8_t bytes[65536];
	for (int i = 0; i < 2; i++) {
		struct buf *passed = &wire.passed[i];
		ssize_t n = recv(wire.fd[i], bytes, wire.step, MSG_PEEK);
		if (n == 0)
			shutdown(wire.fd[!i], SHUT_WR);
		if (n <= 0)
			continue;
		size_t before = buf_len(passed), at = wire.falsify_at - before;
		if (i == 0 && wire.falsify_at > before && at < (size_t)n)
			bytes[at] ^= 1;
		n = send(wire.fd[!i], bytes, (size_t)n, MSG_NOSIGNAL);
		if (n > 0) {
			assert_true(buf_append(passed, slice_of(bytes, (size_t)n)));
			assert_int_equal(recv(wire.fd[i], bytes, (size_t)n, 0), n);
		}
	}
}

struct wish {
	bool (*is_true)(void *arg);
	void *arg;
};

static bool pumped(void *arg)
{
	struct wish *w = arg;
	for (int i = 0; i < 16; i++)
		pump();
	return w->is_true(w->arg);
}

static void pump_until(bool (*is_true)(void *arg), void *arg)
{
	run_until(loop, pumped, &(struct wish){ is_true, arg });
}

static bool both_secured(void *arg)
{
	return left.is_secured && right.is_secured;
}

static bool one_closed(void *arg)
{
	return ((struct end *)arg)->is_closed;
}

static bool got_all(void *arg)
{
	return buf_len(&left.got) + buf_len(&right.got) >= *(size_t *)arg;
}

static void start(struct tls_conf *client, struct tls_conf *server, const char *host)
{
	stream_start_tls(&left.s, &(struct tls_start){ .conf = client, .host = host });
	stream_start_tls(&right.s, &(struct tls_start){ .conf = server });
}

static void connect_both(void)
{
	open_wire(65536);
	start(client_conf, server_conf, "db.test");
	pump_until(both_secured, NULL);
	run_turns(loop, 3);
}

static void hang_up(void)
{
	stream_close(&left.s);
	stream_close(&right.s);
	buf_fini(&left.got);
	buf_fini(&right.got);
	for (int i = 0; i < 2; i++) {
		buf_fini(&wire.passed[i]);
		if (wire.fd[i] >= 0)
			close(wire.fd[i]);
	}
}

static uint8_t *noise(size_t len)
{
	uint8_t *at = mem_alloc(len);
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)rand_fast();
	return at;
}

static void exchange(const char *one, const char *other)
{
	size_t sum = strlen(one) + strlen(other);
	stream_send(&left.s, slice_text(one), NULL);
	stream_send(&right.s, slice_text(other), NULL);
	pump_until(got_all, &sum);
	assert_true(slice_equal(buf_slice(&right.got), slice_text(one)));
	assert_true(slice_equal(buf_slice(&left.got), slice_text(other)));
}

static void assert_idle(struct stream *s)
{
	assert_null(s->in.data);
	assert_null(s->out.data);
	assert_null(s->gather);
}

/* ---- tests --------------------------------------------------------------------------------------------------------------------- */

static void both_ends_agree_and_talk(void **state)
{
	struct slice mine, theirs;
	connect_both();
	exchange("select 1", "one");
	assert_string_equal(tls_version(stream_tls(&left.s)), "TLSv1.3");
	assert_string_equal(tls_cipher(stream_tls(&left.s)), tls_cipher(stream_tls(&right.s)));
	assert_true(tls_binding(stream_tls(&left.s), &mine));
	assert_true(tls_binding(stream_tls(&right.s), &theirs));
	assert_int_equal(mine.len, 32);
	assert_true(slice_equal(mine, theirs));
	assert_idle(&left.s);
	assert_idle(&right.s);
	hang_up();
}

static void every_byte_may_come_alone(void **state)
{
	open_wire(1);
	start(client_conf, server_conf, "db.test");
	pump_until(both_secured, NULL);
	exchange("a question", "an answer");
	hang_up();
}

static void what_is_sent_before_the_handshake_is_over_is_dropped(void **state)
{
	open_wire(65536);
	start(client_conf, server_conf, "db.test");
	assert_null(stream_tls(&left.s));
	stream_send(&left.s, slice_text("secret"), NULL);
	stream_send(&right.s, slice_text("secret"), NULL);
	pump_until(both_secured, NULL);
	exchange("open", "now");
	for (int i = 0; i < 2; i++)
		assert_null(memmem(wire.passed[i].data, wire.passed[i].write, "secret", 6));
	hang_up();
}

static void what_was_queued_before_leaves_in_the_clear(void **state)
{
	open_wire(65536);
	stream_send(&right.s, slice_text("S"), NULL);
	stream_start_tls(&right.s, &(struct tls_start){ .conf = server_conf });
	size_t one = 1;
	pump_until(got_all, &one);
	stream_start_tls(&left.s, &(struct tls_start){ .conf = client_conf, .host = "db.test" });
	pump_until(both_secured, NULL);
	assert_true(slice_equal(buf_slice(&left.got), slice_text("S")));
	buf_fini(&left.got);
	exchange("x", "y");
	hang_up();
}

static void much_arrives_whole_and_in_order(void **state)
{
	uint8_t *bytes = noise(BIG);
	size_t sum = 2 * BIG;
	connect_both();
	wire.step = 5000;
	setsockopt(stream_fd(&left.s), SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	right.take_at_most = 3000;
	for (size_t at = 0, n; at < BIG; at += n) {
		n = rand_fast() % 20000;
		n = n > BIG - at ? BIG - at : n;
		stream_send(&left.s, slice_of(bytes + at, n), NULL);
		stream_send(&right.s, slice_of(bytes + at, n), NULL);
		if (rand_fast() % 50 == 0) {
			pump();
			run_turns(loop, 1);
		}
	}
	assert_true(stream_is_high(&left.s));
	right.take_at_most = 0;
	wire.step = 65536;
	pump_until(got_all, &sum);
	assert_memory_equal(buf_slice(&right.got).at, bytes, BIG);
	assert_memory_equal(buf_slice(&left.got).at, bytes, BIG);
	assert_true(left.is_drained);
	run_turns(loop, 3);
	assert_idle(&left.s);
	assert_idle(&right.s);
	hang_up();
	mem_free(bytes);
}

static void an_owner_that_takes_nothing_sees_it_again(void **state)
{
	uint8_t *bytes = noise(100000);
	size_t sum = 100000;
	connect_both();
	right.take_at_most = 7;
	for (size_t at = 0; at < sum; at += 1000)
		stream_send(&left.s, slice_of(bytes + at, 1000), NULL);
	run_turns(loop, 3);
	pump();
	run_turns(loop, 3);
	pump();
	run_turns(loop, 3);
	assert_true(stream_unread(&right.s) > 16384);
	right.take_at_most = 0;
	stream_pause(&right.s);
	stream_resume(&right.s);
	pump_until(got_all, &sum);
	assert_memory_equal(buf_slice(&right.got).at, bytes, sum);
	hang_up();
	mem_free(bytes);
}

static bool is_flushed(void *arg)
{
	return stream_backlog(&left.s) == 0;
}

static void a_paused_stream_keeps_what_it_is_sent(void **state)
{
	size_t sum = 6;
	connect_both();
	stream_send(&left.s, slice_text("one"), NULL);
	stream_pause(&right.s);
	pump_until(is_flushed, NULL);
	run_turns(loop, 5);
	assert_int_equal(buf_len(&right.got), 0);
	stream_send(&left.s, slice_text("two"), NULL);
	pump_until(is_flushed, NULL);
	stream_resume(&right.s);
	pump_until(got_all, &sum);
	assert_true(slice_equal(buf_slice(&right.got), slice_text("onetwo")));
	hang_up();
}

static void data_behind_the_handshake_waits_for_a_pausing_owner(void **state)
{
	size_t sum = 5;
	open_wire(65536);
	right.pauses_once_secured = true;
	start(client_conf, server_conf, "db.test");
	while (!left.is_secured) {
		run_turns(loop, 1);
		if (!left.is_secured)
			pump();
	}
	stream_send(&left.s, slice_text("hello"), NULL); /* travels with the last flight */
	pump_until(both_secured, NULL);
	run_turns(loop, 3);
	assert_int_equal(buf_len(&right.got), 0);
	stream_resume(&right.s);
	pump_until(got_all, &sum);
	hang_up();
}

/* A relay sends on what it was lent. */
static void lent_bytes_are_sealed_again(void **state)
{
	uint8_t *bytes = noise(BIG);
	size_t sum = BIG;
	connect_both();
	right.echo_to = &right;
	stream_send(&left.s, slice_of(bytes, BIG), NULL);
	pump_until(got_all, &sum);
	assert_memory_equal(buf_slice(&left.got).at, bytes, BIG);
	hang_up();
	mem_free(bytes);
}

/* Lengths of the records that passed from left behind FROM. */
static unsigned count_records(size_t from, size_t *longest)
{
	const struct buf *b = &wire.passed[0];
	unsigned n = 0;
	*longest = 0;
	for (size_t at = from, len; at + 5 <= b->write; at += 5 + len, n++) {
		len = (size_t)b->data[at + 3] << 8 | b->data[at + 4];
		*longest = len > *longest ? len : *longest;
	}
	return n;
}

static void writes_become_full_records(void **state)
{
	size_t sum = 5000, before, longest;
	connect_both();
	before = wire.passed[0].write;
	for (int i = 0; i < 1000; i++)
		stream_send(&left.s, slice_of("01234\0", 5), NULL);
	pump_until(got_all, &sum);
	assert_int_equal(count_records(before, &longest), 1);
	uint8_t *bytes = noise(160000);
	before = wire.passed[0].write;
	sum += 160000;
	for (size_t at = 0; at < 160000; at += 16000)
		stream_send(&left.s, slice_of(bytes + at, 16000), NULL);
	pump_until(got_all, &sum);
	assert_int_equal(count_records(before, &longest), 10); /* 160000 / 16384, and the rest */
	assert_in_range(longest, 16384, 16384 + 256);
	hang_up();
	mem_free(bytes);
}

static void a_close_is_said(void **state)
{
	connect_both();
	size_t before = wire.passed[0].write;
	stream_send(&left.s, slice_text("last words"), NULL);
	stream_close_after_flush(&left.s);
	pump_until(one_closed, &right);
	size_t longest;
	assert_int_equal(right.why, STREAM_END_EOF);
	assert_true(slice_equal(buf_slice(&right.got), slice_text("last words")));
	assert_int_equal(count_records(before, &longest), 2);
	hang_up();
}

static void closing_at_once_sends_what_is_queued(void **state)
{
	connect_both();
	stream_send(&left.s, slice_text("last words"), NULL);
	stream_close(&left.s);
	pump_until(one_closed, &right);
	assert_int_equal(right.why, STREAM_END_EOF);
	assert_true(slice_equal(buf_slice(&right.got), slice_text("last words")));
	hang_up();
}

static void an_end_without_goodbye_is_an_end(void **state)
{
	connect_both();
	shutdown(wire.fd[1], SHUT_WR);
	pump_until(one_closed, &right);
	assert_int_equal(right.why, STREAM_END_EOF);
	hang_up();
}

static void a_falsified_record_ends_the_connection(void **state)
{
	connect_both();
	wire.falsify_at = wire.passed[0].write + 9;
	stream_send(&left.s, slice_text("select 1"), NULL);
	pump_until(one_closed, &right);
	assert_int_equal(right.error, EPROTO);
	assert_int_equal(buf_len(&right.got), 0);
	assert_non_null(strstr(right.text, "mac"));
	pump_until(one_closed, &left); /* by our alert */
	assert_non_null(strstr(left.text, "alert"));
	hang_up();
}

static void what_is_no_handshake_is_refused(void **state)
{
	open_wire(65536);
	stream_start_tls(&right.s, &(struct tls_start){ .conf = server_conf });
	stream_send(&left.s, slice_of("\0\0\0\x08\x04\xd2\x16\x2fQ\0\0\0\x0dselect 1", 21), NULL);
	pump_until(one_closed, &right);
	assert_int_equal(right.error, EPROTO);
	assert_false(right.is_secured);
	hang_up();
}

static void bytes_shown_already_may_begin_the_handshake(void **state)
{
	open_wire(65536);
	stream_start_tls(&left.s, &(struct tls_start){ .conf = client_conf, .host = "db.test" });
	size_t some = 100;
	pump_until(got_all, &some); /* as if it were plain */
	struct buf hello = right.got;
	right.got = (struct buf){ 0 };
	stream_start_tls(&right.s, &(struct tls_start){ .conf = server_conf, .early = buf_slice(&hello), .is_direct = true });
	buf_fini(&hello);
	pump_until(both_secured, NULL);
	exchange("a", "b");
	hang_up();
}

static void it_may_end_in_the_middle_of_the_handshake(void **state)
{
	open_wire(65536);
	start(client_conf, server_conf, "db.test");
	run_turns(loop, 2);
	stream_close(&left.s);
	pump_until(one_closed, &right);
	assert_int_equal(right.why, STREAM_END_EOF);
	hang_up();
}

static void a_goodbye_is_not_said_in_the_handshake(void **state)
{
	open_wire(65536);
	stream_start_tls(&right.s, &(struct tls_start){ .conf = server_conf });
	stream_send(&right.s, slice_text("FATAL"), NULL);
	stream_close_after_flush(&right.s);
	pump_until(one_closed, &left);
	assert_int_equal(buf_len(&left.got), 0);
	hang_up();
}

/* ---- who is who ------------------------------------------------------------------------------------------------------------------ */

static void refused(struct tls_conf *client, struct tls_conf *server, const char *host, struct end *who, const char *why)
{
	open_wire(65536);
	start(client, server, host);
	pump_until(one_closed, who);
	if (!strstr(who->text, why))
		fail_msg("%s instead of %s", who->text, why);
	assert_int_equal(who->error, EPROTO);
	hang_up();
}

static void a_server_is_verified(void **state)
{
	struct tls_setup other = server_setup(), crl = client_setup(), wrong_ca = client_setup();
	refused(client_conf, server_conf, "other.test", &left, "hostname mismatch");
	refused(client_conf, server_conf, "127.0.0.2", &left, "IP address mismatch");
	other.cert = certs_path(&certs, "expired", "crt");
	other.key = certs_path(&certs, "expired", "key");
	struct tls_conf *expired = make_conf(other);
	refused(client_conf, expired, "db.test", &left, "certificate has expired");
	wrong_ca.ca = certs_path(&certs, "other_ca", "crt");
	struct tls_conf *stranger = make_conf(wrong_ca);
	refused(stranger, server_conf, "db.test", &left, "certificate");
	crl.crl = certs_path(&certs, "ca", "crl");
	struct tls_conf *careful = make_conf(crl);
	other.cert = certs_path(&certs, "revoked", "crt");
	other.key = certs_path(&certs, "revoked", "key");
	struct tls_conf *revoked = make_conf(other);
	refused(careful, revoked, "db.test", &left, "certificate revoked");
	tls_conf_unref(expired);
	tls_conf_unref(stranger);
	tls_conf_unref(careful);
	tls_conf_unref(revoked);
}

/* As RFC 6125 and libpq have it: a name in the subject counts only where no other names are. */
static void whose_name_it_is(void **state)
{
	static const struct {
		const char *cn, *san, *host, *why; /* WHY NULL: it is the right one */
	} rows[] = {
		{ "db.test", NULL, "db.test", NULL },
		{ "db.test", "DNS:elsewhere.test", "db.test", "hostname mismatch" },
		{ "other", "DNS:elsewhere.test,DNS:db.test", "db.test", NULL },
		{ "other", "DNS:*.db.test", "a.db.test", NULL },
		{ "other", "DNS:*.db.test", "b.a.db.test", "hostname mismatch" },
		{ "other", "DNS:*.db.test", "db.test", "hostname mismatch" },
		{ "other", "DNS:a*.db.test", "ab.db.test", "hostname mismatch" },
		{ "other", "DNS:*.test", "db.test", "hostname mismatch" },
		{ "other", "DNS:db.test", "DB.Test", NULL },
		{ "127.0.0.1", NULL, "127.0.0.1", "IP address mismatch" },
		{ "other", "DNS:127.0.0.1", "127.0.0.1", "IP address mismatch" },
		{ "other", "IP:127.0.0.2", "127.0.0.1", "IP address mismatch" },
		{ "other", "IP:::1", "::1", NULL },
		{ "other", "IP:127.0.0.1", "db.test", "hostname mismatch" },
	};
	struct tls_setup server = server_setup();
	server.cert = certs_path(&certs, "named", "crt");
	server.key = certs_path(&certs, "named", "key");
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		certs_make(&certs, "named", "ca", &(struct cert){ .cn = rows[i].cn, .san = rows[i].san });
		struct tls_conf *named = make_conf(server);
		if (rows[i].why) {
			refused(client_conf, named, rows[i].host, &left, rows[i].why);
		} else {
			open_wire(65536);
			start(client_conf, named, rows[i].host);
			pump_until(both_secured, NULL);
			hang_up();
		}
		tls_conf_unref(named);
	}
}

static void append_file(const char *to, const char *from)
{
	char bytes[8192];
	FILE *in = fopen(from, "r"), *out = fopen(to, "a");
	assert_true(in && out);
	size_t n = fread(bytes, 1, sizeof bytes, in);
	assert_int_equal(fwrite(bytes, 1, n, out), n);
	fclose(in);
	fclose(out);
}

static void a_revocation_list_makes_nobody_trusted(void **state)
{
	struct tls_setup s = server_setup(), c = client_setup();
	const char *mixed = certs_path(&certs, "mixed", "crl");
	certs_revoke(&certs, "other_ca", NULL);
	append_file(mixed, certs_path(&certs, "ca", "crl"));
	append_file(mixed, certs_path(&certs, "other_ca", "crt"));
	append_file(mixed, certs_path(&certs, "other_ca", "crl"));
	s.verify = TLS_VERIFY_CA;
	s.ca = certs_path(&certs, "ca", "crt");
	s.crl = mixed;
	c.cert = certs_path(&certs, "stranger", "crt");
	c.key = certs_path(&certs, "stranger", "key");
	struct tls_conf *server = make_conf(s), *client = make_conf(c);
	refused(client, server, "db.test", &right, "certificate");
	tls_conf_unref(client);
	tls_conf_unref(server);
}

static void a_host_may_be_an_address(void **state)
{
	open_wire(65536);
	start(client_conf, server_conf, "127.0.0.1");
	pump_until(both_secured, NULL);
	hang_up();
}

static void the_host_counts_only_when_all_is_verified(void **state)
{
	struct tls_setup lax = client_setup();
	lax.verify = TLS_VERIFY_CA;
	struct tls_conf *by_ca = make_conf(lax);
	open_wire(65536);
	start(by_ca, server_conf, "other.test");
	pump_until(both_secured, NULL);
	hang_up();
	tls_conf_unref(by_ca);
}

static void connect_with(struct tls_setup client, struct tls_setup server)
{
	struct tls_conf *c = make_conf(client), *s = make_conf(server);
	open_wire(65536);
	start(c, s, "db.test");
	pump_until(both_secured, NULL);
	tls_conf_unref(c);
	tls_conf_unref(s);
}

static void a_client_is_known_by_its_certificate(void **state)
{
	struct tls_setup s = server_setup(), c = client_setup();
	char name[100];
	s.verify = TLS_VERIFY_CA;
	s.ca = certs_path(&certs, "ca", "crt");
	c.cert = certs_path(&certs, "client", "crt");
	c.key = certs_path(&certs, "client", "key");
	connect_with(c, s);
	assert_true(tls_peer_name(stream_tls(&right.s), TLS_NAME_CN, name, sizeof name));
	assert_string_equal(name, "bob");
	assert_true(tls_peer_name(stream_tls(&right.s), TLS_NAME_DN, name, sizeof name));
	assert_string_equal(name, "CN=bob,O=Lunapool\\, tests");
	assert_false(tls_peer_name(stream_tls(&right.s), TLS_NAME_CN, name, 3)); /* no part of a name */
	exchange("a", "b");
	hang_up();
}

static void a_client_may_have_none_where_that_is_allowed(void **state)
{
	struct tls_setup s = server_setup();
	char name[100];
	s.verify = TLS_VERIFY_IF_GIVEN;
	s.ca = certs_path(&certs, "ca", "crt");
	connect_with(client_setup(), s);
	assert_false(tls_peer_name(stream_tls(&right.s), TLS_NAME_CN, name, sizeof name));
	hang_up();
}

static void a_client_with_a_bad_certificate_is_refused(void **state)
{
	struct tls_setup s = server_setup(), c = client_setup();
	static const char *const bad[][2] = { { "expired", "certificate has expired" },
		                                  { "revoked", "certificate revoked" },
		                                  { "stranger", "certificate" } };
	s.verify = TLS_VERIFY_IF_GIVEN;
	s.ca = certs_path(&certs, "ca", "crt");
	s.crl = certs_path(&certs, "ca", "crl");
	struct tls_conf *server = make_conf(s);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		c.cert = certs_path(&certs, bad[i][0], "crt");
		c.key = certs_path(&certs, bad[i][0], "key");
		struct tls_conf *client = make_conf(c);
		refused(client, server, "db.test", &right, bad[i][1]);
		tls_conf_unref(client);
	}
	tls_conf_unref(server);
	s.verify = TLS_VERIFY_CA;
	server = make_conf(s);
	refused(client_conf, server, "db.test", &right, "peer did not return a certificate");
	tls_conf_unref(server);
}

/* ---- what is shared ------------------------------------------------------------------------------------------------------------- */

static void refused_conf(struct tls_setup setup, const char *why)
{
	struct err err;
	assert_null(tls_conf_new(&setup, &err));
	if (!strstr(err.text, why))
		fail_msg("%s instead of %s", err.text, why);
}

static void what_was_asked_for_is_there_or_nothing(void **state)
{
	struct tls_setup s = server_setup();
	s.key = certs_path(&certs, "client", "key");
	refused_conf(s, "key values mismatch");
	s = server_setup();
	s.key = certs_path(&certs, "missing", "key");
	refused_conf(s, "could not access private key file");
	s = server_setup();
	s.cert = certs_path(&certs, "missing", "crt");
	refused_conf(s, "could not load the certificate");
	s = server_setup();
	s.ca = certs_path(&certs, "missing", "crt");
	refused_conf(s, "could not load the certificate authorities");
	s = server_setup();
	s.crl = certs_path(&certs, "ca", "key");
	refused_conf(s, "could not load the certificate revocation list");
	s.ca = certs_path(&certs, "ca", "crt");
	s.crl = certs_path(&certs, "ca", "crt"); /* it would never find a list */
	refused_conf(s, "could not load the certificate revocation list");
	s = client_setup();
	s.ca = certs_path(&certs, "ca", "crl");
	refused_conf(s, "could not load the certificate authorities");
	s = server_setup();
	s.ciphers = "nonsense";
	refused_conf(s, "could not use the ciphers");
	s = server_setup();
	s.groups = "nonsense";
	refused_conf(s, "could not use the groups");
	s = server_setup();
	s.ciphersuites = "nonsense";
	refused_conf(s, "could not use the cipher suites");
	s = server_setup();
	assert_int_equal(chmod(s.key, 0644), 0);
	refused_conf(s, "has group or world access");
	assert_int_equal(chmod(s.key, 0600), 0);
}

static void a_renewed_certificate_is_noticed(void **state)
{
	struct tls_setup s = server_setup();
	assert_true(tls_conf_is_current(server_conf, &s));
	s.min_protocol = "TLSv1.3";
	assert_false(tls_conf_is_current(server_conf, &s));
	s = server_setup();
	certs_make(&certs, "server", "ca", &(struct cert){ .cn = "db.test", .san = "DNS:db.test,IP:127.0.0.1" });
	assert_false(tls_conf_is_current(server_conf, &s));
}

static size_t bytes_of_a_handshake(struct tls_conf *server)
{
	open_wire(65536);
	start(client_conf, server, "db.test");
	pump_until(both_secured, NULL);
	exchange("a", "b"); /* the ticket came before */
	size_t n = wire.passed[1].write;
	hang_up();
	return n;
}

static void a_session_goes_on_at_the_same_server(void **state)
{
	size_t first = bytes_of_a_handshake(server_conf), second = bytes_of_a_handshake(server_conf);
	assert_true(second + 300 < first); /* no certificate */
	struct tls_conf *renewed = make_conf(server_setup());
	assert_in_range(bytes_of_a_handshake(renewed), first - 8, first + 8); /* its tickets are its own */
	tls_conf_unref(renewed);
}

static void no_session_goes_on_where_certificates_are_asked_for(void **state)
{
	struct tls_setup s = server_setup();
	s.verify = TLS_VERIFY_IF_GIVEN;
	s.ca = certs_path(&certs, "ca", "crt");
	struct tls_conf *asks = make_conf(s);
	size_t first = bytes_of_a_handshake(asks);
	assert_in_range(bytes_of_a_handshake(asks), first - 8, first + 8); /* a signature's length varies */
	tls_conf_unref(asks);
}

static void another_thread_may_go_on_with_it(void **state)
{
	struct tls *tls = NULL;
	connect_both();
	exchange("before", "that");
	buf_fini(&left.got);
	buf_fini(&right.got);
	assert_int_equal(stream_detach(&right.s, NULL), -1); /* who does not ask for its TLS cannot have it */
	int fd = stream_detach(&right.s, &tls);
	assert_true(fd >= 0);
	assert_non_null(tls);
	stream_open(&right.s, engine, fd, &end_ops, &right);
	stream_put_tls(&right.s, tls);
	exchange("behind", "it");
	hang_up();
}

static void half_a_record_does_not_travel(void **state)
{
	struct tls *tls = NULL;
	size_t sum = 10;
	connect_both();
	wire.step = 12;
	stream_send(&left.s, slice_text("0123456789"), NULL);
	run_turns(loop, 2);
	pump();
	run_turns(loop, 2);
	assert_int_equal(stream_detach(&right.s, &tls), -1);
	wire.step = 65536;
	pump_until(got_all, &sum);
	hang_up();
}

#define TESTS(T)                                            \
	T(both_ends_agree_and_talk)                             \
	T(every_byte_may_come_alone)                            \
	T(what_is_sent_before_the_handshake_is_over_is_dropped) \
	T(what_was_queued_before_leaves_in_the_clear)           \
	T(much_arrives_whole_and_in_order)                      \
	T(an_owner_that_takes_nothing_sees_it_again)            \
	T(a_paused_stream_keeps_what_it_is_sent)                \
	T(data_behind_the_handshake_waits_for_a_pausing_owner)  \
	T(lent_bytes_are_sealed_again)                          \
	T(writes_become_full_records)                           \
	T(a_close_is_said)                                      \
	T(closing_at_once_sends_what_is_queued)                 \
	T(an_end_without_goodbye_is_an_end)                     \
	T(a_falsified_record_ends_the_connection)               \
	T(what_is_no_handshake_is_refused)                      \
	T(bytes_shown_already_may_begin_the_handshake)          \
	T(it_may_end_in_the_middle_of_the_handshake)            \
	T(a_goodbye_is_not_said_in_the_handshake)               \
	T(a_server_is_verified)                                 \
	T(whose_name_it_is)                                     \
	T(a_revocation_list_makes_nobody_trusted)               \
	T(a_host_may_be_an_address)                             \
	T(the_host_counts_only_when_all_is_verified)            \
	T(a_client_is_known_by_its_certificate)                 \
	T(a_client_may_have_none_where_that_is_allowed)         \
	T(a_client_with_a_bad_certificate_is_refused)           \
	T(what_was_asked_for_is_there_or_nothing)               \
	T(a_renewed_certificate_is_noticed)                     \
	T(a_session_goes_on_at_the_same_server)                 \
	T(no_session_goes_on_where_certificates_are_asked_for)  \
	T(another_thread_may_go_on_with_it)                     \
	T(half_a_record_does_not_travel)

static int run(void)
{
	ENGINE_RUN(TESTS)
}

int main(void)
{
	static const char names[] = "DNS:db.test,IP:127.0.0.1";
	certs_init(&certs);
	certs_make(&certs, "ca", NULL, &(struct cert){ .cn = "Test CA", .is_ca = true });
	certs_make(&certs, "other_ca", NULL, &(struct cert){ .cn = "Another CA", .is_ca = true });
	certs_make(&certs, "server", "ca", &(struct cert){ .cn = "db.test", .san = names });
	certs_make(&certs, "expired", "ca", &(struct cert){ .cn = "db.test", .san = names, .has_expired = true });
	certs_make(&certs, "revoked", "ca", &(struct cert){ .cn = "db.test", .san = names });
	certs_make(&certs, "client", "ca", &(struct cert){ .cn = "bob" });
	certs_make(&certs, "stranger", "other_ca", &(struct cert){ .cn = "bob" });
	certs_revoke(&certs, "ca", "revoked");
	int failed = run();
	certs_fini(&certs);
	return failed;
}
