/*
 * resolve — one thread that asks getaddrinfo().
 *
 *   resolve_ask -> [queue] -> asking thread: getaddrinfo -> letter to the asker's mailbox -> fn
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

#include "base/log.h"
#include "base/mem.h"

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

struct resolver {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct dlist questions;
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
		mailbox_send(q->reply_to, &q->letter);
	}
	return NULL;
}

struct resolver *resolver_new(void)
{
	struct resolver *r = mem_alloc(sizeof *r);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	dlist_init(&r->questions);
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
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}

struct resolve_question *resolve_ask(struct resolver *r, const char *host, uint16_t port, struct mailbox *reply_to,
                                     void (*fn)(void *arg, const struct resolve_answer *answer), void *arg)
{
	size_t len = strlen(host) + 1;
	ASSERT(!r->world);
	struct resolve_question *q = mem_alloc(sizeof *q + len);
	q->letter.deliver = deliver; /* refuse NULL frees the letter, which is where the question starts */
	q->reply_to = reply_to;
	q->fn = fn;
	q->arg = arg;
	q->port = port;
	memcpy(q->host, host, len);
	pthread_mutex_lock(&r->lock);
	dlist_push_back(&r->questions, &q->link);
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	return q;
}

void resolve_forget(struct resolve_question *q)
{
	if (q)
		q->is_forgotten = true;
}
