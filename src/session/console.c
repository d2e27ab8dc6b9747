/*
 * console — a client that talks to the admin console: its messages are carried there, one at a time, and what it answers is carried back.
 *
 *   read --message--> take() --> read | more | wait | end
 *   more --the client has read most of what was sent--> more()        wait --letter--> on_letter()
 *
 * Always: while the console has more to say or waits for something, nothing is read, so a client that asks much and reads little holds one
 * message of its own and at most STREAM_HIGH and one piece of an answer.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "priv.h"

#define MESSAGE_MAX 65536u /* bytes; longer commands there are not */

static const struct session_console *console_of(const struct session *s)
{
	return &s->home->env.console;
}

/* Monitoring tools know PgBouncer's name for it, and some no other; a database block of that name wins. */
bool console_is_named(const struct conf *conf, const char *database)
{
	if (strcmp(database, CONSOLE_DATABASE) == 0)
		return true;
	if (strcmp(database, "pgbouncer") != 0)
		return false;
	for (size_t i = 0; i < conf->n_databases; i++)
		if (strcmp(conf->databases[i].name, "pgbouncer") == 0)
			return false;
	return true;
}

bool console_is_for(const struct session *s)
{
	return console_is_named(session_conf(s), s->database);
}

/* Who runs Lunapool can read its files and end it: nothing is gained by asking for a password.  root can as well. */
bool console_knows_peer(const struct session *s)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	const struct addr from = addr_lengthen(&s->peer);
	if (!console_is_for(s) || strcmp(s->user, CONSOLE_DATABASE) != 0 || !addr_is_unix(&from))
		return false;
	return getsockopt(stream_fd(&s->stream), SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

bool console_begin(struct session *s, struct err *err)
{
	const struct session_console *c = console_of(s);
	const struct console_place place = { s->home->env.worker, s->slot, s->id };
	session_aside_of(s)->talk = c->begin(c->arg, s->user, console_knows_peer(s), &place, err);
	s->console = CONSOLE_READ;
	return s->aside->talk != NULL;
}

static void send_all(struct session *s, struct writer *w)
{
	if (w->len)
		session_send(s, w);
	writer_fini(w);
}

/* Goes on with what the console said: asks for more while the client reads. */
static void go_on(struct session *s, enum console_next next)
{
	while (next == CONSOLE_MORE && !stream_is_high(&s->stream)) {
		struct writer w;
		writer_init_grow(&w);
		next = console_of(s)->more(s->aside->talk, &w);
		send_all(s, &w);
	}
	s->console = next;
	if (next == CONSOLE_END)
		session_close(s, CLOSE_TERMINATE);
	else if (next == CONSOLE_READ && !stream_is_high(&s->stream))
		stream_resume(&s->stream);
	else
		stream_pause(&s->stream);
}

size_t console_take(struct session *s, struct slice in)
{
	struct frame f;
	struct err e;
	struct writer w;
	enum frame_result r = frame_next(in, FRAME_FROM_CLIENT, &f);
	if (s->console != CONSOLE_READ)
		return 0;
	if (r == FRAME_BAD || (r == FRAME_OK && f.body_len > MESSAGE_MAX)) {
		err_set(&e, "08P01", "invalid message to the admin console");
		session_fatal(s, CLOSE_PROTOCOL, &e);
		return 0;
	}
	if (r == FRAME_SHORT || !frame_is_whole(&f))
		return 0;
	writer_init_grow(&w);
	enum console_next next = console_of(s)->take(s->aside->talk, &f, &w);
	send_all(s, &w);
	go_on(s, next);
	return frame_size(&f);
}

void console_drained(struct session *s)
{
	go_on(s, s->console);
}

bool sessions_console_go_on(struct sessions *ss, const struct console_place *place, void *letter)
{
	struct session *s = cancel_session(ss, place->slot, place->id);
	struct writer w;
	if (!s || !session_aside(s)->talk)
		return false;
	writer_init_grow(&w);
	enum console_next next = console_of(s)->on_letter(s->aside->talk, letter, &w);
	send_all(s, &w);
	go_on(s, next);
	return true;
}

void console_cancel(struct session *s)
{
	console_of(s)->cancel(s->aside->talk);
}

void console_end(struct session *s)
{
	console_of(s)->end(s->aside->talk);
	s->aside->talk = NULL;
}
