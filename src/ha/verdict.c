/*
 * verdict — who is primary, from what each node said last.
 *
 *   out of recovery   recorded one             primary          because a write must never reach a standby or a second primary:
 *   one               any                      that one
 *   one               none, and somebody was   none, until everybody was asked: another may claim it too
 *                     not asked yet
 *   several           among them               the recorded one
 *   several           not among them           none             whichever we took could be the wrong one
 *   none              in recovery              none
 *   none              failed twice in a row    none
 *   none              is of another cluster    none
 *   none              anything else            the recorded one (one lost probe, a full server, a bad password are no reason)
 *
 * What cluster it is, is decided once, when every node was asked: by most nodes, among as many by who is out of recovery.  Who is of another
 * one is no candidate, whatever it says.  All nodes together may become another cluster, one may not.
 */
#include "ha/verdict.h"

#include <string.h>

#define FAILURES_THAT_COUNT 2

enum verdict_answer verdict_of_error(const struct err *err)
{
	static const char *const down[] = { "57P01", "57P02", "57P03" }; /* shutting down, crashed, starting up */
	if (strncmp(err->sqlstate, "08", 2) == 0)
		return VERDICT_FAILED;
	for (size_t i = 0; i < sizeof down / sizeof down[0]; i++)
		if (strcmp(err->sqlstate, down[i]) == 0)
			return VERDICT_FAILED;
	return VERDICT_REFUSED;
}

static bool has_said(const struct verdict_view *v)
{
	return (v->last == VERDICT_PRIMARY || v->last == VERDICT_STANDBY) && v->system_id != 0;
}

/* Nodes that have ID, and, worth less than one of them, that one is out of recovery. */
static size_t votes_for(const struct verdict_view *nodes, size_t n, uint64_t id)
{
	size_t votes = 0;
	bool has_primary = false;
	for (size_t i = 0; i < n; i++)
		if (has_said(&nodes[i]) && nodes[i].system_id == id) {
			votes += 2;
			has_primary |= nodes[i].last == VERDICT_PRIMARY;
		}
	return votes + has_primary;
}

static uint64_t identity_of_most(const struct verdict_view *nodes, size_t n)
{
	uint64_t best = 0;
	size_t most = 0;
	for (size_t i = 0; i < n; i++) {
		size_t votes = has_said(&nodes[i]) ? votes_for(nodes, n, nodes[i].system_id) : 0;
		if (votes > most)
			best = nodes[i].system_id;
		else if (votes == most && nodes[i].system_id != best)
			best = 0;
		most = votes > most ? votes : most;
	}
	return best;
}

/* The one that all of them have. */
static uint64_t identity_of_all(const struct verdict_view *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!has_said(&nodes[i]) || nodes[i].system_id != nodes[0].system_id)
			return 0;
	return n ? nodes[0].system_id : 0;
}

uint64_t verdict_identity(const struct verdict_view *nodes, size_t n, uint64_t known)
{
	uint64_t of_all = identity_of_all(nodes, n);
	if (known)
		return of_all ? of_all : known;
	for (size_t i = 0; i < n; i++)
		if (nodes[i].last == VERDICT_UNKNOWN)
			return 0;
	return identity_of_most(nodes, n);
}

static struct verdict without_candidates(const struct verdict_view *nodes, int recorded)
{
	if (recorded < 0)
		return (struct verdict){ .primary = -1, .reason = "no node says that it is out of recovery" };
	const struct verdict_view *was = &nodes[recorded];
	if (was->last == VERDICT_STANDBY)
		return (struct verdict){ .primary = -1, .reason = "it is in recovery now" };
	if (was->last == VERDICT_FOREIGN)
		return (struct verdict){ .primary = -1, .reason = "it is of another cluster now" };
	if (was->last == VERDICT_FAILED && was->failures >= FAILURES_THAT_COUNT)
		return (struct verdict){ .primary = -1, .reason = "it does not answer" };
	return (struct verdict){ .primary = recorded, .reason = "nothing speaks against it" };
}

struct verdict verdict_primary(const struct verdict_view *nodes, size_t n, int recorded)
{
	int candidate = -1;
	size_t candidates = 0, unknown = 0;
	for (size_t i = 0; i < n; i++) {
		unknown += nodes[i].last == VERDICT_UNKNOWN;
		if (nodes[i].last == VERDICT_PRIMARY) {
			candidate = (int)i;
			candidates++;
		}
	}
	if (candidates == 0)
		return without_candidates(nodes, recorded);
	if (candidates == 1 && recorded < 0 && unknown > 0)
		return (struct verdict){ .primary = -1, .reason = "not every node was asked yet" };
	if (candidates == 1)
		return (struct verdict){ .primary = candidate, .reason = "it alone is out of recovery" };
	if (recorded >= 0 && nodes[recorded].last == VERDICT_PRIMARY)
		return (struct verdict){ .primary = recorded, .has_conflict = true, .reason = "it was before, others claim it too" };
	return (struct verdict){ .primary = -1, .has_conflict = true, .reason = "several nodes are out of recovery" };
}
