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
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "session/session.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/reader.h"
#include "wire/writer.h"

#define CTL_DONE 0
#define CTL_FAILED 1
#define CTL_USAGE 2
#define CTL_NOBODY 3
#define READ_BYTES 16384
#define PROTOCOL_3_0 (3u << 16)
#define OID_INT8 20
#define OID_INT4 23
#define OID_NUMERIC 1700

const char ctl_usage[] = "usage: lunapool ctl [-c PATH | -s SOCKET] [--json] [-U USER] COMMAND…\n"
                         "\n"
                         "  -c PATH     the configuration that says where the socket is (default: the environment's "
                         "LUNAPOOL_CONFIG, else /etc/lunapool/conf.d)\n"
                         "  -s SOCKET   the socket itself, as in /run/lunapool/.s.PGSQL.6432\n"
                         "  --json      the answer as JSON: an array of rows, or an object with the command's tag\n"
                         "  -U USER     come in as USER instead of as the owner; hba_file must trust it\n"
                         "\n"
                         "COMMAND is one of the console's, as in `show pools`, `reload`, `reload --dry-run`, `pause shop 30s`; "
                         "`show help` lists them.\n";

struct options {
	const char *conf_path, *socket, *user;
	bool is_json;
};

struct ctl {
	struct options options;
	int fd;
	struct buf in;
	/* the answer */
	unsigned n_columns;
	char **names;
	uint32_t *types;
	size_t n_rows;
	char **cells; /* NULL: SQL NULL */
	char *tag;
	bool has_failed;
};

/* ---- where --------------------------------------------------------------------------------------------------------------- */

static bool socket_of(const struct options *o, char *out, size_t size)
{
	const char *path = o->conf_path ? o->conf_path : getenv("LUNAPOOL_CONFIG");
	struct conf_errors errors = { 0 };
	if (o->socket)
		return snprintf(out, size, "%s", o->socket) < (int)size;
	path = path ? path : "/etc/lunapool/conf.d";
	struct conf *conf = conf_load(path, &errors);
	for (size_t i = 0; i < errors.n; i++)
		fprintf(stderr, "lunapool ctl: %s%s%s\n", errors.at[i].where, errors.at[i].where[0] ? ": " : "", errors.at[i].text);
	conf_errors_fini(&errors);
	if (!conf)
		return false;
	bool has_dir = conf->listen.unix_socket_dir[0];
	snprintf(out, size, "%s/.s.PGSQL.%lld", conf->listen.unix_socket_dir, (long long)conf->listen.port);
	if (!has_dir)
		fprintf(stderr, "lunapool ctl: %s has no unix_socket_dir in its listen block\n", path);
	else if (conf->listen.port == 0)
		fprintf(stderr, "lunapool ctl: port = 0 lets the kernel choose, so the socket's name is not known: give it with -s\n");
	bool is_known = has_dir && conf->listen.port != 0;
	conf_free(conf);
	return is_known;
}

static bool open_socket(struct ctl *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (!socket_of(&c->options, sa.sun_path, sizeof sa.sun_path))
		return false;
	size_t len = strlen(sa.sun_path);
	char shown[sizeof sa.sun_path];
	memcpy(shown, sa.sun_path, sizeof shown);
	if (sa.sun_path[0] == '@') /* Linux's abstract names */
		sa.sun_path[0] = '\0';
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
		return true;
	fprintf(stderr, "lunapool ctl: nobody answers at %s: %s\n", shown, strerror(errno));
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

/* The next message, whole; it is buf_consume()d by who has read it. */
static bool next_message(struct ctl *c, struct frame *f)
{
	for (;;) {
		enum frame_result r = frame_next(buf_slice(&c->in), FRAME_FROM_SERVER, f);
		if (r == FRAME_OK && frame_is_whole(f))
			return true;
		if (r == FRAME_BAD || !read_more(c))
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

static void take_columns(struct ctl *c, struct slice body)
{
	struct reader r;
	reader_init(&r, body);
	c->n_columns = reader_u16(&r);
	c->names = mem_alloc(c->n_columns * sizeof *c->names);
	c->types = mem_alloc(c->n_columns * sizeof *c->types);
	for (unsigned i = 0; i < c->n_columns; i++) {
		struct slice name = reader_text(&r);
		c->names[i] = mem_textn((const char *)name.at, name.len);
		reader_bytes(&r, 6);
		c->types[i] = reader_u32(&r);
		reader_bytes(&r, 8);
	}
}

static void take_row(struct ctl *c, struct slice body)
{
	struct reader r;
	reader_init(&r, body);
	unsigned n = reader_u16(&r);
	c->cells = mem_grow(c->cells, (c->n_rows + 1) * c->n_columns * sizeof *c->cells);
	for (unsigned i = 0; i < c->n_columns; i++) {
		int32_t len = i < n ? reader_i32(&r) : -1;
		struct slice cell = len < 0 ? slice_of(NULL, 0) : reader_bytes(&r, (size_t)len);
		c->cells[c->n_rows * c->n_columns + i] = len < 0 ? NULL : mem_textn((const char *)cell.at, cell.len);
	}
	c->n_rows++;
}

static void take_error(struct ctl *c, struct slice body)
{
	struct pgerr e;
	c->has_failed = true;
	if (!pgerr_read(body, &e)) {
		fprintf(stderr, "lunapool ctl: a malformed error\n");
		return;
	}
	fprintf(stderr, "lunapool ctl: %.*s\n", (int)e.message.len, (const char *)e.message.at);
	if (e.detail.len)
		fprintf(stderr, "detail: %.*s\n", (int)e.detail.len, (const char *)e.detail.at);
	if (e.hint.len)
		fprintf(stderr, "hint: %.*s\n", (int)e.hint.len, (const char *)e.hint.at);
}

static void take(struct ctl *c, const struct frame *f)
{
	struct reader r;
	if (f->type == 'T' && !c->names)
		take_columns(c, f->body);
	else if (f->type == 'D' && c->n_columns)
		take_row(c, f->body);
	else if (f->type == 'E')
		take_error(c, f->body);
	else if (f->type == 'C' && !c->tag) {
		reader_init(&r, f->body);
		struct slice tag = reader_text(&r);
		c->tag = mem_textn((const char *)tag.at, tag.len);
	}
}

static bool asks_for_password(const struct frame *f)
{
	return f->type == 'R' && !(f->body.len == 4 && memcmp(f->body.at, "\0\0\0\0", 4) == 0);
}

/* Until ReadyForQuery.  Who ends the program may not hear more than that the command is done. */
static int converse(struct ctl *c)
{
	struct frame f;
	while (next_message(c, &f)) {
		uint8_t type = f.type;
		if (asks_for_password(&f)) {
			fprintf(stderr,
			        "lunapool ctl: it asks for a password: run this as the user that Lunapool runs as (or root), without -U\n");
			return CTL_NOBODY;
		}
		take(c, &f);
		buf_consume(&c->in, frame_size(&f));
		if (type == 'Z')
			return c->has_failed ? CTL_FAILED : CTL_DONE;
	}
	if (c->tag)
		return CTL_DONE;
	if (!c->has_failed)
		fprintf(stderr, "lunapool ctl: the connection was closed\n");
	return c->has_failed ? CTL_FAILED : CTL_NOBODY;
}

static int ask(struct ctl *c, const char *command)
{
	struct writer w;
	int status = CTL_NOBODY;
	writer_init_grow(&w);
	send_startup(c, &w);
	if (send_all(c, &w))
		status = converse(c);
	writer_fini(&w);
	if (status != CTL_DONE)
		return status;
	writer_init_grow(&w);
	writer_begin(&w, 'Q');
	writer_text(&w, command);
	writer_end(&w);
	status = send_all(c, &w) ? converse(c) : CTL_NOBODY;
	writer_fini(&w);
	return status;
}

/* ---- printing -------------------------------------------------------------------------------------------------------------------- */

static const char *cell(const struct ctl *c, size_t row, unsigned column)
{
	return c->cells[row * c->n_columns + column];
}

static json_t *json_cell(const struct ctl *c, size_t row, unsigned column)
{
	const char *text = cell(c, row, column);
	uint32_t type = c->types[column];
	if (!text)
		return json_null();
	if (type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC)
		return json_integer(strtoll(text, NULL, 10));
	json_t *value = json_string(text);
	return value ? value : json_string("(not UTF-8)");
}

static json_t *json_rows(const struct ctl *c)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < c->n_rows; i++) {
		json_t *row = json_object();
		for (unsigned k = 0; k < c->n_columns; k++)
			json_object_set_new(row, c->names[k], json_cell(c, i, k));
		json_array_append_new(rows, row);
	}
	return rows;
}

static void print_json(const struct ctl *c)
{
	json_t *answer = c->n_columns ? json_rows(c) : json_pack("{s:s}", "done", c->tag ? c->tag : "");
	json_dumpf(answer, stdout, JSON_INDENT(1) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(answer);
}

/* Characters, as wide as a terminal shows most of them. */
static int width_of(const char *text)
{
	int n = 0;
	for (; text && *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static bool is_number(const struct ctl *c, unsigned column)
{
	return c->types[column] == OID_INT4 || c->types[column] == OID_INT8 || c->types[column] == OID_NUMERIC;
}

static void print_cell(const char *text, int width, bool is_right, bool is_last)
{
	int gap = width - width_of(text);
	text = text ? text : "";
	if (is_right)
		printf("%*s%s", gap, "", text);
	else
		printf("%s%*s", text, is_last ? 0 : gap, "");
	fputs(is_last ? "\n" : "  ", stdout);
}

/* For a person: columns under each other. */
static void print_table(const struct ctl *c)
{
	int *widths = mem_alloc(c->n_columns * sizeof *widths);
	for (unsigned k = 0; k < c->n_columns; k++) {
		widths[k] = width_of(c->names[k]);
		for (size_t i = 0; i < c->n_rows; i++)
			widths[k] = width_of(cell(c, i, k)) > widths[k] ? width_of(cell(c, i, k)) : widths[k];
	}
	for (unsigned k = 0; k < c->n_columns; k++)
		print_cell(c->names[k], widths[k], is_number(c, k), k + 1 == c->n_columns);
	for (size_t i = 0; i < c->n_rows; i++)
		for (unsigned k = 0; k < c->n_columns; k++)
			print_cell(cell(c, i, k), widths[k], is_number(c, k), k + 1 == c->n_columns);
	mem_free(widths);
}

/* For a program: a line a row, tabs between cells; those inside cells become blanks. */
static void print_line_cell(const char *text, bool is_last)
{
	for (; text && *text; text++)
		putchar(*text == '\t' || *text == '\n' ? ' ' : *text);
	putchar(is_last ? '\n' : '\t');
}

static void print_lines(const struct ctl *c)
{
	for (unsigned k = 0; k < c->n_columns; k++)
		print_line_cell(c->names[k], k + 1 == c->n_columns);
	for (size_t i = 0; i < c->n_rows; i++)
		for (unsigned k = 0; k < c->n_columns; k++)
			print_line_cell(cell(c, i, k), k + 1 == c->n_columns);
}

static void print_answer(const struct ctl *c)
{
	if (c->options.is_json)
		print_json(c);
	else if (!c->n_columns)
		puts(c->tag ? c->tag : "");
	else if (isatty(STDOUT_FILENO))
		print_table(c);
	else
		print_lines(c);
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

/* "--dry-run" behind a command is its word DRY_RUN. */
static void add_switch(struct writer *w, const char *word)
{
	for (word += 2; *word; word++)
		writer_u8(w, *word == '-' ? '_' : (uint8_t)*word);
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
	if (optind < argc)
		return -1;
	fputs(ctl_usage, stderr);
	return CTL_USAGE;
}

static void ctl_fini(struct ctl *c)
{
	for (size_t i = 0; i < c->n_rows * c->n_columns; i++)
		mem_free(c->cells[i]);
	for (unsigned i = 0; i < c->n_columns; i++)
		mem_free(c->names[i]);
	mem_free(c->cells);
	mem_free(c->names);
	mem_free(c->types);
	mem_free(c->tag);
	buf_fini(&c->in);
	if (c->fd >= 0)
		close(c->fd);
}

int ctl_run(int argc, char **argv)
{
	struct ctl c = { .options = { .user = CONSOLE_DATABASE }, .fd = -1 };
	struct writer command;
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
		print_answer(&c);
	writer_fini(&command);
	ctl_fini(&c);
	return status;
}
