/*
 * methods — what tests in Lua see of a simulation, in C: METHOD(name) is m_<name>().
 *
 *   script.c    a file of tests, its cases; one of them run       args.c    what methods are given
 *   sabotage.c  what breaks, and what others do                   asks.c    orders, and time
 *   teach.c     what programs and servers answer                  sights.c  what is
 */
#ifndef SIM_METHODS_H
#define SIM_METHODS_H

#include <limits.h>
#include <lua.h>

#include "sim/sim.h"

#define METHODS(METHOD)                                                                                                    \
	METHOD(kill)                                                                                                           \
	METHOD(start)                                                                                                          \
	METHOD(restart)                                                                                                        \
	METHOD(return_as_primary)                                                                                              \
	METHOD(freeze)                                                                                                         \
	METHOD(thaw)                                                                                                           \
	METHOD(partition)                                                                                                      \
	METHOD(heal)                                                                                                           \
	METHOD(lag)                                                                                                            \
	METHOD(slow)                                                                                                           \
	METHOD(refuse)                                                                                                         \
	METHOD(hang)                                                                                                           \
	METHOD(disk_full) METHOD(hook_fails) METHOD(hook_hangs) METHOD(leader_dies_at) METHOD(switchover) METHOD(detach)       \
	    METHOD(attach) METHOD(maintenance) METHOD(run) METHOD(now) METHOD(primary) METHOD(write_outage) METHOD(writes)     \
	        METHOD(lost_writes) METHOD(promotions) METHOD(epoch) METHOD(calls) METHOD(is_up) METHOD(is_writable)           \
	            METHOD(is_streaming) METHOD(is_quarantined) METHOD(answers) METHOD(promote) METHOD(follow) METHOD(program) \
	                METHOD(rebuild) METHOD(task) METHOD(http) METHOD(busy) METHOD(tear_journal) METHOD(drain)
#define METHOD_IS(name) int m_##name(lua_State *L);
METHODS(METHOD_IS)

struct script {
	lua_State *L;
	char path[PATH_MAX];
	const char *conf; /* by the command line; NULL: none */
	size_t n;
	struct {
		char *name;
		int ref;
	} * cases;
	int methods;  /* a reference: the metatable of simulations */
	int programs; /* of the case: { pattern, function } */
	struct sim *sim;
};

/* ---- args.c: what is wrong raises an error */

struct script *script_of(lua_State *L);
struct sim *sim_at(lua_State *L); /* the first argument, which has begun */
int node_at(lua_State *L, const struct sim *s, int arg);
int cluster_at(lua_State *L, const struct sim *s, int arg); /* none: the first */
uint64_t us_at(lua_State *L, int arg);
struct amount_unit {
	const char *name;
	double seconds, bytes;
};
/* "500ms", "64MB"; NULL: it is no such text. */
const struct amount_unit *amount_read(const char *text, double *n);

/* ---- teach.c */

/* A sim_program_fn; ARG: the script. */
bool teach_on_program(void *script, const char *line, int *status, char *said, size_t room);
uint64_t teach_on_request(void *script, const struct stage_request *q, struct stage_reply *out); /* a sim_request_fn */

#endif
