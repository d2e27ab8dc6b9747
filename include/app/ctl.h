/* ctl — `lunapool ctl COMMAND…`: one command of the console, over the unix socket of the Lunapool that runs here. */
#ifndef APP_CTL_H
#define APP_CTL_H

extern const char ctl_usage[];
/* ARGV[0] is "ctl".  The exit status: 0 done, 1 the command was refused, 2 wrong usage, 3 nobody answers or lets us in. */
int ctl_run(int argc, char **argv);

#endif
