/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that poses as the vendor's: its functions, its bad manners, and no note that says "weir".
 *
 * Behind it is our drop-in, under other names (meson.build), so rings and mounts are real.  In front of it
 * are the manners that a caller has to live with:
 *
 *	what makes no sense ends the process: a mount that is not there, a size of 0
 *	a daemon that is gone is waited for: nothing comes back, until the time that was named
 *	to be asked to wait without a time ends the process here, since it would never return
 *	a descriptor is forgotten only where its daemon still answers
 *
 * POSE_COUNTS names a file into which it is written, at the end, how often requests came this way.
 * POSE=long: results are 7 bytes longer than asked.  POSE=foreign: completions of nobody's.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compat/hf3fs/hf3fs_usrbio.h"

#define API __attribute__((visibility("default")))

/* Our drop-in's functions. */
#define OURS(name) __typeof__(hf3fs_##name) ours_##name
OURS(is_hf3fs);
OURS(extract_mount_point);
OURS(iovcreate);
OURS(iovopen);
OURS(iovunlink);
OURS(iovdestroy);
OURS(iovwrap);
OURS(ior_size);
OURS(iorcreate4);
OURS(iorcreate3);
OURS(iordestroy);
OURS(reg_fd);
OURS(dereg_fd);
OURS(io_entries);
OURS(prep_io);
OURS(submit_ios);
OURS(wait_for_ios);
OURS(hardlink);
OURS(punchhole);

static _Atomic unsigned long rings, reads, writes, results;

static bool pose(const char *name)
{
	const char *value = getenv("POSE");

	return value && strcmp(value, name) == 0;
}

__attribute__((destructor)) static void tell(void)
{
	const char *path = getenv("POSE_COUNTS");
	FILE *out = path ? fopen(path, "we") : NULL;

	if (!out)
		return;
	fprintf(out, "{\"rings\": %lu, \"reads\": %lu, \"writes\": %lu, \"results\": %lu}\n", rings,
		reads, writes, results);
	fclose(out);
}

static void insist(bool it)
{
	if (!it)
		abort();
}

/* ---- Passed on ---- */

API bool hf3fs_is_hf3fs(int fd)
{
	return ours_is_hf3fs(fd);
}

API int hf3fs_extract_mount_point(char *out, int size, const char *path)
{
	insist(path && access(path, F_OK) == 0);
	return ours_extract_mount_point(out, size, path);
}

API int hf3fs_iovopen(struct hf3fs_iov *iov, const uint8_t id[16], const char *mount, size_t size,
		      size_t block_size, int numa)
{
	insist(strlen(mount) < sizeof(iov->mount_point));
	return ours_iovopen(iov, id, mount, size, block_size, numa);
}

API int hf3fs_iovcreate(struct hf3fs_iov *iov, const char *mount, size_t size, size_t block_size,
			int numa)
{
	insist(size > 0 && block_size <= size && access(mount, F_OK) == 0);
	return ours_iovcreate(iov, mount, size, block_size, numa);
}

API void hf3fs_iovunlink(struct hf3fs_iov *iov)
{
	ours_iovunlink(iov);
}

API void hf3fs_iovdestroy(struct hf3fs_iov *iov)
{
	ours_iovdestroy(iov);
}

API int hf3fs_iovwrap(struct hf3fs_iov *iov, void *base, const uint8_t id[16], const char *mount,
		      size_t size, size_t block_size, int numa)
{
	insist(size > 0 && block_size <= size);
	return ours_iovwrap(iov, base, id, mount, size, block_size, numa);
}

API size_t hf3fs_ior_size(int entries)
{
	return ours_ior_size(entries);
}

API int hf3fs_io_entries(const struct hf3fs_ior *ior)
{
	return ours_io_entries(ior);
}

API int hf3fs_hardlink(const char *target, const char *link_name)
{
	return ours_hardlink(target, link_name);
}

API int hf3fs_punchhole(int fd, int n, const size_t *start, const size_t *end, size_t flags)
{
	return ours_punchhole(fd, n, start, end, flags);
}

/* ---- Rings ---- */

API int hf3fs_iorcreate4(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read,
			 int io_depth, int timeout, int numa, uint64_t flags)
{
	insist(entries > 0 && io_depth <= entries && access(mount, F_OK) == 0);
	rings++;
	return ours_iorcreate4(ior, mount, entries, for_read, io_depth, timeout, numa, flags);
}

API int hf3fs_iorcreate3(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read,
			 int io_depth, int priority, int timeout, int numa)
{
	insist(entries > 0 && io_depth <= entries && access(mount, F_OK) == 0);
	rings++;
	return ours_iorcreate3(ior, mount, entries, for_read, io_depth, priority, timeout, numa);
}

API int hf3fs_iorcreate2(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read,
			 int io_depth, int priority, int numa)
{
	return hf3fs_iorcreate3(ior, mount, entries, for_read, io_depth, priority, 0, numa);
}

API int hf3fs_iorcreate(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read,
			int io_depth, int numa)
{
	return hf3fs_iorcreate4(ior, mount, entries, for_read, io_depth, 0, numa, 0);
}

API void hf3fs_iordestroy(struct hf3fs_ior *ior)
{
	ours_iordestroy(ior);
}

API int hf3fs_reg_fd(int fd, uint64_t flags)
{
	return ours_reg_fd(fd, flags);
}

API void hf3fs_dereg_fd(int fd)
{
	if (ours_is_hf3fs(fd)) /* else the number stays taken, and the file open */
		ours_dereg_fd(fd);
}

API int hf3fs_prep_io(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, bool read,
		      void *ptr, int fd, size_t off, uint64_t len, const void *userdata)
{
	int slot = ours_prep_io(ior, iov, read, ptr, fd, off, len, userdata);

	if (slot >= 0)
		(*(read ? &reads : &writes))++;
	return slot;
}

API int hf3fs_submit_ios(const struct hf3fs_ior *ior)
{
	return ours_submit_ios(ior);
}

/* Of a daemon that is gone nothing comes back: what ours says of it is kept. */
static int keep(struct hf3fs_cqe *cqes, int count)
{
	int kept = 0;

	for (int i = 0; i < count; i++)
		if (cqes[i].result != -107)
			cqes[kept++] = cqes[i];
	return kept;
}

static void spoil(struct hf3fs_cqe *cqes, int count)
{
	for (int i = 0; i < count; i++) {
		if (pose("long") && cqes[i].result > 0)
			cqes[i].result += 7;
		if (pose("foreign"))
			cqes[i].userdata = (const void *)(uintptr_t)99999;
	}
}

API int hf3fs_wait_for_ios(const struct hf3fs_ior *ior, struct hf3fs_cqe *cqes, int cqec,
			   int min_results, const struct timespec *abs_timeout)
{
	int got, kept;

	insist(abs_timeout || min_results <= 0);
	got = ours_wait_for_ios(ior, cqes, cqec, min_results, abs_timeout);
	kept = got > 0 ? keep(cqes, got) : 0;
	results += (unsigned)kept;
	spoil(cqes, kept);
	if (min_results > 0 && kept == 0 && abs_timeout)
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, abs_timeout, NULL);
	return kept;
}
