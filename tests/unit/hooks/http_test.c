/* lp.http(), at a server of a thread's own: answers, errors, bounds, deadlines. */
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hooksrig.h"

static struct hooksrig rig;
static int listener;
static pthread_t server;
static char url[64];

static void say(int fd, const char *text)
{
	size_t left = strlen(text);
	while (left) {
		ssize_t n = send(fd, text + strlen(text) - left, left, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		left -= (size_t)n;
	}
}

static void say_much(int fd)
{
	static char much[1 << 16];
	memset(much, 'x', sizeof much - 1);
	say(fd, "HTTP/1.0 200 OK\r\n\r\n");
	for (int i = 0; i < 64; i++)
		say(fd, much);
}

/* The request as it came, until the blank line and what Content-Length says. */
static void answer(int fd)
{
	char in[4000] = "", out[5000];
	size_t n = 0, body = 0;
	char *end = NULL, *length;
	while (!end || strlen(end + 4) < body) {
		ssize_t got = recv(fd, in + n, sizeof in - 1 - n, 0);
		if (got <= 0)
			return;
		in[n += (size_t)got] = '\0';
		end = strstr(in, "\r\n\r\n");
		length = strstr(in, "Content-Length: ");
		body = length ? (size_t)atol(length + 16) : 0;
	}
	if (strstr(in, " /hang"))
		recv(fd, in, 1, 0); /* until the other side has had enough */
	else if (strstr(in, " /much"))
		say_much(fd);
	else if (strstr(in, " /broken"))
		say(fd, "nonsense\r\n\r\n");
	else if (strstr(in, " /sick"))
		say(fd, "HTTP/1.1 503 Sick\r\nContent-Length: 7\r\n\r\nnot now");
	else if (strstr(in, " /elsewhere"))
		say(fd, "HTTP/1.1 302 Found\r\nLocation: /sick\r\nContent-Length: 0\r\n\r\n");
	else {
		snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nX-Note:  a b \r\nContent-Length: %zu\r\n\r\n%s", n, in);
		say(fd, out);
	}
}

static void *serve(void *arg)
{
	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
		answer(fd);
	return NULL;
}

static int open_rig(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(listener, 10), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(sa.sin_port));
	assert_int_equal(pthread_create(&server, NULL, serve, NULL), 0);
	hooksrig_open(&rig);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	shutdown(listener, SHUT_RDWR);
	pthread_join(server, NULL);
	close(listener);
	return 0;
}

static const char *ran(const char *body)
{
	static char text[2000];
	snprintf(text, sizeof text, "local url = '%s' %s", url, body);
	return hooksrig_run(&rig, text);
}
#define SAYS(body, expected) assert_string_equal(ran(body), expected)

static void what_is_asked_is_answered(void **state)
{
	SAYS("local r = lp.http { url = url .. '/a?b=c' } return r.status .. ' ' .. r.headers['x-note'] .. ' ' .. "
	     "r.body:match('[^\\r]*')",
	     "200 a b GET /a?b=c HTTP/1.1");
	SAYS("local r = lp.http { url = url, method = 'PUT', body = 'it', headers = { Token = 'x y' } } "
	     "return r.body:match('PUT') .. r.body:match('Token: [^\\r]*') .. r.body:sub(-2)",
	     "PUTToken: x yit");
	SAYS("return lp.http { url = url, body = 'it' }.body:match('POST')", "POST");
	SAYS("return '' .. lp.http { url = url .. '/elsewhere' }.status", "302");
	SAYS("local all = lp.parallel({ 1, 2, 3 }, function(i) return lp.http { url = url .. '/' .. i }.body:match('/%d') end) "
	     "return table.concat(all)",
	     "/1/2/3");
}

static void what_fails_says_why(void **state)
{
	SAYS("local r, err = lp.http { url = url .. '/sick?secret=1' } return err.kind .. ' ' .. err.status .. ' ' .. err.output .. "
	     "' ' .. err.message",
	     "http 503 not now GET http://127.0.0.1/sick: status 503");
	SAYS("local r, err = lp.http { url = 'http://user:pass@127.0.0.1:1/' } return err.kind .. ' ' .. "
	     "err.message:match('^[^:]*://[^:]*')",
	     "http GET http://127.0.0.1/");
	SAYS("local r, err = lp.http { url = url .. '/broken' } return err.kind", "http");
	SAYS("local r, err = lp.http { url = url .. '/much' } return err.message",
	     "GET http://127.0.0.1/much: the answer has more than 1 MB, or 64 kB of headers");
	SAYS("local r, err = lp.http { url = url .. '/hang', timeout = 0.1 } return err.kind", "timeout");
	SAYS("local r, err = lp.deadline(0.1, function() lp.http { url = url .. '/hang' } end) return err.kind", "timeout");
}

static void wrong_use_is_an_error_with_its_line(void **state)
{
	SAYS("lp.http {}", "error: main.lua:1: url is missing");
	SAYS("lp.http { url = 'file:///etc/passwd' }", "error: main.lua:1: url is no address of http or https");
	SAYS("lp.http { url = url, method = 'get it' }", "error: main.lua:1: method is a word as GET");
	SAYS("lp.http { url = url, headers = { ['a\\r\\nb'] = 'c' } }",
	     "error: main.lua:1: headers are names and texts, without line ends");
	SAYS("lp.http { url = url, verb = 'GET' }", "error: main.lua:1: there is no option verb");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = { UNIT(what_is_asked_is_answered), UNIT(what_fails_says_why),
		                                UNIT(wrong_use_is_an_error_with_its_line) };
	return UNIT_RUN(tests);
}
