/*
 * pam — whether PAM accepts a user with this password, and whether his account is good (PostgreSQL, auth.c: CheckPAMAuth).
 *
 * PAM asks by calling back; the one answer that there is, the password, is given to questions whose answer is not to be seen on a screen.
 */
#include <netdb.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "priv.h"

/* PAM frees answers with free(). */
static int converse(int n, const struct pam_message **asked, struct pam_response **out, void *arg)
{
	const struct auth_question *q = arg;
	struct pam_response *answers = n > 0 && n <= PAM_MAX_NUM_MSG ? calloc((size_t)n, sizeof *answers) : NULL;
	bool ok = answers != NULL;
	for (int i = 0; ok && i < n; i++)
		switch (asked[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF:
			answers[i].resp = strdup(q->password);
			ok = answers[i].resp != NULL;
			break;
		case PAM_ERROR_MSG:
			log_info(NULL, "pam_says", KV_STR("user", q->user), KV_STR("text", asked[i]->msg));
			break;
		case PAM_TEXT_INFO:
			break;
		default:
			log_warn(NULL, "pam_asks", KV_STR("user", q->user), KV_STR("text", asked[i]->msg),
			         KV_STR("hint", "only questions for a password can be answered"));
			ok = false;
		}
	for (int i = 0; !ok && answers && i < n; i++) {
		if (answers[i].resp)
			secret_wipe(answers[i].resp, strlen(answers[i].resp));
		free(answers[i].resp);
	}
	if (!ok)
		free(answers);
	*out = ok ? answers : NULL;
	return ok ? PAM_SUCCESS : PAM_CONV_ERR;
}

static int set_host(pam_handle_t *pam, const struct auth_question *q)
{
	char host[NI_MAXHOST] = "[local]";
	int flags = q->rule->pam_use_hostname ? 0 : NI_NUMERICHOST;
	if (!addr_is_unix(&q->peer))
		getnameinfo((const struct sockaddr *)&q->peer.sa, q->peer.len, host, sizeof host, NULL, 0, flags);
	return pam_set_item(pam, PAM_RHOST, host);
}

/* The module's own trouble, not what it thinks of the user. */
static bool is_trouble(int rc)
{
	return rc == PAM_AUTHINFO_UNAVAIL || rc == PAM_BUF_ERR || rc == PAM_OPEN_ERR;
}

static void judge(struct auth_question *q, pam_handle_t *pam, int rc)
{
	q->answer.is_right = rc == PAM_SUCCESS;
	if (rc == PAM_SUCCESS)
		return;
	log_info(NULL, "pam_refused", KV_STR("service", q->rule->pam_service), KV_STR("user", q->user),
	         KV_STR("error", pam_strerror(pam, rc)));
	if (is_trouble(rc))
		question_fail(q, "57P03", "PAM cannot be asked now");
}

void work_pam(struct auth_question *q)
{
	const struct pam_conv conv = { .conv = converse, .appdata_ptr = q };
	pam_handle_t *pam = NULL;
	q->answer.is_known = true;
	if (!*q->password)
		return; /* some modules take that for a user without a password */
	int rc = pam_start_confdir(q->rule->pam_service, q->user, &conv, *q->dir ? q->dir : NULL, &pam);
	if (rc != PAM_SUCCESS) {
		judge(q, pam, rc);
		question_fail(q, "57P03", "PAM cannot be asked now");
		if (pam)
			pam_end(pam, rc);
		return;
	}
	rc = set_host(pam, q);
	if (rc == PAM_SUCCESS)
		rc = pam_authenticate(pam, PAM_SILENT);
	if (rc == PAM_SUCCESS)
		rc = pam_acct_mgmt(pam, PAM_SILENT);
	judge(q, pam, rc);
	pam_end(pam, rc);
}
