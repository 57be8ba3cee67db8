/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the file source share: files with known content, a source, one lane, requests.
 *
 * Each case is a process of its own, so the state here is one case's.  Files stand in $TMPDIR or in the
 * directory that the test runs in: on a real disk, for tmpfs takes O_DIRECT and proves nothing.
 */
#ifndef TESTS_UNIT_SOURCE_FILE_RIG_H
#define TESTS_UNIT_SOURCE_FILE_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/size.h"
#include "lib/check.h"
#include "lib/filter.h"
#include "source/source.h"

/* ---- Files ---- */

static inline unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)((offset * 2654435761u) >> 13 ^ offset >> 32);
}

static char directory[64];

static inline void remove_directory(void)
{
	char command[300];

	if (!directory[0])
		return;
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	if (system(command))
		perror(command);
}

/* A directory of this case's own, removed when it ends well. */
static inline const char *directory_made(void)
{
	const char *where = getenv("TMPDIR");

	if (directory[0])
		return directory;
	check(snprintf(directory, sizeof(directory), "%s/weir-file-XXXXXX", where ? where : ".") <
	      (int)sizeof(directory));
	check(mkdtemp(directory) != NULL);
	atexit(remove_directory);
	return directory;
}

static inline void need_disk(void)
{
	struct statfs fs;

	check_int(statfs(directory_made(), &fs), 0);
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == OVERLAYFS_SUPER_MAGIC)
		skip("no real disk below TMPDIR");
}

/* The path of a name in the case's directory; stays until the case ends. */
static inline char *path_of(const char *name)
{
	static char paths[2048][384];
	static unsigned count;
	char *path = paths[count++ % array_size(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%.300s", directory_made(), name);
	return path;
}

static inline void write_pattern(const char *path, uint64_t bytes)
{
	FILE *file = fopen(path, "w");

	check(file != NULL);
	for (uint64_t i = 0; i < bytes; i++)
		putc_unlocked(byte_at(i), file);
	check_int(fclose(file), 0);
}

static inline char *file_made(uint64_t bytes)
{
	static unsigned count;
	char name[32];
	char *path;

	snprintf(name, sizeof(name), "file%u", count++);
	path = path_of(name);
	write_pattern(path, bytes);
	return path;
}

/* Out of the page cache. */
static inline void drop(const char *path)
{
	int fd = open(path, O_RDONLY);

	check_int(fdatasync(fd), 0);
	check_int(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

static inline char *cold_file_made(uint64_t bytes)
{
	char *path = file_made(bytes);

	drop(path);
	return path;
}

static inline void check_bytes(const unsigned char *at, uint64_t offset, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (at[i] != byte_at(offset + i))
			check_failed(__FILE__, __LINE__, "byte %ju is wrong",
				     (uintmax_t)(offset + i));
}

/* ---- The source ---- */

static char log_lines[4096];
static unsigned log_count;

static inline void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	log_count++;
	strncat(log_lines, line, sizeof(log_lines) - strlen(log_lines) - 1);
}

static struct log test_log = {.fn = on_log, .level = WEIR_LOG_DEBUG};
static struct sys test_sys; /* the system's calls, but for those that a case puts there */
static struct source_env env = {.sys = &test_sys, .log = &test_log};
static struct source *source;
static struct source_lane *lane;

__attribute__((constructor)) static void take_real_calls(void)
{
	test_sys = *sys_real();
}

static inline void source_made(void)
{
	test_log.sys = &test_sys;
	check_int(source_file_create(&env, &source, NULL), 0);
}

static inline void lane_made(uint32_t depth)
{
	const struct lane_how how = {.depth = depth};

	check_int(source->ops->lane_create(source, &how, &lane, NULL), 0);
}

static inline struct source_object *opened_how(const char *path, const struct source_how *how)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object = NULL;

	if (source->ops->open(source, path, path, how, &object, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return object;
}

static inline struct source_object *opened(const char *path)
{
	return opened_how(path, &(struct source_how){0});
}

static inline int open_fails(const char *path, const struct source_how *how, struct weir_error *err)
{
	struct source_object *object = NULL;
	int ret = source->ops->open(source, path, path, how, &object, err);

	check(ret < 0 && object == NULL);
	check_int(err->code, ret);
	check_has(err->message, path);
	return ret;
}

static inline void all_done(struct source_object *object)
{
	if (object)
		source->ops->close(object);
	if (lane)
		source->ops->lane_destroy(lane);
	source->ops->destroy(source);
}

static inline unsigned char *memory_made(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	check(memory != MAP_FAILED);
	return memory;
}

static inline struct request request_of(struct source_object *object, void *memory, uint64_t offset,
					uint32_t length, int way)
{
	return (struct request){.object = object,
				.memory = memory,
				.offset = offset,
				.length = length,
				.op = REQUEST_READ,
				.way = (uint8_t)way};
}

static inline int64_t soon(void)
{
	return sys_real()->now_ns() + 20 * NS_PER_SEC;
}

static inline void run_request(struct request *request)
{
	struct request *out = NULL;

	check_int(source->ops->submit(lane, request), 0);
	check_int(source->ops->reap(lane, &out, 1, soon()), 1);
	check(out == request);
}

static inline int64_t read_range(struct source_object *object, void *memory, uint64_t offset,
				 uint32_t length, int way)
{
	struct request request = request_of(object, memory, offset, length, way);

	run_request(&request);
	return request.result;
}

static inline void forbid_ring(void)
{
	filter_forbid(SYS_io_uring_setup, EPERM);
}

/* One case as it comes, and one with io_uring forbidden. */
#define BOTH(name)                                                                                 \
	static void name(void);                                                                    \
	static void name##_threads(void)                                                           \
	{                                                                                          \
		forbid_ring();                                                                     \
		name();                                                                            \
	}                                                                                          \
	static void name(void)
#define TEST_BOTH(name) TEST(name), TEST(name##_threads)

/* ---- Whole files, by way() ---- */

static inline int check_of(struct source_object *object)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = (source->ops->check)(object, &err);

	check_int(err.code, ret);
	if (ret)
		check_has(err.message, object->uri);
	return ret;
}

/* By way() from the first byte to the last, as the engine does, short answers included. */
static inline void read_all(struct source_object *object, unsigned char *memory)
{
	uint64_t size = object->size_bytes, at = 0;

	while (at < size) {
		uint64_t until, align = object->offset_align, length;
		int way = source->ops->way(object, at, size - at, &until);
		int64_t got;

		check(until > at && until <= size);
		check(way == WAY_BUFFERED || at % align == 0);
		length = min_of(until - at, UINT64_C(512) << 10);
		if (way == WAY_DIRECT)
			length = round_up(length, align);
		got = read_range(object, memory + at, at, (uint32_t)length, way);
		check(got > 0);
		at += (uint64_t)got;
		if (at < size && at % align && way == WAY_DIRECT)
			at = round_down(at, align); /* after a short one */
	}
	check_int(at, size);
	check_int(check_of(object), 0);
}

static inline uint64_t cached_bytes(struct source_object *object)
{
	struct weir_stat stat;

	check_int(source->ops->describe(object, &stat, NULL), 0);
	return stat.cached_bytes;
}

static inline int way_at(struct source_object *object, uint64_t offset, uint64_t *until)
{
	return source->ops->way(object, offset, object->size_bytes - offset, until);
}

static inline ssize_t preadv2_refused(int fd, const struct iovec *to, int count, off_t off,
				      int flags)
{
	(void)fd;
	(void)to;
	(void)count;
	(void)off;
	(void)flags;
	errno = EOPNOTSUPP;
	return -1;
}

#endif
