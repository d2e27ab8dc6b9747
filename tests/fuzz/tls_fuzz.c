/* What a stranger says in place of a handshake, in pieces of any size, to either end; and what he calls himself in a certificate. */
#include <openssl/x509.h>

#include "../../src/net/tlsctx.h"
#include "base/mem.h"
#include "fuzz.h"

static struct tls_conf *conf_of(bool is_server)
{
	static struct tls_conf *made[2];
	const struct tls_setup setup = { .is_server = is_server,
		                             .cert = "",
		                             .key = "",
		                             .ca = "",
		                             .crl = "",
		                             .min_protocol = "TLSv1.2",
		                             .ciphers = "",
		                             .ciphersuites = "",
		                             .groups = "" };
	struct err err;
	if (!made[is_server])
		made[is_server] = tls_conf_new(&setup, &err);
	CHECK(made[is_server]);
	return made[is_server];
}

static void use_handshake(struct slice said, bool is_server, bool is_direct, size_t piece)
{
	struct tls *t = tls_new(&(struct tls_start){ .conf = conf_of(is_server), .is_direct = is_direct });
	enum tls_result r = TLS_MORE;
	CHECK(t);
	while (r == TLS_MORE && said.len) {
		size_t n = piece < said.len ? piece : said.len;
		uint8_t *copy = fuzz_copy(slice_of(said.at, n));
		tls_feed(t, slice_of(copy, n));
		r = tls_shake(t);
		CHECK(r == TLS_MORE || r == TLS_FAILED); /* nobody guesses a handshake */
		CHECK(r != TLS_FAILED || *tls_error(t));
		CHECK(r != TLS_MORE || tls_bound(t) < 40000);
		free(copy);
		said = slice_skip(said, n);
	}
	CHECK(!tls_is_quiet(t));
	tls_bye(t);
	tls_free(t);
}

static void use_name(struct slice der, size_t size)
{
	const unsigned char *at = der.at;
	X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)der.len);
	for (int what = TLS_NAME_CN; name && what <= TLS_NAME_DN; what++) {
		char *out = mem_alloc(size + 1);
		memset(out, 'x', size + 1);
		if (size && tls_name_text(name, (enum tls_name)what, out, size))
			CHECK(strlen(out) > 0 && strlen(out) < size);
		CHECK(out[size] == 'x');
		mem_free(out);
	}
	X509_NAME_free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const struct slice rest = slice_of(data + 2, size - 2);
	if (data[0] & 4)
		use_name(rest, data[1]);
	else
		use_handshake(rest, data[0] & 1, data[0] & 2, data[1] ? data[1] : 256);
	return 0;
}
