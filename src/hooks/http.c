/*
 * http — lp.http(): one request, by libcurl's multi interface on the control thread's loop.
 *
 *   curl: "watch this socket", "wake me then" ──► loop_io, loop_timer ──► curl_multi_socket_action() ──► what is done: fibers go on
 *
 * In a simulation hooks/stage.h answers in curl's place.
 *
 * No redirects, no proxies of the environment, no other protocols than http and https; certificates are verified.
 *
 * Always: nothing of a script runs inside a call of libcurl's: what has ended is taken from its queue afterwards.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "header.h"
#include "priv.h"

#define BODY_MAX (1u << 20)
#define HEADERS_MAX (64u << 10)
#define TIMEOUT_S 10.
#define TIMEOUT_MOST_S 3600.

struct http {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
};

struct request {
	struct wait wait;
	struct fiber *fiber;
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body, head; /* of the answer */
	bool is_too_large;
	struct loop *loop;
	struct loop_timer played; /* in a simulation: until the answer, or the deadline */
	CURLcode played_code;
	long played_status;
	char why[CURL_ERROR_SIZE], name[200];
};

/* A socket that curl watches. */
struct watched {
	struct loop_io io;
	struct http *http;
};

/* ---- the loop ------------------------------------------------------------------------------------------------------------------ */

static void take_ended(struct http *h);

static void act(struct http *h, curl_socket_t fd, int events)
{
	int running;
	curl_multi_socket_action(h->multi, fd, events, &running);
	take_ended(h);
}

static void on_io(struct loop_io *io, unsigned events)
{
	struct watched *w = CONTAINER_OF(io, struct watched, io);
	int ready = (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
	act(w->http, io->ev.fd, ready); /* W may be gone */
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http *h = arg;
	struct watched *w = socket_arg;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_io_release(h->loop, &w->io);
		mem_free(w);
		return 0;
	}
	if (!w) {
		w = mem_alloc(sizeof *w);
		w->http = h;
		loop_io_init(&w->io, fd, on_io);
		curl_multi_assign(h->multi, fd, w);
	}
	loop_io_set(h->loop, &w->io, (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0));
	return 0;
}

static int on_timer_wanted(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;
	if (ms < 0)
		loop_timer_stop(h->loop, &h->timer);
	else
		loop_timer_start(h->loop, &h->timer, (uint64_t)ms * US_PER_MS);
	return 0;
}

static void on_timer(struct loop_timer *t)
{
	act(CONTAINER_OF(t, struct http, timer), CURL_SOCKET_TIMEOUT, 0);
}

static struct http *http_of(struct hooks *hooks)
{
	struct http *h = hooks->http;
	if (h)
		return h;
	h = hooks->http = mem_alloc(sizeof *h);
	h->loop = hooks->env.loop;
	loop_timer_init(&h->timer, on_timer);
	h->multi = curl_multi_init();
	if (!h->multi)
		die("out of memory: libcurl");
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_multi_cleanup(h->multi);
	loop_timer_stop(h->loop, &h->timer);
	mem_free(h);
}

/* ---- the answer ---------------------------------------------------------------------------------------------------------------- */

static size_t keep(struct request *r, struct buf *to, size_t most, const char *at, size_t n)
{
	r->is_too_large = buf_len(to) + n > most || !buf_append(to, slice_of(at, n));
	return r->is_too_large ? 0 : n;
}

static size_t on_body(char *at, size_t size, size_t n, void *arg)
{
	struct request *r = arg;
	return keep(r, &r->body, BODY_MAX, at, size * n);
}

static size_t on_header(char *at, size_t size, size_t n, void *arg)
{
	struct request *r = arg;
	return keep(r, &r->head, HEADERS_MAX, at, size * n);
}

static void end_request(struct request *r)
{
	if (r->http)
		curl_multi_remove_handle(r->http->multi, r->easy);
	loop_timer_stop(r->loop, &r->played);
	curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	buf_fini(&r->body);
	buf_fini(&r->head);
	mem_free(r);
}

static void http_cancel(struct wait *w)
{
	end_request(CONTAINER_OF(w, struct request, wait));
}

/* Names in small letters; of one that comes twice, the last. */
static void push_headers(lua_State *L, struct slice head)
{
	struct slice value;
	char name[HEADER_NAME_MAX];
	lua_newtable(L);
	while (header_next(&head, name, &value)) {
		lua_pushstring(L, name);
		lua_pushlstring(L, (const char *)value.at, value.len);
		lua_rawset(L, -3);
	}
}

struct http_end {
	struct request *request;
	CURLcode code;
	long status;
};

static int push_failure(lua_State *L, const struct http_end *e)
{
	const struct request *r = e->request;
	struct slice body = buf_slice(&r->body);
	struct action_error error = { .kind = e->code == CURLE_OPERATION_TIMEDOUT ? "timeout" : "http", .status = -1 };
	if (e->code == CURLE_OK) {
		error.status = (int)e->status;
		error.output = body.len ? body : slice_of("", 0);
		err_set(&error.err, "58000", "%s: status %ld", r->name, e->status);
	} else if (r->is_too_large) {
		err_set(&error.err, "54000", "%s: the answer has more than 1 MB, or 64 kB of headers", r->name);
	} else {
		err_set(&error.err, "58000", "%s: %s", r->name, r->why[0] ? r->why : curl_easy_strerror(e->code));
	}
	return error_push(L, &error);
}

static int push_end(lua_State *L, void *arg)
{
	const struct http_end *e = arg;
	if (e->code != CURLE_OK || e->status >= 400)
		return push_failure(L, e);
	struct slice body = buf_slice(&e->request->body);
	lua_createtable(L, 0, 3);
	lua_pushinteger(L, e->status);
	lua_setfield(L, -2, "status");
	lua_pushlstring(L, body.len ? (const char *)body.at : "", body.len);
	lua_setfield(L, -2, "body");
	push_headers(L, buf_slice(&e->request->head));
	lua_setfield(L, -2, "headers");
	return 1;
}

/* The fiber may ask again, or end the run: after each one the queue is looked at anew. */
static void take_ended(struct http *h)
{
	int left;
	for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
		struct http_end e = { .code = m->data.result };
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &e.request);
		curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &e.status);
		curl_multi_remove_handle(h->multi, e.request->easy);
		fiber_wake(e.request->fiber, push_end, &e);
		end_request(e.request);
	}
}

/* ---- the question ---------------------------------------------------------------------------------------------------------------- */

/* For people and logs: without what may be secret of an address, its user and its query. */
static bool name_request(struct request *r, const char *method, const char *url)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL, *path = NULL;
	bool is_good =
	    u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK;
	if (is_good)
		snprintf(r->name, sizeof r->name, "%.20s %.10s://%.80s%.80s", method, scheme, host, path);
	is_good = is_good && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	curl_free(scheme);
	curl_free(host);
	curl_free(path);
	curl_url_cleanup(u);
	return is_good;
}

/* { name = value } at INDEX; what is there is checked already. */
static struct curl_slist *headers_at(lua_State *L, int index)
{
	struct curl_slist *all = NULL;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		char line[2000];
		snprintf(line, sizeof line, "%s: %s", lua_tostring(L, -2), lua_tostring(L, -1));
		all = curl_slist_append(all, line);
	}
	return all;
}

static void check_headers(lua_State *L, int index)
{
	luaL_checktype(L, index, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		bool is_good = lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING;
		const char *name = is_good ? lua_tostring(L, -2) : "", *value = is_good ? lua_tostring(L, -1) : "";
		if (!is_good || !*name || strpbrk(name, ":\r\n ") || strpbrk(value, "\r\n") || strlen(name) + strlen(value) > 1900)
			luaL_error(L, "headers are names and texts, without line ends");
	}
}

static void set_up(struct request *r, const char *method, const char *url, struct slice body, double timeout_s, const char *ca)
{
	CURL *c = r->easy;
	curl_easy_setopt(c, CURLOPT_PRIVATE, r);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "lunapool");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(timeout_s * 1000) + 1);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->why);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
	if (ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, ca);
	if (body.at) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
		curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, (const char *)body.at);
	}
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	if (r->headers)
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers);
}

static bool is_method(const char *text)
{
	return *text && strlen(text) <= 20 && text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

/* ---- in a simulation ------------------------------------------------------------------------------------------------------------ */

static void on_played(struct loop_timer *t)
{
	struct request *r = CONTAINER_OF(t, struct request, played);
	const struct http_end e = { .request = r, .code = r->played_code, .status = r->played_status };
	fiber_wake(r->fiber, push_end, (void *)(uintptr_t)&e);
	end_request(r);
}

static int play(lua_State *L, struct request *r, const struct stage_request *q, double timeout_s)
{
	const struct hooks_env *env = &r->fiber->run->hooks->env;
	struct stage_reply reply = { 0 };
	uint64_t us = env->stage->request(env->stage->arg, q, &reply), most_us = (uint64_t)(timeout_s * (double)US_PER_S);
	r->played_code = us > most_us ? CURLE_OPERATION_TIMEDOUT : reply.status ? CURLE_OK : CURLE_COULDNT_CONNECT;
	r->played_status = reply.status;
	snprintf(r->why, sizeof r->why, "%s", us > most_us ? "" : reply.why);
	if (r->played_code == CURLE_OK && reply.body_len && keep(r, &r->body, BODY_MAX, reply.body, reply.body_len) == 0)
		r->played_code = CURLE_WRITE_ERROR;
	loop_timer_start(env->loop, &r->played, us < most_us ? us : most_us);
	return fiber_wait(L, r->fiber, &r->wait);
}

int act_http(lua_State *L)
{
	static const char *const known[] = { "url", "method", "headers", "body", "timeout", "ca", NULL };
	struct fiber *f = fiber_check(L);
	size_t len, body_len;
	lua_settop(L, 1);
	luaL_checktype(L, 1, LUA_TTABLE);
	check_options(L, 1, known);
	const char *url = text_option(L, 1, "url", &len), *body = text_option(L, 1, "body", &body_len);
	const char *method = text_option(L, 1, "method", &len), *ca = text_option(L, 1, "ca", &len);
	double timeout_s = number_option(L, 1, "timeout", TIMEOUT_S, 0.001, TIMEOUT_MOST_S);
	method = method ? method : body ? "POST" : "GET";
	if (!url || body_len > BODY_MAX || !is_method(method))
		return luaL_error(L, "%s",
		                  !url                  ? "url is missing"
		                  : body_len > BODY_MAX ? "body is at most 1 MB"
		                                        : "method is a word as GET");
	lua_getfield(L, 1, "headers");
	int headers = lua_isnil(L, -1) ? 0 : lua_gettop(L);
	if (headers)
		check_headers(L, headers);
	struct request *r = mem_alloc(sizeof *r);
	*r = (struct request){ .wait = { .cancel = http_cancel }, .fiber = f, .loop = f->run->hooks->env.loop };
	loop_timer_init(&r->played, on_played);
	if (!name_request(r, method, url)) {
		mem_free(r);
		return luaL_error(L, "url is no address of http or https");
	}
	snprintf(r->wait.what, sizeof r->wait.what, "%.90s", r->name);
	if (f->run->hooks->env.stage)
		return play(L, r, &(struct stage_request){ method, url, body, body_len }, timeout_s);
	r->http = http_of(f->run->hooks);
	r->headers = headers ? headers_at(L, headers) : NULL;
	r->easy = curl_easy_init();
	if (!r->easy)
		die("out of memory: libcurl");
	set_up(r, method, url, slice_of(body, body_len), timeout_s, ca);
	curl_multi_add_handle(r->http->multi, r->easy);
	return fiber_wait(L, f, &r->wait);
}
