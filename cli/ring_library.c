/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any library with the C interface of 3FS's ring client, opened at run time: the vendor's, or ours.
 *
 * Its structures are opaque here but for the few members that are read, at the offsets that the interface
 * fixes.  The library is never closed: the vendor's has threads.  That one sizes a table by the
 * hard limit of descriptors, so above 2^24 it is refused.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "report.h"
#include "ring_bench.h"

#define DESCRIPTORS_MAX (UINT64_C(1) << 24)

struct iov {
	void *base;
	char rest[304];
};
struct ior {
	char all[600];
};
struct cqe {
	int32_t index, reserved;
	int64_t result;
	const void *userdata;
};

struct ring_library {
	int (*mount_of)(char *out, int size, const char *path);
	int (*iov_create)(struct iov *iov, const char *mount, size_t size, size_t block, int numa);
	void (*iov_destroy)(struct iov *iov);
	int (*ior_create)(struct ior *ior, const char *mount, int entries, bool for_read, int depth,
			  int timeout, int numa, uint64_t flags);
	void (*ior_destroy)(struct ior *ior);
	int (*register_fd)(int fd, uint64_t flags);
	void (*deregister_fd)(int fd);
	int (*prepare)(const struct ior *ior, const struct iov *iov, bool read, void *at, int fd,
		       size_t offset, uint64_t length, const void *userdata);
	int (*submit)(const struct ior *ior);
	int (*wait)(const struct ior *ior, struct cqe *out, int max, int min,
		    const struct timespec *until);
};

static int find(void *handle, const char *path, const char *name, void *out, struct weir_error *err)
{
	void *found = dlsym(handle, name);

	if (!found)
		return report_set(err, WEIR_UNSUPPORTED, path, "%s: has no %s", path, name);
	memcpy(out, &found, sizeof(found));
	return 0;
}

int ring_library_open(const char *path, struct ring_library **out, struct weir_error *err)
{
	struct ring_library *library;
	struct rlimit limit;
	void *handle;
	int ret;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > DESCRIPTORS_MAX)
		return report_set(err, WEIR_LIMIT, path,
				  "%s: not loaded: it may size a table by the hard limit of "
				  "descriptors, %llu (ulimit -Hn 1048576)",
				  path, (unsigned long long)limit.rlim_max);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return report_set(err, WEIR_UNSUPPORTED, path, "%s", dlerror());
	library = calloc(1, sizeof(*library));
	if (!library)
		return report_set(err, WEIR_NOMEM, path, "out of memory");
	if ((ret = find(handle, path, "hf3fs_extract_mount_point", &library->mount_of, err)) ||
	    (ret = find(handle, path, "hf3fs_iovcreate", &library->iov_create, err)) ||
	    (ret = find(handle, path, "hf3fs_iovdestroy", &library->iov_destroy, err)) ||
	    (ret = find(handle, path, "hf3fs_iorcreate4", &library->ior_create, err)) ||
	    (ret = find(handle, path, "hf3fs_iordestroy", &library->ior_destroy, err)) ||
	    (ret = find(handle, path, "hf3fs_reg_fd", &library->register_fd, err)) ||
	    (ret = find(handle, path, "hf3fs_dereg_fd", &library->deregister_fd, err)) ||
	    (ret = find(handle, path, "hf3fs_prep_io", &library->prepare, err)) ||
	    (ret = find(handle, path, "hf3fs_submit_ios", &library->submit, err)) ||
	    (ret = find(handle, path, "hf3fs_wait_for_ios", &library->wait, err))) {
		free(library);
		return ret;
	}
	*out = library;
	return 0;
}

/* ---- One thread ---- */

struct drive {
	struct ring_thread *thread;
	const struct ring_library *library;
	struct iov iov;
	struct ior ior;
	int fd;
	uint64_t prepared, reaped;
};

static int failed(struct drive *drive, const char *what, int answer)
{
	return report_set(&drive->thread->err, WEIR_IO, drive->thread->work->uri, "%s: %s: %s",
			  drive->thread->work->uri, what, strerror(answer < 0 ? -answer : answer));
}

static int prepare(struct drive *drive, uint64_t place)
{
	const struct ring_work *work = drive->thread->work;
	size_t offset = ring_work_offset(work, drive->thread->number, drive->prepared);
	char *at = (char *)drive->iov.base + place * work->block_bytes;
	int ret = drive->library->prepare(&drive->ior, &drive->iov, !work->write, at, drive->fd,
					  offset, work->block_bytes, (void *)(uintptr_t)place);

	if (ret < 0)
		return failed(drive, "preparing", ret);
	drive->prepared++;
	return 0;
}

static int take(struct drive *drive)
{
	const struct ring_work *work = drive->thread->work;
	struct cqe done[64];
	int ret = drive->library->submit(&drive->ior), count;

	if (ret)
		return failed(drive, "submitting", ret);
	count = drive->library->wait(&drive->ior, done, 64, 1, NULL);
	if (count < 0)
		return failed(drive, "waiting", count);
	for (int n = 0; n < count && !ret; n++) {
		drive->reaped++;
		if (done[n].result != (int64_t)work->block_bytes)
			ret = report_set(&drive->thread->err, WEIR_IO, work->uri,
					 "%s: a result of %" PRId64 ", not %" PRIu64, work->uri,
					 done[n].result, work->block_bytes);
		else if (drive->prepared < work->blocks)
			ret = prepare(drive, (uint64_t)(uintptr_t)done[n].userdata);
	}
	return ret;
}

static int drive_ring(struct drive *drive)
{
	const struct ring_work *work = drive->thread->work;
	int ret = 0;

	for (uint64_t n = 0; n < work->depth && n < work->blocks && !ret; n++)
		ret = prepare(drive, n);
	while (drive->reaped < drive->prepared && !ret)
		ret = take(drive);
	return ret;
}

/* Batches as weir's own client has them. */
static int drive_library(struct drive *drive, const char *mount)
{
	const struct ring_library *library = drive->library;
	const struct ring_work *work = drive->thread->work;
	int ret = library->iov_create(&drive->iov, mount, work->depth * work->block_bytes, 0, -1);

	if (ret)
		return failed(drive, "a buffer", ret);
	ret = library->ior_create(&drive->ior, mount, (int)work->depth, !work->write,
				  work->depth < 8 ? 0 : -8, 0, -1, 0);
	if (ret) {
		library->iov_destroy(&drive->iov);
		return failed(drive, "a ring", ret);
	}
	ret = library->register_fd(drive->fd, 0);
	if (ret > 0) {
		ret = failed(drive, "registering the file", ret);
	} else {
		ring_begin(drive->thread);
		ret = drive_ring(drive);
		ring_end(drive->thread);
	}
	library->deregister_fd(drive->fd);
	library->ior_destroy(&drive->ior);
	library->iov_destroy(&drive->iov);
	return ret;
}

/* What is written is a file beside the one that was named, which has lost its name already. */
static int open_file(const struct ring_work *work, const char *path)
{
	char beside[4096];
	int fd;

	if (!work->write)
		return open(path, O_RDONLY | O_CLOEXEC);
	if (snprintf(beside, sizeof(beside), "%s.bench-XXXXXX", path) >= (int)sizeof(beside)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return -1;
	unlink(beside);
	if (ftruncate(fd, (off_t)work->file_bytes) == 0)
		return fd;
	close(fd);
	return -1;
}

static void run(struct ring_thread *thread)
{
	struct drive drive = {.thread = thread, .library = thread->client, .fd = -1};
	const char *path = thread->work->uri;
	char mount[256];

	if (strncmp(path, "3fs://", strlen("3fs://")) == 0)
		path += strlen("3fs://");
	drive.fd = open_file(thread->work, path);
	if (drive.fd < 0)
		thread->ret = failed(&drive, "opening", errno);
	else if (drive.library->mount_of(mount, sizeof(mount), path) <= 0)
		thread->ret = failed(&drive, "its mount", ENOENT);
	else
		thread->ret = drive_library(&drive, mount);
	if (drive.fd >= 0)
		close(drive.fd);
}

int ring_library_run(struct ring_library *library, const struct ring_work *work,
		     struct ring_took *out, struct weir_error *err)
{
	return ring_run(work, run, library, out, err);
}
