/* scram: the vector of RFC 7677, secrets made by PostgreSQL 15, our two ends against each other, and every way to lie. */
#include "wire/scram.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "unit.h"

#include "base/compiler.h"
#include "base/hash.h"
#include "base/rand.h"
#include "wire/base64.h"
#include "wire/pbkdf2.h"
#include "wire/saslprep.h"
#include "wire/scrammem.h"

static char out[SCRAM_TEXT_MAX], back[SCRAM_TEXT_MAX];
static size_t out_len, back_len;
static struct err err;

static struct slice said(void)
{
	return slice_of(out, out_len);
}

static struct slice answered(void)
{
	return slice_of(back, back_len);
}

/* -- base64, secrets -------------------------------------------------------------------------- */

static void base64_has_one_text_for_each_bytes(void **state)
{
	uint8_t bytes[200], decoded[200];
	char text[BASE64_LEN(200) + 1];
	size_t n;
	for (size_t len = 0; len <= sizeof bytes; len++) {
		rand_bytes(bytes, len);
		assert_int_equal(base64_encode(slice_of(bytes, len), text), BASE64_LEN(len));
		assert_true(base64_decode(slice_text(text), decoded, len, &n));
		assert_true(slice_equal(slice_of(decoded, n), slice_of(bytes, len)));
		if (len)
			assert_false(base64_decode(slice_text(text), decoded, len - 1, &n));
	}
	const char *bad[] = { "A",    "AA",   "AAA",   "A===",     "====",     "AA=A", "AB==",
		                  "AAB=", "AA A", "AA\nA", "AAAA====", "AA==AAAA", "AA-_" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(base64_decode(slice_text(bad[i]), decoded, sizeof decoded, &n));
}

#define GOOD_SALT "kTYeJbGBMEFfhYLiM64cAw=="
#define GOOD_KEYS "Cn+1zYaNJlCPiAJ8OrVyBPaYELIgDuL3zqXKxkfoqyo=:LHyLSf14KOW1rrLzQ8EzCY16zXzijTu6VK2/dxSADuU="

static void only_whole_secrets_are_parsed(void **state)
{
	struct scram_secret s;
	assert_true(scram_secret_parse(slice_text("SCRAM-SHA-256$4096:" GOOD_SALT "$" GOOD_KEYS), &s));
	assert_int_equal(s.iterations, 4096);
	assert_int_equal(s.salt_len, 16);
	const char *bad[] = {
		"",
		"md5a3556571e93b0d20722ba62be61e8c2d",
		"SCRAM-SHA-256",
		"SCRAM-SHA-256$",
		"SCRAM-SHA-256$4096",
		"SCRAM-SHA-256$4096:" GOOD_SALT,
		"SCRAM-SHA-256$4096:" GOOD_SALT "$",
		"SCRAM-SHA-256$4096:" GOOD_SALT "$" GOOD_KEYS " ",
		"SCRAM-SHA-256$4096:" GOOD_SALT "$" GOOD_KEYS "=",
		"SCRAM-SHA-256$0:" GOOD_SALT "$" GOOD_KEYS,
		"SCRAM-SHA-256$-1:" GOOD_SALT "$" GOOD_KEYS,
		"SCRAM-SHA-256$:" GOOD_SALT "$" GOOD_KEYS,
		"SCRAM-SHA-256$4294967297:" GOOD_SALT "$" GOOD_KEYS,
		"SCRAM-SHA-256$99999999999999999999999:" GOOD_SALT "$" GOOD_KEYS,
		"SCRAM-SHA-256$4096:$" GOOD_KEYS,
		"SCRAM-SHA-256$4096:!!!!$" GOOD_KEYS,
		"SCRAM-SHA-1$4096:" GOOD_SALT "$" GOOD_KEYS,
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(scram_secret_parse(slice_text(bad[i]), &s));
}

/* Runs the client with PASSWORD against the salt of SECRET; its keys are then those that the password hashes to. */
static void derive(const char *password, const struct scram_secret *secret, struct scram_client *c)
{
	char first[SCRAM_TEXT_MAX], salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	scram_client_init_password(c, password);
	assert_true(scram_client_first(c, out, &out_len));
	base64_encode(slice_of(secret->salt, secret->salt_len), salt);
	int len = snprintf(first, sizeof first, "r=%sx,s=%s,i=%u", c->nonce, salt, secret->iterations);
	assert_true(scram_client_final(c, slice_of(first, (size_t)len), back, &back_len, &err));
}

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X300 X50 X50 X50 X50 X50 X50
/* clang-format off */
static const struct {
	const char *password, *secret; /* as PostgreSQL 15 stores it after CREATE ROLE … PASSWORD */
} by_postgresql[] = {
	{ "pencil", "SCRAM-SHA-256$4096:j0JUDq4E4D0DGeN9lXjkyA==$xoY2K6udRNJRfl0by3FJ6eWVqG8YuRTZL5p6jb0dir8=:rLgsm4KqVUP/GXfUlXWoE6PlioGKW9SriWr08HFPeXg=" },
	{ "pass word", "SCRAM-SHA-256$4096:3MP6ZyrWg/xhoH1haqMLMw==$VCjmMCLb5JBMOFDb0F9ifbzG09JaF4eprKIGxKjnrUw=:48tsyuOHRNssxS+a89pg9Wxw9UptY1o2l7yXTxSn3X4=" },
	{ "I\xc2\xad""X", "SCRAM-SHA-256$4096:AhWFRRSwUCg6ayBHhISjrw==$QFS4Z/W4YPY52CtL5LduqLckmSW4AG1Cz8lDxuF3zhc=:aS+xOAFwjPmqJdHq/WCW00jkd23btD08/k2JLr55ORc=" },
	{ "a\xc2\xa0""b", "SCRAM-SHA-256$4096:ZPYEb04lkyU6qcMK2JCkwg==$VgmpEros9wHlQG7L1UO+BC1GI6rbgTXt0P2U9OSpLRo=:YnzO8Cj5tDYcORtCtNTmdLzwxJsuG9laBxeaulNPpnU=" },
	{ "\xc2\xad""", "SCRAM-SHA-256$4096:UVFAAG6/lmEYbzyC6uTQxQ==$09z0juiGL65pq+2wzviRQcSVYeIOYPnr6iPcSqk/gPo=:L6yOWNl4dD4ps1/sU8pANLUG7nj2zQT75tp52IRYX3Y=" },
	{ "caf\xc3\xa9""", "SCRAM-SHA-256$4096:rnEK9pe4K4Ym4BeYhBKjdA==$Shm7ohXqMU6a6xyHYpLQf606u9GCuC1zPeMCG5dg12k=:/tXHKRI8OiStcUtkX0QSsIPMyzQmSlbx0cZQo0oZWQY=" },
	{ "a\xc2\xad""\x07""b", "SCRAM-SHA-256$4096:xMsRCMA7tYQbXt3R1psFHg==$kGthJbdD3CbQYQHoVDsoKqDzgHXzYY+n+QHXGm5uE0M=:ZmSHMrlCGt4nHzvuQjYGeYRW7fMLp/nIsBU3gOQm5mA=" },
	{ "\xee\x80\x80""\xc2\xad""", "SCRAM-SHA-256$4096:Tx1OgEiBekP8HAxBdUBhLg==$r8lAakGvLI6PV6So628IBNgrXb3RHAQRkzuGQSeSyec=:o2BKUvloR6GGDEUhk3gOHqpqdLqBPc9wDDKMIU2CaM8=" },
	{ "\xd0\xbf""\xd0\xb0""\xd1\x80""\xd0\xbe""\xd0\xbb""\xd1\x8c""", "SCRAM-SHA-256$4096:kvb2Q17Iwl8aOdQmaktLqQ==$CSuKOKHCUdJ9Rgv7Ouk3jh7lOVCv7hXgLS1pTkKU79E=:pIVE0gnSCnCOlRp46j23+xzZzHDw8TYIL1FhbENXDQ4=" },
	{ "\xe6\x97\xa5""\xe6\x9c\xac""\xe8\xaa\x9e""\xe3\x80\x80""x", "SCRAM-SHA-256$4096:c0EbionbcnoetJMFjIYjAQ==$RAyz9lpuF98Jq/y0ZQDYrWdStQg9uyEwM+gslyMnsi8=:wUREoNO326UlaWkyA+Y7ftGnufcxUAaE3WBZkaDjoCs=" },
	{ "a\xe2\x80\x8b""b\xef\xb8\x8f""c", "SCRAM-SHA-256$4096:OifnuGYepu+S9/M0jKExRA==$7UVqTvdSg0Wi+c/gs+pNogCw6KpPQzF7FMs8Hc6M4XQ=:BbK/Rfkcc2Kr7GFXThcl68vMd3r9UdqPbkPLNnTjqvc=" },
	{ X300, "SCRAM-SHA-256$4096:svhwNrIqiav61fdeJlpNRg==$mAcQbXtRHLxjAml9ZAC6ipJ5lroUwnbu0mJ8wL3rLk0=:ox4SqGC2xTSgllhvZO/hEjncPZzcbV2ATVcSc68INhM=" },
	{ "tab\x09""bed", "SCRAM-SHA-256$4096:MOSvkD2fCsX0cGW5pS2x1Q==$jU82jca6opyTfZJLbyFHYs2/io8OMXrXYL2u2wYfBf8=:PTabs+0igADF7Mm9vSk9QTTxvS8sxGRvvt6O79bBW6g=" },
	{ "\xf0\x9f\x94\x91""\xe2\x81\xa0""key", "SCRAM-SHA-256$4096:dXVLylJ8GELDhtDMIiFVPw==$f9CsbulT3P+o85WMQD4hSF6Ov0Y2GD08ViF+Lk58fEM=:EvZxK/74a90+z54TI37yeX6haDdlPE9tyY8q1o9GFmQ=" },
};
/* clang-format on */

static void passwords_hash_as_in_postgresql(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(by_postgresql); i++) {
		struct scram_secret s;
		struct scram_client c;
		assert_true(scram_secret_parse(slice_text(by_postgresql[i].secret), &s));
		derive(by_postgresql[i].password, &s, &c);
		assert_memory_equal(c.secret.stored_key, s.stored_key, SCRAM_KEY);
		assert_memory_equal(c.secret.server_key, s.server_key, SCRAM_KEY);
		scram_client_fini(&c);
	}
}

static void what_is_not_utf8_is_hashed_as_it_is(void **state)
{
	const char *raw[] = {
		"\xff", "a\xc2", "\xc0\xad", "\xe0\x80\xad\xc2\xad", "\xed\xa0\x80\xc2\xad", "\xf4\x90\x80\x80\xc2\xad", "\xc2\xad\x80"
	};
	uint8_t space[50];
	for (size_t i = 0; i < ARRAY_LEN(raw); i++)
		assert_true(slice_equal(saslprep(slice_text(raw[i]), space), slice_text(raw[i])));
}

static void mocks_are_stable_and_differ_by_user(void **state)
{
	struct scram_secret a, b, c;
	scram_secret_salt(slice_text("anna"), slice_text(""), SCRAM_ITERATIONS, &a);
	scram_secret_salt(slice_text("anna"), slice_text(""), SCRAM_ITERATIONS, &b);
	scram_secret_salt(slice_text("bert"), slice_text(""), SCRAM_ITERATIONS, &c);
	assert_memory_equal(a.salt, b.salt, a.salt_len);
	assert_memory_not_equal(a.salt, c.salt, a.salt_len);
	assert_int_equal(a.iterations, 4096);
	assert_int_equal(a.salt_len, 16);
}

/* -- the two ends ----------------------------------------------------------------------------- */

#define C_NONCE "rOprNGfwEbeRWgbNEkqO"
#define NONCE C_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define CLIENT_FINAL "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void the_vector_of_rfc_7677_as_client(void **state)
{
	struct scram_client c;
	scram_client_init_password(&c, "pencil");
	snprintf(c.nonce, sizeof c.nonce, C_NONCE);
	snprintf(c.first_bare, sizeof c.first_bare, "n=user,r=" C_NONCE);
	assert_true(scram_client_first(&c, out, &out_len));
	assert_true(slice_equal(said(), slice_text("n,,n=user,r=" C_NONCE)));
	assert_true(scram_client_final(&c, slice_text(SERVER_FIRST), out, &out_len, &err));
	assert_true(slice_equal(said(), slice_text(CLIENT_FINAL)));
	assert_true(scram_client_verify(&c, slice_text(SERVER_FINAL), &err));

	struct scram_server s;
	scram_server_init(&s, &c.secret, false);
	assert_true(scram_server_first(&s, slice_text("n,,n=user,r=" C_NONCE), out, &out_len, &err));
	snprintf(s.server_first, sizeof s.server_first, "%s", SERVER_FIRST);
	assert_true(scram_server_final(&s, slice_text(CLIENT_FINAL), out, &out_len, &err));
	assert_true(slice_equal(said(), slice_text(SERVER_FINAL)));
	scram_server_fini(&s);
	scram_client_fini(&c);
}

/* A login from C against S up to the point where the server must say yes or no. */
static bool login(struct scram_client *c, struct scram_server *s)
{
	assert_true(scram_client_first(c, out, &out_len));
	assert_true(scram_server_first(s, said(), back, &back_len, &err));
	return scram_client_final(c, answered(), out, &out_len, &err) && scram_server_final(s, said(), back, &back_len, &err);
}

static void the_right_password_logs_in_and_its_keys_log_in_elsewhere(void **state)
{
	struct scram_secret secret;
	struct scram_server s;
	struct scram_client c;
	scram_secret_make(slice_text("pass\xc2\xa0word"), &secret);
	scram_server_init(&s, &secret, false);
	scram_client_init_password(&c, "pass word");
	assert_true(login(&c, &s));
	assert_true(scram_client_verify(&c, answered(), &err));
	assert_true(s.has_client_key);
	scram_client_fini(&c);

	struct scram_server other;
	scram_server_init(&other, &secret, false);
	scram_client_init_keys(&c, s.client_key, &secret);
	assert_true(login(&c, &other));
	assert_true(scram_client_verify(&c, answered(), &err));
	scram_client_fini(&c);
	scram_server_fini(&other);

	scram_secret_make(slice_text("pass word"), &secret); /* another salt */
	scram_server_init(&other, &secret, false);
	scram_client_init_keys(&c, s.client_key, &s.secret);
	assert_false(login(&c, &other));
	assert_string_equal(err.sqlstate, "28P01");
	scram_client_fini(&c);
	scram_server_fini(&other);
	scram_server_fini(&s);
}

static void wrong_passwords_and_mocks_fail(void **state)
{
	struct scram_secret secret;
	struct scram_server s;
	struct scram_client c;
	scram_secret_make(slice_text("right"), &secret);
	for (int is_mock = 0; is_mock < 2; is_mock++) {
		scram_server_init(&s, &secret, is_mock);
		scram_client_init_password(&c, is_mock ? "right" : "wrong");
		assert_false(login(&c, &s));
		assert_string_equal(err.sqlstate, "28P01");
		assert_false(s.has_client_key);
		assert_false(scram_server_final(&s, said(), back, &back_len, &err));
		scram_client_fini(&c);
		scram_server_fini(&s);
	}
}

static void a_server_that_does_not_know_the_password_is_found_out(void **state)
{
	const struct {
		const char *final, *sqlstate;
	} rows[] = {
		{ "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "28000" },
		{ "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,x=", "08P01" },
		{ "v=6rri", "08P01" },
		{ "v=", "08P01" },
		{ "", "08P01" },
		{ "e=other-error", "28P01" },
	};
	struct scram_secret secret;
	scram_secret_make(slice_text("p"), &secret);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scram_client c;
		derive("p", &secret, &c);
		assert_false(scram_client_verify(&c, slice_text(rows[i].final), &err));
		assert_string_equal(err.sqlstate, rows[i].sqlstate);
		assert_false(scram_client_verify(&c, answered(), &err));
		scram_client_fini(&c);
	}
}

static char long_text[SCRAM_TEXT_MAX + 100];

static const char *long_first(size_t nonce)
{
	int at = snprintf(long_text, sizeof long_text, "n,,n=,r=");
	memset(long_text + at, 'x', nonce);
	long_text[(size_t)at + nonce] = '\0';
	return long_text;
}

static void bad_first_messages_are_refused(void **state)
{
	const char *bad[] = {
		"",
		"n",
		"n,",
		"n,,",
		"n,,n=",
		"n,,n=,",
		"n,,n=,r=",
		"n,,n=,r= ",
		"n,,n=,r=a\x7f",
		"n,,r=abc",
		"n,,m=x,n=,r=abc",
		"n,a=me,n=,r=abc",
		"n,x,n=,r=abc",
		"p=tls-unique,,n=,r=abc",
		"q,,n=,r=abc",
		",,n=,r=abc",
		"n,,n,r=abc",
		"n,,n=,s=abc",
		long_first(1015),
		long_first(1016),
	};
	struct scram_secret secret;
	scram_secret_salt(slice_text("u"), slice_text(""), SCRAM_ITERATIONS, &secret);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct scram_server s;
		if (i >= ARRAY_LEN(bad) - 2)
			long_first(i == ARRAY_LEN(bad) - 1 ? 1016 : 1015);
		scram_server_init(&s, &secret, false);
		assert_false(scram_server_first(&s, slice_text(bad[i]), out, &out_len, &err));
		assert_true(err.sqlstate[0] == '0');
		assert_false(scram_server_first(&s, slice_text("n,,n=,r=abc"), out, &out_len, &err));
	}
	struct scram_server s;
	scram_server_init(&s, &secret, false);
	assert_false(scram_server_first(&s, slice_of("n,,n=,r=abc\0d", 13), out, &out_len, &err));
	scram_server_init(&s, &secret, false);
	assert_true(scram_server_first(&s, slice_text("y,,n=\xc3\xa9,r=abc,x=y"), out, &out_len, &err));
	scram_server_init(&s, &secret, false);
	assert_true(scram_server_first(&s, slice_text(long_first(900)), out, &out_len, &err));
}

#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static void bad_final_messages_are_refused(void **state)
{
	const char *bad[] = {
		"",
		"c=biws",
		"c=eSws,r=" NONCE ",p=" PROOF,
		"c=,r=" NONCE ",p=" PROOF,
		"r=" NONCE ",p=" PROOF,
		"c=biws,r=" NONCE,
		"c=biws,r=" NONCE ",",
		"c=biws,r=" NONCE ",p=",
		"c=biws,r=" NONCE ",p",
		"c=biws,r=" NONCE ",x",
		"c=biws,r=" NONCE "x,p=" PROOF,
		"c=biws,r=" C_NONCE ",p=" PROOF,
		"c=biws,r=,p=" PROOF,
		"c=biws,r=" NONCE ",p=" PROOF ",x=1",
		"c=biws,r=" NONCE ",p=AAAA",
		"c=biws,r=" NONCE ",p=AAAA" PROOF,
	};
	struct scram_secret secret;
	scram_secret_salt(slice_text("u"), slice_text(""), SCRAM_ITERATIONS, &secret);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct scram_server s;
		scram_server_init(&s, &secret, false);
		assert_true(scram_server_first(&s, slice_text("n,,n=user,r=" C_NONCE), out, &out_len, &err));
		snprintf(s.server_first, sizeof s.server_first, "%s", SERVER_FIRST);
		assert_false(scram_server_final(&s, slice_text(bad[i]), out, &out_len, &err));
		assert_string_equal(err.sqlstate, "08P01");
	}
	struct scram_server s;
	scram_server_init(&s, &secret, false);
	assert_false(scram_server_final(&s, slice_text(CLIENT_FINAL), out, &out_len, &err));
}

static void bad_servers_are_refused_before_any_work(void **state)
{
	const char *bad[] = {
		"",
		"r=",
		"r=%s",
		"r=x%s,s=AAAA,i=1",
		"r=%sx",
		"r=%sx,s=,i=1",
		"r=%sx,s=AAAA",
		"r=%sx,s=AAAA,i=",
		"r=%sx,s=AAAA,i=0",
		"r=%sx,s=AAAA,i=-1",
		"r=%sx,s=AAAA,i=10000001",
		"r=%sx,s=AAAA,i=4294967297",
		"r=%sx,s=AAAA,i=1,x=y",
		"r=%sx,s=AAA,i=1",
		"m=x,r=%sx,s=AAAA,i=1",
		"r=%s\x01,s=AAAA,i=1",
		"r=%sx,s=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,i=1",
		"e=no",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct scram_client c;
		char text[SCRAM_TEXT_MAX];
		const char *hole = strstr(bad[i], "%s");
		scram_client_init_password(&c, "p");
		assert_true(scram_client_first(&c, out, &out_len));
		int before = hole ? (int)(hole - bad[i]) : (int)strlen(bad[i]);
		snprintf(text, sizeof text, "%.*s%s%s", before, bad[i], hole ? c.nonce : "", hole ? hole + 2 : "");
		assert_false(scram_client_final(&c, slice_text(text), out, &out_len, &err));
		assert_true(err.sqlstate[0] == '0');
		scram_client_fini(&c);
	}
	for (size_t nonce = 900; nonce <= 1000; nonce++) {
		struct scram_client c;
		char text[SCRAM_TEXT_MAX + 100];
		memset(text, 'x', sizeof text);
		scram_client_init_password(&c, "p");
		assert_true(scram_client_first(&c, out, &out_len));
		memcpy(text, "r=", 2);
		memcpy(text + 2, c.nonce, strlen(c.nonce));
		snprintf(text + 2 + nonce, 30, ",s=AAAA,i=1");
		bool ok = scram_client_final(&c, slice_text(text), out, &out_len, &err);
		assert_int_equal(ok, nonce + strlen("c=biws,r=,p=") + strlen(PROOF) < SCRAM_TEXT_MAX);
		scram_client_fini(&c);
	}
}

static void steps_out_of_order_are_refused(void **state)
{
	struct scram_client c;
	scram_client_init_password(&c, "p");
	assert_false(scram_client_final(&c, slice_text("r=x"), out, &out_len, &err));
	scram_client_fini(&c);
	scram_client_init_password(&c, "p");
	assert_false(scram_client_verify(&c, slice_text(SERVER_FINAL), &err));
	assert_false(scram_client_first(&c, out, &out_len));
	scram_client_fini(&c);
	assert_false(scram_client_first(&c, out, &out_len));
	scram_client_fini(&c);
}

/* -- channel binding --------------------------------------------------------------------------- */

static const uint8_t channel[32] = { 1, 2, 3 }, other_channel[48] = { 1, 2, 4 };

/* A whole exchange; the first step that fails says so by its SQLSTATE, "" is success. */
static const char *meet(struct slice offered, struct slice bound_to, bool over_tls, const char *mechanism)
{
	struct scram_secret secret;
	struct scram_server s;
	struct scram_client c;
	scram_secret_make(slice_text("pw"), &secret);
	scram_server_init(&s, &secret, false);
	scram_server_offer_plus(&s, offered);
	scram_client_init_password(&c, "pw");
	if (over_tls)
		scram_client_over_tls(&c, bound_to);
	strcpy(err.sqlstate, "");
	assert_true(scram_client_first(&c, out, &out_len));
	bool ok = scram_server_choose(&s, slice_text(mechanism ? mechanism : scram_client_mechanism(&c)), &err) &&
	          scram_server_first(&s, said(), back, &back_len, &err) && scram_client_final(&c, answered(), out, &out_len, &err) &&
	          scram_server_final(&s, said(), back, &back_len, &err) && scram_client_verify(&c, answered(), &err);
	assert_true(ok == (err.sqlstate[0] == '\0'));
	scram_server_fini(&s);
	scram_client_fini(&c);
	return err.sqlstate;
}

static void channels_are_bound_and_downgrades_found(void **state)
{
	const struct slice none = { 0 }, one = slice_of(channel, sizeof channel), two = slice_of(other_channel, sizeof other_channel);
	assert_string_equal(meet(one, one, true, NULL), "");
	assert_string_equal(meet(two, two, true, NULL), "");
	assert_string_equal(meet(one, two, true, NULL), "28000");  /* somebody in the middle with a certificate of his own */
	assert_string_equal(meet(one, none, true, NULL), "28000"); /* y: our offer did not reach the client */
	assert_string_equal(meet(none, none, true, NULL), "");     /* y: we made none */
	assert_string_equal(meet(one, none, false, NULL), "");     /* n: a client that cannot */
	assert_string_equal(meet(none, one, true, NULL), "08P01"); /* a mechanism that was not offered */
	assert_string_equal(meet(none, one, true, "SCRAM-SHA-256"), "08P01"); /* the message says p, the mechanism does not */
	assert_string_equal(meet(one, one, true, "SCRAM-SHA-256"), "08P01");
	assert_string_equal(meet(one, none, false, "SCRAM-SHA-256-PLUS"), "08P01");
	assert_string_equal(meet(one, none, true, "SCRAM-SHA-256-PLUS"), "08P01");
	assert_string_equal(meet(none, none, false, "SCRAM-SHA-1"), "08P01");
	assert_string_equal(meet(none, none, false, ""), "08P01");
}

static void a_binding_of_another_type_is_refused(void **state)
{
	static const char *const bad[] = { "p=tls-unique,,n=,r=abc", "p=,,n=,r=abc", "p=tls-server-end-pointx,,n=,r=a", "p", "p=",
		                               "p=tls-server-end-point" };
	struct scram_secret secret;
	struct scram_server s;
	scram_secret_salt(slice_text("u"), slice_text(""), SCRAM_ITERATIONS, &secret);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		scram_server_init(&s, &secret, false);
		scram_server_offer_plus(&s, slice_of(channel, sizeof channel));
		assert_true(scram_server_choose(&s, slice_text("SCRAM-SHA-256-PLUS"), &err));
		assert_false(scram_server_first(&s, slice_text(bad[i]), out, &out_len, &err));
		assert_string_equal(err.sqlstate, "08P01");
	}
}

/* -- keys that are made later ------------------------------------------------------------------- */

static void keys_may_be_derived_between_the_messages(void **state)
{
	struct scram_secret secret, again;
	struct scram_server s;
	struct scram_client c;
	scram_secret_salt(slice_text("ann"), slice_text(""), SCRAM_ITERATIONS, &secret);
	scram_secret_salt(slice_text("ann"), slice_text(""), SCRAM_ITERATIONS, &again);
	assert_memory_equal(secret.salt, again.salt, secret.salt_len); /* nobody can tell it from one that does not exist */
	for (int is_right = 0; is_right < 2; is_right++) {
		scram_server_init(&s, &secret, false);
		scram_client_init_password(&c, "pw");
		assert_true(scram_client_first(&c, out, &out_len));
		assert_true(scram_server_first(&s, said(), back, &back_len, &err));
		assert_true(scram_client_final(&c, answered(), out, &out_len, &err));
		scram_secret_derive(slice_text(is_right ? "pw" : "other"), &s.secret);
		assert_int_equal(scram_server_final(&s, said(), back, &back_len, &err), is_right);
		scram_server_fini(&s);
		scram_client_fini(&c);
	}
	scram_secret_make(slice_text("pw"), &secret);
	for (int i = 0; i < 3; i++) {
		again = secret;
		scram_secret_derive(slice_text(((const char *const[]){ "pw", "pW", "" })[i]), &again);
		assert_int_equal(scram_secret_equal(&again, &secret), i == 0);
	}
}

static void a_seed_makes_the_same_salts_everywhere(void **state)
{
	struct scram_secret a, b;
	scram_secret_salt(slice_text("ann"), slice_text("seed"), 10000, &a);
	scram_secret_salt(slice_text("ann"), slice_text("seed"), 10000, &b);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(a.iterations, 10000);
	scram_secret_salt(slice_text("bob"), slice_text("seed"), 10000, &b);
	assert_memory_not_equal(a.salt, b.salt, a.salt_len);
	scram_secret_salt(slice_text("ann"), slice_text("seeds"), 10000, &b);
	assert_memory_not_equal(a.salt, b.salt, a.salt_len);
	scram_secret_salt(slice_text("ann"), slice_text(""), 10000, &b);
	assert_memory_not_equal(a.salt, b.salt, a.salt_len);
	/* HMAC(SHA-256("seed"), "ann"): it may not change from one version to the next */
	scram_secret_salt(slice_text("ann"), slice_text("seed"), 1, &a);
	static const uint8_t known[] = { 0x98, 0x9b, 0x4d, 0x3a, 0xff, 0x18, 0x66, 0x51,
		                             0x7f, 0x85, 0xf0, 0xf8, 0xf8, 0xbb, 0x21, 0x7f };
	assert_memory_equal(a.salt, known, sizeof known);
}

static void many_iterations_are_made_in_portions(void **state)
{
	static const uint32_t iterations[] = { 1, SCRAM_ITERATIONS, SCRAM_ITERATIONS + 1, SCRAM_ITERATIONS + 2, 20000 };
	static const int calls[] = { 1, 1, 1, 2, 5 }; /* the first hash is made when the work begins */
	for (size_t i = 0; i < ARRAY_LEN(iterations); i++) {
		struct scram_secret secret;
		struct scram_server s;
		struct scram_client c;
		int n = 1;
		scram_secret_salt(slice_text("ann"), slice_text(""), iterations[i], &secret);
		scram_secret_derive(slice_text("pw"), &secret);
		scram_server_init(&s, &secret, false);
		scram_client_init_password(&c, "pw");
		assert_true(scram_client_first(&c, out, &out_len));
		assert_true(scram_server_first(&s, said(), back, &back_len, &err));
		enum scram_result r;
		for (; (r = scram_client_final(&c, answered(), out, &out_len, &err)) == SCRAM_BUSY; n++)
			;
		assert_int_equal(r, SCRAM_DONE);
		assert_int_equal(n, calls[i]);
		assert_true(scram_server_final(&s, said(), back, &back_len, &err));
		assert_true(scram_client_verify(&c, answered(), &err));
		scram_server_fini(&s);
		scram_client_fini(&c);
	}
}

static void work_may_be_given_up(void **state)
{
	char first[SCRAM_TEXT_MAX];
	struct scram_client c;
	scram_client_init_password(&c, "pw");
	assert_true(scram_client_first(&c, out, &out_len));
	snprintf(first, sizeof first, "r=%sx,s=AAAA,i=10000000", c.nonce);
	for (int i = 0; i < 3; i++)
		assert_int_equal(scram_client_final(&c, slice_text(first), out, &out_len, &err), SCRAM_BUSY);
	scram_client_fini(&c);
}

/* RFC 7914 section 11; its first block of two. */
static void pbkdf2_is_that_of_the_rfc(void **state)
{
	static const uint8_t known[PBKDF2_KEY] = { 0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f, 0xec, 0x16, 0x91,
		                                       0xc2, 0x25, 0x44, 0xb6, 0x05, 0xf9, 0x41, 0x85, 0x21, 0x6d, 0xde,
		                                       0x04, 0x65, 0xe6, 0x8b, 0x9d, 0x57, 0xc2, 0x0d, 0xac, 0xbc };
	uint8_t key[PBKDF2_KEY], theirs[PBKDF2_KEY];
	struct pbkdf2 *p = pbkdf2_new(slice_text("passwd"), slice_text("salt"), 1);
	assert_true(pbkdf2_go(p, 0));
	pbkdf2_key(p, key);
	pbkdf2_free(p);
	assert_memory_equal(key, known, sizeof key);
	for (size_t len = 0; len < 200; len += 9) { /* a long password is hashed first */
		char password[200];
		memset(password, 'p', len);
		p = pbkdf2_new(slice_of(password, len), slice_text("NaCl"), 77);
		for (int n = 0; !pbkdf2_go(p, 10); n++)
			assert_true(n < 8);
		pbkdf2_key(p, key);
		pbkdf2_free(p);
		assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)len, (const uint8_t *)"NaCl", 4, 77, EVP_sha256(), PBKDF2_KEY, theirs),
		                 1);
		assert_memory_equal(key, theirs, sizeof key);
	}
}

static void derived_keys_are_remembered(void **state)
{
	struct scram_memory *m = scram_memory_new();
	struct scram_secret secret, got;
	uint8_t client_key[SCRAM_KEY];
	scram_secret_make(slice_text("pw"), &secret);
	for (int round = 0; round < 4; round++) {
		struct scram_server s;
		struct scram_client c;
		bool lies = round == 0, is_wrong = round == 3;
		scram_server_init(&s, &secret, false);
		scram_client_init_password(&c, is_wrong ? "wp" : "pw");
		c.memory = m;
		assert_true(scram_client_first(&c, out, &out_len));
		assert_true(scram_server_first(&s, said(), back, &back_len, &err));
		assert_true(scram_client_final(&c, answered(), out, &out_len, &err));
		assert_int_equal(scram_server_final(&s, said(), back, &back_len, &err), !is_wrong);
		if (lies)
			back[5] = back[5] == 'A' ? 'B' : 'A';
		if (!is_wrong)
			assert_int_equal(scram_client_verify(&c, answered(), &err), !lies);
		got = (struct scram_secret){ .iterations = secret.iterations, .salt_len = secret.salt_len };
		memcpy(got.salt, secret.salt, secret.salt_len);
		assert_int_equal(scram_memory_get(m, "pw", &got, client_key), !lies); /* of a server that lies nothing is kept */
		if (!lies)
			assert_memory_equal(&got, &secret, sizeof got);
		assert_false(scram_memory_get(m, "wp", &got, client_key));
		got.iterations++;
		assert_false(scram_memory_get(m, "pw", &got, client_key));
		scram_server_fini(&s);
		scram_client_fini(&c);
	}
	scram_memory_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_has_one_text_for_each_bytes),
		cmocka_unit_test(only_whole_secrets_are_parsed),
		cmocka_unit_test(passwords_hash_as_in_postgresql),
		cmocka_unit_test(what_is_not_utf8_is_hashed_as_it_is),
		cmocka_unit_test(mocks_are_stable_and_differ_by_user),
		cmocka_unit_test(the_vector_of_rfc_7677_as_client),
		cmocka_unit_test(the_right_password_logs_in_and_its_keys_log_in_elsewhere),
		cmocka_unit_test(wrong_passwords_and_mocks_fail),
		cmocka_unit_test(channels_are_bound_and_downgrades_found),
		cmocka_unit_test(a_binding_of_another_type_is_refused),
		cmocka_unit_test(keys_may_be_derived_between_the_messages),
		cmocka_unit_test(a_seed_makes_the_same_salts_everywhere),
		cmocka_unit_test(many_iterations_are_made_in_portions),
		cmocka_unit_test(work_may_be_given_up),
		cmocka_unit_test(pbkdf2_is_that_of_the_rfc),
		cmocka_unit_test(derived_keys_are_remembered),
		cmocka_unit_test(a_server_that_does_not_know_the_password_is_found_out),
		cmocka_unit_test(bad_first_messages_are_refused),
		cmocka_unit_test(bad_final_messages_are_refused),
		cmocka_unit_test(bad_servers_are_refused_before_any_work),
		cmocka_unit_test(steps_out_of_order_are_refused),
	};
	hash_init();
	return UNIT_RUN(tests);
}
