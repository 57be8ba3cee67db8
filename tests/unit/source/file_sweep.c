/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call of writing, cloning and listing fails once.
 */
#include "file_draft.h"
#include "lib/fail.h"

/* What a call may answer: success, or an error that names its object. */
static bool fine(int ret, const struct weir_error *err)
{
	if (ret == 0)
		return true;
	check(ret < 0);
	check_int(err->code, ret);
	check(err->message[0] != '\0');
	return false;
}

static void write_one(const char *path, const unsigned char *data, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;
	unsigned char *copy = memory_made(bytes);
	struct stat st;

	memcpy(copy, data, bytes);
	if (!fine(source->ops->create(source, path, path, bytes, &plain, &object, &err), &err))
		return;
	if (write_all(object, copy) == 0 &&
	    fine(source->ops->commit(object, WEIR_DURABLE_DATA, &err), &err))
		check_file(path, bytes);
	else if (stat(path, &st) == 0)
		check_file(path, bytes); /* named, and then something else failed */
	source->ops->close(object);
	munmap(copy, bytes);
}

static void read_one(const char *path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	unsigned char *memory = memory_made(bytes + 65536);
	struct source_object *object;
	struct weir_stat stat;
	uint64_t until;

	if (!fine(source->ops->open(source, path, path, &plain, &object, &err), &err))
		return;
	for (uint64_t at = 0; at < bytes; at = until) {
		int way = source->ops->way(object, at, bytes - at, &until);
		int64_t got;

		until = min_of(until, at + 65536);
		got = read_range(object, memory + at, at, 65536, way);
		check(got < 0 || got > 0);
		if (got < 0)
			break;
		until = at + (uint64_t)got;
		check_bytes(memory + at, at, (uint64_t)got);
		if (until % object->offset_align && until < bytes)
			until = round_down(until, object->offset_align);
	}
	fine((source->ops->check)(object, &err), &err);
	fine(source->ops->describe(object, &stat, &err), &err);
	source->ops->close(object);
	munmap(memory, bytes + 65536);
}

static void clone_one(const char *from_path, const char *to_path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *from, *to;

	if (!fine(source->ops->open(source, from_path, from_path, &plain, &from, &err), &err))
		return;
	if (fine(source->ops->create(source, to_path, to_path, bytes, &plain, &to, &err), &err)) {
		if (fine(source->ops->clone(to, from, NULL, &err), &err))
			fine(source->ops->commit(to, WEIR_DURABLE_NO, &err), &err);
		else
			fine(source->ops->abort(to, &err), &err);
		source->ops->close(to);
	}
	source->ops->close(from);
}

static void list_one(const char *path)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_listing listing = {0};
	struct weir_stat stat;

	fine(source->ops->stat(source, path, path, &plain, &stat, &err), &err);
	fine(source->ops->mkdir(source, path_of("sub"), "sub", &err), &err);
	if (fine(source->ops->list(source, path, path, &listing, &err), &err))
		arena_fini(&listing.arena);
}

static unsigned count_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* First, second, third ... call until none fails: clean errors, right bytes, no descriptor left. */
BOTH(every_system_call_fails_once)
{
	uint64_t bytes = 200001;
	unsigned char *data = pattern_made(bytes);
	char *path = file_made(bytes);
	char *written = path_of("written"), *cloned = path_of("cloned");
	unsigned before = count_fds(), calls = 0;
	bool fired;

	test_sys = *fail_sys();
	do {
		drop(path);
		fail_call(FAIL_ANY, ++calls, FAIL_ONCE, EIO);
		source_made();
		lane_made(4);
		write_one(written, data, bytes);
		read_one(path, bytes);
		clone_one(path, cloned, bytes);
		list_one(directory_made());
		all_done(NULL);
		fired = fail_call_end();
		check_int(count_fds(), before);
		unlink(written);
		unlink(cloned);
		rmdir(path_of("sub"));
	} while (fired);
	check(calls > 30);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST_BOTH(every_system_call_fails_once),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
