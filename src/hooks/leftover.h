/*
 * leftover — commands that work at a node, also those that a Lunapool before us has left: it was killed, they go on.
 *
 * Two hooks may do different things to one node, or the same twice; while a command of the one runs the other's must not begin.
 */
#ifndef HOOKS_LEFTOVER_H
#define HOOKS_LEFTOVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct leftovers;
/* Of a Lunapool with this state_dir; "": nobody before us is known. */
struct leftovers *leftovers_new(const char *state_dir);
void leftovers_resign(struct leftovers *ls); /* a successor goes on with the table */
void leftovers_free(struct leftovers *ls);

struct leftover_of {
	const char *cluster, *node;
	uint64_t run;        /* of this process; what it starts itself may overlap */
	uint64_t timeout_us; /* after which it is killed, also by one who comes after us */
};
/* A command of another run, or of another Lunapool, works at the node: its process, -1 if that is not known; 0: none does. */
pid_t leftovers_at(struct leftovers *ls, const struct leftover_of *of);
/* Before it is started: its environment's entry, which is ours until it ends; NULL: there are too many. */
const char *leftover_begin(struct leftovers *ls, const struct leftover_of *of);
void leftover_started(struct leftovers *ls, const char *entry, pid_t pid);
void leftover_ended(struct leftovers *ls, const char *entry); /* also if it could not be started */

#endif
