/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are cloned, and what changes or lists names.
 */
#include "file_draft.h"

/* ---- Cloning ---- */

static void clones(void)
{
	char *from_path = file_made(300001);
	const char *to_path = path_of("clone");
	struct source_object *from, *to;
	struct weir_error err = WEIR_ERROR_INIT;

	source_made();
	from = opened(from_path);
	to = created(to_path, 300001);
	if (source->ops->clone(to, from, NULL, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_int(source->ops->commit(to, WEIR_DURABLE_NO, NULL), 0);
	check_file(to_path, 300001);
	source->ops->close(to);
	to = created(to_path, 5);
	check_int(source->ops->clone(to, from, NULL, &err), WEIR_ARG);
	source->ops->close(to);
	all_done(from);
}

static int clone_refused(int to, int from)
{
	(void)to;
	(void)from;
	errno = EOPNOTSUPP;
	return -1;
}

static int copy_errno;

static ssize_t copy_in_pieces(int from, off_t *from_off, int to, off_t *to_off, size_t len,
			      unsigned flags)
{
	static unsigned calls;

	if (copy_errno || calls++ % 2) {
		errno = copy_errno ? copy_errno : EINTR;
		return -1;
	}
	return copy_file_range(from, from_off, to, to_off, min_of(len, (size_t)70000), flags);
}

static void clones_piece_by_piece(void)
{
	struct source_object *from, *to;

	test_sys.clone_file = clone_refused;
	test_sys.copy_file_range = copy_in_pieces;
	clones();

	source_made();
	from = opened(file_made(1000));
	to = created(path_of("other"), 1000);
	copy_errno = EXDEV;
	check_int(source->ops->clone(to, from, NULL, NULL), WEIR_UNSUPPORTED);
	copy_errno = EIO;
	check_int(source->ops->clone(to, from, NULL, NULL), WEIR_IO);
	source->ops->close(to);
	all_done(from);
}

static unsigned asked;

static bool once(void *arg)
{
	(void)arg;
	return asked++ == 0;
}

/* However large it is: it was once a single call, which nobody could end and which came too late. */
static void a_clone_asks_whether_to_go_on(void)
{
	const struct source_pace pace = {once, NULL};
	struct source_object *from, *to;

	test_sys.clone_file = clone_refused;
	test_sys.copy_file_range = copy_in_pieces;
	source_made();
	from = opened(file_made(300001));
	to = created(path_of("other"), 300001);
	copy_errno = 0;
	check_int(source->ops->clone(to, from, &pace, NULL), WEIR_CANCELLED);
	check_int(asked, 2);
	source->ops->close(to);
	all_done(from);
}

static void a_clone_of_a_file_that_changed(void)
{
	struct source_object *from, *to;
	char *path = file_made(1000);

	source_made();
	from = opened(path);
	to = created(path_of("other"), 1000);
	check_int(truncate(path, 500), 0);
	check_int(source->ops->clone(to, from, NULL, NULL), WEIR_TRUNCATED);
	check_int(truncate(path, 1000), 0);
	check_int(source->ops->clone(to, from, NULL, NULL), WEIR_CHANGED);
	source->ops->close(to);
	all_done(from);
}

/* ---- Names ---- */

static void stats(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	const struct source_how nofollow = {.flags = WEIR_OBJECT_NOFOLLOW};
	const struct source_how unopened = {.flags = WEIR_OBJECT_NO_CACHED};
	char *path = file_made(5000), version[96];
	struct weir_stat stat;

	source_made();
	check_int(source->ops->stat(source, path, path, &plain, &stat, &err), 0);
	check_int(stat.kind, WEIR_KIND_FILE);
	check_int(stat.size_bytes, 5000);
	check_int(stat.cached_bytes, 5000);
	check_int(source->ops->stat(source, path, path, &unopened, &stat, &err), 0);
	check_int(stat.size_bytes, 5000);
	check(stat.cached_bytes == UINT64_MAX);
	check(stat.modified_ns > INT64_C(1000000000) * 1700000000);
	memcpy(version, stat.version, sizeof(version));
	check(strlen(version) > 10 && strlen(version) < sizeof(version) - 1);
	usleep(20000);
	check_int(truncate(path, 4000), 0);
	check_int(source->ops->stat(source, path, path, &plain, &stat, &err), 0);
	check(strcmp(version, stat.version) != 0);
	check_int(source->ops->stat(source, directory, directory, &plain, &stat, &err), 0);
	check_int(stat.kind, WEIR_KIND_DIRECTORY);
	check_int(source->ops->stat(source, "/dev/null", "/dev/null", &plain, &stat, &err), 0);
	check_int(stat.kind, WEIR_KIND_OTHER);
	check_int(source->ops->stat(source, path_of("no"), "no", &plain, &stat, &err),
		  WEIR_NOTFOUND);
	check_int(symlink("file0", path_of("link")), 0);
	check_int(source->ops->stat(source, path_of("link"), "link", &plain, &stat, &err), 0);
	check_int(stat.size_bytes, 4000);
	check_int(source->ops->stat(source, path_of("link"), "link", &nofollow, &stat, &err),
		  WEIR_DENIED);
	all_done(NULL);
}

static void lists(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_listing listing = {0};
	char name[32];

	source_made();
	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "%u", (i * 37 + 11) % 150 + 100);
		write_pattern(path_of(name), i);
	}
	check_int(source->ops->mkdir(source, path_of("sub"), "sub", &err), 0);
	check_int(source->ops->mkdir(source, path_of("sub"), "sub", &err), WEIR_CONFLICT);
	check_int(symlink("nowhere", path_of("zlink")), 0);
	check_int(source->ops->list(source, directory, directory, &listing, &err), 0);
	check_int(listing.count, 152);
	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "%u", i + 100);
		check_str(listing.entries[i].name, name);
		check_int(listing.entries[i].stat.kind, WEIR_KIND_FILE);
	}
	check_str(listing.entries[150].name, "sub");
	check_int(listing.entries[150].stat.kind, WEIR_KIND_DIRECTORY);
	check_int(listing.entries[151].stat.kind, WEIR_KIND_OTHER);
	arena_fini(&listing.arena);
	check_int(source->ops->list(source, path_of("sub"), "sub", &listing, &err), 0);
	check_int(listing.count, 0);
	arena_fini(&listing.arena);
	check_int(source->ops->list(source, path_of("no"), "no", &listing, &err), WEIR_NOTFOUND);
	all_done(NULL);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(clones),
		TEST(clones_piece_by_piece),
		TEST(a_clone_asks_whether_to_go_on),
		TEST(a_clone_of_a_file_that_changed),
		TEST(stats),
		TEST(lists),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
