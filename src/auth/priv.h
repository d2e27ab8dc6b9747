/* priv — what the files of auth/ share. */
#ifndef AUTH_PRIV_H
#define AUTH_PRIV_H

#include <pthread.h>

#include "auth/auth.h"
#include "base/dlist.h"
#include "base/map.h"
#include "base/mem.h"

/* A question with its answer; whoever finds it last (delivered, refused, or still queued at the end) frees it. */
struct auth_question {
	struct letter letter;
	struct dlist link; /* in a helper's queue, or with the entry of a lookup */
	struct auth *home;
	struct mailbox *reply_to;
	auth_fn fn;
	void *arg;
	bool is_forgotten; /* the asker's alone */
	/* Under home->sockets: what a helper talks through to find the answer, -1: nothing; nobody waits for that any more. */
	int fd;
	bool is_over;
	void (*work)(struct auth_question *q);
	uint64_t due_us; /* a helper that comes to it later says so instead */
	/* Asked. */
	char *user, *password, *dir;
	struct addr peer;
	uid_t uid;
	struct scram_secret scram;
	struct hba *hba;
	const struct hba_rule *rule;
	struct lookup_ask *ask;
	struct auth_answer answer;
};
struct auth_question *question_new(struct auth *a, struct mailbox *reply_to, auth_fn fn, void *arg);
void question_send(struct auth_question *q); /* any thread: the answer is ready */
void question_free(struct auth_question *q); /* wipes */
/* A helper: Q is asked through FD from now on; -1: not any more, to be said before it is closed.  False: nobody waits for the answer. */
bool question_talks(struct auth_question *q, int fd);
/* The answer is not to be had. */
void question_fail(struct auth_question *q, const char *sqlstate, const char *text);

/* helper.c: threads that may block, started when there is work */
struct helpers;
struct helpers *helpers_new(unsigned max);
void helpers_free(struct helpers *h); /* waits for what runs, but not for ever */
bool helpers_give(struct helpers *h, struct auth_question *q, int64_t queue_max) MUST_CHECK;

/* lookup.c: servers are asked, from the control thread */
struct lookup_ask; /* what a question wants to know */
struct lookup;
struct lookup *lookup_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board);
void lookup_free(struct lookup *l); /* open questions get no answer */
struct lookup_ask *lookup_ask_new(const struct auth_source *source, bool is_roles, uint64_t not_before_us);
void lookup_ask_free(struct lookup_ask *ask);
void lookup_begin(struct lookup *l, struct auth_question *q);

/* derived.c */
struct derived;
struct derived *derived_new(void);
void derived_free(struct derived *d);
bool derived_get(struct derived *d, const char *user, const char *password, struct scram_secret *s) MUST_CHECK;
void derived_put(struct derived *d, const char *user, const char *password, const struct scram_secret *s);

/* strikes.c */
struct strikes;
struct strikes *strikes_new(void);
void strikes_free(struct strikes *s);

struct auth {
	struct mailbox *mailbox; /* the control thread's */
	struct lookup *lookup;   /* control thread; NULL behind auth_shut() */
	struct helpers *hashers, *namers, *askers;
	struct derived *derived;
	struct strikes *strikes;
	struct hosts *hosts;
	pthread_mutex_t sockets;
};

/* What a helper does. */
void work_user(struct auth_question *q);
void work_host(struct auth_question *q);
void prepare_ldap(void); /* before any thread */
void work_ldap(struct auth_question *q);
void work_pam(struct auth_question *q);

#endif
