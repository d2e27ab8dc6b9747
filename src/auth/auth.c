/*
 * auth — questions from asking to answering.
 *
 *   auth_ask_… ──► control thread (lookup.c) or a helper (helper.c) ──letter──► the asker's loop: fn
 *
 * A question belongs to whoever works on it between asking and its letter; `is_forgotten` is the asker's alone.  A directory that hangs would keep
 * its helper for ever, and the next one, until there are none: when nobody waits any more, the helper's socket is shut.
 */
#include "auth/auth.h"

#include <string.h>
#include <sys/socket.h>

#include "auth/hosts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "priv.h"
#include "wire/pbkdf2.h"

#define HASHES_A_LOOK 20000u /* at the clock */

/* ---- one question -------------------------------------------------------------------------------------- */

void question_free(struct auth_question *q)
{
	secret_free_text(q->password);
	secret_free_text(q->answer.secret);
	for (size_t i = 0; i < q->answer.n_roles; i++)
		mem_free(q->answer.roles[i]);
	mem_free(q->answer.roles);
	mem_free(q->user);
	mem_free(q->dir);
	hba_unref(q->hba);
	lookup_ask_free(q->ask);
	secret_wipe(q, sizeof *q);
	mem_free(q);
}

static void answer_deliver(struct letter *letter, void *receiver)
{
	struct auth_question *q = CONTAINER_OF(letter, struct auth_question, letter);
	if (!q->is_forgotten)
		q->fn(q->arg, &q->answer);
	question_free(q);
}

static void answer_refuse(struct letter *letter)
{
	question_free(CONTAINER_OF(letter, struct auth_question, letter));
}

struct auth_question *question_new(struct auth *a, struct mailbox *reply_to, auth_fn fn, void *arg)
{
	struct auth_question *q = mem_alloc(sizeof *q);
	q->letter.refuse = answer_refuse;
	q->home = a;
	q->fd = -1;
	q->reply_to = reply_to;
	q->fn = fn;
	q->arg = arg;
	return q;
}

void question_send(struct auth_question *q)
{
	q->letter.deliver = answer_deliver;
	mailbox_send(q->reply_to, &q->letter);
}

void question_fail(struct auth_question *q, const char *sqlstate, const char *text)
{
	q->answer.is_known = false;
	err_set(&q->answer.err, sqlstate, "%s", text);
}

void auth_forget(struct auth_question *q)
{
	if (!q)
		return;
	q->is_forgotten = true;
	pthread_mutex_lock(&q->home->sockets);
	q->is_over = true;
	if (q->fd >= 0)
		shutdown(q->fd, SHUT_RDWR);
	pthread_mutex_unlock(&q->home->sockets);
}

bool question_talks(struct auth_question *q, int fd)
{
	pthread_mutex_lock(&q->home->sockets);
	q->fd = fd;
	bool is_over = q->is_over;
	pthread_mutex_unlock(&q->home->sockets);
	return !is_over;
}

/* ---- servers ------------------------------------------------------------------------------------------- */

static void lookup_deliver(struct letter *letter, void *receiver)
{
	struct auth_question *q = CONTAINER_OF(letter, struct auth_question, letter);
	if (q->home->lookup) {
		lookup_begin(q->home->lookup, q);
		return;
	}
	question_fail(q, "57P03", "Lunapool is shutting down");
	question_send(q);
}

static struct auth_question *ask_server(struct auth *a, const struct auth_source *source, bool is_roles, const char *user,
                                        uint64_t not_before_us, struct mailbox *reply_to, auth_fn fn, void *arg)
{
	struct auth_question *q = question_new(a, reply_to, fn, arg);
	q->user = mem_text(user);
	q->ask = lookup_ask_new(source, is_roles, not_before_us);
	q->letter.deliver = lookup_deliver;
	mailbox_send(a->mailbox, &q->letter);
	return q;
}

struct auth_question *auth_ask_secret(struct auth *a, const struct auth_source *source, const char *user, uint64_t not_before_us,
                                      struct mailbox *reply_to, auth_fn fn, void *arg)
{
	return ask_server(a, source, false, user, not_before_us, reply_to, fn, arg);
}

struct auth_question *auth_ask_roles(struct auth *a, const struct auth_source *source, const char *user, struct mailbox *reply_to,
                                     auth_fn fn, void *arg)
{
	return ask_server(a, source, true, user, 0, reply_to, fn, arg);
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static struct auth_question *help_new(struct auth *a, const struct auth_help *help, void (*work)(struct auth_question *q))
{
	struct auth_question *q = question_new(a, help->reply_to, help->fn, help->arg);
	q->work = work;
	q->due_us = clock_us() + help->timeout_us;
	return q;
}

static struct auth_question *help_give(struct helpers *h, struct auth_question *q, const struct auth_help *help)
{
	if (helpers_give(h, q, help->queue_max))
		return q;
	question_free(q);
	return NULL;
}

struct auth_question *auth_ask_host(struct auth *a, const struct addr *peer, const struct auth_help *help)
{
	struct auth_question *q = help_new(a, help, work_host);
	q->peer = *peer;
	return help_give(a->namers, q, help);
}

struct auth_question *auth_ask_user(struct auth *a, uid_t uid, const struct auth_help *help)
{
	struct auth_question *q = help_new(a, help, work_user);
	q->uid = uid;
	return help_give(a->namers, q, help);
}

/* Q's password under the salt of S; false: it takes longer than anybody waits. */
static bool derive_in_time(struct auth_question *q, struct scram_secret *s)
{
	uint8_t client_key[SCRAM_KEY];
	struct pbkdf2 *work = scram_secret_begin(slice_text(q->password), s);
	while (!pbkdf2_go(work, HASHES_A_LOOK))
		if (clock_us() >= q->due_us) {
			pbkdf2_free(work);
			question_fail(q, "57P03", "the password takes too long to check");
			log_warn(NULL, "password_takes_too_long", KV_INT("iterations", s->iterations),
			         KV_STR("hint", "the stored secret asks for more hashes than helper_timeout has time for"));
			return false;
		}
	scram_secret_end(work, s, client_key);
	secret_wipe(client_key, sizeof client_key);
	return true;
}

static void work_keys(struct auth_question *q)
{
	q->answer.scram = q->scram;
	q->answer.is_known = derive_in_time(q, &q->answer.scram);
	if (q->answer.is_known)
		derived_put(q->home->derived, q->user, q->password, &q->answer.scram);
}

struct auth_question *auth_ask_keys(struct auth *a, const char *user, const char *password, const struct scram_secret *s,
                                    const struct auth_help *help)
{
	struct auth_question *q = help_new(a, help, work_keys);
	q->user = mem_text(user);
	q->password = mem_text(password);
	q->scram = *s;
	return help_give(a->hashers, q, help);
}

static void work_fits(struct auth_question *q)
{
	struct scram_secret made = q->scram;
	q->answer.is_known = derive_in_time(q, &made);
	q->answer.is_right = q->answer.is_known && scram_secret_equal(&made, &q->scram);
	secret_wipe(&made, sizeof made);
}

struct auth_question *auth_ask_fits(struct auth *a, const char *password, const struct scram_secret *s,
                                    const struct auth_help *help)
{
	struct auth_question *q = help_new(a, help, work_fits);
	q->password = mem_text(password);
	q->scram = *s;
	return help_give(a->hashers, q, help);
}

static struct auth_question *foreign(struct auth *a, const struct hba *hba, const struct hba_rule *rule, const char *user,
                                     const char *password, const struct auth_help *help, void (*work)(struct auth_question *q))
{
	struct auth_question *q = help_new(a, help, work);
	q->hba = hba_ref(hba);
	q->rule = rule;
	q->user = mem_text(user);
	q->password = mem_text(password);
	return q;
}

struct auth_question *auth_ask_ldap(struct auth *a, const struct hba *hba, const struct hba_rule *rule, const char *user,
                                    const char *password, const struct auth_help *help)
{
	return help_give(a->askers, foreign(a, hba, rule, user, password, help, work_ldap), help);
}

struct auth_question *auth_ask_pam(struct auth *a, const struct hba *hba, const struct hba_rule *rule, const char *dir,
                                   const char *user, const char *password, const struct addr *peer, const struct auth_help *help)
{
	struct auth_question *q = foreign(a, hba, rule, user, password, help, work_pam);
	q->dir = mem_text(dir);
	q->peer = *peer;
	return help_give(a->askers, q, help);
}

bool auth_recall_keys(struct auth *a, const char *user, const char *password, struct scram_secret *s)
{
	return derived_get(a->derived, user, password, s);
}

/* ---- its life ------------------------------------------------------------------------------------------ */

struct auth *auth_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board,
                      unsigned threads)
{
	struct auth *a = mem_alloc(sizeof *a);
	a->mailbox = mailbox;
	a->lookup = lookup_new(loop, resolver, mailbox, board);
	a->hashers = helpers_new(1);
	a->namers = helpers_new(2);
	a->askers = helpers_new(threads);
	a->derived = derived_new();
	a->strikes = strikes_new();
	a->hosts = hosts_new();
	pthread_mutex_init(&a->sockets, NULL);
	prepare_ldap();
	return a;
}

void auth_shut(struct auth *a)
{
	lookup_free(a->lookup);
	a->lookup = NULL;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	helpers_free(a->hashers);
	helpers_free(a->namers);
	helpers_free(a->askers);
	derived_free(a->derived);
	strikes_free(a->strikes);
	hosts_free(a->hosts);
	pthread_mutex_destroy(&a->sockets);
	mem_free(a);
}
