/* states — what a session can be doing: X(NAME, "name in logs and SHOW", sentence).  The order is a life's. */
#ifndef TBL_STATES_H
#define TBL_STATES_H

#define SESSION_STATES(X)                                                                                       \
	X(STARTUP, "startup", "waits for the first packet")                                                         \
	X(AUTH, "auth", "proves who it is")                                                                         \
	X(ASKING, "asking", "waits to hear whether it may come in from somebody who knows")                         \
	X(REFUSING, "refusing", "could not prove who it is and is told so in a moment")                             \
	X(WELCOME, "welcome", "waits for a server that tells which parameters a new client is to be told")          \
	X(READY, "ready", "reads and forwards messages")                                                            \
	X(WAIT_SERVER, "waiting", "holds a message until the pool has a server")                                    \
	X(WAIT_PRIMARY, "no_primary", "holds a message until a primary is known")                                   \
	X(WAIT_PAUSED, "paused", "holds a message until its database is resumed")                                   \
	X(WAIT_PIN, "waiting_pin", "holds a statement that would keep a server until max_pinned allows it")         \
	X(WAIT_FACTS, "waiting_catalog", "holds a statement until it is known what the functions that it calls do") \
	X(WAIT_FRESH, "waiting_fresh", "holds a read until a standby shows what it must see")                       \
	X(WAIT_QUIET, "settling", "holds a message until its server has answered what was sent before")             \
	X(CONSOLE, "console", "asks the admin console")                                                             \
	X(CANCELLING, "cancelling", "is a CancelRequest whose cancel is under way")                                 \
	X(LINK, "replication", "is a replication connection with a server of its own")                              \
	X(CLOSED, "closed", "is gone when the callbacks have unwound")

#endif
