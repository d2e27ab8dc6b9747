/*
 * host — names that the system knows: of a user, and of an address, which counts only when it leads back to the address (PostgreSQL, hba.c: check_hostname).
 *
 * "There is no such name" is an answer, "nobody could tell" is none: a rule that refuses a host must not be passed because DNS is down.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "auth/hosts.h"
#include "base/clock.h"
#include "base/log.h"
#include "priv.h"

static bool is_same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
		              &((const struct sockaddr_in *)(const void *)b)->sin_addr, sizeof(struct in_addr)) == 0;
	return a->sa_family == AF_INET6 &&
	       memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
	              &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static bool is_absence(int rc)
{
	return rc == EAI_NONAME || rc == EAI_NODATA || rc == EAI_FAMILY || rc == EAI_ADDRFAMILY;
}

static int leads_back(const char *host, const struct addr *peer, bool *does)
{
	const struct addrinfo want = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int rc = getaddrinfo(host, NULL, &want, &found);
	*does = false;
	for (const struct addrinfo *it = rc == 0 ? found : NULL; it && !*does; it = it->ai_next)
		*does = is_same_address(it->ai_addr, (const struct sockaddr *)&peer->sa);
	if (rc == 0)
		freeaddrinfo(found);
	return rc;
}

static void refuse(struct auth_question *q)
{
	question_fail(q, "57P03", "the name of the client's address cannot be looked up now");
}

static void look_up(struct auth_question *q)
{
	struct auth_answer *a = &q->answer;
	bool does = false;
	int rc = getnameinfo((const struct sockaddr *)&q->peer.sa, q->peer.len, a->host, sizeof a->host, NULL, 0, NI_NAMEREQD);
	if (rc == 0)
		rc = leads_back(a->host, &q->peer, &does);
	a->is_known = rc == 0 || is_absence(rc);
	if (!does)
		a->host[0] = '\0';
	if (a->is_known)
		return;
	refuse(q);
	err_detail(&a->err, "%s", gai_strerror(rc));
}

/* Those of one address that have queued up behind the first get what it found. */
void work_host(struct auth_question *q)
{
	struct auth_answer *a = &q->answer;
	if (!hosts_get(q->home->hosts, &q->peer, clock_us(), &a->is_known, a->host)) {
		look_up(q);
		hosts_put(q->home->hosts, &q->peer, clock_us(), a->is_known, a->host);
	} else if (!a->is_known)
		refuse(q);
}

/* May ask a directory, where the system's users stand in one. */
void work_user(struct auth_question *q)
{
	char space[16384];
	struct passwd entry, *found = NULL;
	int rc = getpwuid_r(q->uid, &entry, space, sizeof space, &found);
	if (!found || strlen(entry.pw_name) >= sizeof q->answer.host) {
		log_info(NULL, "peer_has_no_name", KV_INT("uid", q->uid), KV_INT("errno", rc));
		question_fail(q, "28000", "the system has no name for the client's user");
		return;
	}
	q->answer.is_known = true;
	snprintf(q->answer.host, sizeof q->answer.host, "%s", entry.pw_name);
}
