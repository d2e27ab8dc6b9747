/*
 * resolve — one thread that asks getaddrinfo().
 *
 *   resolve_ask -> [queue] -> asking thread: getaddrinfo -> letter to the asker's mailbox -> fn
 *        └─ known: the letter at once, and, if that is old, the question for the next time (reply_to NULL)
 *
 * What was found once is answered until something else is: a name server that fails, or says nothing for long, takes no node away, and an address that
 * changes is used from the try after the next.
 *
 * A question is touched by the resolver's thread between queue and letter, by the asker's otherwise; `is_forgotten` is the
 * asker's alone.  Whoever finds a question last (delivered, refused, or still queued at the end) frees it.
 */
#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define KNOWN_MAX 1000u
#define FRESH_US (1 * US_PER_S)

struct resolve_question {
	struct letter letter;
	struct dlist link;
	struct mailbox *reply_to;
	void (*fn)(void *arg, const struct resolve_answer *answer);
	void *arg;
	bool is_forgotten;
	struct resolve_answer answer;
	uint16_t port;
	char host[];
};

struct known {
	struct dlist link; /* the one that was found last is the first */
	uint64_t asked_us;
	bool is_failing;
	struct resolve_answer answer;
	uint16_t port;
	char host[];
};

struct resolver {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct dlist questions;
	struct dlist known;
	unsigned n_known;
	bool is_ending;
	const void *world; /* NULL: names are looked up */
};

static void take_addresses(struct resolve_answer *answer, const struct addrinfo *found)
{
	for (; found && answer->n < RESOLVE_MAX; found = found->ai_next) {
		if (found->ai_addrlen > sizeof answer->at[0].sa)
			continue;
		struct addr *a = &answer->at[answer->n++];
		memcpy(&a->sa, found->ai_addr, found->ai_addrlen);
		a->len = found->ai_addrlen;
	}
}

static void look_up(const char *host, uint16_t port, struct resolve_answer *answer)
{
	const struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char service[8];
	snprintf(service, sizeof service, "%u", port);
	int rc = getaddrinfo(host, service, &want, &found);
	if (rc == 0) {
		take_addresses(answer, found);
		freeaddrinfo(found);
	}
	if (answer->n == 0)
		err_set(&answer->err, "08001", "could not find the address of host \"%s\": %s", host,
		        rc == 0            ? "no usable address"
		        : rc == EAI_SYSTEM ? strerror(errno)
		                           : gai_strerror(rc));
}

/* ---- what is known: under the lock --------------------------------------------------------------------------------------------- */

static struct known *find_known(struct resolver *r, const char *host, uint16_t port)
{
	DLIST_EACH(it, &r->known)
	{
		struct known *k = CONTAINER_OF(it, struct known, link);
		if (k->port == port && strcmp(k->host, host) == 0)
			return k;
	}
	return NULL;
}

static void forget_oldest(struct resolver *r)
{
	struct dlist *last = r->known.prev;
	dlist_remove(last);
	mem_free(CONTAINER_OF(last, struct known, link));
	r->n_known--;
}

static void remember(struct resolver *r, const struct resolve_question *q)
{
	struct known *k = find_known(r, q->host, q->port);
	size_t len = strlen(q->host) + 1;
	if (!k) {
		k = mem_alloc(sizeof *k + len);
		k->port = q->port;
		memcpy(k->host, q->host, len);
		r->n_known++;
	} else {
		dlist_remove(&k->link);
	}
	k->asked_us = clock_us();
	k->is_failing = false;
	k->answer = q->answer;
	dlist_push_front(&r->known, &k->link);
	if (r->n_known > KNOWN_MAX)
		forget_oldest(r);
}

static void note_found(struct resolver *r, const struct resolve_question *q)
{
	pthread_mutex_lock(&r->lock);
	struct known *k = find_known(r, q->host, q->port);
	bool is_news = k && !k->is_failing && q->answer.n == 0;
	if (q->answer.n > 0)
		remember(r, q);
	else if (k)
		k->is_failing = true;
	pthread_mutex_unlock(&r->lock);
	if (is_news)
		log_warn(NULL, "name_not_found", KV_STR("host", q->host), KV_ERR(&q->answer.err),
		         KV_STR("effect", "its last address is used"));
}

/* ---- questions --------------------------------------------------------------------------------------------------------------- */

static void deliver(struct letter *letter, void *receiver)
{
	struct resolve_question *q = CONTAINER_OF(letter, struct resolve_question, letter);
	if (!q->is_forgotten)
		q->fn(q->arg, &q->answer);
	mem_free(q);
}

static struct resolve_question *next_question(struct resolver *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->is_ending && dlist_is_empty(&r->questions))
		pthread_cond_wait(&r->changed, &r->lock);
	struct dlist *l = r->is_ending ? NULL : dlist_pop_front(&r->questions);
	pthread_mutex_unlock(&r->lock);
	return l ? CONTAINER_OF(l, struct resolve_question, link) : NULL;
}

static void *answer_questions(void *arg)
{
	for (struct resolve_question *q; (q = next_question(arg));) {
		look_up(q->host, q->port, &q->answer);
		note_found(arg, q);
		if (q->reply_to)
			mailbox_send(q->reply_to, &q->letter);
		else
			mem_free(q);
	}
	return NULL;
}

struct resolver *resolver_new(void)
{
	struct resolver *r = mem_alloc(sizeof *r);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	dlist_init(&r->questions);
	dlist_init(&r->known);
	/* Signals are the main thread's. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&r->thread, NULL, answer_questions, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		die("cannot start the resolver thread: %s", strerror(rc));
	return r;
}

struct resolver *resolver_new_simulated(const void *world)
{
	struct resolver *r = mem_alloc(sizeof *r);
	r->world = world;
	return r;
}

const void *resolver_world(const struct resolver *r)
{
	return r ? r->world : NULL;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	if (r->world) {
		mem_free(r);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->is_ending = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	for (struct dlist *l; (l = dlist_pop_front(&r->questions));)
		mem_free(CONTAINER_OF(l, struct resolve_question, link));
	while (r->n_known)
		forget_oldest(r);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}

static struct resolve_question *question_new(const char *host, uint16_t port, struct mailbox *reply_to)
{
	size_t len = strlen(host) + 1;
	struct resolve_question *q = mem_alloc(sizeof *q + len);
	q->letter.deliver = deliver; /* refuse NULL frees the letter, which is where the question starts */
	q->reply_to = reply_to;
	q->port = port;
	memcpy(q->host, host, len);
	return q;
}

/* Under the lock. */
static void put(struct resolver *r, struct resolve_question *q)
{
	dlist_push_back(&r->questions, &q->link);
	pthread_cond_signal(&r->changed);
}

struct resolve_question *resolve_ask(struct resolver *r, const char *host, uint16_t port, struct mailbox *reply_to,
                                     void (*fn)(void *arg, const struct resolve_answer *answer), void *arg)
{
	ASSERT(!r->world);
	struct resolve_question *q = question_new(host, port, reply_to);
	q->fn = fn;
	q->arg = arg;
	pthread_mutex_lock(&r->lock);
	struct known *k = find_known(r, host, port);
	bool is_old = k && clock_us() - k->asked_us >= FRESH_US;
	if (!k)
		put(r, q);
	else
		q->answer = k->answer;
	if (is_old) {
		k->asked_us = clock_us();
		put(r, question_new(host, port, NULL));
	}
	pthread_mutex_unlock(&r->lock);
	if (k)
		mailbox_send(reply_to, &q->letter);
	return q;
}

void resolve_forget(struct resolve_question *q)
{
	if (q)
		q->is_forgotten = true;
}
