/* memfile — the fuzzer's bytes as a file that a loader can open by path. */
#ifndef MEMFILE_H
#define MEMFILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct memfile {
	int fd; /* with its path: 0 is "not made yet" */
	char path[40];
};

static inline const char *memfile(struct memfile *m, const void *data, size_t size)
{
	if (!m->fd) {
		m->fd = memfd_create("fuzz", MFD_CLOEXEC);
		snprintf(m->path, sizeof m->path, "/proc/self/fd/%d", m->fd);
	}
	if (ftruncate(m->fd, 0) < 0 || pwrite(m->fd, data, size, 0) != (ssize_t)size)
		abort();
	return m->path;
}

#endif
