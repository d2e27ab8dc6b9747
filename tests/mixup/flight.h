/*
 * flight — segments sent without waiting, and the answers that PostgreSQL gives to them.
 */
#ifndef FLIGHT_H
#define FLIGHT_H

#include <stddef.h>

#include "mixup.h"

#define FLIGHT_WANTS 400
#define FLIGHT_MARKS 128

struct want {
	char type;
	enum category category;
	char text[384]; /* "" is not looked at */
};

struct flight {
	char tx_before;
	bool in_pieces, leaves, may_cancel, is_loose;
	size_t leave_at;               /* byte at which it leaves; 0: it does not */
	long committed_before, counts; /* counts: how many there may be more at most */
	int wants, met, readies, readies_met;

	/* while it is composed */
	size_t message;
	bool is_skipping; /* up to the Sync */
	unsigned portals;

	int marks;
	struct {
		size_t at;
		long committed;
	} mark[FLIGHT_MARKS];
	size_t out_len, out_sent, in_len;
	unsigned char out[32768], in[32768];
	struct want want[FLIGHT_WANTS];
};

/* flight.c */
void flight_put_query(struct flight *f, const char *sql);
void flight_put_parse(struct flight *f, const char *name, const char *sql);
void flight_put_bind(struct flight *f, const char *portal, const char *name, const char *param);
void flight_put_named(struct flight *f, char type, char of, const char *name);
void flight_put_execute(struct flight *f, const char *portal, unsigned limit);
void flight_put_copy(struct flight *f, const char *line);
void flight_put_bare(struct flight *f, char type);
void flight_want(struct flight *f, char type, enum category category, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* plan.c */
void plan_flight(struct client *c, struct flight *f);

#endif
