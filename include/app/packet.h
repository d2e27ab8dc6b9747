/*
 * packet — what two Lunapools say to each other over a control socket: a line of text, perhaps with bytes behind it, perhaps with descriptors.
 *
 *   successor                       the one that serves
 *   TAKEOVER 1                ──►
 *                             ◄──   DOOR fixed port real_port address   + its sockets; one for each door
 *                             ◄──   CONTROL path                        + the control socket
 *                             ◄──   END
 *   READY keep|drop           ──►   (the control socket's file)
 *                             ◄──   YOURS        it accepts nobody any more
 *   CANCEL n pid\n key        ──►
 *                             ◄──   CANCELLED n
 *   PLAN                      ──►                                       (--dry-run)
 *                             ◄──   PLAN good|bad                       + a file: what would change; what is wrong
 *                             ◄──   NO why       at any time
 *
 * Who refuses says so: an end without a NO is the end of that process.
 */
#ifndef APP_PACKET_H
#define APP_PACKET_H

#include <sys/un.h>

#include "base/slice.h"
#include "conf/conf.h"
#include "net/listen.h"

#define PACKET_MAX 8192
struct packet {
	char text[PACKET_MAX + 1]; /* with a NUL behind it */
	size_t len;
	unsigned n_fds;
	int fds[LISTENER_FDS_MAX]; /* close-on-exec; the receiver's */
};
enum packet_result { PACKET_OK, PACKET_NONE, PACKET_END };

bool packet_send(int fd, const void *bytes, size_t len, const int *fds,
                 unsigned n_fds) MUST_CHECK; /* false: nobody is there, or it does not read */
bool packet_say(int fd, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
enum packet_result packet_recv(int fd, struct packet *p) MUST_CHECK; /* NONE: it would block, or a time-out */
void packet_close_fds(struct packet *p);
bool packet_is_over(int fd); /* nobody is there any more; what was said before may be waiting */
/* What follows WORD and a space; NULL: it begins with another word. */
const char *packet_after(const struct packet *p, const char *word);

/* What stands behind the words; false: it is not that. */
struct packet_door { /* DOOR */
	unsigned is_fixed, port, real_port;
	const char *address;
};
bool packet_read_door(const char *text, struct packet_door *out) MUST_CHECK;
struct packet_control { /* CONTROL */
	bool is_fixed;
	const char *path;
};
bool packet_read_control(const char *text, struct packet_control *out) MUST_CHECK;
struct packet_cancel { /* CANCEL: all of the packet, since the key is bytes */
	unsigned long long number;
	uint32_t pid;
	struct slice key;
};
bool packet_read_cancel(const struct packet *p, struct packet_cancel *out) MUST_CHECK;

/* Where C has its control socket; heap, "" for nowhere. */
char *packet_path(const struct conf *c);
bool packet_addr(const char *path, struct sockaddr_un *out, struct err *err) MUST_CHECK;

#endif
