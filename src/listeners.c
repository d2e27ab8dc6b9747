/*
 * listeners — the sockets that the configuration asks for, and how they change on reload.
 *
 * A listener is known by what was asked for: (address, port).  What is wanted and open stays open, what is wanted and new is opened
 * first, what is not wanted any more is closed last; backlog and permissions change in place when all that has succeeded.  Where old and new exclude each other ("*" and one of its
 * addresses on one port), the old ones are closed for a moment, and opened again should the new ones fail.
 *
 * Doors may come open from elsewhere.  Those of systemd take the place of all that the configuration names.  Those of a process whose place we
 * take are two processes' until listeners_settle(): only then are those that nobody wants closed, and their files removed.
 */
#include "app/listeners.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dlist.h"
#include "base/log.h"
#include "base/mem.h"

struct door {
	struct dlist link;
	char *address;
	uint16_t port, real_port; /* as asked for, 0 stays 0; as it came out */
	unsigned mode;
	int backlog;
	bool is_wanted;
	bool is_fixed;             /* systemd's: it stays, whatever the configuration says */
	bool is_inherited;         /* from the process whose place we take; its files are not ours yet */
	struct listener *listener; /* NULL: not open */
};

struct listeners {
	struct loop *loop;
	listen_client_fn on_client;
	void *arg;
	bool has_fixed;
	struct dlist doors;
};

static struct door *door_of(struct dlist *link)
{
	return CONTAINER_OF(link, struct door, link);
}

static bool is_socket_dir(const char *address)
{
	return address[0] == '/' || address[0] == '@';
}

static void door_close(struct door *d)
{
	if (!d->listener)
		return;
	log_info(NULL, "listening_ended", KV_STR("address", d->address), KV_INT("port", d->real_port));
	listener_close(d->listener);
	d->listener = NULL;
}

static void door_free(struct door *d)
{
	door_close(d);
	dlist_remove(&d->link);
	mem_free(d->address);
	mem_free(d);
}

/* What is opened again gets the port that it had.  With port 0 the unix socket is called after the port of the first TCP address. */
static uint16_t port_to_open(struct listeners *l, const struct door *d)
{
	if (d->real_port)
		return d->real_port;
	if (d->port == 0 && is_socket_dir(d->address))
		DLIST_EACH(it, &l->doors)
	if (door_of(it)->listener && door_of(it)->is_wanted && !is_socket_dir(door_of(it)->address))
		return door_of(it)->real_port;
	return d->port;
}

static bool door_open(struct listeners *l, struct door *d, struct err *err)
{
	uint16_t port = port_to_open(l, d);
	if (port == 0 && is_socket_dir(d->address))
		return err_set(err, "F0000", "the unix socket in \"%s\" needs a port other than 0, or a TCP address beside it",
		               d->address);
	/* A socket file must never be more open than it shall be, not even for a moment. */
	mode_t before = umask(~(mode_t)d->mode & 0777);
	d->listener = listener_open(l->loop, d->address, port, d->backlog, l->on_client, l->arg, err);
	umask(before);
	if (!d->listener)
		return false;
	d->real_port = is_socket_dir(d->address) ? port : listener_port(d->listener);
	log_info(NULL, "listening", KV_STR("address", d->address), KV_INT("port", d->real_port));
	return true;
}

static bool open_wanted(struct listeners *l, struct err *err)
{
	DLIST_EACH(it, &l->doors)
	{
		struct door *d = door_of(it);
		if (d->is_wanted && !d->listener && !door_open(l, d, err))
			return false;
	}
	return true;
}

/* Marks the door for (ADDRESS, PORT) as wanted; makes it, closed, when there is none. */
static void want(struct listeners *l, const char *address, const struct conf_listen *c)
{
	DLIST_EACH(it, &l->doors)
	{
		struct door *d = door_of(it);
		if (strcmp(d->address, address) == 0 && d->port == c->port) {
			d->is_wanted = true;
			return;
		}
	}
	struct door *d = mem_alloc(sizeof *d);
	d->address = mem_text(address);
	d->port = (uint16_t)c->port;
	d->mode = (unsigned)c->unix_socket_mode;
	d->backlog = (int)c->backlog;
	d->is_wanted = true;
	dlist_push_back(&l->doors, &d->link);
}

static void want_all(struct listeners *l, const struct conf_listen *c)
{
	DLIST_EACH(it, &l->doors)
	door_of(it)->is_wanted = door_of(it)->is_fixed;
	if (l->has_fixed)
		return;
	for (size_t i = 0; i < c->address.n; i++)
		want(l, c->address.at[i], c);
	if (c->unix_socket_dir[0])
		want(l, c->unix_socket_dir, c);
}

static void adjust_all(struct listeners *l, const struct conf_listen *c)
{
	DLIST_EACH(it, &l->doors)
	{
		struct door *d = door_of(it);
		if (d->mode == (unsigned)c->unix_socket_mode && d->backlog == (int)c->backlog)
			continue;
		d->mode = (unsigned)c->unix_socket_mode;
		d->backlog = (int)c->backlog;
		listener_adjust(d->listener, d->backlog, d->mode);
	}
}

/* True when there was one. */
static bool close_unwanted(struct listeners *l)
{
	bool was_open = false;
	DLIST_EACH(it, &l->doors)
	{
		struct door *d = door_of(it);
		if (d->is_wanted || !d->listener || d->is_inherited)
			continue;
		door_close(d);
		was_open = true;
	}
	return was_open;
}

/* Forgets the doors that are shut. */
static void sweep(struct listeners *l)
{
	DLIST_EACH(it, &l->doors)
	if (!door_of(it)->listener)
		door_free(door_of(it));
}

/* Back to what was open before: the doors behind LAST_OLD were made for the attempt. */
static void take_back(struct listeners *l, struct dlist *last_old)
{
	while (l->doors.prev != last_old)
		door_free(door_of(l->doors.prev));
	DLIST_EACH(it, &l->doors)
	{
		struct err err;
		if (!door_of(it)->listener && !door_open(l, door_of(it), &err))
			log_error(NULL, "listening_lost", KV_STR("address", door_of(it)->address), KV_ERR(&err));
	}
	sweep(l);
}

struct listeners *listeners_new(struct loop *loop, listen_client_fn on_client, void *arg)
{
	struct listeners *l = mem_alloc(sizeof *l);
	l->loop = loop;
	l->on_client = on_client;
	l->arg = arg;
	dlist_init(&l->doors);
	return l;
}

void listeners_adopt(struct listeners *l, const struct listeners_door *from, bool is_inherited)
{
	struct door *d = mem_alloc(sizeof *d);
	d->address = mem_text(from->address);
	d->port = from->port;
	d->real_port = from->real_port;
	d->mode = UINT_MAX; /* both are set when the configuration is applied */
	d->is_fixed = from->is_fixed;
	d->is_inherited = is_inherited;
	d->listener = listener_adopt(l->loop, from->fds, from->n_fds, l->on_client, l->arg);
	l->has_fixed |= d->is_fixed;
	dlist_push_back(&l->doors, &d->link);
	log_info(NULL, "listening", KV_STR("address", d->address), KV_INT("port", d->real_port),
	         KV_STR("from", is_inherited ? "takeover" : "systemd"));
}

void listeners_each(struct listeners *l, void (*fn)(void *arg, const struct listeners_door *door), void *arg)
{
	DLIST_EACH(it, &l->doors)
	{
		const struct door *d = door_of(it);
		struct listeners_door told = {
			.address = d->address, .port = d->port, .real_port = d->real_port, .is_fixed = d->is_fixed
		};
		if (!d->listener)
			continue;
		told.n_fds = listener_fds(d->listener, told.fds);
		fn(arg, &told);
	}
}

void listeners_settle(struct listeners *l)
{
	DLIST_EACH(it, &l->doors)
	{
		struct door *d = door_of(it);
		if (d->is_inherited && !d->is_fixed) {
			listener_own_files(d->listener);
			if (d->is_wanted)
				listener_adjust(d->listener, d->backlog, d->mode);
		}
		d->is_inherited = false;
	}
	close_unwanted(l);
	sweep(l);
}

void listeners_abandon(struct listeners *l)
{
	DLIST_EACH(it, &l->doors)
	{
		struct door *d = door_of(it);
		if (d->listener)
			listener_abandon(d->listener);
		d->listener = NULL;
	}
	sweep(l);
}

bool listeners_apply(struct listeners *l, const struct conf_listen *c, struct err *err)
{
	struct dlist *last_old = l->doors.prev;
	want_all(l, c);
	bool is_open = open_wanted(l, err);
	if (!is_open && close_unwanted(l)) /* an old one may have been in the way */
		is_open = open_wanted(l, err);
	if (!is_open) {
		take_back(l, last_old);
		return false;
	}
	close_unwanted(l);
	sweep(l);
	adjust_all(l, c);
	return true;
}

void listeners_close(struct listeners *l)
{
	while (!dlist_is_empty(&l->doors))
		door_free(door_of(l->doors.next));
}

void listeners_free(struct listeners *l)
{
	listeners_close(l);
	mem_free(l);
}
