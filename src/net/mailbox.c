/*
 * mailbox — a locked list and an ev_async.
 *
 * The sender that finds the list empty wakes the receiver, inside the lock: so nobody wakes a loop whose mailbox was closed
 * meanwhile, and a burst costs one wake-up.
 */
#include "net/mailbox.h"

#include "base/mem.h"

static void refuse(struct letter *letter)
{
	if (letter->refuse)
		letter->refuse(letter);
	else
		mem_free(letter);
}

static struct letter *take_all(struct mailbox *m)
{
	struct letter *all = m->first;
	m->first = NULL;
	m->last = &m->first;
	return all;
}

/* A letter may close the mailbox: those behind it are refused. */
static void on_wake(struct loop_async *wake)
{
	struct mailbox *m = CONTAINER_OF(wake, struct mailbox, wake);
	pthread_mutex_lock(&m->lock);
	struct letter *letter = take_all(m);
	pthread_mutex_unlock(&m->lock);
	while (letter) {
		struct letter *next = letter->next;
		if (m->is_open)
			letter->deliver(letter, m->receiver);
		else
			refuse(letter);
		letter = next;
	}
}

void mailbox_open(struct mailbox *m, struct loop *loop, void *receiver)
{
	*m = (struct mailbox){ .receiver = receiver, .is_open = true };
	m->last = &m->first;
	pthread_mutex_init(&m->lock, NULL);
	loop_async_start(loop, &m->wake, on_wake);
}

void mailbox_close(struct mailbox *m)
{
	pthread_mutex_lock(&m->lock);
	bool was_open = m->is_open;
	m->is_open = false;
	struct letter *letter = take_all(m);
	pthread_mutex_unlock(&m->lock);
	if (was_open)
		loop_async_stop(&m->wake);
	while (letter) {
		struct letter *next = letter->next;
		refuse(letter);
		letter = next;
	}
}

void mailbox_send(struct mailbox *m, struct letter *letter)
{
	letter->next = NULL;
	pthread_mutex_lock(&m->lock);
	bool is_open = m->is_open, was_empty = !m->first;
	if (is_open) {
		*m->last = letter;
		m->last = &letter->next;
		if (was_empty)
			loop_async_send(&m->wake);
	}
	pthread_mutex_unlock(&m->lock);
	if (!is_open)
		refuse(letter);
}
