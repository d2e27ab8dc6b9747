/*
 * cancel — keys for clients, and CancelRequests from whichever worker they arrive in to the session they name.
 *
 * The "process id" of a client is its worker and slot, the key is random: finding the session is two array lookups, and guessing is hopeless.
 * The request's connection stays open until the server has closed ours, as PostgreSQL's own does, so that a client that waits for the EOF
 * knows that the cancel has been delivered.
 *
 * A request that no session answers to may be for one of the process whose place we took, and goes there (registry->elsewhere); the other way round,
 * session_registry_cancel() brings one that another process was asked.
 *
 * Always: a cancel is sent only while the session's server owes it a reply; the server meets no other statement before the cancel's EOF (server.h).
 */
#include "base/rand.h"
#include "base/secret.h"
#include "priv.h"

#define SLOT_BITS 23

/* ---- slots and keys ------------------------------------------------------------------------------------------------------------------ */

void cancel_seat(struct session *s)
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
	s->key_words = minor >= 2 ? 8 : 1; /* protocol 3.2 has long keys; 3.0 exactly 4 bytes */
	if (s->key_words > 1)
		s->key.far = mem_alloc(s->key_words * 4u);
	rand_bytes(s->key_words > 1 ? s->key.far : s->key.near, session_key(s).len);
}

uint32_t cancel_pid(const struct session *s)
{
	return (uint32_t)s->home->env.worker << SLOT_BITS | s->slot;
}

static struct session *slot_session(struct sessions *ss, uint32_t slot)
{
	return slot < ss->n_slots ? ss->slots[slot] : NULL;
}

struct session *cancel_session(struct sessions *ss, uint32_t slot, uint64_t id)
{
	struct session *s = slot_session(ss, slot);
	return s && s->id == id ? s : NULL;
}

/* ---- letters between workers ------------------------------------------------------------------------------------------------------------ */

struct session_cancel {
	struct letter letter;
	struct session_registry *registry;
	unsigned from_worker; /* where the request's connection is; from_id 0: nowhere */
	uint32_t from_slot;
	uint64_t from_id;
	struct mailbox *back; /* another process asked: who is told of the end; NULL: nobody */
	void (*fn)(void *arg);
	void *arg;
	uint32_t pid;       /* as the request has it */
	unsigned to_worker; /* where the session is that it names */
	uint32_t to_slot;
	uint64_t to_id; /* once it is found */
	uint16_t key_len;
	uint8_t key[STARTMSG_KEY_MAX];
};

static void job_free(struct session_cancel *job)
{
	secret_wipe(job->key, sizeof job->key);
	mem_free(job);
}

static void job_refused(struct letter *letter)
{
	job_free(CONTAINER_OF(letter, struct session_cancel, letter));
}

static void job_send(struct session_cancel *job, unsigned worker, void (*deliver)(struct letter *, void *))
{
	job->letter.deliver = deliver;
	job->letter.refuse = job_refused;
	mailbox_send(job->registry->worker[worker].mailbox, &job->letter);
}

/* In the request's worker: it was carried out, so its connection may go. */
static void job_deliver_done(struct letter *letter, void *receiver)
{
	struct session_cancel *job = CONTAINER_OF(letter, struct session_cancel, letter);
	struct sessions *ss = job->registry->worker[job->from_worker].sessions;
	struct session *s = ss ? slot_session(ss, job->from_slot) : NULL;
	if (s && s->id == job->from_id)
		session_close(s, CLOSE_CANCEL_DONE);
	job_free(job);
}

/* In the thread that asked for another process. */
static void job_deliver_back(struct letter *letter, void *receiver)
{
	struct session_cancel *job = CONTAINER_OF(letter, struct session_cancel, letter);
	job->fn(job->arg);
	job_free(job);
}

void session_cancel_done(struct session_cancel *job)
{
	if (job->from_id)
		job_send(job, job->from_worker, job_deliver_done);
	else if (job->back) {
		job->letter.deliver = job_deliver_back;
		mailbox_send(job->back, &job->letter);
	} else
		job_free(job);
}

/* The server has seen the cancel: a statement that waited for this may go. */
static void job_on_cancelled(void *arg)
{
	struct session_cancel *job = arg;
	struct sessions *ss = job->registry->worker[job->to_worker].sessions;
	struct session *s = ss ? slot_session(ss, job->to_slot) : NULL;
	if (s && s->id == job->to_id && s->state == SESSION_WAIT_QUIET && !s->setup_ahead)
		session_unblock(s);
	session_cancel_done(job);
}

static void job_on_link_cancelled(void *arg, bool is_over)
{
	job_on_cancelled(arg);
}

static bool is_waiting(const struct session *s)
{
	return s->state == SESSION_WAIT_SERVER || s->state == SESSION_WAIT_PRIMARY || s->state == SESSION_WAIT_PAUSED ||
	       s->state == SESSION_WAIT_PIN || s->state == SESSION_WAIT_FACTS;
}

static void job_carry_out(struct session_cancel *job, struct session *s)
{
	job->to_id = s->id;
	if (session_aside(s)->talk)
		console_cancel(s);
	else if (s->welcomed && is_waiting(s))
		session_fail_wait(s, "57014", "canceling statement due to user request", NULL);
	else if (s->srv && !replies_is_empty(&s->srv->replies)) {
		server_cancel(s->srv, job_on_cancelled, job);
		return;
	} else if (session_aside(s)->link_up && link_cancel(s, job_on_link_cancelled, job))
		return;
	job_on_cancelled(job);
}

static void job_deliver_elsewhere(struct letter *letter, void *receiver)
{
	struct session_cancel *job = CONTAINER_OF(letter, struct session_cancel, letter);
	struct session_registry *r = job->registry;
	r->elsewhere(r->elsewhere_arg, job, job->pid, slice_of(job->key, job->key_len));
}

static void job_try_elsewhere(struct session_cancel *job)
{
	struct session_registry *r = job->registry;
	if (!r->elsewhere) {
		session_cancel_done(job);
		return;
	}
	job->letter.deliver = job_deliver_elsewhere;
	mailbox_send(r->elsewhere_mailbox, &job->letter);
}

/* In the worker of the session that the request names. */
static void job_deliver_request(struct letter *letter, void *receiver)
{
	struct session_cancel *job = CONTAINER_OF(letter, struct session_cancel, letter);
	struct sessions *ss = job->registry->worker[job->to_worker].sessions;
	struct session *s = ss ? slot_session(ss, job->to_slot) : NULL;
	if (s && s->key_words && secret_equal(session_key(s), slice_of(job->key, job->key_len)))
		job_carry_out(job, s);
	else
		job_try_elsewhere(job);
}

static struct session_cancel *job_new(struct session_registry *r, uint32_t pid, struct slice key)
{
	struct session_cancel *job = mem_alloc(sizeof *job);
	job->letter.refuse = job_refused;
	job->registry = r;
	job->pid = pid;
	job->to_worker = pid >> SLOT_BITS;
	job->to_slot = pid & ((1u << SLOT_BITS) - 1);
	job->key_len = (uint16_t)key.len;
	memcpy(job->key, key.at, key.len);
	return job;
}

static void job_begin(struct session_cancel *job)
{
	if (job->to_worker < job->registry->n)
		job_send(job, job->to_worker, job_deliver_request);
	else
		job_try_elsewhere(job);
}

/* ---- both ends --------------------------------------------------------------------------------------------------------------------------- */

void cancel_begin(struct session *s, const struct startmsg *m)
{
	struct session_cancel *job;
	if (m->key.len > STARTMSG_KEY_MAX) {
		session_close(s, CLOSE_CANCEL_DONE);
		return;
	}
	job = job_new(s->home->env.registry, m->pid, m->key);
	job->from_worker = s->home->env.worker;
	job->from_slot = s->slot;
	job->from_id = s->id;
	session_enter(s, SESSION_CANCELLING);
	job_begin(job);
}

void session_registry_cancel(struct session_registry *r, uint32_t pid, struct slice key, struct mailbox *back,
                             void (*fn)(void *arg), void *arg)
{
	struct session_cancel *job = job_new(r, pid, slice_of(key.at, key.len <= STARTMSG_KEY_MAX ? key.len : 0));
	job->back = back;
	job->fn = fn;
	job->arg = arg;
	job_begin(job);
}

void session_registry_on_unknown_cancel(struct session_registry *r, struct mailbox *mailbox, session_elsewhere_fn fn, void *arg)
{
	r->elsewhere_mailbox = mailbox;
	r->elsewhere = fn;
	r->elsewhere_arg = arg;
}

void cancel_statement(struct session *s)
{
	struct session_cancel *job = mem_alloc(sizeof *job);
	job->registry = s->home->env.registry;
	job->to_worker = s->home->env.worker;
	job->to_slot = s->slot;
	job_carry_out(job, s);
}
