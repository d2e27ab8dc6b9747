/* run — the command `lunapool test`. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

/* ARGV begins with "test".  Prints TAP; the exit status. */
int run_tests(int argc, char **argv);

#endif
