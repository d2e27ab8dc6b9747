/* script — a file of tests in Lua: its cases, and one of them run in a simulation. */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "sim/sim.h"

struct script;
/* Runs the file, which names its cases.  CONF: the configuration that they may begin with; NULL: none is given; it outlives the script.
 * NULL with WHY: it cannot be read, or raises an error. */
struct script *script_load(const char *path, const char *conf, char *why, size_t room);
void script_free(struct script *sc); /* NULL is fine */
size_t script_cases(const struct script *sc);
const char *script_name(const struct script *sc, size_t at); /* of a case */
/* False with WHY; TRACE is called for each line of what has happened then. */
bool script_run(struct script *sc, size_t at, uint64_t seed, char *why, size_t room, void (*trace)(void *arg, const char *line),
                void *arg);

#endif
