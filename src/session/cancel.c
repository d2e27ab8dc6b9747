/*
 * cancel — keys for clients, and CancelRequests from whichever worker they arrive in to the session they name.
 *
 * The "process id" of a client is its worker and slot, the key is random: finding the session is two array lookups, and guessing is hopeless.
 * The request's connection stays open until the server has closed ours, as PostgreSQL's own does, so that a client that waits for the EOF
 * knows that the cancel has been delivered.
 *
 * Always: a cancel is sent only while the session's server owes it a reply; the server meets no other statement before the cancel's EOF (server.h).
 */
#include "base/rand.h"
#include "base/secret.h"
#include "priv.h"

#define SLOT_BITS 23

/* ---- slots and keys ------------------------------------------------------------------------------------------------------------------ */

static void slot_take(struct session *s)
{
	struct sessions *ss = s->home;
	if (ss->n_free) {
		s->slot = ss->free_slots[--ss->n_free];
	} else {
		if (ss->n_slots == ss->cap_slots) {
			ss->cap_slots = ss->cap_slots ? 2 * ss->cap_slots : 64;
			ss->slots = mem_grow(ss->slots, ss->cap_slots * sizeof *ss->slots);
			ss->free_slots = mem_grow(ss->free_slots, ss->cap_slots * sizeof *ss->free_slots);
		}
		s->slot = ss->n_slots++;
	}
	ss->slots[s->slot] = s;
}

void cancel_retire(struct session *s)
{
	struct sessions *ss = s->home;
	if (s->slot == UINT32_MAX)
		return;
	ss->slots[s->slot] = NULL;
	ss->free_slots[ss->n_free++] = s->slot;
	s->slot = UINT32_MAX;
}

void cancel_mint(struct session *s, uint16_t minor)
{
	slot_take(s);
	s->key_words = minor >= 2 ? 8 : 1; /* protocol 3.2 has long keys; 3.0 exactly 4 bytes */
	rand_bytes(s->key, session_key(s).len);
}

uint32_t cancel_pid(const struct session *s)
{
	return (uint32_t)s->home->env.worker << SLOT_BITS | s->slot;
}

static struct session *slot_session(struct sessions *ss, uint32_t slot)
{
	return slot < ss->n_slots ? ss->slots[slot] : NULL;
}

/* ---- letters between workers ------------------------------------------------------------------------------------------------------------ */

struct cancel_job {
	struct letter letter;
	struct session_registry *registry;
	unsigned from_worker; /* where the request's connection is */
	uint32_t from_slot;
	uint64_t from_id;
	unsigned to_worker; /* where the session is that it names */
	uint32_t to_slot;
	uint64_t to_id; /* once it is found */
	uint16_t key_len;
	uint8_t key[STARTMSG_KEY_MAX];
};

static void job_free(struct cancel_job *job)
{
	secret_wipe(job->key, sizeof job->key);
	mem_free(job);
}

static void job_refused(struct letter *letter)
{
	job_free(CONTAINER_OF(letter, struct cancel_job, letter));
}

static void job_send(struct cancel_job *job, unsigned worker, void (*deliver)(struct letter *, void *))
{
	job->letter.deliver = deliver;
	job->letter.refuse = job_refused;
	mailbox_send(job->registry->worker[worker].mailbox, &job->letter);
}

/* In the request's worker: it was carried out, so its connection may go. */
static void job_deliver_done(struct letter *letter, void *receiver)
{
	struct cancel_job *job = CONTAINER_OF(letter, struct cancel_job, letter);
	struct sessions *ss = job->registry->worker[job->from_worker].sessions;
	struct session *s = ss ? slot_session(ss, job->from_slot) : NULL;
	if (s && s->id == job->from_id)
		session_close(s, CLOSE_CANCEL_DONE);
	job_free(job);
}

/* The server has seen the cancel: a statement that waited for this may go. */
static void job_on_cancelled(void *arg)
{
	struct cancel_job *job = arg;
	struct sessions *ss = job->registry->worker[job->to_worker].sessions;
	struct session *s = ss ? slot_session(ss, job->to_slot) : NULL;
	if (s && s->id == job->to_id && s->state == SESSION_WAIT_QUIET && !s->setup_ahead)
		session_unblock(s);
	if (job->from_id)
		job_send(job, job->from_worker, job_deliver_done);
	else
		job_free(job);
}

static void job_on_link_cancelled(void *arg, bool is_over)
{
	job_on_cancelled(arg);
}

static bool is_waiting(const struct session *s)
{
	return s->state == SESSION_WAIT_SERVER || s->state == SESSION_WAIT_PRIMARY || s->state == SESSION_WAIT_PIN ||
	       s->state == SESSION_WAIT_FACTS;
}

static void job_carry_out(struct cancel_job *job, struct session *s)
{
	job->to_id = s->id;
	if (s->welcomed && is_waiting(s))
		session_fail_wait(s, "57014", "canceling statement due to user request", NULL);
	else if (s->srv && !replies_is_empty(&s->srv->replies)) {
		server_cancel(s->srv, job_on_cancelled, job);
		return;
	} else if (s->link_up && link_cancel(s, job_on_link_cancelled, job))
		return;
	job_on_cancelled(job);
}

/* In the worker of the session that the request names. */
static void job_deliver_request(struct letter *letter, void *receiver)
{
	struct cancel_job *job = CONTAINER_OF(letter, struct cancel_job, letter);
	struct sessions *ss = job->registry->worker[job->to_worker].sessions;
	struct session *s = ss ? slot_session(ss, job->to_slot) : NULL;
	if (s && s->key_words && secret_equal(session_key(s), slice_of(job->key, job->key_len)))
		job_carry_out(job, s);
	else
		job_on_cancelled(job);
}

/* ---- both ends --------------------------------------------------------------------------------------------------------------------------- */

void cancel_begin(struct session *s, const struct startmsg *m)
{
	struct session_registry *r = s->home->env.registry;
	unsigned worker = m->pid >> SLOT_BITS;
	struct cancel_job *job;
	if (worker >= r->n || m->key.len > STARTMSG_KEY_MAX) {
		session_close(s, CLOSE_CANCEL_DONE);
		return;
	}
	slot_take(s);
	job = mem_alloc(sizeof *job);
	job->registry = r;
	job->from_worker = s->home->env.worker;
	job->from_slot = s->slot;
	job->from_id = s->id;
	job->to_worker = worker;
	job->to_slot = m->pid & ((1u << SLOT_BITS) - 1);
	job->key_len = (uint16_t)m->key.len;
	memcpy(job->key, m->key.at, m->key.len);
	session_enter(s, SESSION_CANCELLING);
	job_send(job, worker, job_deliver_request);
}

void cancel_statement(struct session *s)
{
	struct cancel_job *job = mem_alloc(sizeof *job);
	job->registry = s->home->env.registry;
	job->to_worker = s->home->env.worker;
	job->to_slot = s->slot;
	job_carry_out(job, s);
}
