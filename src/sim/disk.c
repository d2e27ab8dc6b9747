/*
 * disk — the disk that the journal is on: a file for each cluster, written after a moment, or not at all.
 *
 *   write ──a moment──► it is there, or the disk has failed        Lunapool dies: what was under way is there, or is not
 *
 * Always: what is there is a whole record: the journal writes beside the old one, and renames.
 */
#include <string.h>

#include "priv.h"

struct disk_write {
	struct dlist link;
	struct sim *sim;
	struct journal_write *write;
	char *name;       /* of the file */
	const char *text; /* the journal's; NULL: there is nothing to write */
	size_t len;
};

/* The cluster that the record in TEXT is of. */
static struct group *group_in(struct sim *s, const char *text, size_t len, struct record *r)
{
	struct err err;
	bool is_strange;
	if (!record_read(r, slice_of(text, len), &is_strange, &err))
		die("a record cannot be read that was just written: %s", err.text);
	int at = sim_cluster_named(s, r->cluster);
	ASSERT(at >= 0);
	return &s->groups[at];
}

static void make_durable(struct sim *s, const struct disk_write *w)
{
	struct record *r = mem_alloc(sizeof *r);
	struct group *g = group_in(s, w->text, w->len, r);
	uint64_t epoch = g->record.epoch;
	g->durable = mem_grow(g->durable, w->len + 1);
	memcpy(g->durable, w->text, w->len);
	g->durable_len = w->len;
	g->record = *r;
	mem_free(r);
	if (!g->file)
		g->file = mem_text(w->name);
	must_on_recorded(s, g, epoch);
}

static void end_write(struct disk_write *w, bool is_good)
{
	struct journal_write *write = w->write;
	if (is_good && w->text)
		make_durable(w->sim, w);
	dlist_remove(&w->link);
	mem_free(w->name);
	mem_free(w);
	journal_on_written(write, is_good);
}

static void on_disk(struct sim *s, struct happening *h)
{
	end_write(h->who, sim_random(s, 100) >= s->disk_fails);
}

static void disk_write(void *arg, const char *name, struct journal_write *write, const char *text, size_t len)
{
	struct sim *s = arg;
	struct disk_write *w = mem_alloc(sizeof *w);
	*w = (struct disk_write){ .sim = s, .write = write, .name = mem_text(name), .text = text, .len = len };
	dlist_push_back(&s->writes, &w->link);
	sim_later(s, sim_random(s, 10) ? sim_between(s, 200, 3 * MS) : sim_between(s, 3 * MS, 30 * MS), on_disk, w, SIM_NONE, 0, 0);
}

static size_t disk_read(void *arg, const char *name, char *text)
{
	const struct sim *s = arg;
	for (size_t i = 0; i < s->n_groups; i++) {
		const struct group *g = &s->groups[i];
		if (!g->file || strcmp(g->file, name) != 0)
			continue;
		memcpy(text, g->durable, g->durable_len);
		return g->durable_len;
	}
	return 0;
}

struct journal_disk disk_of(struct sim *s)
{
	return (struct journal_disk){ s, disk_write, disk_read };
}

void disk_lose_writes(struct sim *s)
{
	for (struct dlist *it; (it = dlist_first(&s->writes));) {
		struct disk_write *w = CONTAINER_OF(it, struct disk_write, link);
		bool is_there = w->text && sim_random(s, 2);
		sim_drop(s, w);
		if (is_there)
			make_durable(s, w);
		end_write(w, false);
	}
}

/* Half of each file is gone; who reads it knows nothing. */
void sim_tear_journal(struct sim *s)
{
	sim_lunapool_dies(s);
	sim_say(s, "test: the journal is torn");
	for (size_t i = 0; i < s->n_groups; i++) {
		struct group *g = &s->groups[i];
		g->durable_len = g->durable_len ? 1 + sim_random(s, (uint32_t)g->durable_len - 1) : 0;
		g->record = (struct record){ 0 };
		g->greatest_epoch = 0;
		g->may_lose = true; /* who was synchronous is forgotten, too */
	}
}

void sim_journal_fails(struct sim *s, unsigned of_hundred)
{
	s->disk_fails = of_hundred;
}

const struct record *sim_record(const struct sim *s, int cluster)
{
	return &s->groups[cluster].record;
}
