/* Listening and connecting, over loopback and unix sockets. */
#include "net/listen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/stream.h"
#include "unitloop.h"

static struct loop *loop;
static struct engine *engine;
static char dir[90];
static struct listener *listener;
static struct err err;

static struct {
	int fd;
	struct addr peer;
	unsigned n;
	bool closes_listener;
} accepted;

static struct {
	bool is_connected, is_closed;
	enum stream_end why;
	int error;
	char got[64];
	size_t n;
} client;

static int setup(void **state)
{
	loop = loop_new(false);
	engine = engine_new(loop);
	assert_non_null(getcwd(dir, sizeof dir - 20)); /* inside the tree; a socket's path has 107 bytes */
	strcat(dir, "/build/unit-XXXXXX");
	assert_non_null(mkdtemp(dir));
	memset(&accepted, 0, sizeof accepted);
	memset(&client, 0, sizeof client);
	return 0;
}

static int teardown(void **state)
{
	listener_close(listener);
	listener = NULL;
	engine_free(engine);
	loop_free(loop);
	return rmdir(dir); /* fails when a socket file is left */
}

static void on_client(void *arg, int fd, const struct addr *peer)
{
	accepted.fd = fd;
	accepted.peer = *peer;
	accepted.n++;
	if (accepted.closes_listener) {
		listener_close(listener);
		listener = NULL;
	}
}

static size_t client_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	assert_true(client.n + bytes.len <= sizeof client.got);
	memcpy(client.got + client.n, bytes.at, bytes.len);
	client.n += bytes.len;
	return bytes.len;
}

static void client_connected(struct stream *s)
{
	client.is_connected = true;
}

static void client_closed(struct stream *s, enum stream_end why, int error)
{
	client.is_closed = true;
	client.why = why;
	client.error = error;
}

static const struct stream_ops client_ops = { .on_data = client_data,
	                                          .on_closed = client_closed,
	                                          .on_connected = client_connected };

static void listen_on(const char *address)
{
	listener = listener_open(loop, address, 0, 128, on_client, NULL, &err);
	if (!listener)
		fail_msg("%s", err.text);
}

static void connect_to(struct stream *s, const char *address, uint16_t port)
{
	struct addr a;
	if (!addr_from_numeric(&a, address, port))
		assert_true(addr_from_socket_dir(&a, address, port, &err));
	client.is_connected = client.is_closed = false;
	stream_connect(s, engine, &a, 5000, &client_ops, NULL);
	assert_false(client.is_connected || client.is_closed); /* not from inside the call */
}

static bool is_accepted(void *arg)
{
	return client.is_connected && accepted.n == *(unsigned *)arg;
}

static bool has_reply(void *arg)
{
	return client.n == 5;
}

static void talk(const char *address, uint16_t port, unsigned nth)
{
	struct stream s;
	char got[16];
	client.n = 0;
	connect_to(&s, address, port);
	stream_send(&s, slice_text("early"), NULL);
	run_until(loop, is_accepted, &nth);
	assert_int_equal(fcntl(accepted.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(accepted.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(read(accepted.fd, got, sizeof got), 5);
	assert_memory_equal(got, "early", 5);
	assert_int_equal(write(accepted.fd, "reply", 5), 5);
	run_until(loop, has_reply, NULL);
	assert_memory_equal(client.got, "reply", 5);
	close(accepted.fd);
	run_until(loop, is_flag_set, &client.is_closed);
	assert_int_equal(client.why, STREAM_END_EOF);
}

static void a_star_listens_on_v4_and_v6(void **state)
{
	char text[ADDR_TEXT_MAX];
	listen_on("*");
	uint16_t port = listener_port(listener);
	assert_true(port > 0);
	talk("127.0.0.1", port, 1);
	assert_memory_equal(addr_text(&accepted.peer, text), "127.0.0.1:", 10);
	struct addr a;
	assert_true(addr_from_numeric(&a, "::1", 0));
	int probe = socket(AF_INET6, SOCK_STREAM, 0);
	if (probe >= 0 && bind(probe, (struct sockaddr *)&a.sa, a.len) == 0) { /* this machine has a v6 loopback */
		talk("::1", port, 2);
		assert_memory_equal(addr_text(&accepted.peer, text), "[::1]:", 6);
	}
	close(probe);
}

static void names_and_numbers_can_be_listened_on(void **state)
{
	listen_on("localhost");
	assert_true(listener_port(listener) > 0);
	listener_close(listener);
	listen_on("127.0.0.1");
	talk("127.0.0.1", listener_port(listener), 1);
	assert_null(listener_open(loop, "127.0.0.1", listener_port(listener), 1, on_client, NULL, &err));
	assert_non_null(strstr(err.text, "127.0.0.1"));
	assert_string_equal(err.sqlstate, "55006");
	assert_null(listener_open(loop, "not..a..name", 1, 1, on_client, NULL, &err));
	assert_non_null(strstr(err.text, "not..a..name"));
}

static void a_socket_file_has_the_mode_that_umask_leaves_and_is_removed(void **state)
{
	struct stat st;
	char path[120];
	mode_t before = umask(0007);
	listen_on(dir);
	umask(before);
	snprintf(path, sizeof path, "%s/.s.PGSQL.0", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0770);
	talk(dir, 0, 1);
	listener_close(listener);
	listener = NULL;
	assert_int_equal(stat(path, &st), -1);
}

static void a_stale_socket_file_is_replaced_a_live_one_is_not(void **state)
{
	struct addr a;
	char path[120];
	assert_true(addr_from_socket_dir(&a, dir, 0, &err));
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(dead, (struct sockaddr *)&a.sa, a.len), 0);
	close(dead);
	listen_on(dir);
	assert_null(listener_open(loop, dir, 0, 1, on_client, NULL, &err));
	assert_non_null(strstr(err.hint, "Another process"));
	talk(dir, 0, 2); /* the first was the question whether somebody is there */
	listener_close(listener);
	listener = NULL;
	snprintf(path, sizeof path, "%s/.s.PGSQL.0", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600)); /* somebody's file, no socket */
	assert_null(listener_open(loop, dir, 0, 1, on_client, NULL, &err));
	assert_int_equal(unlink(path), 0);
}

static void abstract_sockets_work(void **state)
{
	char name[64];
	snprintf(name, sizeof name, "@unit-listen-%d", getpid());
	listen_on(name);
	talk(name, 0, 1);
}

static void a_listener_may_close_itself_while_accepting(void **state)
{
	struct stream s[3];
	listen_on("127.0.0.1");
	uint16_t port = listener_port(listener);
	accepted.closes_listener = true;
	for (int i = 0; i < 3; i++)
		connect_to(&s[i], "127.0.0.1", port);
	unsigned one = 1;
	run_until(loop, is_accepted, &one);
	run_turns(loop, 3);
	assert_int_equal(accepted.n, 1);
	close(accepted.fd);
	for (int i = 0; i < 3; i++)
		stream_close(&s[i]);
}

static unsigned shed;

static void count_shed(struct stream *s, enum stream_end why, int error)
{
	shed++;
}

static bool are_shed(void *arg)
{
	return shed + accepted.n == 3;
}

static unsigned highest_fd(void)
{
	unsigned highest = 0;
	DIR *d = opendir("/proc/self/fd");
	for (struct dirent *e; (e = readdir(d));)
		highest = (unsigned)atoi(e->d_name) > highest ? (unsigned)atoi(e->d_name) : highest;
	closedir(d);
	return highest;
}

static void out_of_descriptors_connections_are_shed(void **state)
{
	static const struct stream_ops ops = { .on_data = client_data, .on_closed = count_shed };
	struct stream s[3];
	struct rlimit before, limit;
	struct addr a;
	listen_on(dir);
	assert_true(addr_from_socket_dir(&a, dir, 0, &err));
	for (int i = 0; i < 3; i++)
		stream_connect(&s[i], engine, &a, 0, &ops, NULL);
	/* Every number below the limit is taken from here on. */
	int plugs[256];
	unsigned n = 0;
	getrlimit(RLIMIT_NOFILE, &before);
	limit = before;
	limit.rlim_cur = highest_fd() + 1;
	setrlimit(RLIMIT_NOFILE, &limit);
	while (n < 256 && (plugs[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	assert_int_equal(errno, EMFILE);
	run_until(loop, are_shed, NULL);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(accepted.n, 0);
	assert_int_equal(shed, 3);
	while (n > 0)
		close(plugs[--n]);
	talk(dir, 0, 1); /* and works again */
}

static void a_refused_connection_is_told(void **state)
{
	struct stream s;
	listen_on("127.0.0.1");
	uint16_t port = listener_port(listener);
	listener_close(listener);
	listener = NULL;
	connect_to(&s, "127.0.0.1", port);
	stream_send(&s, slice_text("lost"), NULL);
	run_until(loop, is_flag_set, &client.is_closed);
	assert_false(client.is_connected);
	assert_int_equal(client.why, STREAM_END_ERROR);
	assert_int_equal(client.error, ECONNREFUSED);
	connect_to(&s, dir, 1);
	run_until(loop, is_flag_set, &client.is_closed);
	assert_int_equal(client.error, ENOENT);
}

static void connecting_may_be_given_up(void **state)
{
	struct stream s;
	listen_on("127.0.0.1");
	connect_to(&s, "127.0.0.1", listener_port(listener));
	stream_close(&s);
	connect_to(&s, dir, 1); /* fails at once, but is told later */
	stream_close(&s);
	run_turns(loop, 3);
	assert_false(client.is_connected || client.is_closed);
	if (accepted.n)
		close(accepted.fd);
}

static void a_goodbye_queued_while_connecting_arrives(void **state)
{
	struct stream s;
	char got[8];
	unsigned one = 1;
	listen_on("127.0.0.1");
	connect_to(&s, "127.0.0.1", listener_port(listener));
	stream_send(&s, slice_text("cancel"), NULL);
	stream_close_after_flush(&s);
	run_until(loop, is_flag_set, &client.is_closed);
	assert_int_equal(client.why, STREAM_END_EOF);
	client.is_connected = true;
	run_until(loop, is_accepted, &one);
	assert_int_equal(read(accepted.fd, got, sizeof got), 6);
	assert_int_equal(read(accepted.fd, got, sizeof got), 0);
	close(accepted.fd);
}

static void a_reset_is_an_error_not_an_eof(void **state)
{
	struct stream s;
	unsigned one = 1;
	listen_on("127.0.0.1");
	connect_to(&s, "127.0.0.1", listener_port(listener));
	run_until(loop, is_accepted, &one);
	setsockopt(accepted.fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
	close(accepted.fd);
	run_until(loop, is_flag_set, &client.is_closed);
	assert_int_equal(client.why, STREAM_END_ERROR);
	assert_int_equal(client.error, ECONNRESET);
}

static void the_descriptor_limit_is_raised(void **state)
{
	struct rlimit limit;
	uint64_t n = listen_raise_nofile();
	getrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(n, limit.rlim_cur);
	assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

/* Copies of the sockets, as another process would have them. */
static struct listener *adopt_copies(void)
{
	int fds[LISTENER_FDS_MAX], copies[LISTENER_FDS_MAX];
	unsigned n = listener_fds(listener, fds);
	for (unsigned i = 0; i < n; i++)
		copies[i] = dup(fds[i]);
	return listener_adopt(loop, copies, n, on_client, NULL);
}

static void a_listener_can_be_taken_over(void **state)
{
	listen_on(dir);
	struct listener *heir = adopt_copies();
	listener_abandon(listener);
	listener = heir;
	talk(dir, 0, 1); /* the file is still there, and so is who listens */
	listener_own_files(heir);
}

static void who_does_not_own_a_file_does_not_remove_it(void **state)
{
	listen_on(dir);
	struct listener *heir = adopt_copies();
	listener_close(heir);
	talk(dir, 0, 1);
}

static void what_waits_to_be_accepted_is_not_lost(void **state)
{
	struct stream s;
	unsigned one = 1;
	listen_on("127.0.0.1");
	uint16_t port = listener_port(listener);
	int waiting = socket(AF_INET, SOCK_STREAM, 0);
	struct addr a;
	assert_true(addr_from_numeric(&a, "127.0.0.1", port));
	assert_int_equal(connect(waiting, (struct sockaddr *)&a.sa, a.len), 0);
	struct listener *heir = adopt_copies();
	listener_abandon(listener);
	listener = heir;
	assert_int_equal(listener_port(heir), port);
	client.is_connected = true;
	run_until(loop, is_accepted, &one);
	close(accepted.fd);
	close(waiting);
	connect_to(&s, "127.0.0.1", port);
	one = 2;
	run_until(loop, is_accepted, &one);
	close(accepted.fd);
	stream_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_star_listens_on_v4_and_v6),
		T(names_and_numbers_can_be_listened_on),
		T(a_socket_file_has_the_mode_that_umask_leaves_and_is_removed),
		T(a_stale_socket_file_is_replaced_a_live_one_is_not),
		T(abstract_sockets_work),
		T(a_listener_may_close_itself_while_accepting),
		T(out_of_descriptors_connections_are_shed),
		T(a_refused_connection_is_told),
		T(connecting_may_be_given_up),
		T(a_goodbye_queued_while_connecting_arrives),
		T(a_reset_is_an_error_not_an_eof),
		T(the_descriptor_limit_is_raised),
		T(a_listener_can_be_taken_over),
		T(who_does_not_own_a_file_does_not_remove_it),
		T(what_waits_to_be_accepted_is_not_lost),
	};
	return UNIT_RUN(tests);
}
