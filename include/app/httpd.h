/*
 * httpd — answers GET over HTTP, for monitoring: what a path's page says now.  libmicrohttpd is used in httpd.c only, in the control thread's loop.
 *
 * There is no login: whoever reaches the port may look.  At most 32 connections, each with 10 s to ask and to read.
 */
#ifndef APP_HTTPD_H
#define APP_HTTPD_H

#include "net/loop.h"

struct httpd;
/* The page of PATH, which may have been freed before the next call: malloc()ed, of *LEN bytes, with its *TYPE and *STATUS (200); NULL: there is none. */
typedef char *(*httpd_page_fn)(void *arg, const char *path, size_t *len, const char **type, unsigned *status);
struct httpd *httpd_new(struct loop *loop, httpd_page_fn fn, void *arg);
void httpd_free(struct httpd *h);
/* Listens at ADDRESS (as listener_open() takes it), PORT from now on; -1: nowhere.  What cannot be opened is tried again each second. */
void httpd_apply(struct httpd *h, const char *address, int port);

#endif
