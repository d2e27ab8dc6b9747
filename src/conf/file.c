/* file — a whole regular file into memory, within a bound; what is freed of it is the caller's to wipe. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/secret.h"
#include "priv.h"

#define MAX_BYTES (16u << 20)

static bool open_regular(const char *path, int *fd, size_t *size, struct err *err)
{
	struct stat st;
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo must not hold us up */
	if (*fd < 0)
		return err_set(err, "58030", "cannot open %s: %s", path, strerror(errno));
	if (fstat(*fd, &st) < 0)
		err_set(err, "58030", "cannot read %s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(err, "58030", "%s is not a regular file", path);
	else if ((size_t)st.st_size > MAX_BYTES)
		err_set(err, "58030", "%s is larger than %u MB", path, MAX_BYTES >> 20);
	else {
		*size = (size_t)st.st_size;
		return true;
	}
	close(*fd);
	return false;
}

bool file_read(const char *path, char **text, size_t *len, struct err *err)
{
	int fd;
	size_t size = 0;
	if (!open_regular(path, &fd, &size, err))
		return false;
	*text = mem_alloc(size + 1);
	*len = 0;
	ssize_t n = 0;
	while (*len < size && (n = read(fd, *text + *len, size - *len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		*len += (size_t)n;
	}
	if (n < 0) {
		err_set(err, "58030", "cannot read %s: %s", path, strerror(errno));
		secret_wipe(*text, *len);
		mem_free(*text);
	}
	close(fd);
	return n >= 0;
}

char *path_beside(const char *file, const char *name)
{
	const char *slash = strrchr(file, '/');
	if (*name == '/' || *name == '\0' || !slash)
		return mem_text(name);
	int folder = (int)(slash - file) + 1;
	char *path = mem_alloc((size_t)folder + strlen(name) + 1);
	sprintf(path, "%.*s%s", folder, file, name);
	return path;
}
