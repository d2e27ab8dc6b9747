/*
 * control — the control thread's work: who comes in, who is primary, what signals say, and the end of the program.
 */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H

#include "base/err.h"
#include "conf/conf.h"

struct app;
struct control;
struct roles;
/* Neither accepts clients nor asks nodes yet.  The board shows a topology. */
struct control *control_new(struct app *a); /* makes A's catalog and auth, too */
/* Before control_listen(), at start only: sockets that systemd has opened for us, if it has; those of the process whose place we are to take. */
bool control_adopt(struct control *c, struct err *err) MUST_CHECK;
bool control_take_over(struct control *c, const struct conf *conf, struct err *err) MUST_CHECK;
/* The listeners that C asks for.  False with ERR: those that were open before still are. */
bool control_listen(struct control *c, const struct conf *conf, struct err *err) MUST_CHECK;
/* Everything is there to serve clients: the process whose place we take, if any, stops to accept them.  False with ERR: it goes on, and we shall not. */
bool control_commit(struct control *c, struct err *err) MUST_CHECK;
void control_begin(
    struct control *c); /* the workers run: asks nodes who is primary, heeds signals, tells systemd that we are ready */
void control_on_publish(struct control *c); /* a topology was published: frees the old one when nobody reads it any more */
void control_on_conf(struct control *c, unsigned parts); /* … and it holds another configuration; PARTS: conf_changes() */
struct roles *control_roles(struct control *c);          /* NULL: nobody is asked any more */
/* As a signal would have it; WHY is for the log. */
bool control_reload(struct control *c, struct err *err) MUST_CHECK;
void control_drain(struct control *c, const char *why);
void control_stop(struct control *c, const char *why);
void control_shut(struct control *c); /* listens no more and asks no node any more */
void control_free(struct control *c); /* after the workers have ended */

#endif
