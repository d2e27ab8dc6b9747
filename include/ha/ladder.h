/*
 * ladder — is a primary lost?  From all that was heard of it, by whatever way, with times.  Pure.
 *
 * Every signal alone is weak; this says which of them together are a death, and how long each may last.  What is no evidence against a node (it
 * refuses a password, it is full, a name is not resolved, we ourselves were asleep) never moves it towards one.
 */
#ifndef HA_LADDER_H
#define HA_LADDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ladder_event {
	LADDER_ANSWERED, /* a question, over a connection that we have */
	LADDER_SPOKE,    /* it refused us in its own words: too many connections, a bad password … */
	LADDER_WORKED,   /* a statement ended there, or a standby got something from it */
	LADDER_OPENED,   /* it answers to whoever knocks (TCP and SSLRequest) */
	LADDER_STARTING, /* 57P0x: starting up, in crash recovery, shutting down */
	LADDER_REFUSED,  /* nobody listens there */
	LADDER_SILENT,   /* the connection is taken, and nothing comes */
	LADDER_LOST,     /* no way there: no answer at all, no route */
	LADDER_BROKE,    /* a connection that we had is gone */
	LADDER_LATE,     /* a question was not answered in time */
	LADDER_OURS,     /* our own trouble: what we have not heard says nothing */
	/* Of one that answers all the same. */
	LADDER_WROTE,      /* what we wrote there was committed */
	LADDER_FLUSHED,    /* … what anybody did */
	LADDER_UNWRITTEN,  /* what we write there is not committed, and not refused */
	LADDER_UNWRITABLE, /* … is refused, for its disk */
	LADDER_DEAF,       /* silent to a knock, whatever it says to those who are in: LADDER_SILENT is this, too */
	LADDER_EVENT_COUNT
};
enum ladder_state {
	LADDER_ALIVE,
	LADDER_SUSPECT,
	LADDER_SICK,
	LADDER_RESTARTING,
	LADDER_REFUSING,
	LADDER_HUNG,
	LADDER_UNREACHABLE,
	LADDER_DEAD
};
const char *ladder_word(enum ladder_state state);

struct ladder_limits {
	uint64_t restart_grace_us;  /* that nobody listens */
	uint64_t recovery_grace_us; /* that it starts up */
	uint64_t hung_us;           /* that it takes connections and says nothing */
	uint64_t unreachable_us;    /* that there is no way to it */
	uint64_t unwritable_us;     /* that nothing is committed there; 0: no matter how long */
	uint64_t deaf_us;           /* that it lets nobody in; 0: no matter how long */
	unsigned crash_budget;      /* how often it may crash and be back within crash_window_us; 0: no matter how often */
	uint64_t crash_window_us;
};
#define LADDER_CRASHES 16u /* that are known at most; no budget is larger */
struct ladder {
	bool is_suspect, is_starting;        /* is_starting: it has said so since the last sign of life */
	uint64_t last[LADDER_EVENT_COUNT];   /* when it was seen last; 0: never */
	uint64_t first[LADDER_EVENT_COUNT];  /* … first, since the last sign of life or of another state */
	unsigned n[LADDER_EVENT_COUNT];      /* since then */
	uint64_t crashed_us[LADDER_CRASHES]; /* a ring */
	unsigned n_crashes;
};
/* What the standbys that answer now say of their connection to it. */
struct ladder_opinion {
	unsigned streaming, lost;
};

/* It answers, but something else speaks against it. */
bool ladder_is_ailing(const struct ladder *l);
void ladder_note(struct ladder *l, enum ladder_event what, uint64_t now_us);
enum ladder_state ladder_judge(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                               uint64_t now_us);
/* Why, in words for people; returns OUT. */
const char *ladder_explain(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                           uint64_t now_us, char *out, size_t room);

#endif
