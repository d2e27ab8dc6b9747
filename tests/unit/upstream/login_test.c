/* login against a scripted server: bytes in, bytes out, in one piece and byte
 * by byte. */
#include "upstream/login.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "unit.h"
#include "wire/authmsg.h"
#include "wire/frame.h"
#include "wire/md5.h"
#include "wire/pgerr.h"

struct scene {
	struct settings_table *table;
	struct login login;
	struct login_who who;
	struct writer server; /* what the server says */
	uint8_t sent[8192];   /* what the login answered last */
	size_t sent_len;
	struct err err;
};

static void begin(struct scene *s)
{
	s->table = settings_table_new();
	if (!s->who.user)
		s->who.user = "app";
	if (!s->who.database)
		s->who.database = "shop";
	login_init(&s->login, &s->who, s->table, NULL);
	writer_init_grow(&s->server);
}

static void end(struct scene *s)
{
	writer_fini(&s->server);
	login_fini(&s->login);
	settings_table_free(s->table);
}

/* Shows what the server said in pieces of at most STEP bytes; the rest of the
 * script is forgotten when the login has ended. */
static enum login_verdict hear(struct scene *s, size_t step)
{
	struct slice all = writer_slice(&s->server);
	uint8_t shown[70000];
	size_t shown_len = 0, at = 0;
	enum login_verdict verdict = LOGIN_MORE;
	s->sent_len = 0;
	while (at < all.len && verdict == LOGIN_MORE) {
		size_t n = all.len - at < step ? all.len - at : step, taken;
		n = n < sizeof shown - shown_len ? n : sizeof shown - shown_len;
		memcpy(shown + shown_len, all.at + at, n);
		shown_len += n;
		at += n;
		struct writer out;
		writer_init(&out, s->sent + s->sent_len, sizeof s->sent - s->sent_len);
		verdict = login_read(&s->login, slice_of(shown, shown_len), &taken, &out, &s->err);
		s->sent_len += writer_slice(&out).len;
		assert_true(taken <= shown_len);
		memmove(shown, shown + taken, shown_len - taken);
		shown_len -= taken;
	}
	s->server.len = 0;
	return verdict;
}

static void say_text(struct scene *s, uint8_t type, const char *a, const char *b)
{
	writer_begin(&s->server, type);
	writer_text(&s->server, a);
	writer_text(&s->server, b);
	writer_end(&s->server);
}

static void say_auth(struct scene *s, uint32_t kind)
{
	writer_begin(&s->server, 'R');
	writer_u32(&s->server, kind);
	writer_end(&s->server);
}

static void say_key(struct scene *s, uint32_t pid, size_t key_len)
{
	writer_begin(&s->server, 'K');
	writer_u32(&s->server, pid);
	for (size_t i = 0; i < key_len; i++)
		writer_u8(&s->server, (uint8_t)i);
	writer_end(&s->server);
}

static void say_ready(struct scene *s, uint8_t status)
{
	writer_begin(&s->server, 'Z');
	writer_u8(&s->server, status);
	writer_end(&s->server);
}

static void say_error(struct scene *s, uint8_t type, const char *sqlstate, const char *text)
{
	struct err err;
	err_set(&err, sqlstate, "%s", text);
	pgerr_write(&s->server, type, type == 'E' ? "FATAL" : "WARNING", &err);
}

static void startup_names_us_and_the_callers_parameters(void **state)
{
	static const char extra[] = "user\0evil\0replication\0database\0database\0oth"
	                            "er\0application_name\0walreceiver";
	const struct login_who who = { .user = "app", .database = "shop", .startup = slice_of(extra, sizeof extra) };
	uint8_t space[512];
	struct writer out;
	struct startmsg m;
	struct err err;
	writer_init(&out, space, sizeof space);
	login_start(&who, &out);
	assert_int_equal(startmsg_read(writer_slice(&out), &m, &err), STARTMSG_OK);
	assert_int_equal(m.size, writer_slice(&out).len);
	assert_int_equal(m.major, 3);
	assert_int_equal(m.minor, 0);
	assert_true(slice_equal(startmsg_find(&m, "user"), slice_text("app")));
	assert_true(slice_equal(startmsg_find(&m, "database"), slice_text("shop")));
	assert_true(slice_equal(startmsg_find(&m, "replication"), slice_text("database")));
	assert_true(slice_equal(startmsg_find(&m, "application_name"), slice_text("walreceiver")));
}

static void trusts_and_collects(void **state)
{
	for (size_t step = 1; step < 200; step += step) {
		struct scene s = { 0 };
		begin(&s);
		writer_begin(&s.server, 'v');
		writer_u32(&s.server, STARTMSG_VERSION(3, 0));
		writer_u32(&s.server, 0);
		writer_end(&s.server);
		say_error(&s, 'N', "01000", "be nice");
		say_auth(&s, AUTHMSG_OK);
		say_text(&s, 'S', "server_version", "15.6");
		say_text(&s, 'S', "TimeZone", "UTC");
		say_text(&s, 'S', "TimeZone", "CET");
		say_key(&s, 4711, 32);
		say_ready(&s, 'I');
		assert_int_equal(hear(&s, step), LOGIN_READY);
		assert_int_equal(s.sent_len, 0);
		assert_int_equal(settings_len(s.login.reported), 2);
		assert_string_equal(settings_get(s.login.reported, "timezone"), "CET");
		assert_int_equal(s.login.pid, 4711);
		assert_int_equal(s.login.key_len, 32);
		assert_int_equal(s.login.key[31], 31);
		end(&s);
	}
}

static void what_is_behind_ready_stays(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	say_auth(&s, AUTHMSG_OK);
	say_ready(&s, 'I');
	size_t login_len = s.server.len, taken;
	say_error(&s, 'E', "57P01", "terminating connection");
	struct writer out;
	writer_init(&out, s.sent, sizeof s.sent);
	assert_int_equal(login_read(&s.login, writer_slice(&s.server), &taken, &out, &s.err), LOGIN_READY);
	assert_int_equal(taken, login_len);
	end(&s);
}

static void a_servers_error_is_told_as_it_came(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	say_error(&s, 'E', "3D000", "database \"shop\" does not exist");
	assert_int_equal(hear(&s, 7), LOGIN_FAILED);
	assert_true(s.login.is_servers);
	assert_string_equal(s.err.sqlstate, "3D000");
	assert_string_equal(s.err.text, "database \"shop\" does not exist");
	end(&s);
}

static void a_failed_fork_is_understood(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	writer_bytes(&s.server, slice_text("Ecould not fork new process for connection: "
	                                   "Resource temporarily unavailable\n"));
	assert_int_equal(hear(&s, 1000), LOGIN_FAILED);
	assert_false(s.login.is_servers);
	assert_string_equal(s.err.sqlstate, "08006");
	assert_non_null(strstr(s.err.text, "could not fork new process"));
	end(&s);
}

static void ask(struct scene *s, uint32_t kind)
{
	writer_begin(&s->server, 'R');
	writer_u32(&s->server, kind);
	writer_bytes(&s->server, slice_of("salt", kind == AUTHMSG_MD5 ? 4 : 0));
	writer_end(&s->server);
}

static void other_methods_are_refused_with_advice(void **state)
{
	static const uint32_t kinds[] = { 7 /* GSS */, 9 /* SSPI */, 77 };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct scene s = { .who = { .password = "secret" } };
		begin(&s);
		ask(&s, kinds[i]);
		assert_int_equal(hear(&s, 1000), LOGIN_FAILED);
		assert_string_equal(s.err.sqlstate, "28000");
		assert_non_null(strstr(s.err.hint, "scram-sha-256"));
		assert_int_equal(s.sent_len, 0);
		end(&s);
	}
}

/* Which way of asking is answered with what, and what is never sent. */
static void passwords_go_where_they_may(void **state)
{
	static const char stored[] = "md5f446a971bc841aaf6cd0751d2a30b910"; /* of app and hush */
	static const struct upstream_keys clear = { .password = "hush" }, md5 = { .md5 = "md5f446a971bc841aaf6cd0751d2a30b910" },
	                                  scram = { .has_scram = true };
	static const struct {
		uint32_t kind;
		struct login_who who;
		const char *sqlstate, *sent;
	} table[] = {
		{ AUTHMSG_CLEARTEXT, { .password = "hush" }, "28000", "" },
		{ AUTHMSG_CLEARTEXT, { .password = "hush", .is_private = true }, "", "hush" },
		{ AUTHMSG_CLEARTEXT, { .keys = &clear, .is_private = true }, "", "hush" },
		{ AUTHMSG_CLEARTEXT, { .keys = &clear }, "28000", "" },
		{ AUTHMSG_CLEARTEXT, { .md5 = stored, .is_private = true }, "28P01", "" },
		{ AUTHMSG_CLEARTEXT, { .keys = &scram, .is_private = true }, "28P01", "" },
		{ AUTHMSG_CLEARTEXT, { .is_private = true }, "28P01", "" },
		{ AUTHMSG_CLEARTEXT, { .password = "hush", .is_private = true, .requires_binding = true }, "28000", "" },
		{ AUTHMSG_MD5, { .password = "hush" }, "", "md5" },
		{ AUTHMSG_MD5, { .md5 = stored }, "", "md5" },
		{ AUTHMSG_MD5, { .keys = &md5 }, "", "md5" },
		{ AUTHMSG_MD5, { .keys = &scram }, "28000", "" },
		{ AUTHMSG_MD5, { .password = NULL }, "28P01", "" },
		{ AUTHMSG_MD5, { .password = "hush", .requires_binding = true }, "28000", "" },
		{ AUTHMSG_SASL, { .password = "hush", .requires_binding = true }, "28000", "" },
		{ AUTHMSG_OK, { .password = "hush", .requires_binding = true }, "28000", "" },
	};
	char md5_said[MD5_TEXT] = "";
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct scene s = { .who = table[i].who };
		begin(&s);
		if (table[i].kind == AUTHMSG_SASL)
			authmsg_write_sasl(&s.server, true);
		else
			ask(&s, table[i].kind);
		enum login_verdict verdict = hear(&s, 1);
		if (verdict != (*table[i].sqlstate ? LOGIN_FAILED : LOGIN_MORE))
			fail_msg("row %zu: verdict %d, %s", i, (int)verdict, s.err.text);
		if (*table[i].sqlstate)
			assert_string_equal(s.err.sqlstate, table[i].sqlstate);
		if (!*table[i].sent) {
			assert_int_equal(s.sent_len, 0);
		} else {
			struct frame f;
			struct slice text;
			assert_int_equal(frame_next(slice_of(s.sent, s.sent_len), FRAME_FROM_CLIENT, &f), FRAME_OK);
			assert_true(authmsg_read_password(f.body, &text));
			assert_memory_equal(text.at, table[i].sent, strlen(table[i].sent));
			if (table[i].kind == AUTHMSG_MD5 && *md5_said)
				assert_string_equal((const char *)text.at, md5_said);
			else if (table[i].kind == AUTHMSG_MD5)
				memcpy(md5_said, text.at, sizeof md5_said);
			ask(&s, AUTHMSG_OK);
			assert_int_equal(hear(&s, 1000), LOGIN_MORE);
			assert_int_equal(s.login.state, LOGIN_WELCOMED);
		}
		end(&s);
	}
}

static void no_secret_for_a_server_that_wants_one(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	authmsg_write_sasl(&s.server, false);
	assert_int_equal(hear(&s, 1000), LOGIN_FAILED);
	assert_string_equal(s.err.sqlstate, "28P01");
	end(&s);
}

static void what_does_not_belong_ends_the_login(void **state)
{
	static const char types[] = "SKZCDT1A";
	for (size_t i = 0; types[i]; i++) {
		struct scene s = { 0 };
		begin(&s);
		writer_begin(&s.server, (uint8_t)types[i]);
		writer_bytes(&s.server, slice_of("\0\0\0\0\0\0\0\0", types[i] == 'Z' ? 1 : types[i] == '1' ? 0 : 8));
		writer_end(&s.server);
		assert_int_equal(hear(&s, 1000), LOGIN_FAILED);
		assert_string_equal(s.err.sqlstate, "08P01");
		end(&s);
	}
}

static void only_idle_is_ready(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	say_auth(&s, AUTHMSG_OK);
	say_ready(&s, 'T');
	assert_int_equal(hear(&s, 1000), LOGIN_FAILED);
	assert_string_equal(s.err.sqlstate, "08P01");
	end(&s);
}

static void big_messages_end_at_their_header(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	static const uint8_t header[] = { 'N', 0, 2, 0, 0 };
	writer_bytes(&s.server, slice_of(header, sizeof header));
	assert_int_equal(hear(&s, 1000), LOGIN_FAILED);
	assert_string_equal(s.err.sqlstate, "08P01");
	end(&s);
}

static void endless_logins_end(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	enum login_verdict verdict = LOGIN_MORE;
	while (verdict == LOGIN_MORE) {
		for (unsigned i = 0; i < 100; i++)
			say_error(&s, 'N', "01000", "again and again");
		verdict = hear(&s, 100000);
	}
	assert_int_equal(verdict, LOGIN_FAILED);
	assert_true(s.login.taken <= LOGIN_TOTAL_MAX);
	end(&s);
}

static void settings_are_counted(void **state)
{
	struct scene s = { 0 };
	begin(&s);
	say_auth(&s, AUTHMSG_OK);
	for (unsigned i = 0; i <= LOGIN_PARAMETERS_MAX; i++) {
		char name[] = { (char)('a' + i / 26), (char)('a' + i % 26), '\0' };
		say_text(&s, 'S', name, "x");
	}
	say_ready(&s, 'I');
	assert_int_equal(hear(&s, 100000), LOGIN_FAILED);
	assert_string_equal(s.err.sqlstate, "08P01");
	end(&s);
}

/* -- SCRAM, against our own server side
 * ---------------------------------------------------------- */

/* The payload of the one message that the login sent. */
static struct slice sent_payload(struct scene *s, bool is_initial)
{
	struct frame f = { 0 };
	struct slice mechanism, payload;
	assert_int_equal(frame_next(slice_of(s->sent, s->sent_len), FRAME_FROM_CLIENT, &f), FRAME_OK);
	assert_int_equal(f.type, 'p');
	assert_int_equal(frame_size(&f), s->sent_len);
	if (!is_initial)
		return f.body;
	assert_true(authmsg_read_initial(f.body, &mechanism, &payload));
	assert_true(slice_equal(mechanism, slice_text("SCRAM-SHA-256")));
	return payload;
}

/* Up to the server's last word, which is left in FINAL. False: the server does
 * not believe us. */
static bool exchange(struct scene *s, struct scram_server *server, const struct scram_secret *secret, char *final,
                     size_t *final_len)
{
	char text[SCRAM_TEXT_MAX];
	size_t len;
	scram_server_init(server, secret, false);
	writer_begin(&s->server, 'R');
	writer_u32(&s->server, AUTHMSG_SASL);
	writer_text(&s->server, "SCRAM-SHA-256-PLUS");
	writer_text(&s->server, "SCRAM-SHA-256");
	writer_u8(&s->server, 0);
	writer_end(&s->server);
	assert_int_equal(hear(s, 1), LOGIN_MORE);
	assert_true(scram_server_first(server, sent_payload(s, true), text, &len, &s->err));
	authmsg_write_sasl_step(&s->server, AUTHMSG_SASL_CONTINUE, slice_of(text, len));
	assert_int_equal(hear(s, 3), LOGIN_MORE);
	return scram_server_final(server, sent_payload(s, false), final, final_len, &s->err);
}

static struct scram_secret secret_of(const char *password)
{
	struct scram_secret secret;
	scram_secret_make(slice_text(password), &secret);
	return secret;
}

static void proves_a_password_and_then_the_keys_learnt_from_it(void **state)
{
	struct scram_secret secret = secret_of("open sesame");
	struct upstream_keys keys = { 0 };
	for (int round = 0; round < 2; round++) {
		struct scene s = { .who = { .password = round ? NULL : "open sesame", .keys = round ? &keys : NULL } };
		struct scram_server server;
		char final[SCRAM_TEXT_MAX];
		size_t final_len;
		begin(&s);
		assert_true(exchange(&s, &server, &secret, final, &final_len));
		assert_true(server.has_client_key);
		keys.secret = secret;
		keys.has_scram = true;
		memcpy(keys.client_key, server.client_key, SCRAM_KEY);
		authmsg_write_sasl_step(&s.server, AUTHMSG_SASL_FINAL, slice_of(final, final_len));
		say_auth(&s, AUTHMSG_OK);
		say_ready(&s, 'I');
		assert_int_equal(hear(&s, 5), LOGIN_READY);
		scram_server_fini(&server);
		end(&s);
	}
}

static void a_wrong_password_is_not_believed(void **state)
{
	struct scram_secret secret = secret_of("open sesame");
	struct scene s = { .who = { .password = "open barley" } };
	struct scram_server server;
	char final[SCRAM_TEXT_MAX];
	size_t final_len;
	begin(&s);
	assert_false(exchange(&s, &server, &secret, final, &final_len));
	say_error(&s, 'E', "28P01", "password authentication failed");
	assert_int_equal(hear(&s, 100), LOGIN_FAILED);
	assert_true(s.login.is_servers);
	scram_server_fini(&server);
	end(&s);
}

/* A server that does not know the secret must not be talked to, whatever it
 * says. */
static void a_server_that_proves_nothing_is_left(void **state)
{
	struct scram_secret secret = secret_of("open sesame");
	for (int how = 0; how < 3; how++) {
		struct scene s = { .who = { .password = "open sesame" } };
		struct scram_server server;
		char final[SCRAM_TEXT_MAX];
		size_t final_len;
		begin(&s);
		if (how == 0) {
			authmsg_write_sasl(&s.server, false);
		} else {
			assert_true(exchange(&s, &server, &secret, final, &final_len));
			scram_server_fini(&server);
		}
		if (how == 2) {
			final[4] = final[4] == 'A' ? 'B' : 'A';
			authmsg_write_sasl_step(&s.server, AUTHMSG_SASL_FINAL, slice_of(final, final_len));
		}
		say_auth(&s, AUTHMSG_OK);
		say_ready(&s, 'I');
		assert_int_equal(hear(&s, 100), LOGIN_FAILED);
		assert_false(s.login.is_servers);
		end(&s);
	}
}

static void a_message_that_wants_much_work_is_taken_when_it_is_done(void **state)
{
	struct scene s = { .who = { .password = "pw" } };
	uint8_t space[512];
	char text[200];
	struct writer out;
	size_t taken, busy = 0;
	begin(&s);
	writer_begin(&s.server, 'R');
	writer_u32(&s.server, AUTHMSG_SASL);
	writer_text(&s.server, "SCRAM-SHA-256");
	writer_u8(&s.server, 0);
	writer_end(&s.server);
	assert_int_equal(hear(&s, SIZE_MAX), LOGIN_MORE);
	writer_begin(&s.server, 'R');
	writer_u32(&s.server, AUTHMSG_SASL_CONTINUE);
	snprintf(text, sizeof text, "r=%sx,s=AAAA,i=20000", s.login.scram.nonce);
	writer_bytes(&s.server, slice_text(text));
	writer_end(&s.server);
	for (;; busy++) {
		writer_init(&out, space, sizeof space);
		enum login_verdict verdict = login_read(&s.login, writer_slice(&s.server), &taken, &out, &s.err);
		if (verdict == LOGIN_MORE)
			break;
		assert_int_equal(verdict, LOGIN_BUSY);
		assert_int_equal(taken, 0);
		assert_int_equal(writer_slice(&out).len, 0);
	}
	assert_int_equal(busy, 4);
	assert_int_equal(taken, writer_slice(&s.server).len);
	assert_true(writer_slice(&out).len > 0);
	end(&s);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_that_wants_much_work_is_taken_when_it_is_done),
		cmocka_unit_test(startup_names_us_and_the_callers_parameters),
		cmocka_unit_test(trusts_and_collects),
		cmocka_unit_test(what_is_behind_ready_stays),
		cmocka_unit_test(a_servers_error_is_told_as_it_came),
		cmocka_unit_test(a_failed_fork_is_understood),
		cmocka_unit_test(other_methods_are_refused_with_advice),
		cmocka_unit_test(passwords_go_where_they_may),
		cmocka_unit_test(no_secret_for_a_server_that_wants_one),
		cmocka_unit_test(what_does_not_belong_ends_the_login),
		cmocka_unit_test(only_idle_is_ready),
		cmocka_unit_test(big_messages_end_at_their_header),
		cmocka_unit_test(endless_logins_end),
		cmocka_unit_test(settings_are_counted),
		cmocka_unit_test(proves_a_password_and_then_the_keys_learnt_from_it),
		cmocka_unit_test(a_wrong_password_is_not_believed),
		cmocka_unit_test(a_server_that_proves_nothing_is_left),
	};
	return UNIT_RUN(tests);
}
