/*
 * helper — a few threads for what blocks.
 *
 *   helpers_give ──► [queue, bounded] ──► a thread: work ──► letter to the asker
 *
 * A thread is started when there is work and nobody idle, up to the maximum; it stays.
 * Always: a question whose time is up when a thread comes to it is not worked on;  the end waits END_S for what runs, then leaves it behind:
 * a PAM module may hang for ever.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "priv.h"

#define END_S 3

struct helpers {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct dlist queue;
	int64_t n_queued;
	unsigned max, n_threads, n_idle;
	bool is_ending;
	atomic_bool is_left; /* nobody is there any more whom an answer could reach */
	pthread_t threads[];
};

struct helpers *helpers_new(unsigned max)
{
	struct helpers *h = mem_alloc(sizeof *h + max * sizeof h->threads[0]);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->changed, NULL);
	dlist_init(&h->queue);
	h->max = max;
	return h;
}

static struct auth_question *next_question(struct helpers *h)
{
	pthread_mutex_lock(&h->lock);
	h->n_idle++;
	while (!h->is_ending && dlist_is_empty(&h->queue))
		pthread_cond_wait(&h->changed, &h->lock);
	h->n_idle--;
	struct dlist *l = h->is_ending ? NULL : dlist_pop_front(&h->queue);
	h->n_queued -= l != NULL;
	pthread_mutex_unlock(&h->lock);
	return l ? CONTAINER_OF(l, struct auth_question, link) : NULL;
}

static void *work(void *arg)
{
	for (struct auth_question *q; (q = next_question(arg));) {
		if (clock_us() < q->due_us)
			q->work(q);
		else
			question_fail(q, "57P03", "too many logins are waiting");
		if (atomic_load(&((struct helpers *)arg)->is_left))
			return NULL;
		question_send(q);
	}
	return NULL;
}

/* Under the lock.  Signals are the control thread's. */
static void start_thread(struct helpers *h)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&h->threads[h->n_threads], NULL, work, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		h->n_threads++;
	else
		log_error(NULL, "helper_thread_failed", KV_STR("error", strerror(rc)));
}

bool helpers_give(struct helpers *h, struct auth_question *q, int64_t queue_max)
{
	pthread_mutex_lock(&h->lock);
	if (h->n_queued >= h->n_idle && h->n_threads < h->max)
		start_thread(h);
	bool is_taken = h->n_threads > 0 && h->n_queued < queue_max;
	if (is_taken) {
		dlist_push_back(&h->queue, &q->link);
		h->n_queued++;
		pthread_cond_signal(&h->changed);
	}
	pthread_mutex_unlock(&h->lock);
	return is_taken;
}

static bool join_all(struct helpers *h)
{
	struct timespec until;
	bool all = true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_S;
	for (unsigned i = 0; i < h->n_threads; i++)
		all &= pthread_timedjoin_np(h->threads[i], NULL, &until) == 0;
	return all;
}

void helpers_free(struct helpers *h)
{
	pthread_mutex_lock(&h->lock);
	h->is_ending = true;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	bool is_over = join_all(h);
	for (struct dlist *l; (l = dlist_pop_front(&h->queue));)
		question_free(CONTAINER_OF(l, struct auth_question, link));
	if (!is_over) {
		atomic_store(&h->is_left, true);
		log_warn(NULL, "helper_left_behind", KV_STR("hint", "LDAP or PAM did not answer in time"));
		return; /* what the thread uses must stay */
	}
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	mem_free(h);
}
