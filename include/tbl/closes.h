/* closes — why a client connection ended: X(NAME, "word in the log", sentence). */
#ifndef TBL_CLOSES_H
#define TBL_CLOSES_H

#define CLOSES(X)                                                                                     \
	X(TERMINATE, "terminate", "the client said goodbye")                                              \
	X(EOF, "eof", "the client closed its socket without Terminate")                                   \
	X(ERROR, "socket_error", "the socket failed")                                                     \
	X(PROTOCOL, "protocol", "the client broke the protocol")                                          \
	X(REFUSED, "refused", "login refused: hba, password, database or limits")                         \
	X(LOGIN_TIMEOUT, "login_timeout", "the login took longer than login_timeout")                     \
	X(IDLE_TIMEOUT, "client_idle_timeout", "idle for longer than client_idle_timeout")                \
	X(IDLE_TRANSACTION, "idle_transaction_timeout", "idle in a transaction for too long")             \
	X(TRANSACTION, "transaction_timeout", "a transaction lasted for longer than transaction_timeout") \
	X(MEMORY, "memory_limit", "it held most when memory_limit was reached")                           \
	X(LOST_PIN, "lost_pinned_server", "the server that held the session's state was lost")            \
	X(LOST_MESSAGE, "lost_server", "the server was lost in the middle of a message to the client")    \
	X(LINK_ENDED, "replication_ended", "the server of a replication connection was lost")             \
	X(KILLED, "killed", "an administrator ended it")                                                  \
	X(SHUTDOWN, "shutdown", "Lunapool is stopping")                                                   \
	X(CANCEL_DONE, "cancel_done", "a CancelRequest was carried out")

#endif
