/*
 * sample — one statement for primaries and standbys, in words that PostgreSQL 13 and all later ones know.
 *
 * Whether the node is in recovery is asked once and decides what else is: a promotion may come in between, and a standby refuses to say
 * how far it has written.
 *
 * A server that has filled a page to its end gives the next place to write as the one behind the next page's header
 * (XLogBytePosToRecPtr), whereas who has replayed all of it is at the page's start (XLogBytePosToEndRecPtr): compared as they are, an
 * idle cluster's standbys would never have caught up.  The header has 24 bytes, 40 on the first page of a segment (access/xlog_internal.h);
 * no record ends there, since what is left of one takes at least 8 bytes behind the header.
 */
#include "ha/sample.h"

#include <stdio.h>
#include <string.h>

#define HEADER 24
#define HEADER_OF_SEGMENT 40

enum column {
	RECOVERY,
	WRITTEN,
	FLUSHED,
	REPLAYED,
	TIMELINE,
	RECEIVER,
	BLOCK,
	SEGMENT,
	AGE,
	SYSTEM,
	PEERS,
	REACHED,
	NAMES,
	SENDER,
	DELAY,
	COLUMNS
};

#define SELECT(system, reached)                                                                                                  \
	"select r, w-'0/0', case when r then pg_last_wal_receive_lsn() else pg_current_wal_flush_lsn() end-'0/0', case when r then " \
	"pg_last_wal_replay_lsn() "                                                                                                  \
	"end-'0/0',"                                                                                                                 \
	" case when r then (select received_tli from pg_stat_wal_receiver)"                                                          \
	" else ('x'||substr(pg_walfile_name(w),1,8))::bit(32)::int8 end,"                                                            \
	" case when r then (select coalesce(status,'') from pg_stat_wal_receiver) end,"                                              \
	" current_setting('wal_block_size'), pg_size_bytes(current_setting('wal_segment_size')),"                                    \
	" case when r then (extract(epoch from clock_timestamp()-pg_last_xact_replay_timestamp())*1000000)::int8 end, " system ","   \
	" case when r then (select coalesce(substring(conninfo from '(?:^| )application_name=([^ ]+)'),"                             \
	" substring(conninfo from '(?:^| )fallback_application_name=([^ ]+)')) from pg_stat_wal_receiver)"                           \
	" else (select string_agg(application_name||chr(9)||sync_state,chr(10)) from pg_stat_replication where state='streaming') "  \
	"end,"                                                                                                                       \
	" " reached ", case when not r then current_setting('synchronous_standby_names') end,"                                       \
	" case when r then (select sender_host||':'||sender_port from pg_stat_wal_receiver) end,"                                    \
	" case when r then current_setting('recovery_min_apply_delay') end"                                                          \
	" from (select r, case when not r then pg_current_wal_insert_lsn() end"                                                      \
	" from (select pg_is_in_recovery() offset 0) _(r) offset 0) _(r,w)"

/* The control file is behind what is replayed, never ahead of it. */
#define REACHED_SQL                                                                \
	"case when r then greatest((select timeline_id from pg_control_checkpoint())," \
	" (select min_recovery_end_timeline from pg_control_recovery())) end"

const char *sample_sql(enum sample_scope scope)
{
	return scope == SAMPLE_ALL ? SELECT("(select system_identifier from pg_control_system())", REACHED_SQL)
	                           : SELECT("null", "null");
}

bool sample_is_denied(const char *sqlstate)
{
	return strcmp(sqlstate, "42501") == 0 || strcmp(sqlstate, "42883") == 0;
}

/* NULL is ABSENT; false: TEXT is no number. */
static bool read_number(const char *text, uint64_t absent, uint64_t *out)
{
	uint64_t n = 0;
	*out = absent;
	if (!text)
		return true;
	for (const char *at = text; *at; at++)
		if (*at < '0' || *at > '9' || __builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return false;
	*out = n;
	return *text != 0;
}

uint64_t sample_position(uint64_t lsn, uint64_t block_size, uint64_t segment_size)
{
	if (block_size == 0 || segment_size == 0)
		return lsn;
	uint64_t page = lsn - lsn % block_size;
	return lsn - page == (page % segment_size == 0 ? HEADER_OF_SEGMENT : HEADER) ? page : lsn;
}

static enum sample_receiver read_receiver(const char *status)
{
	if (!status)
		return SAMPLE_NO_RECEIVER;
	if (!*status)
		return SAMPLE_HIDDEN;
	return strcmp(status, "streaming") == 0 ? SAMPLE_STREAMING : SAMPLE_CATCHING_UP;
}

/* The clocks of primary and standby may differ: a negative age is none. */
static uint64_t read_age(const char *text)
{
	uint64_t us;
	if (text && *text == '-')
		return 0;
	return read_number(text, SAMPLE_UNKNOWN, &us) ? us : SAMPLE_UNKNOWN;
}

static const char *const syncs[] = {
	[SAMPLE_ASYNC] = "async", [SAMPLE_POTENTIAL] = "potential", [SAMPLE_SYNC] = "sync", [SAMPLE_QUORUM] = "quorum"
};

const char *sample_sync_name(enum sample_sync sync)
{
	return syncs[sync];
}

static enum sample_sync read_sync(const char *at, size_t len)
{
	for (size_t i = SAMPLE_ASYNC; i < ARRAY_LEN(syncs); i++)
		if (strlen(syncs[i]) == len && memcmp(syncs[i], at, len) == 0)
			return (enum sample_sync)i;
	return SAMPLE_SYNC_UNKNOWN;
}

/* "name TAB state" and a line feed between; one that cannot be a name, since it is quoted or too long, is none. */
static void read_peers(struct sample *out, const char *at)
{
	while (at && *at && out->n_peers < SAMPLE_PEERS_MAX) {
		size_t line = strcspn(at, "\n"), name = strcspn(at, "\t\n");
		struct sample_peer *p = &out->peers[out->n_peers++];
		if (name < SAMPLE_NAME_MAX && *at != '\'')
			memcpy(p->name, at, name);
		if (name < line)
			p->sync = read_sync(at + name + 1, line - name - 1);
		at += line + (at[line] == '\n');
	}
}

/* Too long a one is not cut: it could not be read, and nobody may be promoted by it. */
static void read_names(struct sample *out, const char *names)
{
	if (names && strlen(names) < sizeof out->names)
		strcpy(out->names, names);
	else if (names)
		strcpy(out->names, "?");
}

bool sample_read(struct sample *out, const char *const *values, unsigned n)
{
	uint64_t block, segment;
	if (n != COLUMNS || !values[RECOVERY] || (strcmp(values[RECOVERY], "t") != 0 && strcmp(values[RECOVERY], "f") != 0))
		return false;
	*out = (struct sample){ .in_recovery = values[RECOVERY][0] == 't' };
	if (!read_number(values[WRITTEN], 0, &out->written) || !read_number(values[FLUSHED], 0, &out->flushed) ||
	    !read_number(values[REPLAYED], 0, &out->replayed) || !read_number(values[TIMELINE], 0, &out->timeline) ||
	    !read_number(values[SYSTEM], 0, &out->system_id) || !read_number(values[BLOCK], 0, &block) ||
	    !read_number(values[SEGMENT], 0, &segment) || !read_number(values[REACHED], 0, &out->reached))
		return false;
	out->written = sample_position(out->written, block, segment);
	out->flushed = sample_position(out->flushed, block, segment);
	out->received = out->in_recovery && out->flushed > out->replayed ? out->flushed : out->replayed;
	read_names(out, values[NAMES]);
	snprintf(out->sender, sizeof out->sender, "%s", values[SENDER] ? values[SENDER] : "");
	out->receiver = read_receiver(values[RECEIVER]);
	out->is_delayed = values[DELAY] && strcmp(values[DELAY], "0") != 0;
	out->replay_age_us = read_age(values[AGE]);
	read_peers(out, values[PEERS]);
	return true;
}
