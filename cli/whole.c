/* SPDX-License-Identifier: Apache-2.0 */
#include "whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

static int fail(const struct whole *whole, int os_errno, struct weir_error *err)
{
	report_set(err, os_errno == ENOSPC ? WEIR_NOSPACE : WEIR_IO, whole->path,
		   "%s: cannot write %s: %s", whole->path, whole->what, strerror(os_errno));
	err->os_errno = os_errno;
	return err->code;
}

static void release(struct whole *whole)
{
	free(whole->target);
	free(whole->temporary);
	*whole = (struct whole){0};
}

static FILE *open_temporary(struct whole *whole)
{
	FILE *to;
	int fd;

	whole->target = realpath(whole->path, NULL);
	if (!whole->target)
		whole->target = strdup(whole->path);
	if (!whole->target || asprintf(&whole->temporary, "%s.XXXXXX", whole->target) < 0) {
		whole->temporary = NULL;
		errno = ENOMEM;
		return NULL;
	}
	fd = mkostemp(whole->temporary, O_CLOEXEC);
	to = fd < 0 ? NULL : fdopen(fd, "w");
	if (fd >= 0 && !to) {
		close(fd);
		unlink(whole->temporary);
	}
	return to;
}

int whole_open(struct whole *whole, const char *path, const char *what, struct weir_error *err)
{
	struct stat st;
	int ret;

	*whole = (struct whole){.path = path, .what = what};
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		whole->to = fopen(path, "we");
	else
		whole->to = open_temporary(whole);
	if (whole->to)
		return 0;
	ret = fail(whole, errno, err);
	release(whole);
	return ret;
}

static int set_mode(FILE *to)
{
	mode_t mask = umask(0);

	umask(mask);
	return fchmod(fileno(to), 0666 & ~mask);
}

int whole_close(struct whole *whole, bool keep, struct weir_error *err)
{
	int failed = 0, ret = 0;

	if (!whole->to)
		return 0;
	errno = 0;
	if (fflush(whole->to) != 0 || ferror(whole->to) ||
	    (whole->temporary && set_mode(whole->to) != 0))
		failed = errno ? errno : EIO;
	if (fclose(whole->to) != 0 && !failed)
		failed = errno;
	if (!failed && keep && whole->temporary && rename(whole->temporary, whole->target) != 0)
		failed = errno;
	if (whole->temporary && (failed || !keep))
		unlink(whole->temporary);
	if (failed)
		ret = fail(whole, failed, err);
	release(whole);
	return ret;
}
