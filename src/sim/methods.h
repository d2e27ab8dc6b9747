/* methods — those of a simulation that are in C: METHOD(name) is m_<name>() in script.c. */
#ifndef SIM_METHODS_H
#define SIM_METHODS_H

#define METHODS(METHOD)                                                                                                          \
	METHOD(kill)                                                                                                                 \
	METHOD(start)                                                                                                                \
	METHOD(restart)                                                                                                              \
	METHOD(return_as_primary) METHOD(freeze) METHOD(thaw) METHOD(partition) METHOD(heal) METHOD(lag) METHOD(slow) METHOD(refuse) \
	    METHOD(hang) METHOD(disk_full) METHOD(hook_fails) METHOD(hook_hangs) METHOD(leader_dies_at) METHOD(switchover)           \
	        METHOD(detach) METHOD(attach) METHOD(maintenance) METHOD(run) METHOD(now) METHOD(primary) METHOD(write_outage)       \
	            METHOD(writes) METHOD(lost_writes) METHOD(promotions) METHOD(epoch) METHOD(calls) METHOD(is_up)                  \
	                METHOD(is_writable) METHOD(is_streaming) METHOD(is_quarantined) METHOD(answers) METHOD(promote)              \
	                    METHOD(follow) METHOD(program) METHOD(rebuild) METHOD(task)

#endif
