/*
 * ctl — `lunapool ctl COMMAND…`: one command of the console, over the unix socket of the Lunapool that runs here.
 *
 *   connect --StartupMessage--> welcome --Query--> columns, rows, tag or error --> printed
 *
 * A program of its own life: it blocks, and knows nothing of the rest but the configuration, which says where the socket is.  It comes in as user
 * "lunapool", whom the console knows by the uid of who runs it (session/console.c), so it has no password to keep.
 */
#include "app/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/printout.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "session/session.h"
#include "wire/frame.h"
#include "wire/writer.h"

#define CTL_DONE 0
#define CTL_FAILED 1
#define CTL_USAGE 2
#define CTL_NOBODY 3
#define READ_BYTES 16384
#define PROTOCOL_3_0 (3u << 16)
#define LOGIN_S 10
#define SOCKET_PATH_BYTES 108 /* sun_path */

const char ctl_usage[] =
    "usage: lunapool ctl [-c PATH | -s SOCKET] [--json] [-U USER] COMMAND…\n"
    "\n"
    "  -c PATH     the configuration that says where the socket is (default: the environment's "
    "LUNAPOOL_CONFIG, else /etc/lunapool/conf.d)\n"
    "  -s SOCKET   the socket itself, as in /run/lunapool/.s.PGSQL.6432\n"
    "  --json      the answer as JSON: an array of rows, or an object with the command's tag\n"
    "  -U USER     come in as USER instead of as the owner; hba_file must trust it\n"
    "\n"
    "COMMAND is one of the console's, as in `show pools`, `reload`, `reload --dry-run`, `pause shop 30s`; "
    "`show help` lists them.\n"
    "\n"
    "The exit status is 0 when it is done, 1 when it was refused, 2 for wrong usage, 3 when nobody answers or lets us in.\n";

struct options {
	const char *conf_path, *socket, *user;
	bool is_json;
};

struct ctl {
	struct options options;
	char where[SOCKET_PATH_BYTES]; /* the socket, as a person names it */
	int fd;
	struct buf in;
	struct printout answer;
	bool is_in; /* the login is over */
};

/* One line on stderr. */
static PRINTF_LIKE(1, 2) void complain(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("lunapool ctl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

/* ---- where --------------------------------------------------------------------------------------------------------------- */

static bool socket_of_conf(const struct conf *conf, const char *path, char out[SOCKET_PATH_BYTES])
{
	if (!conf->listen.unix_socket_dir[0]) {
		complain("%s has no unix_socket_dir in its listen block", path);
		return false;
	}
	if (conf->listen.port == 0) {
		complain("port = 0 lets the kernel choose, so the socket's name is not known: give it with -s");
		return false;
	}
	snprintf(out, SOCKET_PATH_BYTES, "%s/.s.PGSQL.%lld", conf->listen.unix_socket_dir, (long long)conf->listen.port);
	return true;
}

static bool find_socket(const struct options *o, char out[SOCKET_PATH_BYTES])
{
	const char *path = o->conf_path ? o->conf_path : getenv("LUNAPOOL_CONFIG");
	struct conf_errors errors = { 0 };
	if (o->socket && snprintf(out, SOCKET_PATH_BYTES, "%s", o->socket) >= SOCKET_PATH_BYTES) {
		complain("the path of the socket is longer than %d bytes", SOCKET_PATH_BYTES - 1);
		return false;
	}
	if (o->socket)
		return true;
	path = path ? path : "/etc/lunapool/conf.d";
	struct conf *conf = conf_load(path, &errors);
	for (size_t i = 0; i < errors.n; i++)
		complain("%s%s%s", errors.at[i].where, errors.at[i].where[0] ? ": " : "", errors.at[i].text);
	conf_errors_fini(&errors);
	if (!conf)
		fputs("hint: So the configuration does not tell where the socket is. A Lunapool that runs can still be asked: ctl -s "
		      "SOCKET; its log has the directory behind \"listening\".\n",
		      stderr);
	bool is_known = conf && socket_of_conf(conf, path, out);
	conf_free(conf);
	return is_known;
}

/* Until the login is over nothing takes long; a command may. */
static void set_deadline(struct ctl *c, time_t seconds)
{
	const struct timeval t = { .tv_sec = seconds };
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static bool open_socket(struct ctl *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (!find_socket(&c->options, c->where))
		return false;
	size_t len = strlen(c->where);
	memcpy(sa.sun_path, c->where, len);
	if (sa.sun_path[0] == '@') /* Linux's abstract names */
		sa.sun_path[0] = '\0';
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0)
		set_deadline(c, LOGIN_S);
	if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
		return true;
	complain("nobody answers at %s: %s", c->where, errno == EAGAIN ? "it does not accept connections" : strerror(errno));
	return false;
}

/* ---- messages --------------------------------------------------------------------------------------------------------------- */

static bool send_all(struct ctl *c, struct writer *w)
{
	struct slice left = writer_slice(w);
	while (left.len) {
		ssize_t n = send(c->fd, left.at, left.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		left = slice_skip(left, (size_t)n);
	}
	return true;
}

static bool read_more(struct ctl *c)
{
	ssize_t n;
	if (!buf_reserve(&c->in, READ_BYTES))
		return false;
	do
		n = recv(c->fd, c->in.data + c->in.write, READ_BYTES, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	c->in.write += (uint32_t)n;
	return true;
}

/* The next message, whole; it is buf_consume()d by who has read it.  False: it is not to be had, and a person has been told why. */
static bool next_message(struct ctl *c, struct frame *f)
{
	for (;;) {
		enum frame_result r = frame_next(buf_slice(&c->in), FRAME_FROM_SERVER, f);
		if (r == FRAME_OK && frame_is_whole(f))
			return true;
		if (r == FRAME_BAD) {
			complain("what answers at %s does not speak PostgreSQL's protocol", c->where);
			return false;
		}
		errno = 0;
		if (read_more(c))
			continue;
		if (errno == EAGAIN)
			complain("%s accepts connections, but has said nothing for %d s: is it stopped, or overloaded?", c->where, LOGIN_S);
		else if (!c->answer.tag && !c->answer.error)
			complain("the connection was closed%s", c->is_in ? ": whether the command was carried out is not known" : "");
		return false;
	}
}

static void send_startup(struct ctl *c, struct writer *w)
{
	writer_begin(w, 0);
	writer_u32(w, PROTOCOL_3_0);
	writer_text(w, "user");
	writer_text(w, c->options.user);
	writer_text(w, "database");
	writer_text(w, CONSOLE_DATABASE);
	writer_text(w, "application_name");
	writer_text(w, "lunapool ctl");
	writer_u8(w, 0);
	writer_end(w);
}

/* ---- the answer ---------------------------------------------------------------------------------------------------------------- */

static bool asks_for_password(const struct frame *f)
{
	return f->type == 'R' && !(f->body.len == 4 && memcmp(f->body.at, "\0\0\0\0", 4) == 0);
}

static void say_who_may(const struct ctl *c)
{
	if (strcmp(c->options.user, CONSOLE_DATABASE) == 0)
		fputs("hint: Run this as the user that Lunapool runs as, or as root.\n", stderr);
}

/* Until ReadyForQuery.  Who ends the program may not hear more than that the command is done. */
static int converse(struct ctl *c)
{
	struct frame f;
	bool is_ready = false;
	while (!is_ready && next_message(c, &f)) {
		if (asks_for_password(&f)) {
			complain("%s asks for a password", c->where);
			say_who_may(c);
			return CTL_NOBODY;
		}
		if (!printout_take(&c->answer, &f)) {
			complain("what answers at %s is no Lunapool that this version understands", c->where);
			return CTL_NOBODY;
		}
		is_ready = f.type == 'Z';
		buf_consume(&c->in, frame_size(&f));
	}
	if (c->answer.error && c->is_in) {
		complain("%s", c->answer.error);
		return CTL_FAILED;
	}
	if (c->answer.error) {
		complain("%s does not let us in: %s", c->where, c->answer.error);
		say_who_may(c);
		return CTL_NOBODY;
	}
	return is_ready || c->answer.tag ? CTL_DONE : CTL_NOBODY;
}

static bool say(struct ctl *c, struct writer *w)
{
	bool is_sent = send_all(c, w);
	if (!is_sent)
		complain("the connection was closed");
	writer_fini(w);
	return is_sent;
}

static int ask(struct ctl *c, const char *command)
{
	struct writer w;
	writer_init_grow(&w);
	send_startup(c, &w);
	int status = say(c, &w) ? converse(c) : CTL_NOBODY;
	if (status != CTL_DONE)
		return status;
	c->is_in = true;
	set_deadline(c, 0);
	writer_init_grow(&w);
	writer_begin(&w, 'Q');
	writer_text(&w, command);
	writer_end(&w);
	return say(c, &w) ? converse(c) : CTL_NOBODY;
}

/* A full disk must not look like an empty answer. */
static int print_answer(const struct ctl *c)
{
	enum printout_style style = c->options.is_json ? PRINTOUT_JSON : isatty(STDOUT_FILENO) ? PRINTOUT_TABLE : PRINTOUT_LINES;
	printout_print(&c->answer, style, stdout);
	if (fflush(stdout) == 0)
		return CTL_DONE;
	complain("the command is done, but its answer could not be written: %s", strerror(errno));
	return CTL_FAILED;
}

/* ---- the command line -------------------------------------------------------------------------------------------------------------- */

static bool is_plain(const char *word)
{
	return *word && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.=*-")] == '\0';
}

static void add_quoted(struct writer *w, const char *word)
{
	writer_u8(w, '"');
	for (; *word; word++) {
		if (*word == '"')
			writer_u8(w, '"');
		writer_u8(w, (uint8_t)*word);
	}
	writer_u8(w, '"');
}

/* "--dry-run" behind a command is its word DRY_RUN, and "--key=value" is key = value. */
static void add_switch(struct writer *w, const char *word)
{
	for (word += 2; *word && *word != '='; word++)
		writer_u8(w, *word == '-' ? '_' : (uint8_t)*word);
	if (*word != '=')
		return;
	writer_bytes(w, slice_text(" = "));
	add_quoted(w, word + 1);
}

/* One argument is a command as it stands; several are words of one, which the shell has taken the quotes from. */
static void add_command(struct writer *w, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (i)
			writer_u8(w, ' ');
		if (argc > 1 && strncmp(argv[i], "--", 2) == 0)
			add_switch(w, argv[i]);
		else if (argc == 1 || is_plain(argv[i]))
			writer_bytes(w, slice_text(argv[i]));
		else
			add_quoted(w, argv[i]);
	}
	writer_u8(w, 0);
}

/* -1: go on; otherwise the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "socket", required_argument, NULL, 's' },
		{ 0 },
	};
	optind = 1;
	for (int opt; (opt = getopt_long(argc, argv, "+c:s:U:jh", known, NULL)) != -1;) {
		switch (opt) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 's':
			o->socket = optarg;
			break;
		case 'U':
			o->user = optarg;
			break;
		case 'j':
			o->is_json = true;
			break;
		case 'h':
			fputs(ctl_usage, stdout);
			return CTL_DONE;
		default:
			return CTL_USAGE;
		}
	}
	if (optind < argc && argv[optind][strspn(argv[optind], " ;")])
		return -1;
	fputs(ctl_usage, stderr);
	return CTL_USAGE;
}

static void ctl_fini(struct ctl *c)
{
	printout_fini(&c->answer);
	buf_fini(&c->in);
	if (c->fd >= 0)
		close(c->fd);
}

int ctl_run(int argc, char **argv)
{
	struct ctl c = { .options = { .user = CONSOLE_DATABASE }, .fd = -1 };
	struct writer command;
	argv[0] = (char *)"lunapool ctl"; /* getopt's own words begin with it */
	int status = parse_options(argc, argv, &c.options);
	if (status >= 0)
		return status;
	/* --json is understood behind the command, too */
	int n = argc - optind;
	if (n > 1 && strcmp(argv[argc - 1], "--json") == 0) {
		c.options.is_json = true;
		n--;
	}
	writer_init_grow(&command);
	add_command(&command, n, argv + optind);
	status = open_socket(&c) ? ask(&c, (const char *)writer_slice(&command).at) : CTL_NOBODY;
	if (status == CTL_DONE)
		status = print_answer(&c);
	writer_fini(&command);
	ctl_fini(&c);
	return status;
}
