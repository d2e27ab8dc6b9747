/*
 * picture — see the header.  What a node says counts at once for itself; a primary's position counts for all standbys from then on.
 *
 * Always: only positions that the cluster's present primary gave on its present timeline are compared with.
 */
#include "ha/picture.h"

#include <string.h>

#include "base/clock.h"

static const char is_primary[] = "it is the primary";

/* Without an answer for so long a primary's silence counts as lag. */
static uint64_t patience_us(const struct conf_cluster *conf)
{
	return conf->probe_interval * 3 > US_PER_S ? conf->probe_interval * 3 : US_PER_S;
}

bool picture_follow(struct picture *pic, const struct picture_node *node)
{
	pic->has_primary = node != NULL;
	if (!node)
		return false;
	bool is_other = pic->primary_id != node->id, knew_one = pic->primary_id != 0;
	uint64_t timeline = node->view.last == VERDICT_PRIMARY ? node->sample.timeline : 0;
	bool has_moved = !is_other && timeline && pic->timeline && timeline != pic->timeline;
	pic->has_moved |= pic->timeline && timeline && timeline != pic->timeline;
	pic->primary_id = node->id;
	if (timeline || is_other)
		pic->timeline = timeline;
	if (is_other || has_moved) {
		lag_forget(&pic->track);
		if (node->view.last == VERDICT_PRIMARY) /* it has said that before it was known to be the one */
			lag_note(&pic->track, node->asked_us, node->sample.flushed);
	}
	return (is_other && knew_one) || has_moved;
}

enum verdict_answer picture_answer(const struct picture *pic, const struct verdict_view *view)
{
	bool has_said = view->last == VERDICT_PRIMARY || view->last == VERDICT_STANDBY;
	bool is_foreign = has_said && pic->system_id && view->system_id && view->system_id != pic->system_id;
	return is_foreign ? VERDICT_FOREIGN : view->last;
}

static void note_unseen(const struct picture_node *n)
{
	bool is_hidden = n->sample.receiver == SAMPLE_HIDDEN;
	pulse_note_unseen(n->pulse, n->sees_less && is_hidden ? "system identifier, receiver"
	                            : n->sees_less            ? "system identifier"
	                            : is_hidden               ? "receiver"
	                                                      : NULL);
}

static void note_primary(struct picture *pic, struct picture_node *n)
{
	pulse_note_written(n->pulse, n->asked_us, n->sample.written);
	pulse_note_timeline(n->pulse, (uint32_t)n->sample.timeline);
	if (!pic->has_primary || n->id != pic->primary_id)
		return;
	lag_note(&pic->track, n->asked_us, n->sample.flushed);
	pulse_note_lag(n->pulse, 0, 0);
	pulse_note_sync(n->pulse, NULL);
	pic->n_peers = n->sample.n_peers;
	memcpy(pic->peers, n->sample.peers, sizeof pic->peers);
}

/* What the primary says of the one standby that has N's name; names may be the same, and then nobody can tell. */
static enum sample_sync sync_of(const struct picture *pic, const struct picture_node *n)
{
	enum sample_sync sync = SAMPLE_SYNC_UNKNOWN;
	const char *name = n->sample.n_peers ? n->sample.peers[0].name : "";
	size_t found = 0;
	for (size_t i = 0; i < pic->n_peers && *name; i++)
		if (strcmp(pic->peers[i].name, name) == 0) {
			sync = pic->peers[i].sync;
			found++;
		}
	return found == 1 ? sync : SAMPLE_SYNC_UNKNOWN;
}

static struct lag note_standby(const struct picture *pic, const struct picture_node *n, uint64_t patience, uint64_t now_us)
{
	struct lag lag =
	    lag_of(&pic->track, n->sample.replayed, n->sample.replay_age_us, pic->has_primary ? patience : LAG_UNKNOWN, now_us);
	pulse_note_replayed(n->pulse, n->sample.replayed);
	pulse_note_sync(n->pulse, pic->has_primary ? sample_sync_name(sync_of(pic, n)) : NULL);
	pulse_note_timeline(n->pulse, (uint32_t)n->sample.timeline);
	pulse_note_lag(n->pulse, lag.bytes, lag.us);
	return lag;
}

/* One that receives nothing may be ahead of the primary, on a timeline that it left behind: positions alone do not tell. */
static bool is_stray(const struct picture *pic, const struct sample *s)
{
	uint64_t timeline = s->timeline ? s->timeline : s->reached;
	if (!pic->has_primary || !pic->timeline)
		return false;
	return timeline ? timeline != pic->timeline : pic->has_moved && s->receiver == SAMPLE_NO_RECEIVER;
}

static void forget(struct picture_node *n)
{
	pulse_note_lag(n->pulse, PULSE_UNKNOWN, PULSE_UNKNOWN);
	pulse_note_sync(n->pulse, NULL);
}

void picture_judge(struct picture *pic, struct picture_node *n, const struct conf_cluster *conf, uint64_t now_us)
{
	enum verdict_answer answer = picture_answer(pic, &n->view);
	bool is_alive = !n->is_late && (answer == VERDICT_PRIMARY || answer == VERDICT_STANDBY || answer == VERDICT_FOREIGN);
	struct fitness_view view = { .is_alive = is_alive,
		                         .is_refused = answer == VERDICT_REFUSED,
		                         .is_cut = n->is_cut,
		                         .is_drained = n->is_drained,
		                         .is_foreign = answer == VERDICT_FOREIGN,
		                         .is_stray = is_stray(pic, &n->sample),
		                         .has_moved = pic->has_moved,
		                         .sample = &n->sample,
		                         .lag = { LAG_UNKNOWN, LAG_UNKNOWN },
		                         .ejections = n->ejections };
	const struct fitness_limits limits = { conf->max_lag, conf->max_lag_time };
	if (is_alive)
		note_unseen(n);
	if (is_alive && answer == VERDICT_PRIMARY)
		note_primary(pic, n);
	else if (is_alive && answer == VERDICT_STANDBY)
		view.lag = note_standby(pic, n, patience_us(conf), now_us);
	else
		forget(n);
	fitness_judge(&n->fitness, &view, &limits, now_us);
	bool leads = answer == VERDICT_PRIMARY && pic->has_primary && n->id == pic->primary_id;
	pulse_judge(n->pulse, n->ejections, leads ? is_primary : n->fitness.why, n->fitness.must_warm_up, now_us);
}
