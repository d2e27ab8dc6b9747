/* priv — what only session/ may see: the session itself, and the verbs that its files offer each other. */
#ifndef SESSION_PRIV_H
#define SESSION_PRIV_H

#include <pthread.h>

#include "auth/auth.h"
#include "base/dlist.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "session/session.h"
#include "tbl/closes.h"
#include "tbl/states.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/replies.h"
#include "wire/scram.h"
#include "wire/startmsg.h"
#include "wire/writer.h"

#define SESSION_STATE_ENUM(name, word, sentence) SESSION_##name,
enum session_state { SESSION_STATES(SESSION_STATE_ENUM) SESSION_STATE_COUNT };
#define CLOSE_ENUM(name, word, sentence) CLOSE_##name,
enum close_reason { CLOSES(CLOSE_ENUM) CLOSE_COUNT };

/* Why a session keeps its server; bits. */
enum pin {
	PIN_TEMP = 1 << 0, /* temporary objects */
	PIN_HOLD = 1 << 1, /* WITH HOLD cursors */
	PIN_LISTEN = 1 << 2,
	PIN_LOCK = 1 << 3,     /* session advisory locks */
	PIN_SEQUENCE = 1 << 4, /* a value that currval/lastval may ask for */
	PIN_OPAQUE = 1 << 5,   /* a statement whose effect on the session cannot be seen */
	PIN_MODE = 1 << 6,     /* session pooling: no matter of state, and not counted against max_pinned */
};
#define PIN_STATE (PIN_TEMP | PIN_HOLD | PIN_LISTEN | PIN_LOCK | PIN_SEQUENCE | PIN_OPAQUE)

/* The transaction as the client knows it while no server takes part in it. */
enum vtx {
	VTX_NONE,     /* what the server says holds; without one: idle */
	VTX_DEFERRED, /* BEGIN was answered and travels with the first statement */
	VTX_FAILED,   /* failed without a server: everything but its end gets 25P02 */
};

/* That BEGIN, from when it is sent.  While it may fail, nothing may go out behind its segment: it would run by itself. */
enum begin {
	BEGIN_NONE,
	BEGIN_SENT,
	BEGIN_REFUSED, /* it, or what went ahead of it, has failed: at ReadyForQuery the client's transaction becomes VTX_FAILED */
};

/* What BEGIN says of its transaction; bits. */
enum mode_bit {
	MODE_READ_ONLY = 1 << 0,
	MODE_READ_WRITE = 1 << 1,
	MODE_DEFERRABLE = 1 << 2,
	MODE_NOT_DEFERRABLE = 1 << 3,
	MODE_UNCOMMITTED = 1 << 4,
	MODE_COMMITTED = 1 << 5,
	MODE_REPEATABLE = 1 << 6,
	MODE_SERIALIZABLE = 1 << 7,
};
#define MODE_LEVELS (MODE_UNCOMMITTED | MODE_COMMITTED | MODE_REPEATABLE | MODE_SERIALIZABLE)

/* ---- sets of enum sql_kind ------------------------------------------------------------------------------------------ */

#define KIND(name) (UINT64_C(1) << SQL_##name)
/* They work on the database, and on nothing of the session's or transaction's but what their effects tell. */
#define DATA_KINDS                                                                                                            \
	(KIND(OTHER) | KIND(SELECT) | KIND(INSERT) | KIND(UPDATE) | KIND(DELETE) | KIND(MERGE) | KIND(COPY_IN) | KIND(COPY_OUT) | \
	 KIND(EXPLAIN) | KIND(LOCK))
static inline bool kind_is_of(uint8_t kind, uint64_t kinds)
{
	return kinds >> kind & 1;
}

/* ---- statement.c: virtual statements ------------------------------------------------------------------------------ */

/* A statement as clients prepared it: text and parameter types, once per worker and pool, shared, reference-counted. */
struct statement {
	uint32_t refs;
	bool by_sql;                     /* made by PREPARE: `text` is the part behind the name; else by Parse */
	uint8_t asks;                    /* enum asks: no server has it */
	bool names_statements;           /* its text is EXECUTE or DEALLOCATE itself: rewritten, and prepared anew, each time */
	struct hash128 key;              /* of pool, text, types and generation */
	uint64_t generation;             /* of DDL, when it was prepared */
	struct hash128 last_key;         /* under which a server last had it: what an error may name */
	struct hash128 named_key;        /* what `name` was made from, which is nearly always what the next Bind needs */
	char name[STMTS_NAME_MAX];       /* "" before the first time */
	struct sql_class *class, *plain; /* as the catalogue sees it; by its text alone */
	uint64_t informed_by;            /* facts_id() of what the catalogue was then */
	uint64_t columns;                /* a hash of those that a client was told; 0: nobody was */
	uint64_t columns_scope;          /* settings_name_scope() of that client */
	bool has_other_columns;          /* … which are others now */
	uint64_t accepted_generation;    /* DDL generation + 1 under which a server last accepted it in `accepted_scope`; 0 never */
	uint64_t accepted_scope;
	uint32_t text_len, types_len; /* bytes; types: the Parse message's count and OIDs as they came */
	char body[];                  /* text NUL types */
};

/* ---- reply tags: what an entry of the reply queue was for, and what its ref is ------------------------------------- */
enum tag {
	TAG_PLAIN,       /* ref NULL */
	TAG_EFFECT,      /* struct effect: a statement with effects on the session's books */
	TAG_PARSE,       /* struct naming: a client's Parse */
	TAG_CLOSE,       /* struct naming: a client's Close of a statement */
	TAG_DROP,        /* struct naming: the unnamed statement that the Query behind it drops; not answered */
	TAG_SETUP,       /* struct settings that are applied once this is done; NULL for its Parse and Bind */
	TAG_TRIAL,       /* as TAG_SETUP, in a segment of its own, with its Sync: goes again behind BEGIN, where its failure counts */
	TAG_SETUP_BEGIN, /* the deferred BEGIN */
	TAG_LEVEL,       /* our own SHOW transaction_isolation (awaytx.c) */
	TAG_SETUP_SYNC,  /* the Sync behind a setup that goes ahead alone */
	TAG_REPREPARE,   /* struct preparing: our own Parse (or PREPARE) of a statement that this server lacked */
	TAG_DESCRIBE,    /* struct statement: a client's Describe of it, or of a portal of it */
	TAG_COLUMNS,     /* struct statement: our own Describe (columns.c) */
	TAG_EVICT,       /* struct preparing: a Close of ours */
	TAG_OURS,        /* a message of ours whose answer tells nothing: a PREPARE's Parse and Bind, an empty Query */
	TAG_REFUSAL,     /* struct err: a statement that was made to fail; its error is replaced by this one */
	TAG_SAID,        /* struct said: what we answer to it, instead of the server */
	TAG_PART,        /* a Sync: what was notified so far comes before its answer; then the server is left (hearing.c) */
	TAG_CHANNELS,    /* the Sync behind LISTENs that are repeated (hearing.c) */
	TAG_CLEAN_SYNC,  /* the Sync that ends a segment which our own setup made fail in front of a Query */
};

struct said {
	uint32_t len;
	uint8_t bytes[]; /* messages */
};

/* How an entry ended. */
enum ending { ENDED_DONE, ENDED_FAILED, ENDED_SKIPPED, ENDED_LOST };

struct effect { /* what completing a statement does to the books */
	struct sql_class *class;
	struct effect_name { /* PREPARE and DEALLOCATE */
		uint32_t part;
		struct statement *st; /* PREPARE: a reference, to be registered when the part completes; else NULL */
		struct hash128 key;   /* as on the server */
		char *name;
		struct naming *under_way; /* from when it is sent until the part ends */
	} * names;
	unsigned n_names, n_shifts;
	struct
	    effect_shift { /* a rewritten Query: behind character `from` of the client's text, that of the server's is `by` longer */
		uint32_t from;
		int32_t by;
	} * shifts;
	bool is_query;  /* parts of a Query; else the one of an Execute */
	bool discarded; /* its DISCARD ALL or DEALLOCATE ALL completed */
	/* set_config with parameters: as bound */
	char *name, *value;
	int8_t is_local; /* -1: unknown */
};

/* What a name of the client means.  Always: `settled` and each change's `is` are references. */
struct meaning {
	struct statement *settled; /* by the answers so far; NULL: nothing */
	struct naming *last;       /* the youngest change under way; its `next` is the oldest; NULL: none */
};

struct naming { /* a change of a name, until its answer */
	struct naming *next;
	struct meaning *of;
	struct statement *is; /* NULL: the name is free behind it */
	uint64_t segment;
	uint32_t order; /* among the changes of the session */
	bool on_server; /* a real Parse went to the server: its success is news about `is` */
	bool is_kept;   /* … under server_key */
	struct hash128 server_key;
	uint64_t generation, scope;
};

struct name {
	struct meaning meaning;
	uint16_t len;
	char text[];
};

struct names {          /* all but the unnamed one; made when the first is named */
	struct map by_name; /* struct name */
	uint32_t order, discard_order;
	uint32_t discards; /* DISCARD ALL and DEALLOCATE ALL under way; the last at discard_order */
};

struct preparing { /* a statement that we prepare or close on the server */
	struct hash128 server_key;
	struct statement *st; /* NULL for a Close */
	uint64_t segment;     /* that it was sent in */
	bool was_there;       /* Close: the server had it before */
	uint64_t generation, scope;
};

/* ---- the session -------------------------------------------------------------------------------------------------------- */

struct savepoint {
	struct savepoint *below;
	struct settings *vars;
	struct channels *channels;
	uint16_t pins;
	char name[];
};

/* What is only needed until the client is welcome. */
struct session_login {
	struct startmsg_kept {
		char *user, *database;
		uint16_t minor;
		bool is_replication_physical, is_replication_logical;
	} start;
	uint8_t ssl_asked, gss_asked;
	/* clientauth.c */
	uint8_t step;      /* enum in prove.c */
	uint8_t secret_is; /* enum secret_kind of `secret`, or of what it would be */
	bool is_asked;     /* the secret comes from a server */
	bool has_fresh;    /* … which was asked once more after a failure */
	bool has_keys;     /* those of a clear password are in `scram` */
	uint8_t md5_salt[4];
	struct hba *hba; /* a reference, for `rule` */
	const struct hba_rule *rule;
	char *secret; /* as it is stored; NULL: none */
	char *said;   /* the client's password, or its answer to the MD5 challenge */
	struct auth_question *question;
	char host[256];
	size_t n_roles;
	char **roles;
	bool has_host, has_roles;
	bool is_admitted;  /* the policy was asked and has nothing against it */
	uint64_t began_us; /* clock_us() */
	uint64_t said_us;  /* … of the client's message that is judged */
	uint64_t wait_us;  /* ASKING and REFUSING last at most so long */
	struct err refusal;
	struct scram_server scram;
	struct upstream_keys keys; /* what the client has shown that lets us log in to servers as him */
	uint8_t *startup;          /* replication: the client's parameters, to be passed on */
	size_t startup_len;
};

struct policy_decision;
struct steering;
struct policy_vm;
struct ledger;

/* How it was decided where a statement runs: HOW(), and what became of it. */
#define HOW(by, kind, only_reads) ((uint32_t)(by) | (uint32_t)(kind) << 4 | (uint32_t)(only_reads) << 7)
#define HOW_BY(how) ((how)&15u)               /* enum decider */
#define HOW_KIND(how) ((how) >> 4 & 7u)       /* enum policy_kind */
#define HOW_ONLY_READS(how) ((how) >> 7 & 1u) /* the unit could go to a standby */
enum {
	HOW_AWAY = 1 << 8,     /* it ran on a standby */
	HOW_RETURNED = 1 << 9, /* … which could not answer it */
	HOW_HERE = 1 << 10,    /* it needed no server */
	HOW_REFUSED = 1 << 11, /* the policy did not want it */
	/* nobody was asked: */
	HOW_TRANSACTION = 1 << 12,
	HOW_PINNED = 1 << 13,
	HOW_SESSION_MODE = 1 << 14,
	HOW_NO_SPLIT = 1 << 15,    /* reads stay on the primary, as configured */
	HOW_PRIMARY_TOO = 1 << 16, /* the primary was meant, too */
	HOW_FIRST = 1 << 17,       /* it is the first of its transaction */
};

#define SETTINGS_AWAY_MAX 400u /* a session with too many would be pinned to the standby (vars.c) */
#define UNITS_MAX 16384u       /* bytes, of one or several, that are kept for the way back from a standby */
/* A Query, or the extended messages up to a Sync, as far as it matters where it runs. */
struct unit {
	size_t len; /* bytes, of a read that is here whole */
	bool is_read;
	struct slice text;       /* of its first statement, when that was seen */
	struct sql_class *class; /* … a reference unless it is OWN, of what EXECUTE names if it is that; NULL: it was not */
	struct sql_class *own;   /* of the Query that it is: a reference; NULL: it is none */
	struct statement *st;    /* of the Parse or Bind that it begins with, if it begins so: a reference, or NULL */
	uint8_t tx;              /* enum unit_tx */
	bool read_only;          /* its transaction is */
	bool begins;         /* its first statement is a BEGIN that is answered here; TEXT is of the one behind it, if there is one */
	uint8_t begin_modes; /* … and says that */
	bool binds;          /* what it answers hangs on its transaction */
	struct dlist notes;  /* what it sets, and its savepoints: struct awaytx_note; all 0: nothing */
};

/* What may become of the transaction that a unit is in. */
enum unit_tx {
	UNIT_TX_NONE,        /* it is in none */
	UNIT_TX_STAYS,       /* only the primary can run it */
	UNIT_TX_IF_ASKED,    /* as READS_FIRST, if somebody asks for a standby */
	UNIT_TX_READS_FIRST, /* it may read on a standby until it writes */
	UNIT_TX_READS,       /* it is READ ONLY */
};

/* ---- awaytx.c ------------------------------------------------------------------------------------------------------------ */

/* A statement of a transaction that must be repeated where that moves to: text, and as Parse and Bind have it behind that. */
struct awaytx_note {
	struct dlist link;
	uint8_t kind; /* enum sql_kind */
	uint32_t name_len, text_len, types_len, bound_len;
	uint8_t body[]; /* the savepoint's name NUL text types bound */
};

enum awaytx_state {
	AWAYTX_FREE,  /* any statement may run elsewhere */
	AWAYTX_BOUND, /* it has told what hangs on its snapshot or its beginning */
	AWAYTX_HOME,  /* it has left: what it needs travels with the next statement to the primary */
};

/* A transaction that began on a standby. */
struct awaytx {
	uint8_t state;     /* enum awaytx_state */
	uint8_t modes;     /* of its BEGIN */
	bool is_read_only; /* it will not write; else it moves when it does */
	bool knows_level;  /* its isolation was said, by BEGIN or the session; else it is the server's default */
	bool is_committed; /* … is READ COMMITTED, or not known yet */
	bool begins_here;  /* the unit under way has the BEGIN in it */
	bool unit_binds;   /* the unit under way binds it, once answered */
	bool has_ended;    /* the unit under way had a COMMIT or ROLLBACK */
	unsigned n_notes;
	struct pool *pool; /* joined; NULL: it has left */
	struct pulse *pulse;
	char *begin;          /* its text */
	struct dlist notes;   /* what it has set, and its savepoints */
	struct dlist pending; /* … of the unit under way, in order */
};

/* A run of the client's segments that only read, on a standby: see trip.c. */
struct trip {
	struct session *s;
	struct pool *pool; /* joined; NULL: it has left the standby */
	struct pulse *pulse;
	uint64_t began_us;
	uint32_t taken; /* so much of what is kept was taken the first time */
	uint32_t at;    /* where the segment under way begins; going back: what was taken again */
	uint32_t n;     /* segments that are not over */
	bool is_told;   /* the client has heard something of this segment's answer */
	bool is_over;   /* … and its ReadyForQuery was taken */
	bool goes_back;
	struct loop_defer again; /* set up when it goes back */
	struct trip_bytes {
		uint8_t *at, *near;
		uint32_t len, room;
	} kept, held;                          /* whole segments of the client's; answers that it has not heard */
	uint8_t kept_near[256], held_near[64]; /* mostly enough */
};

/* Most have 4 bytes, those of protocol 3.2 32 in memory of their own. */
union session_secret {
	uint8_t near[4], *far;
};

struct floor {               /* floor.c's */
	uint64_t at;             /* a position, or a time; 0: anything will do */
	uint32_t epoch, cluster; /* its id; of a position: elsewhere it says nothing */
};

/* What only few sessions have, so that the others need not pay for it. */
struct session_aside {
	char *workload;                            /* its class, as the policy's admit() called it; NULL: none */
	struct link *link_up;                      /* replication: the server side */
	void *talk;                                /* with the admin console, as it calls it */
	struct diverted *diverted;                 /* which redirects are about it; NULL while it was not asked */
	struct sql_scan *scan;                     /* of a Query that streams through */
	struct stays *stays;                       /* what was left behind in other clusters: abroad.c's */
	struct savepoint *savepoints;              /* newest first */
	struct channels *channels, *base_channels; /* that it LISTENs to: now; as of the last commit point */
	struct map *portals;                       /* named portal -> struct statement (references) */
	struct effect *portal_effect;              /* set_config parameters bound to the unnamed portal */
	struct effect *names_effect;               /* of a PREPARE or DEALLOCATE that was just parsed on the server */
};

struct sessions;
struct session {
	struct stream stream; /* the client */
	struct sessions *home;
	struct dlist link; /* in home->all */
	struct addr_short peer;
	uint8_t state;            /* enum session_state: session_enter() only */
	uint8_t vtx;              /* enum vtx */
	uint8_t begin_modes;      /* enum mode_bit: of `begin` */
	uint16_t pins, base_pins; /* enum pin bits; base: as of the last commit point */
	uint32_t wrote_ms;        /* of clock_us(), when it last wrote, or so; 0: it has not */
	struct dlist
	    homeless; /* in home->homeless while WAIT_PRIMARY or WAIT_PAUSED, home->wait_pin while WAIT_PIN, wait_facts while WAIT_FACTS */
	struct log log;
	struct server *srv;    /* borrowed, or NULL */
	struct pool *pool;     /* joined once welcome */
	struct poolkeys *keys; /* that it has shown; NULL: none */
	struct pool_wait wait;
	struct loop_timer timer;
	uint64_t id, connected_us, since_us;          /* since_us: of the state, or of the statement that runs */
	uint64_t timer_due_us;                        /* when the timer fires, if it runs */
	uint64_t tx_since_us;                         /* since when the transaction lasts; 0: there is none */
	uint64_t held_since_us;                       /* of the message that waits; 0: none */
	uint64_t held_bytes;                          /* hold.c's, while is_held */
	uint64_t topo_generation;                     /* of the snapshot that `pool` was chosen under */
	char *user, *database;                        /* one block, that of `user` */
	struct limit *by_user, *by_database;          /* client counters held */
	struct settings *defaults, *vars, *base_vars; /* startup; now; as of the last commit point */
	struct settings *told;                        /* ParameterStatus values the client knows */
	struct names *names;                          /* of prepared statements; NULL while there are none */
	struct meaning unnamed;                       /* of the unnamed statement */
	struct statement *portal;                     /* statement of the unnamed portal */
	struct catalog_view *catalog;                 /* home's; NULL: not looked up yet */
	char *pinned_by;                              /* the function that pinned it, if one did; under the registry's lock */
	char *begin;                                  /* text of the deferred BEGIN */
	struct session_login *login;
	struct session_aside *aside; /* what few sessions have; NULL: nothing of it */
	struct trip *trip;           /* reads on a standby; NULL mostly */
	struct awaytx *away;         /* a transaction that began on one; NULL mostly */
	uint64_t who;                /* a hash of user and database */
	uint32_t visits;             /* id of the cluster where it is; 0: that of its database (home_at) */
	uint32_t kept_id;            /* the node that its reads stay with, under balance_scope = session; 0: none was chosen */
	struct floor floor;          /* what reads elsewhere must show */
	struct err *owed;            /* why the server was lost between statements: the next one is told */
	struct err *wait_failed;     /* why the wait ended without a server: the held message is told */
	uint64_t healed_generation;  /* statements of before were refused: their plans had become invalid */
	uint64_t segment;            /* counts what ends with a ReadyForQuery; 0 is never one's number */
	uint32_t how, reason;        /* of the unit at hand: HOW(), a note in the ledger; 0: nobody was asked */
	uint32_t last, last_reason;  /* row in the ledger of the last statement, and its reason */
	uint32_t timed;              /* … of that whose time is taken */
	uint32_t slot;               /* in home->slots; part of the cancel key */
	union session_secret key;    /* cancel key: session_key() */
	uint32_t statement_bytes;    /* text held in names and unnamed */
	uint32_t body_left;          /* of the client's message that streams through */
	uint32_t reply_left;         /* of the server's message that streams through */
	uint16_t closing_in_flight;  /* our own Closes under way: what they close may still be there */
	uint16_t naming_in_flight;   /* statements under way that may change what names mean: PREPARE, DEALLOCATE, DISCARD */
	unsigned body_drop : 1;      /* the message that streams through is dropped */
	unsigned reply_drop : 1;
	unsigned segment_open : 1;   /* extended messages were sent to the server since the last Sync */
	unsigned skip_to_sync : 1;   /* we reported an error in this segment: the rest is ignored */
	unsigned in_block : 1;       /* inside BEGIN … COMMIT on the server */
	unsigned local_dirty : 1;    /* SET LOCAL in this transaction: reported values are not the session's */
	unsigned vars_touched : 1;   /* reported values must be looked at before the next ReadyForQuery */
	unsigned tx_ddl : 1;         /* DDL in this transaction: bump again at its commit */
	unsigned tx_catalog : 1;     /* DDL in this transaction that the catalogue's readers must hear of */
	unsigned tired_of_facts : 1; /* waited for them in vain */
	unsigned tx_nextval : 1;     /* this transaction made a sequence value */
	unsigned pin_counted : 1;    /* holds one of max_pinned */
	unsigned timed_out : 1;      /* a cancel for query_timeout is under way */
	unsigned is_held : 1;    /* counted in the registry's `held`: its message waits for a primary, or did and has no server yet */
	unsigned is_weighed : 1; /* … and all its bytes are */
	unsigned noticed : 1;    /* the NOTICE for a long wait was sent */
	unsigned is_counted : 1; /* in the registry's client count */
	unsigned is_over : 1;    /* its address has as many clients as it may */
	unsigned welcomed : 1;   /* login is over */
	unsigned setup_ahead : 1; /* a setup went ahead alone; its answer is awaited */
	unsigned
	    setup_unsettled : 1; /* settings travelled with a statement that has not been answered: if it fails, they are undone */
	unsigned
	    query_at_risk : 1; /* a Query was sent behind extended messages: if one fails, it is skipped, and so is what comes behind it */
	unsigned setup_again : 1;       /* … and a ROLLBACK behind it in the same segment undoes them for sure */
	unsigned in_query : 1;          /* between a statement and its ReadyForQuery, for timeouts and counters */
	unsigned portal_spent : 1;      /* … and was executed */
	unsigned portal_begins : 1;     /* the unnamed portal is a BEGIN that was bound here, on no server */
	unsigned names_doubtful : 1;    /* what is prepared on the server is not known for sure */
	unsigned waits_for_earlier : 1; /* WAIT_QUIET, until the segments before this one are answered */
	unsigned begin_is : 2;          /* enum begin */
	unsigned copy_refused : 1;      /* a message of its COPY was too long: the server was told CopyFail */
	unsigned row_refused : 1; /* a row was too long: the rest of what the statement returns is dropped, a cancel is under way */
	unsigned broke_copy : 1;  /* its server has said so and will close the connection */
	unsigned draining : 1;
	unsigned freshness : 2;      /* enum conf_freshness: whose writes its reads must show */
	unsigned is_away : 1;        /* the server that it has is no primary */
	unsigned default_access : 2; /* awaymodes.c's, as of `told`; 0: not looked at */
	unsigned unit_open : 1;      /* between the first extended message of a segment and its Sync */
	unsigned unit_parts : 1;     /* the unit at hand waits for those before it, to go elsewhere */
	unsigned unit_wrote : 1;     /* what is under way on the primary may have written */
	unsigned replicates : 2;     /* 1: logical, 2: physical */
	unsigned console : 2;        /* enum console_next: what the console goes on with */
	unsigned key_words : 4;      /* of the cancel key: 0, 1 or 8 times 4 bytes */
	unsigned deaf : 1;           /* the server on which it listened is gone, and no other has been told yet: hearing.c */
	uint16_t home_at;            /* index of its database's cluster, as of topo_generation */
};

static inline const struct session_aside *session_aside(const struct session *s)
{
	static const struct session_aside nothing;
	return s->aside ? s->aside : &nothing;
}
struct session_aside *session_aside_of(struct session *s); /* to put something there */
static inline unsigned session_worker(uint64_t id)         /* see sessions_accept() */
{
	return id & 0xff;
}

/* As SHOW and KILL_CLIENT have it: the column is an int4 in PgBouncer's tables. */
static inline uint64_t session_shown_id(const struct session *s)
{
	return s->id & INT32_MAX;
}

static inline struct slice session_key(const struct session *s)
{
	return slice_of(s->key_words > 1 ? s->key.far : s->key.near, s->key_words * 4u);
}

/* What holds for all statements of a cluster until the next topology. */
struct routing {
	const struct conf_cluster *conf;
	struct policy_vm *vm; /* NULL: it has no policy */
	bool is_asked;        /* there is more than one way, or a policy */
};

struct sessions {
	struct session_env env;
	struct loop *loop;
	struct routing *routing; /* of each cluster of `topo` */
	const struct topo *topo; /* this turn's */
	uint32_t max_message;    /* bytes of a body; UINT32_MAX: no limit */
	uint32_t max_row;
	bool marks_writes;         /* somebody must show what others have written */
	bool roams;                /* some policy may send statements to another cluster than their database's */
	bool routes;               /* some cluster has standbys that may take reads */
	uint64_t turn;             /* balance_choose()'s */
	struct steering *steering; /* steer.c's */
	struct verdicts *verdicts; /* verdict.c's */
	struct slab trips;
	struct ledger *ledger;
	uint64_t log_below; /* a random number up to this: the statement's route is logged; 0: never */
	struct loop_timer fresh_retry;
	struct dlist all, homeless, wait_pin, wait_facts, wait_fresh, lingering, dead;
	struct loop_defer bury;
	struct loop_timer pin_retry;
	unsigned n_deaf;  /* hearing.c's */
	bool has_parting; /* some node will part, or does */
	struct loop_defer hearings;
	struct session **slots;
	uint32_t n_slots, cap_slots, *free_slots, n_free;
	unsigned count;
	uint64_t next_id;
	bool is_draining;
	uint64_t leave_idle_us;      /* another process takes new clients: who is idle for so long goes; 0: nobody goes for that */
	struct map catalogs;         /* cluster/dbname -> struct catalog_view */
	struct map statements;       /* key bytes -> struct statement, not referenced by the map */
	uint64_t salt;               /* makes keys of statements that are never shared */
	struct map welcomes;         /* welcome.c's */
	struct settings *dialect_of; /* the told settings that `dialect` was computed from */
	struct sql_dialect dialect;
	struct slab slab;
};

static inline struct loop *session_loop(const struct session *s)
{
	return s->home->loop;
}
static inline const struct conf *session_conf(const struct session *s)
{
	return s->home->topo->conf;
}

/* session.c */
void session_enter(struct session *s, enum session_state next);
void session_close(struct session *s, enum close_reason why);
/* FATAL to the client, then close. */
void session_fatal(struct session *s, enum close_reason why, const struct err *err);
void session_send(struct session *s, struct writer *w); /* copies; the writer may be on the stack */
void session_send_error(struct session *s, const struct err *err);
void session_send_ready(struct session *s);                    /* ReadyForQuery with the status the client is to see */
char session_status(const struct session *s);                  /* I, T or E as the client is to see it */
void session_block(struct session *s, enum session_state why); /* keeps the message; stops reading */
void session_unblock(struct session *s);
/* Ends a wait: the held statement fails with this. */
void session_fail_wait(struct session *s, const char *sqlstate, const char *text, const char *hint);
extern const char *const session_state_names[];
void session_send_report(struct session *s, const char *severity, uint8_t type, const struct err *err);
size_t session_take(struct session *s, struct slice in, struct lent *lent); /* one message, or a part of it, while READY */
void session_bury(struct session *s); /* closed: its memory goes when this turn's callbacks have unwound */
void sessions_bury(struct loop_defer *d);

/* patience.c */
void patience_watch(struct session *s); /* something with a deadline may have begun: makes sure that the timer runs */
void patience_on_timer(struct loop_timer *t);
void patience_note(struct session *s);            /* a transaction may have begun or ended without a server */
void patience_begin_statement(struct session *s); /* starts the clocks of query_timeout and transaction_timeout */
void patience_end_statement(
    struct session *s); /* ReadyForQuery: starts those of the idle timeouts, or of the next statement; has a server */

/* Each takes bytes from IN and says how many; 0: not enough yet, or blocked. */
size_t startup_take(struct session *s, struct slice in);
size_t clientauth_take(struct session *s, struct slice in);
size_t link_take(struct session *s, struct slice in, struct lent *lent);

/* console.c: the admin console's conversation */
bool console_is_for(const struct session *s);     /* it named the database of the admin console */
bool console_knows_peer(const struct session *s); /* … as its own administrator, over the unix socket: no password is asked for */
bool console_begin(struct session *s, struct err *err); /* authenticated; false: this user may not */
size_t console_take(struct session *s, struct slice in);
void console_drained(struct session *s);
void console_cancel(struct session *s);
void console_end(struct session *s);

/* startup.c */
void startup_welcome(struct session *s);                         /* authenticated: find out what to tell, then tell it */
void startup_on_server(struct session *s);                       /* WELCOME: the setup's answer is complete */
void startup_finish(struct session *s, enum session_state next); /* sends the welcome */
void startup_free(struct session *s);
void startup_move(struct session *s, const char *database); /* before it is welcome: as if the client had asked for that one */
/* welcome.c: what a client is told at login */
struct settings *welcome_recall(struct session *s); /* a reference; NULL: nobody knows, a server must be asked */
void welcome_learn(struct session *s);              /* s->told is it */
void welcomes_forget(struct sessions *ss);
/* clientauth.c: by which rule, and how it ends */
void clientauth_learn(struct session *s); /* what the client has shown opens servers of its database */
void clientauth_begin(struct session *s);
void clientauth_free(struct session_login *l);
void clientauth_give_up(struct session *s); /* whoever was asked did not answer in time */
void clientauth_accept(struct session *s);
bool clientauth_is_barred(struct session *s);                     /* its address has failed too often: the session was refused */
void clientauth_refuse(struct session *s, const struct err *err); /* at once */
void clientauth_fail(struct session *s);                          /* wrong password, in the words and the time of all others */
void clientauth_fail_as(struct session *s, const struct err *err);
/* The session waits in ASKING for Q; its function calls clientauth_heard() first.  NULL: nobody can be asked, the session was refused. */
void clientauth_wait(struct session *s, struct auth_question *q, uint64_t at_most_us);
bool clientauth_heard(struct session *s, const struct auth_answer *a); /* false: there is no answer, the session was refused */
struct auth_help clientauth_help(struct session *s, auth_fn fn);
void clientauth_find_secret(struct session *s, uint64_t not_before_us, auth_fn fn); /* FN gets it, at once or later */
/* prove.c: the dialogue */
void prove_begin(struct session *s);

/* Message handlers; return the bytes taken, 0 when blocked or short.  U: its own class and st, if they were found out already. */
size_t query_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u);
size_t extended_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u);
size_t copyio_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent);
size_t copyio_body(struct session *s, struct slice in, struct lent *lent); /* the rest of a message that streams through */
/* Sends the message's bytes that are here to the server and remembers how many are still to come. */
static inline size_t copyio_pass(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	size_t here = FRAME_HEADER + f->body.len;
	s->body_left = f->body_len - (uint32_t)f->body.len;
	s->body_drop = 0;
	stream_send(&s->srv->up.stream, slice_of(in.at, here), lent);
	return here;
}
bool copyio_is_broken_by(const struct session *s, uint8_t type); /* a COPY reads, and this is none of its messages */
bool copyio_is_broken_here(const struct session *s);
void copyio_break(struct session *s, uint8_t type); /* TYPE 0: the server has said it already */
size_t copyio_drop(struct session *s, const struct frame *f, struct slice in);

/* trip.c */
void trip_begin(struct session *s, struct pool *pool, struct pulse *pulse, struct slice segment); /* SEGMENT is copied */
bool trip_join(struct session *s, struct slice segment); /* the same for one behind those; false: there is no room for it */
static inline bool trip_is_all_taken(const struct trip *t)
{
	return t->taken >= t->kept.len;
}
/* What is said to the client is kept back, as there is still a way back. */
static inline bool trip_holds(const struct session *s)
{
	return s->trip && !s->trip->is_told;
}
void trip_hold(struct session *s, struct slice bytes);
void trip_tell(struct session *s); /* from here on there is no way back; no trip is fine */
void trip_all_taken(struct session *s);
static inline void trip_took(struct session *s, size_t n) /* bytes of the client were taken for it */
{
	s->trip->taken += (uint32_t)n;
	if (trip_is_all_taken(s->trip))
		trip_all_taken(s);
}
/* What comes next was looked at when its unit began, and goes there. */
static inline bool trip_takes(const struct session *s)
{
	return s->trip && !s->trip->goes_back && !trip_is_all_taken(s->trip);
}
void trip_segment_over(struct session *s);
void trip_end(struct session *s); /* no trip is fine */
bool trip_may_return(const struct session *s, const struct pgerr *pe);
void trip_return(struct session *s, const char *why); /* gives the server back, if there is one, and takes the segment again */
bool trip_pump(struct session *s);                    /* while it goes back; true: it has */
void trip_go_on(struct session *s);                   /* the session is READY again */
/* To the client, or held. */
static inline void session_say(struct session *s, struct slice bytes, struct lent *lent)
{
	if (UNLIKELY(trip_holds(s)))
		trip_hold(s, bytes);
	else
		stream_send(&s->stream, bytes, lent);
}

/* route.c: where a segment or Query goes */
/* Before each message; false: it must wait.  U's references were NULL, and are what was found out if a unit begins with it. */
bool route_unit(struct session *s, const struct frame *f, struct slice in, struct unit *u);
void route_on_ready(struct session *s); /* ReadyForQuery of the server, as it goes to the client */
void route_on_lost(struct session *s);
void routes_on_topology(struct sessions *ss);
static inline const struct routing *route_of(const struct session *s, const struct topo_cluster *c)
{
	return &s->home->routing[c - s->home->topo->clusters];
}
const struct topo_cluster *route_cluster(const struct session *s); /* NULL: its database is gone */
const char *route_name_of(const struct topo *topo, uint32_t node_id);
bool route_is_behind_others(
    const struct session *s); /* units before this one are under way and not in a transaction, as far as is known */
bool route_is_free(const struct session *s); /* nothing ties the session to its server */
bool route_is_tied(const struct session *s);
uint8_t route_tx_of_tied(const struct session *s, const struct unit *u); /* enum unit_tx */
uint32_t route_how(const struct session *s, const struct topo_cluster *c, const struct unit *u, const struct policy_decision *d);
/* foretell.c */
/* What would become of U now. */
struct route_told {
	const struct topo_cluster *cluster; /* where it is decided to go */
	const char *name;                   /* of the node; "" when it is refused */
	bool is_free;                       /* else its session keeps it where it is */
	bool is_read;                       /* it may go to a standby */
	uint32_t how;
	uint64_t meant, may; /* bits of nodes: that the decision is about, and those of them that could take it */
	unsigned share[64];  /* of those that could: percent of such statements, as far as weights decide */
};
void foretell(struct session *s, const struct topo_cluster *c, const struct unit *u, struct policy_decision *d,
              struct route_told *out);
/* abroad.c: other clusters than that of the session's database */
size_t abroad_at(const struct session *s, size_t home_at);            /* index of the cluster where it is when it has no server */
const struct topo_cluster *abroad_home(const struct session *s);      /* NULL: its database is gone */
void abroad_on_topology(struct session *s);                           /* the cluster may be gone */
bool abroad_roams(const struct topo *topo);                           /* some policy may send statements to another cluster */
bool abroad_is_asked(const struct session *s);                        /* … for this session's next unit */
bool abroad_look(struct session *s, struct slice in, struct unit *u); /* as unit_look(), but for all statements */
/* The policy is asked for U; IS_TIED: which must run on the server that the session has. */
bool abroad_concerns(const struct session *s, const struct unit *u, bool is_tied);
/* WHY it cannot go to the cluster TO, being tied to where it is; false: it is there. */
bool abroad_refuses(const struct session *s, size_t to, struct err *why);
enum abroad {
	ABROAD_THERE,   /* the session is in that cluster, and U was looked at there */
	ABROAD_WAITS,   /* the message must wait */
	ABROAD_REFUSED, /* it is going to fail */
};
enum abroad abroad_go(struct session *s, size_t to, bool is_tied, struct slice in, struct unit *u);
void abroad_forget(struct session *s);

/* floor.c: what reads of a session elsewhere than on the primary must show */
void floor_note(struct session *s); /* what its server was asked to write is over */
/* *LSN: a standby of C must have replayed it.  False: nobody knows yet.  C has a primary. */
bool floor_settle_any(struct session *s, const struct topo_cluster *c, uint64_t *lsn);
static inline bool floor_settle(struct session *s, const struct topo_cluster *c, uint64_t *lsn)
{
	*lsn = 0;
	return LIKELY(!s->floor.at && s->freshness != CONF_FRESH_CLUSTER) || floor_settle_any(s, c, lsn);
}
bool floor_is_shown(struct session *s, const struct topo_cluster *c, const struct topo_node *n); /* … by N, a standby of C */
enum conf_freshness floor_whose(const struct conf *conf, const struct conf_database *d, size_t cluster_at);
bool floor_marks_writes(const struct topo *topo); /* somebody must show what other sessions have written */
void routes_init(struct sessions *ss);
void routes_fini(struct sessions *ss);
/* unit.c: the unit that IN begins with, filled in any case.  False: it must wait, if only for more of it. */
bool unit_look(struct session *s, struct slice in, struct unit *u);
/* glance.c: true: it is a read of one statement, all of it is here, and U is filled.  Else U is for unit_look_again() only.  The session is free, and has
 * no server. */
bool unit_glance(struct session *s, const struct frame *f, struct slice in, struct unit *u);
bool unit_look_again(struct session *s, struct slice in, struct unit *u); /* unit_look() behind that */
bool unit_of_query(struct session *s, struct slice text, struct unit *u); /* the same for a Query of TEXT */
bool unit_asks_for_rows(const struct sql_class *class);                   /* each of its statements does */
void unit_drop(struct session *s, struct unit *u);
static inline void unit_forget(struct session *s, struct unit *u)
{
	if (UNLIKELY(u->own || u->st || u->class))
		unit_drop(s, u);
}
/* It returns rows.  What begins or ends transactions has a way of its own. */
static inline bool unit_kind_asks_for_rows(enum sql_kind kind)
{
	return kind == SQL_SELECT || kind == SQL_EXPLAIN || kind == SQL_SHOW || kind == SQL_COPY_OUT;
}
/* awaymodes.c: what BEGIN says */
uint8_t awaytx_modes(const struct sql_class *class); /* of a BEGIN; what cannot be read counts as SERIALIZABLE */
static inline uint8_t awaytx_modes_of(const struct sql_class *class)
{
	return UNLIKELY(class->part[0].more_settings != NULL) ? awaytx_modes(class) : 0;
}
char *awaytx_begin_text(uint8_t modes);
uint8_t awaytx_level_of(const struct session *s, uint8_t begins_as); /* 0: the server's own default, which nobody knows here */
/* CLASS is a SET TRANSACTION directly behind the deferred BEGIN: that says it now.  False: it must be sent. */
bool awaytx_joins_begin(struct session *s, const struct sql_class *class);
/* U's tx and read_only, for a transaction that was begun so.  The session has a pool. */
void awaytx_judge(struct session *s, uint8_t modes, struct unit *u);
/* Whether the first unit of the deferred transaction, at IN, may be one for a standby, or a policy's. */
bool awaytx_is_asked(struct session *s, struct slice in);
/* awaytx.c: s->away, where it is not told otherwise, is there */
/* The transaction begins on a standby, with U. */
void awaytx_begin(struct session *s, struct pool *pool, struct pulse *pulse, struct unit *u);
bool awaytx_unit(struct session *s, struct slice in, struct unit *u); /* its next unit, for unit_look(); false: it must wait */
bool awaytx_has_not_begun(const struct session *s);                   /* nothing was sent for it */
void awaytx_end(struct session *s);                                   /* none is fine */
void awaytx_fail(struct session *s);                                  /* its next statement cannot be run anywhere */
void awaytx_on_ready(struct session *s);
void awaytx_return(struct session *s); /* the unit under way is taken again */
/* Its server was lost: whether the client need not know.  If so, on_lost() when the session has none any more. */
bool awaytx_outlives(struct session *s);
void awaytx_on_lost(struct session *s);
static inline bool awaytx_is_home(const struct session *s)
{
	return s->away && s->away->state == AWAYTX_HOME;
}
bool awaytx_asks_level(const struct session *s);             /* its server has not said what isolation BEGIN begins */
bool awaytx_level(struct session *s, const struct frame *f); /* it says so; false: the transaction must not be here */
bool awaytx_refuses(struct session *s, const struct sql_class *class, struct err *err); /* CLASS must not run on its standby */
/* awaynotes.c: what it has set, and its savepoints */
bool awaytx_is_noted(const struct sql_part *p);
bool awaytx_may_note(const struct session *s, struct slice text, struct slice bound); /* it is not too long */
struct awaytx_note *awaytx_note_new(const struct sql_part *p, struct slice text, struct slice types, struct slice bound);
void awaytx_notes_free(struct dlist *notes);
void awaytx_completed(struct session *s, const struct sql_part *p); /* of its unit */
/* verdict.c: what would be decided again of a read */
struct verdict {
	struct sql_class *class;         /* a reference; NULL: free */
	uint64_t who, generation, meant; /* generation: of the topology; meant: bits of nodes */
	uint32_t how, note;
};
const struct verdict *verdict_of(const struct session *s, const struct unit *u); /* NULL: it must be asked for */
void verdict_note(struct session *s, const struct unit *u, const struct policy_decision *d, uint64_t meant);
void verdicts_init(struct sessions *ss);
void verdicts_fini(struct sessions *ss);
/* steer.c: who decides where U goes, and what: valid until the next is asked for.  NONE is never the answer. */
const struct policy_decision *steer(struct session *s, const struct topo_cluster *c, const struct unit *u);
/* It would say D again of such a read, for the same user and database, while its client says nothing of it. */
bool steer_repeats(const struct session *s, const struct topo_cluster *c, const struct policy_decision *d);
struct sql_hint;
/* What of HINT nobody could make anything of, when D was decided for C; empty: nothing. */
struct slice steer_strange(const struct topo_cluster *c, const struct sql_hint *hint, const struct policy_decision *d);
bool steer_takes_setting(const char *name, const char *value,
                         struct err *e); /* false: of ours, and no value for it, or there is none */
bool steer_takes_settings(const struct sql_class *class, struct err *e); /* all that it sets, as far as that is known */
/* divert.c: false: no redirect of C is about this session's read */
bool divert(struct session *s, const struct topo_cluster *c, struct policy_decision *d);
void divert_forget(struct session *s);
int steer_balance(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t nodes); /* -1: as configured */
void steer_init(struct sessions *ss);
void steer_fini(struct sessions *ss);
/* The policy's admit(), once for a login.  False with E: the client is refused. */
bool steer_admit(struct session *s, struct err *e) MUST_CHECK;

/* counted.c: what ran where, for SHOW ROUTES and SHOW LAST ROUTE */
void counted_begin(struct sessions *ss);
void counted_end(struct sessions *ss);
void counted_on_topology(struct sessions *ss);
/* A statement of CLASS (NULL: nobody knows) is about to be sent. */
void counted(struct session *s, struct sql_class *class);
void counted_here(struct session *s, struct sql_class *class, uint32_t how); /* no server has anything to do with it */
void counted_took(struct session *s, uint64_t us);                           /* what was sent, until its ReadyForQuery */
void counted_returned(struct session *s, const char *why);                   /* what is under way will run on the primary */
uint32_t counted_undecided(const struct session *s); /* how it is for one that nobody has to decide about */
uint32_t counted_note(struct session *s, const struct policy_vm *vm, const struct policy_decision *d);
const char *counted_because(uint32_t how, const struct sql_class *class, char *out, size_t room);
extern const char *const decider_names[];

/* explain.c: what is told of a statement's route */
/* U: as unit_of_query() made it of TEXT */
void explain_route(struct session *s, struct unit *u, struct slice text, explain_fn fn, void *arg);
void explain_last(struct session *s, explain_fn fn, void *arg);

/* answers.c: EXPLAIN ROUTE and SHOW LAST ROUTE, which are answered here */
enum asks { ASKS_NOTHING, ASKS_ROUTE, ASKS_LAST };
enum asks asks_of(struct slice text, struct slice *rest); /* REST: the statement that is asked about */
static inline bool may_ask(struct slice text)             /* nearly always no: it begins with other letters */
{
	uint8_t first = text.len > 1 ? text.at[0] | 32 : 'x';
	return first == 's' ? (text.at[1] | 32) == 'h' : first == 'e' ? (text.at[1] | 32) == 'x' : first < 'a';
}
bool answers_all_of(struct session *s, struct slice in); /* the unit that IN begins with is here, and nothing but such */
bool answer_query(struct session *s, enum asks what, struct slice rest); /* false: it must wait */
size_t answer_parse(struct session *s, const struct frame *f, struct slice in, struct slice name, struct statement *st);
size_t answer_bind(struct session *s, const struct frame *f, struct slice in, struct slice portal, struct statement *st);
size_t answer_describe(struct session *s, const struct frame *f, bool is_statement, const struct statement *st);
size_t answer_execute(struct session *s, const struct frame *f, const struct statement *st, uint32_t limit);

/* addresses.c */
void addresses_leave(struct session_registry *r, const struct addr *peer); /* one that session_registry_admit() has counted */

/* oversize.c: max_message_size and max_row_size */
size_t oversize_take(struct session *s, const struct frame *f,
                     struct slice in); /* refuses the message, and drops what is here of it */
bool oversize_row(struct session *s, const struct reply *entry,
                  const struct frame *f);     /* true: the statement is being stopped for it */
bool oversize_is_late(const struct frame *f); /* while it is: this message says that it has completed nevertheless */
void oversize_give_up(struct session *s);     /* … so that the server goes */
bool oversize_reword(struct session *s, const struct pgerr *pe, struct err *err); /* the error is what we made happen */

/* borrow.c: a server for a statement, set up as the session expects it */
enum borrow {
	BORROW_OK,
	BORROW_BLOCKED, /* the message must wait; state says for what */
	BORROW_FAILED,  /* ERR: the statement fails */
};
enum borrow borrow_server(struct session *s, const struct sql_class *class, struct err *err);
/* For a message of an open segment, that pins nothing: true when borrow_server() would say OK. */
static inline bool borrow_goes_on(struct session *s)
{
	if (s->wait_failed || s->owed || s->vtx == VTX_FAILED || s->srv->cancels || s->setup_again)
		return false;
	s->held_since_us = 0;
	s->noticed = 0;
	return true;
}
void borrow_attach(struct session *s, struct server *srv);
bool borrow_is_over(const struct session *s); /* its server owes nothing, in no transaction */
bool borrow_may_begin(struct session *s);     /* there is a primary, and nobody says that nothing may begin there */
/* hold.c: a message that is to wait for a primary.  False with ERR: as many as may do. */
bool hold_enter(struct session *s, struct err *err) MUST_CHECK;
/* So much of the client's was not taken.  False: that is too much, and the wait has ended. */
bool hold_weigh(struct session *s, size_t unread) MUST_CHECK;
void hold_leave_any(struct session *s);
static inline void hold_leave(struct session *s)
{
	if (UNLIKELY(s->is_held))
		hold_leave_any(s);
}

void borrow_give_back(struct session *s);              /* if nothing speaks against it */
void borrow_drop(struct session *s);                   /* the client is gone: whatever it left behind is cleaned */
void borrow_send(struct session *s, struct writer *w); /* copies to the server */
void borrow_push_any(struct session *s, struct reply entry);
void effect_begin(struct session *s, struct effect *e); /* effect.c: its statement is sent */
static inline void borrow_push_entry(struct session *s, struct reply entry)
{
	struct replies *q = &s->srv->replies;
	if (entry.tag == TAG_EFFECT)
		effect_begin(s, entry.ref);
	if (entry.kind >= REPLY_SYNC &&
	    entry.kind != REPLY_COPY_END) { /* the segment ends here; that of a Query unless it is skipped */
		s->segment++;
		s->segment_open = 0;
		s->query_at_risk |= entry.kind != REPLY_SYNC && q->open;
	}
	if (UNLIKELY(!replies_push_sent(q, entry)))
		borrow_push_any(s, entry);
}
/* A message is about to be sent, or answered here, whose reply is to be dealt with as TAG says; REF goes with it. */
static inline void borrow_push(struct session *s, enum reply_kind kind, enum reply_fate fate, enum tag tag, void *ref)
{
	borrow_push_entry(s, (struct reply){ .kind = (uint8_t)kind, .fate = (uint8_t)fate, .tag = (uint16_t)tag, .ref = ref });
}
/* Forwarded; MARK (names_mark()) is for errors that name the statement. */
static inline void borrow_push_marked(struct session *s, enum reply_kind kind, enum tag tag, void *ref, uint32_t mark)
{
	borrow_push_entry(
	    s, (struct reply){ .kind = (uint8_t)kind, .fate = REPLY_FORWARD, .tag = (uint16_t)tag, .ref = ref, .number = mark });
}
bool borrow_is_owed(const struct session *s);              /* the server owes answers, or skips to a Sync */
bool borrow_earlier_is_under_way(const struct session *s); /* segments before the one at hand are not answered */
void borrow_wait_for_earlier(struct session *s);           /* the message at hand is offered again when they are */
#define BORROW_REFUSED_TEXT "!lunapool refused this statement"
/* setup.c: the deferred BEGIN and the session's settings, in front of a statement of CLASS */
enum borrow setup_server(struct session *s, const struct sql_class *class);
struct channels;
void setup_channels(struct session *s, const struct channels *channels); /* … and LISTENs, by themselves: TAG_CHANNELS */
static inline bool setup_is_needed(const struct session *s)
{
	return s->vtx != VTX_NONE || s->srv->applied != s->vars || s->setup_unsettled || s->setup_again || s->query_at_risk ||
	       s->begin_is;
}
/* Makes the statement at hand fail with ERR, in order behind what was sent, aborting the server's transaction if there is one.
 * IS_QUERY: it was a simple Query (E and Z), else extended (E, skip to Sync). */
void borrow_refuse(struct session *s, bool is_query, const struct err *err);
void borrow_pool_anew(struct session *s);
/* Chooses the pool by this turn's snapshot; NULL pool: its database is gone. */
static inline void borrow_pool(struct session *s)
{
	if (!s->pool || s->topo_generation != s->home->topo->generation)
		borrow_pool_anew(s);
}

/* channels.c: what it LISTENs to.  Sets are immutable; NULL: none */
struct channels *channels_ref(struct channels *c);
void channels_unref(struct channels *c);
const char *channels_next(const struct channels *c, const char *name); /* behind NAME; of NULL, the first */
uint32_t channels_count(const struct channels *c);
bool channels_are_known(
    const struct session *s); /* as of the last commit point there are some, and each can be repeated elsewhere */
void channels_listen(struct session *s, const char *name);
bool channels_unlisten(struct session *s, const char *name); /* true: it listens to nothing any more */
void channels_forget(struct session *s);
void channels_commit(struct session *s);
void channels_go_back(struct session *s, struct channels *to);
void channels_end_life(struct session *s);
/* hearing.c: LISTEN outlives its server */
bool hearing_can_move(const struct session *s); /* all that ties it to its server is that it listens */
void hearing_lost(struct session *s);           /* its server is gone, and it was to go on */
enum borrow hearing_first(struct session *s);   /* deaf, and has a server for a statement, which must wait */
void hearing_rest(struct session *s);           /* it keeps its server, which owes nothing, in no transaction */
bool hearing_must_wait(struct session *s); /* … and had that been so, its next statement would have to wait; else it works now */
void hearing_parted(struct session *s);    /* ReadyForQuery: the server is to be left */
void hearing_on_topology(struct sessions *ss);
void hearing_answered(struct session *s); /* ReadyForQuery behind its LISTENs */
void hearings_go_on(struct loop_defer *d);
void hearing_end_life(struct session *s);

/* vars.c: the books */
void vars_begin_life(struct session *s, struct settings *startup);
void vars_end_life(struct session *s);
void vars_on_complete(struct session *s, struct effect *e, uint32_t part, struct slice command_tag);
void vars_on_error(struct session *s); /* ErrorResponse of a statement */
/* … that ran: what does not end with its transaction, locks of the session and what is not seen, is there all the same */
void vars_on_failure(struct session *s, const struct effect *e);
void vars_on_ready(struct session *s); /* ReadyForQuery: commit point, reported values */
void vars_on_failed_end(struct session *s);
void vars_on_trial(struct session *s); /* what was set by itself lasts */
void vars_on_lost(struct session *s);  /* the server is gone */

/* effect.c */
bool effect_matters(const struct session *s, const struct sql_class *class);          /* the books must hear when it completes */
struct effect *effect_new(struct session *s, struct sql_class *class, bool is_query); /* takes a reference of class */
void effect_free(struct session *s, struct effect *e);                                /* NULL is fine */
void effect_add_name(struct effect *e, uint32_t part, struct slice name, struct statement *st, struct hash128 key);
void effect_end_name(struct session *s, struct effect_name *n, enum ending how);
void effect_end_discard(struct session *s, struct effect *e, bool is_done);
void effect_end(struct session *s, struct effect *e); /* what has not completed by now did not happen; frees it */
bool class_names_statements(const struct sql_class *class);
bool class_changes_names(const struct sql_class *class);

/* pins.c */
void pins_set(struct session *s, uint16_t pins);                                /* the one door */
uint16_t pins_of_part(const struct session *s, const struct sql_part *p);       /* that completing P adds */
uint16_t pins_of_class(const struct session *s, const struct sql_class *class); /* … and that it does not have yet */
const char *pins_text(uint16_t pins, char *out, size_t size);

/* query.c */
void query_dialect_anew(struct session *s);
static inline struct sql_dialect query_dialect(struct session *s)
{
	if (UNLIKELY(s->home->dialect_of != s->told))
		query_dialect_anew(s);
	return s->home->dialect;
}
const char *query_begin_tag(struct slice text);
static inline struct slice query_text(const struct frame *query)
{
	const uint8_t *nul = memchr(query->body.at, 0, query->body.len); /* strnlen() would be libpg_query's own, byte by byte */
	return slice_of(query->body.at, nul ? (size_t)(nul - query->body.at) : query->body.len);
}
bool query_defers_begin(const struct session *s, const struct sql_class *class); /* BEGIN may be answered now and sent later */
/* The statement must not be sent, as it asks for what the pool's mode or the session's sequences do not give: ERR is what to answer. */
bool query_is_refused(struct session *s, const struct sql_class *class, struct err *err);

/* rewrite.c */
/* Writes TEXT with the names of prepared statements replaced by those on the server, preparing them there.  E gets what PREPARE and DEALLOCATE
 * are to change when they complete; NULL: the text has none of them. */
void rewrite_names(struct session *s, struct slice text, struct writer *w, struct effect *e);
uint32_t rewrite_position(const struct effect *e, uint32_t position); /* in the client's text; both count characters from 1 */

/* statement.c: shared by all clients of the worker */
struct statement *statement_intern(struct session *s, struct slice text, struct slice types, bool by_sql);
void statement_free(struct session *s, struct statement *st);
static inline void statement_unref(struct session *s, struct statement *st) /* NULL is fine */
{
	if (st && --st->refs == 0)
		statement_free(s, st);
}
struct slice statement_text(const struct statement *st);
struct slice statement_types(const struct statement *st);
struct hash128 statement_server_key(const struct session *s, const struct statement *st);
void statement_salt(struct hash128 *key, uint64_t what); /* makes KEY one that WHAT alone has */
/* Marks that a server accepted ST under this DDL generation and name scope. */
void statement_accept(struct statement *st, uint64_t generation, uint64_t scope);

/* known.c: classes as the catalogue of the database sees them */
/* In place of *CLASS, a reference.  False: the message must wait (WAIT_FACTS); *CLASS is as it was. */
bool known_class(struct session *s, struct sql_class **class, struct slice text);
bool known_statement(struct session *s, struct statement *st); /* the same for st->class */
/* Nearly always: the facts that PLAIN, or the statement that it is the class of, was informed by are those to go by. */
static inline bool known_is_current(const struct session *s, const struct sql_class *plain, uint64_t informed_by)
{
	if (!plain->needs_facts)
		return true;
	return informed_by && s->catalog && !s->tx_catalog && !s->tired_of_facts && !(plain->effects & SQL_CATALOG_DDL) &&
	       informed_by == catalog_fresh_id(s->catalog);
}
void known_planned(struct session *s,
                   const struct sql_class *class); /* to be bound: pins for what planning does; needs no Execute */
/* Of a text that nobody keeps; a reference.  NULL: the message must wait, or nothing can be known. */
struct sql_class *known_beginning(struct session *s, struct slice text);
bool known_stream(struct session *s, struct slice beginning); /* for a text that streams through: pins at once; has a server */
void known_call(struct session *s, uint32_t oid);             /* for a FunctionCall */
void known_give_up(struct session *s);                        /* WAIT_FACTS took too long */
void known_on_commit(struct session *s);                      /* of a transaction with tx_catalog */
void known_blame(struct session *s, const char *function);    /* for the pin that is about to be set; NULL: none */
void known_forget_all(struct sessions *ss);

/* names.c: the client's names; "" is the unnamed one */
struct statement *names_find(struct session *s, struct slice name); /* no reference; NULL: it means nothing */
struct statement *names_meant(struct session *s,
                              struct slice name); /* … made anew if the client was told that its plan is no longer valid */
/* What NAME means depends on answers to earlier segments: true when the message at hand must wait for them (WAIT_QUIET). */
bool names_wait(struct session *s, struct slice name);
bool names_wait_for_all(struct session *s); /* the same for a text that may name any */
/* NAME is about to mean IS (NULL: nothing), of which a reference is taken.  It must end, in order. */
struct naming *naming_begin(struct session *s, struct slice name, struct statement *is);
void naming_end(struct session *s, struct naming *n, enum ending how);
void names_drop_unnamed(struct session *s);  /* a Query is about to be sent or answered */
void names_begin_discard(struct session *s); /* of all but the unnamed one */
void names_end_discard(struct session *s, bool is_done);
void names_free(struct session *s);
uint32_t names_mark(struct slice name); /* for an entry's number: which name its message had; 0: the unnamed one */
struct slice names_marked(const struct session *s, uint32_t mark); /* empty: none has it */
struct slice names_on_server(const struct session *s,
                             struct slice at); /* whose statement a server knows under what AT begins with */

/* prepare.c: what the session's server has */
/* Makes sure that ST is prepared there, sending what is needed; NAME (STMTS_NAME_MAX) gets its name there. */
void prepare_statement(struct session *s, struct statement *st, char *name);
void prepare_under(struct session *s,
                   struct hash128 key); /* books that KEY is about to be prepared; makes sure that it is free */
bool prepare_is_there(struct session *s, struct hash128 key); /* for sure, as far as this segment goes */
void prepare_by_sql(struct session *s, struct hash128 key);   /* the client's own PREPARE of KEY is sent */
/* The server has prepared what was sent in SEGMENT under KEY, or has not. */
void prepare_ended(struct session *s, struct hash128 key, uint64_t segment, bool is_done);
void prepare_closed(struct session *s, const struct preparing *p, bool is_done);
/* DISCARD ALL or DEALLOCATE ALL is sent: nothing is there behind it, if it succeeds.  When it does not, nothing is certain. */
void prepare_discards(struct session *s);
void prepare_discard_failed(struct session *s);
void prepare_make_room(struct session *s); /* one more statement is about to be prepared on the server */
void prepare_send_parse(struct session *s, const struct statement *st, const char *name); /* large texts without a copy of ours */
/* The text of a statement about statements, with the names that they have on the server. */
void prepare_rewrite(struct session *s, struct statement *st, struct writer *w);
void prepare_write_name(struct writer *w, const char *name);
void prepare_write_describe(struct writer *w, const char *name);

/* columns.c: the columns of a statement after DDL */
void columns_described(const struct session *s, struct statement *st, const struct frame *f); /* the client is told */
void columns_compared(struct session *s, struct statement *st, const struct frame *f);
enum borrow columns_check_now(struct session *s, struct statement *st, struct err *err);
/* Whether ST may be bound or described: DDL since a client was told its columns makes a server that lacks it doubtful. */
static inline enum borrow columns_check(struct session *s, struct statement *st, struct err *err)
{
	if (LIKELY(!st->columns || !s->pool || st->generation == pool_ddl_generation(s->pool)))
		return BORROW_OK;
	return columns_check_now(s, st, err);
}

/* parse.c, bind.c and what extended.c lends them */
size_t parse_take(struct session *s, const struct frame *f, struct slice in, const struct unit *u);
size_t bind_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u);
void bind_execute_begin(struct session *s); /* the unnamed portal is a BEGIN that needs no server yet */
void bind_begin_there(struct session *s);
bool bind_is_bare(struct session *s, const struct sql_class *begin,
                  struct slice rest); /* what follows the names in a Bind binds nothing */
void portals_bind(struct session *s, struct slice portal, struct statement *st, struct effect *e);
struct statement *portals_find(const struct session *s, struct slice portal); /* NULL: nobody knows */
void portals_forget(struct session *s);
ssize_t extended_look(struct session *s, const struct frame *f, struct slice in, struct statement *st);
size_t extended_break(struct session *s, const char *what);
size_t extended_refuse(struct session *s, const struct frame *f, struct slice in, const struct err *err);
/* A server for CLASS, or the reason why not.  -1: go on; else what the handler returns. */
ssize_t extended_borrow_any(struct session *s, const struct frame *f, struct slice in, const struct sql_class *class);
static inline ssize_t extended_borrow(struct session *s, const struct frame *f, struct slice in, const struct sql_class *class)
{
	/* in the middle of a segment most messages need no more than that the server is still there */
	if (s->srv && s->segment_open && (!class || class->is_plain) && borrow_goes_on(s))
		return -1;
	return extended_borrow_any(s, f, in, class);
}
static inline size_t extended_forward(struct session *s, const struct frame *f, struct slice in, struct lent *lent,
                                      enum reply_kind kind, enum tag tag, void *ref)
{
	borrow_push(s, kind, REPLY_FORWARD, tag, ref);
	return copyio_pass(s, f, in, lent);
}
void extended_answer(struct session *s, enum reply_kind kind, enum tag tag, void *ref);
void extended_answer_now(struct session *s, uint8_t type, struct slice body);
bool names_nothing(const struct session *s, struct slice name, const struct statement *st, struct err *err);

/* relay.c: from the server to the client */
struct relay {
	struct session *s;
	struct slice in;
	struct lent *lent;
	size_t run; /* start of what is to be forwarded and was not yet */
	size_t at;
};
enum fate { FATE_FORWARD, FATE_DROP, FATE_STOP, FATE_GIVE_UP };
void relay_flush(struct relay *r);
extern const struct server_user relay_user;
/* After every push and every judged message: entries that the server skipped end, what is ours to answer at the head is answered. */
void relay_settle(struct session *s);
/* When nothing but Syncs is left that may never be answered: asks the server something whose answer tells. */
void relay_resolve_doubt(struct session *s);

/* told.c: sends the ParameterStatus values that differ from what the client was told */
void told_behind_ready(struct session *s); /* in front of a ReadyForQuery */
void told_as_at_home(struct session *s);   /* it has just got a server that is no primary, and says something else */

/* outcome.c: an entry of the reply queue has ended: does what its tag says and lets go of its ref.  COMMAND: the tag of CommandComplete, or empty. */
void outcome_book(struct session *s, const struct reply *entry, enum ending how, struct slice command);
/* fault.c: ErrorResponse */
enum fate fault_take(struct relay *r, const struct frame *f);
/* lost.c: the server is gone, or can no longer be believed (F: the message that it should not have sent, or NULL) */
void lost_server(struct session *s, const struct err *why);
void lost_trust(struct session *s, const struct frame *f);

/* cancel.c */
void cancel_seat(struct session *s);                 /* a slot */
void cancel_mint(struct session *s, uint16_t minor); /* a key */
void cancel_retire(struct session *s);
struct session *cancel_session(struct sessions *ss, uint32_t slot, uint64_t id); /* NULL: gone */
uint32_t cancel_pid(const struct session *s);
void cancel_begin(struct session *s, const struct startmsg *m); /* this connection is a CancelRequest */
void cancel_statement(struct session *s);                       /* cancel what the session runs or waits for (own thread) */

/* link.c: replication connections */
void link_begin(struct session *s);
void link_end(struct session *s);
void link_drained(struct session *s);
size_t link_memory(const struct session *s);
bool link_cancel(struct session *s, upstream_cancel_fn fn, void *arg); /* false: nothing to cancel */

/* registry (session.c) */
struct session_registry_worker {
	pthread_mutex_t lock; /* what is below, at the beginning and the end */
	struct sessions *sessions;
	struct mailbox *mailbox;
	_Atomic int64_t clients, welcomed;
} __attribute__((aligned(128)));
struct session_addresses {
	pthread_mutex_t lock;
	struct map clients; /* address -> their number */
};
struct session_registry {
	struct session_addresses addresses;
	unsigned n;
	_Atomic int64_t clients;
	_Atomic int64_t held, held_bytes; /* statements that wait for a primary, and what they keep: hold.c */
	_Atomic uint64_t listens_moved;
	_Atomic uint64_t not_held; /* that were refused, since there were too many */
	_Atomic bool is_full;      /* memory_limit is reached */
	struct mailbox *elsewhere_mailbox;
	session_elsewhere_fn elsewhere; /* NULL: nobody took a CancelRequest over from us */
	void *elsewhere_arg;
	struct session_registry_worker worker[];
};

#endif
