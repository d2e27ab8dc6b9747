/*
 * The messages of protocol 3 after start-up (PostgreSQL "Message Formats"): byte, who sends it, name, least and greatest length of the
 * body, what it is for.  Framing limits and log names are made from this table.
 *
 * The greatest lengths of client messages are the server's own (tcop/postgres.c refuses more): _LARGE where text or values travel, _SMALL
 * for the rest.  Of a server's messages those that stream (rows, COPY, long errors) are bounded by what PostgreSQL can build, all others by
 * what we are ready to keep.
 */
#define MESSAGE_LARGE_FROM_CLIENT 0x3ffffffau
#define MESSAGE_SMALL_FROM_CLIENT 9996u
#define MESSAGE_LARGE_FROM_SERVER 0x40000000u

#ifdef MESSAGE
/* clang-format off */
/*      byte dir     name                        least  greatest                     sentence */
MESSAGE('Q', CLIENT, "Query",                     1, MESSAGE_LARGE_FROM_CLIENT, "one or more statements, answered up to ReadyForQuery")
MESSAGE('P', CLIENT, "Parse",                     4, MESSAGE_LARGE_FROM_CLIENT, "prepare a statement under a name, or as the unnamed one")
MESSAGE('B', CLIENT, "Bind",                      8, MESSAGE_LARGE_FROM_CLIENT, "make a portal of a prepared statement and values")
MESSAGE('D', CLIENT, "Describe",                  2, MESSAGE_SMALL_FROM_CLIENT, "ask for the parameters and columns of a statement or portal")
MESSAGE('E', CLIENT, "Execute",                   5, MESSAGE_SMALL_FROM_CLIENT, "run a portal, all of it or a number of rows")
MESSAGE('C', CLIENT, "Close",                     2, MESSAGE_SMALL_FROM_CLIENT, "drop a statement or portal")
MESSAGE('S', CLIENT, "Sync",                      0, MESSAGE_SMALL_FROM_CLIENT, "end of a segment: answered by ReadyForQuery")
MESSAGE('H', CLIENT, "Flush",                     0, MESSAGE_SMALL_FROM_CLIENT, "send what is ready; not answered")
MESSAGE('F', CLIENT, "FunctionCall",             10, MESSAGE_LARGE_FROM_CLIENT, "call a function by its oid")
MESSAGE('d', CLIENT, "CopyData",                  0, MESSAGE_LARGE_FROM_CLIENT, "a piece of a COPY FROM STDIN")
MESSAGE('c', CLIENT, "CopyDone",                  0, MESSAGE_SMALL_FROM_CLIENT, "the end of a COPY FROM STDIN")
MESSAGE('f', CLIENT, "CopyFail",                  1, MESSAGE_SMALL_FROM_CLIENT, "give a COPY FROM STDIN up, with a reason")
MESSAGE('X', CLIENT, "Terminate",                 0, MESSAGE_SMALL_FROM_CLIENT, "good-bye")
MESSAGE('p', CLIENT, "PasswordMessage",           0, 65531u,                    "a password or a step of SASL, during login only")

MESSAGE('R', SERVER, "Authentication",            4, 65536u,                    "what the server wants to know during login, or that it is content")
MESSAGE('K', SERVER, "BackendKeyData",            8, 260u,                      "process id and key for CancelRequest")
MESSAGE('S', SERVER, "ParameterStatus",           2, 1048576u,                  "the value of a setting that clients are told about")
MESSAGE('Z', SERVER, "ReadyForQuery",             1, 64u,                       "a segment or Query is finished; idle, in a transaction, or failed")
MESSAGE('v', SERVER, "NegotiateProtocolVersion",  8, 65536u,                    "an older minor version, and options that are not known")
MESSAGE('1', SERVER, "ParseComplete",             0, 0u,                        "answers Parse")
MESSAGE('2', SERVER, "BindComplete",              0, 0u,                        "answers Bind")
MESSAGE('3', SERVER, "CloseComplete",             0, 0u,                        "answers Close")
MESSAGE('t', SERVER, "ParameterDescription",      2, 262144u,                   "parameter types, first answer to Describe of a statement")
MESSAGE('T', SERVER, "RowDescription",            2, 16777216u,                 "the columns of the rows that follow or would follow")
MESSAGE('n', SERVER, "NoData",                    0, 0u,                        "answers Describe: there will be no rows")
MESSAGE('D', SERVER, "DataRow",                   2, MESSAGE_LARGE_FROM_SERVER, "a row")
MESSAGE('C', SERVER, "CommandComplete",           1, 4096u,                     "a statement is finished, with its tag")
MESSAGE('I', SERVER, "EmptyQueryResponse",        0, 0u,                        "there was no statement in the text")
MESSAGE('s', SERVER, "PortalSuspended",           0, 0u,                        "Execute's row limit was reached")
MESSAGE('G', SERVER, "CopyInResponse",            3, 131076u,                   "send CopyData now")
MESSAGE('H', SERVER, "CopyOutResponse",           3, 131076u,                   "CopyData follows")
MESSAGE('W', SERVER, "CopyBothResponse",          3, 131076u,                   "CopyData both ways: replication")
MESSAGE('d', SERVER, "CopyData",                  0, MESSAGE_LARGE_FROM_SERVER, "a piece of a COPY TO STDOUT")
MESSAGE('c', SERVER, "CopyDone",                  0, 0u,                        "the end of a COPY TO STDOUT")
MESSAGE('V', SERVER, "FunctionCallResponse",      4, MESSAGE_LARGE_FROM_SERVER, "answers FunctionCall")
MESSAGE('E', SERVER, "ErrorResponse",             1, MESSAGE_LARGE_FROM_SERVER, "a statement failed, or (FATAL) the connection ends")
MESSAGE('N', SERVER, "NoticeResponse",            1, MESSAGE_LARGE_FROM_SERVER, "a remark, at any time")
MESSAGE('A', SERVER, "NotificationResponse",      6, 65536u,                    "somebody sent NOTIFY")
/* clang-format on */
#undef MESSAGE
#endif
