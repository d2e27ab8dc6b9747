/*
 * flight — several segments sent without waiting for any answer, simple and extended, with errors anywhere.
 *
 * libpq cannot mix Query messages with a pipeline, so here the messages are written by hand on its idle connection, and every message of the
 * answer is compared with what must come:
 *
 *   flight_begin   composes everything and predicts every answer (PostgreSQL's rules are in plan.c)
 *   flight_turn    sends a piece, or leaves at a byte chosen before
 *   flight_read    compares; after a cancel that hit, only that rows are one's own
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "flight.h"

static void put_begin(struct flight *f, char type)
{
	f->out[f->out_len++] = (unsigned char)type;
	f->message = f->out_len;
	f->out_len += 4;
}

static void put_bytes(struct flight *f, const void *p, size_t n)
{
	if (f->out_len + n + 16 > sizeof f->out)
		abort();
	memcpy(f->out + f->out_len, p, n);
	f->out_len += n;
}

static void put_text(struct flight *f, const char *text)
{
	put_bytes(f, text, strlen(text) + 1);
}

static void put_u16(struct flight *f, unsigned v)
{
	uint16_t be = htons((uint16_t)v);
	put_bytes(f, &be, sizeof be);
}

static void put_u32(struct flight *f, unsigned v)
{
	uint32_t be = htonl(v);
	put_bytes(f, &be, sizeof be);
}

static void put_end(struct flight *f)
{
	uint32_t be = htonl((uint32_t)(f->out_len - f->message));
	memcpy(f->out + f->message, &be, sizeof be);
}

void flight_put_query(struct flight *f, const char *sql)
{
	put_begin(f, 'Q');
	put_text(f, sql);
	put_end(f);
}

void flight_put_parse(struct flight *f, const char *name, const char *sql)
{
	put_begin(f, 'P');
	put_text(f, name);
	put_text(f, sql);
	put_u16(f, 0);
	put_end(f);
}

void flight_put_bind(struct flight *f, const char *portal, const char *name, const char *param)
{
	put_begin(f, 'B');
	put_text(f, portal);
	put_text(f, name);
	put_u16(f, 0);
	put_u16(f, param ? 1 : 0);
	if (param) {
		put_u32(f, (unsigned)strlen(param));
		put_bytes(f, param, strlen(param));
	}
	put_u16(f, 0);
	put_end(f);
}

/* Describe and Close: of a statement S or a portal P. */
void flight_put_named(struct flight *f, char type, char of, const char *name)
{
	put_begin(f, type);
	put_bytes(f, &of, 1);
	put_text(f, name);
	put_end(f);
}

void flight_put_execute(struct flight *f, const char *portal, unsigned limit)
{
	put_begin(f, 'E');
	put_text(f, portal);
	put_u32(f, limit);
	put_end(f);
}

void flight_put_copy(struct flight *f, const char *line)
{
	put_begin(f, 'd');
	put_bytes(f, line, strlen(line));
	put_end(f);
	put_begin(f, 'c');
	put_end(f);
}

void flight_put_bare(struct flight *f, char type)
{
	put_begin(f, type);
	put_end(f);
}

void flight_want(struct flight *f, char type, enum category category, const char *fmt, ...)
{
	if (f->wants == FLIGHT_WANTS)
		abort();
	struct want *w = &f->want[f->wants++];
	w->type = type;
	w->category = category;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->text, sizeof w->text, fmt, ap);
	va_end(ap);
	f->readies += type == 'Z';
	tally.statements += type == 'C' || type == 'E';
	tally.errors += type == 'E';
}

static void leave(struct client *c, bool politely)
{
	tally.vanished++;
	client_gone(c, politely);
}

/* What counted at the last commit whose message was sent whole. */
static long committed_by(const struct flight *f, size_t sent)
{
	long n = f->committed_before;
	for (int i = 0; i < f->marks; i++)
		if (f->mark[i].at <= sent)
			n = f->mark[i].committed;
	return n;
}

static void leave_in_the_middle(struct client *c)
{
	struct flight *f = c->flight;
	c->committed = committed_by(f, f->out_sent);
	c->unsure = c->committed - f->committed_before;
	leave(c, false);
}

bool flight_has_output(const struct client *c)
{
	const struct flight *f = c->flight;
	return f->out_sent < (f->leave_at ? f->leave_at : f->out_len);
}

static const char *error_field(const unsigned char *body, size_t len, char field)
{
	const char *p = (const char *)body, *end = p + len;
	while (p < end && *p) {
		if (*p == field)
			return p + 1;
		p += strlen(p) + 1;
	}
	return "";
}

/* What of a message is compared. */
static void digest(char type, const unsigned char *body, size_t len, char *text, size_t size)
{
	text[0] = 0;
	if (type == 'D' && len >= 6) {
		uint32_t n;
		memcpy(&n, body + 2, 4);
		n = ntohl(n);
		snprintf(text, size, "%.*s", n == UINT32_MAX ? 0 : (int)n, (const char *)body + 6);
	} else if (type == 'C')
		snprintf(text, size, "%s", (const char *)body);
	else if (type == 'd')
		snprintf(text, size, "%.*s", (int)len, (const char *)body);
	else if (type == 'Z')
		snprintf(text, size, "%c", body[0]);
	else if (type == 'E')
		snprintf(text, size, "%s", error_field(body, len, 'C'));
}

static bool is_own(const struct client *c, const char *text)
{
	char mine[16];
	int n = snprintf(mine, sizeof mine, "c%d", c->id);
	return strncmp(text, mine, (size_t)n) == 0 && (text[n] < '0' || text[n] > '9');
}

/* Only values that clients set themselves are reported here. */
static void judge_status(struct client *c, const char *body)
{
	char a[24], b[24], d[24];
	if (strcmp(body, "application_name") != 0)
		return;
	const char *value = body + strlen(body) + 1;
	snprintf(a, sizeof a, "mixup%d", c->id);
	snprintf(b, sizeof b, "app_%d_", c->id);
	snprintf(d, sizeof d, "c%d:", c->id);
	if (strcmp(value, a) != 0 && strncmp(value, b, strlen(b)) != 0 && strncmp(value, d, strlen(d)) != 0)
		violation(c, MIX_SETTING, "told that application_name is '%s'", value);
}

static void judge_loosely(struct client *c, char type, const char *text)
{
	if ((type == 'D' || type == 'd') && !is_own(c, text))
		violation(c, MIX_ROW, "after a cancel: got '%s'", text);
}

static void write_flight(const struct flight *f, FILE *to)
{
	for (size_t at = 0; at < f->out_len;) {
		uint32_t len;
		memcpy(&len, f->out + at + 1, 4);
		len = ntohl(len);
		fprintf(to, "    %c ", f->out[at]);
		for (size_t i = at + 5; i < at + 1 + len; i++)
			fputc(f->out[i] >= 32 && f->out[i] < 127 ? f->out[i] : '.', to);
		fprintf(to, "%s\n", at + 1 + len <= f->out_sent ? "" : "  (not sent)");
		at += 1 + len;
	}
	for (int i = 0; i < f->met; i++)
		fprintf(to, "    came: %c %s\n", f->want[i].type, f->want[i].text);
}

static void show_flight(struct client *c)
{
	if (tally.violations[MIX_ROW] + tally.violations[MIX_SETTING] + tally.violations[MIX_TRANSACTION] <= 60)
		write_flight(c->flight, stdout);
}

/* False: the client is gone. */
static bool judge_message(struct client *c, char type, const unsigned char *body, size_t len)
{
	struct flight *f = c->flight;
	const struct want *w = f->met < f->wants ? &f->want[f->met] : NULL;
	char text[VALUE_MAX];
	if (type == 'S')
		judge_status(c, (const char *)body);
	if (type == 'A')
		violation(c, MIX_NOTIFY, "got a notification of '%s' without LISTEN", (const char *)body + 4);
	if (type == 'S' || type == 'N' || type == 'A')
		return true;
	digest(type, body, len, text, sizeof text);
	if (type == 'Z')
		f->readies_met++;
	if (f->may_cancel && type == 'E' && strcmp(text, "57014") == 0 && !f->is_loose) {
		tally.cancels_hit++;
		f->is_loose = true;
	}
	if (c->trace && (f->is_loose || !w || w->type != type))
		fprintf(c->trace, "    flight from %c: got %c %s\n", f->tx_before, type, text);
	if (f->is_loose) {
		judge_loosely(c, type, text);
		return true;
	}
	if (w && w->type == type && (!w->text[0] || strcmp(w->text, text) == 0)) {
		f->met++;
		return true;
	}
	violation(c, w ? w->category : MIX_ROW, "flight from %c: wanted %c '%s', got %c '%s' %s", f->tx_before, w ? w->type : '-',
	          w ? w->text : "", type, text, type == 'E' ? error_field(body, len, 'M') : "");
	show_flight(c);
	client_gone(c, false);
	return false;
}

/* All that had to come has come. */
static void landed(struct client *c)
{
	struct flight *f = c->flight;
	if (c->trace)
		write_flight(f, c->trace);
	if (f->in_len) {
		violation(c, MIX_ROW, "a message too many: %c", f->in[0]);
		client_gone(c, false);
	} else if (f->is_loose) {
		c->committed = f->committed_before + f->counts;
		c->unsure = f->counts;
		client_gone(c, rnd(2));
	} else if (f->leaves)
		leave(c, rnd(2));
	else
		c->state = CLIENT_READY;
}

static bool has_landed(const struct flight *f)
{
	if (f->leave_at || f->out_sent < f->out_len)
		return false;
	return f->is_loose ? f->readies_met == f->readies : f->met == f->wants;
}

/* Beside libpq, which is idle meanwhile, but through its TLS if it has one. */
static ssize_t put(const struct client *c, const void *bytes, size_t n)
{
	SSL *ssl = PQsslStruct(c->conn, "OpenSSL");
	return ssl ? SSL_write(ssl, bytes, (int)n) : send(PQsocket(c->conn), bytes, n, MSG_NOSIGNAL);
}

static ssize_t get(const struct client *c, void *bytes, size_t room)
{
	SSL *ssl = PQsslStruct(c->conn, "OpenSSL");
	if (!ssl)
		return recv(PQsocket(c->conn), bytes, room, 0);
	ERR_clear_error();
	int n = SSL_read(ssl, bytes, (int)room);
	errno = n <= 0 && SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ ? EAGAIN : EIO;
	return n;
}

/* Sends a piece of what is left.  One that flushes nothing to wait for has landed then. */
void flight_turn(struct client *c)
{
	struct flight *f = c->flight;
	size_t end = f->leave_at ? f->leave_at : f->out_len, n = end - f->out_sent;
	if (n > 1 && f->in_pieces)
		n = 1 + rnd((unsigned)n);
	while (n > 0) {
		ssize_t got = put(c, f->out + f->out_sent, n);
		if (got <= 0)
			break; /* a closed connection is noticed when reading */
		f->out_sent += (size_t)got;
		n -= (size_t)got;
	}
	if (f->leave_at && f->out_sent == f->leave_at && rnd(3) == 0)
		leave_in_the_middle(c);
	else if (has_landed(f))
		landed(c);
}

/* Judges the whole messages that are there; false: the client is gone. */
static bool judge_input(struct client *c)
{
	struct flight *f = c->flight;
	size_t at = 0;
	while (f->in_len - at >= 5) {
		uint32_t len;
		memcpy(&len, f->in + at + 1, 4);
		len = ntohl(len);
		if (f->in_len - at < 1 + (size_t)len)
			break;
		if (!judge_message(c, (char)f->in[at], f->in + at + 5, len - 4))
			return false;
		at += 1 + len;
	}
	memmove(f->in, f->in + at, f->in_len - at);
	f->in_len -= at;
	return true;
}

void flight_read(struct client *c)
{
	struct flight *f = c->flight;
	for (;;) {
		ssize_t n = get(c, f->in + f->in_len, sizeof f->in - f->in_len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			violation(c, MIX_LOST, "the connection was closed in a flight");
			show_flight(c);
			client_gone(c, false);
			return;
		}
		f->in_len += (size_t)n;
		if (!judge_input(c))
			return;
	}
	if (has_landed(f))
		landed(c);
}

static struct flight *flight_of(struct client *c)
{
	if (!c->flight && !(c->flight = malloc(sizeof *c->flight)))
		abort();
	memset(c->flight, 0, offsetof(struct flight, out));
	return c->flight;
}

/* Some leave where no message ends. */
void flight_begin(struct client *c)
{
	struct flight *f = flight_of(c);
	f->tx_before = c->tx;
	f->committed_before = c->committed;
	f->counts = c->counted;
	f->leaves = rnd(30) == 0;
	f->in_pieces = rnd(3) == 0;
	plan_flight(c, f);
	c->unsure = c->committed - f->committed_before;
	if (!f->leaves && rnd(40) == 0)
		f->leave_at = 1 + rnd((unsigned)f->out_len);
	else if (!f->leaves && rnd(12) == 0) {
		f->may_cancel = true;
		c->cancel_us = now_us() + rnd(4000);
		tally.cancels++;
	}
	tally.flights++;
	c->state = CLIENT_FLIGHT;
}
