/*
 * pgserver — private PostgreSQL servers for a test: a directory of their own, unix sockets only, gone with the test program.
 *
 *   struct pgdir d; pgdir_init(&d);                     runs initdb
 *   struct pgserver pg; pgserver_start(&pg, &d, 0);     node 0: host d.path, port pg.port
 *   pgserver_clone(&s1, &pg, 1);                        a streaming standby, started
 *   pgserver_stop(&pg); pgdir_fini(&d);
 *
 * PostgreSQL refuses to run as root: then everything runs as the user postgres.
 */
#ifndef PGSERVER_H
#define PGSERVER_H

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "unit.h"

#define PG_DEADLINE_US (60 * US_PER_S)

struct pgdir {
	char path[32];
	char bin[128];
};
struct pgserver {
	struct pgdir *dir;
	char data[64];
	uint16_t port;
	pid_t pid;
};

static inline void pg_become_postgres(void)
{
	struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;
	if (pw && (setgroups(0, NULL) || setgid(pw->pw_gid) || setuid(pw->pw_uid)))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGQUIT); /* no server outlives its test */
}

/* Runs BIN/argv[0] with its output in the directory's log. */
static inline pid_t pg_spawn(const struct pgdir *d, const char *const *argv)
{
	char program[192], log[64];
	snprintf(program, sizeof program, "%s/%s", d->bin, argv[0]);
	snprintf(log, sizeof log, "%s/log", d->path);
	pid_t pid = fork();
	if (pid == 0) {
		pg_become_postgres();
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(d->path) < 0)
			_exit(126);
		const char *full[64] = { program }; /* by argv[0] PostgreSQL's programs find each other */
		for (size_t i = 1; i < 63 && argv[i]; i++)
			full[i] = argv[i];
		execv(program, (char *const *)(uintptr_t)full);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static inline void pg_run(const struct pgdir *d, const char *const *argv)
{
	int status = -1;
	assert_true(waitpid(pg_spawn(d, argv), &status, 0) > 0);
	if (status != 0)
		fail_msg("%s failed: see %s/log", argv[0], d->path);
}

static inline void pgdir_init(struct pgdir *d)
{
	glob_t found = { 0 };
	struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;
	unsetenv("PGOPTIONS");
	assert_int_equal(glob("/usr/lib/postgresql/*/bin", 0, NULL, &found), 0);
	snprintf(d->bin, sizeof d->bin, "%s", found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
	strcpy(d->path, "/tmp/lunapool-pg-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	if (pw)
		assert_int_equal(chown(d->path, pw->pw_uid, pw->pw_gid), 0);
	const char *const initdb[] = { "initdb", "-D",    "node0",      "-N", "-U",   "postgres",
		                           "-A",     "trust", "--locale=C", "-E", "UTF8", NULL };
	pg_run(d, initdb);
}

static inline void pgdir_fini(struct pgdir *d)
{
	char command[64];
	snprintf(command, sizeof command, "rm -rf %s", d->path);
	assert_int_equal(system(command), 0);
}

/* A superuser's connection; retried until the server takes it. */
static inline PGconn *pgserver_connect(const struct pgserver *pg)
{
	char info[128];
	snprintf(info, sizeof info, "host=%s port=%u user=postgres dbname=postgres", pg->dir->path, pg->port);
	for (uint64_t end = clock_us() + PG_DEADLINE_US; clock_us() < end; usleep(5000)) {
		PGconn *c = PQconnectdb(info);
		if (PQstatus(c) == CONNECTION_OK)
			return c;
		PQfinish(c);
	}
	fail_msg("no connection to %s: see %s/log", pg->data, pg->dir->path);
	return NULL;
}

/* Runs SQL as superuser, a statement at a time. */
static inline void pgserver_sql(const struct pgserver *pg, const char *sql)
{
	PGconn *c = pgserver_connect(pg);
	PGresult *r = PQexec(c, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQresultErrorMessage(r));
	PQclear(r);
	PQfinish(c);
}

static inline void pgserver_launch(struct pgserver *pg)
{
	char port[8];
	snprintf(port, sizeof port, "%u", pg->port);
	const char *const argv[] = { "postgres",
		                         "-D",
		                         pg->data,
		                         "-k",
		                         pg->dir->path,
		                         "-p",
		                         port,
		                         "-c",
		                         "listen_addresses=",
		                         "-c",
		                         "fsync=off",
		                         "-c",
		                         "wal_level=replica",
		                         "-c",
		                         "max_wal_senders=8",
		                         "-c",
		                         "wal_sender_timeout=0",
		                         "-c",
		                         "wal_retrieve_retry_interval=100ms",
		                         NULL };
	pg->pid = pg_spawn(pg->dir, argv);
	PQfinish(pgserver_connect(pg));
}

static inline void pgserver_start(struct pgserver *pg, struct pgdir *d, unsigned node)
{
	*pg = (struct pgserver){ .dir = d, .port = (uint16_t)(5432 + node) };
	snprintf(pg->data, sizeof pg->data, "%s/node%u", d->path, node);
	pgserver_launch(pg);
}

static inline void pgserver_clone(struct pgserver *standby, const struct pgserver *primary, unsigned node)
{
	char port[8], data[16];
	snprintf(port, sizeof port, "%u", primary->port);
	snprintf(data, sizeof data, "node%u", node);
	const char *const argv[] = { "pg_basebackup",    "-D", data, "-R", "-X",       "stream", "-c", "fast", "--no-sync", "-h",
		                         primary->dir->path, "-p", port, "-U", "postgres", NULL };
	pg_run(primary->dir, argv);
	pgserver_start(standby, primary->dir, node);
}

static inline void pgserver_signal(const struct pgserver *pg, int sig)
{
	assert_int_equal(kill(pg->pid, sig), 0);
}

/* SIGINT: fast, SIGQUIT: immediate. */
static inline void pgserver_stop(struct pgserver *pg, int sig)
{
	if (!pg->pid)
		return;
	pgserver_signal(pg, sig);
	assert_true(waitpid(pg->pid, NULL, 0) > 0);
	pg->pid = 0;
}

#endif
