/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening files: what is refused, and how URIs become paths.
 */
#include "file_rig.h"
#include <sys/socket.h>
#include <sys/un.h>

/* ---- Opening ---- */

static void refuses(const char *path, int code)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t start = sys_real()->now_ns();

	check_int(open_fails(path, &(struct source_how){0}, &err), code);
	check(sys_real()->now_ns() - start < 2 * NS_PER_SEC);
}

static void ST_18_IX_11_only_regular_files(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	const char *path;

	source_made();
	path = path_of("fifo");
	check_int(mkfifo(path, 0600), 0);
	refuses(path, WEIR_ARG);
	check_int(chdir(directory_made()), 0);
	strcpy(address.sun_path, "socket");
	check_int(bind(fd, (void *)&address, sizeof(address)), 0);
	refuses("socket", WEIR_ARG);
	check_int(chdir(".."), 0);
	refuses(directory, WEIR_ARG);
	refuses("/dev/null", WEIR_ARG);
	refuses("/dev/tty", errno == ENOENT ? WEIR_NOTFOUND : WEIR_ARG);
	refuses("/proc/version", WEIR_ARG);
	refuses("/proc/self/maps", WEIR_ARG);
	all_done(NULL);
}

static void an_empty_file_is_a_file(void)
{
	struct source_object *object;
	unsigned char byte;
	uint64_t until;

	source_made();
	lane_made(2);
	object = opened(file_made(0));
	check_int(object->size_bytes, 0);
	source->ops->way(object, 0, 0, &until);
	check_int(read_range(object, &byte, 0, 1, WAY_BUFFERED), 0);
	check_int(check_of(object), 0);
	all_done(object);
}

static void ST_20_names_that_cannot_be_opened(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	char long_name[300];
	char *path = file_made(10), *link = path_of("link");

	source_made();
	check_int(open_fails(path_of("nothing"), &(struct source_how){0}, &err), WEIR_NOTFOUND);
	check_int(err.os_errno, ENOENT);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	check_int(open_fails(path_of(long_name), &(struct source_how){0}, &err), WEIR_ARG);
	check_int(err.os_errno, ENAMETOOLONG);
	strcat(path, "/x");
	check_int(open_fails(path, &(struct source_how){0}, &err), WEIR_NOTFOUND);
	check_int(err.os_errno, ENOTDIR);
	check_int(symlink("link", link), 0);
	check_int(open_fails(link, &(struct source_how){0}, &err), WEIR_ARG);
	check_int(err.os_errno, ELOOP);
	path = file_made(10);
	check_int(chmod(path, 0), 0);
	if (getuid() == 0)
		check_int(seteuid(65534), 0);
	check_int(open_fails(path, &(struct source_how){0}, &err), WEIR_DENIED);
	check_int(err.os_errno, EACCES);
	if (getuid() == 0)
		check_int(seteuid(0), 0);
	all_done(NULL);
}

static void IX_02_links_are_followed_unless_forbidden(void)
{
	const struct source_how how = {.flags = WEIR_OBJECT_NOFOLLOW};
	struct weir_error err = WEIR_ERROR_INIT;
	char *link = path_of("link");
	struct source_object *object;

	source_made();
	file_made(10);
	check_int(symlink("file0", link), 0);
	check_int(open_fails(link, &how, &err), WEIR_DENIED);
	check_int(err.os_errno, ELOOP);
	object = opened(link);
	all_done(object);
}

/* ---- URIs ---- */

static void splits(const char *uri, const char *scheme, const char *path)
{
	struct weir_error err = WEIR_ERROR_INIT;
	const char *got_scheme = NULL;
	char *got_path = NULL;

	if (source_split_uri(uri, &got_scheme, &got_path, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_str(got_scheme, scheme);
	check_str(got_path, path);
	free(got_path);
}

static void does_not_split(const char *uri, int code)
{
	struct weir_error err = WEIR_ERROR_INIT;
	const char *scheme;
	char *path = NULL;

	check_int(source_split_uri(uri, &scheme, &path, &err), code);
	check_int(err.code, code);
	check(path == NULL && err.message[0]);
}

static void uris(void)
{
	splits("/a b", "file", "/a b");
	splits("file:///a%20b", "file", "/a b");
	splits("FILE://localhost/a", "file", "/a");
	splits("/a%20b", "file", "/a%20b");
	splits("model.safetensors", "file", "model.safetensors");
	splits("c:/x", "file", "c:/x");
	splits("a/b://c", "file", "a/b://c");
	splits("memory://name", "memory", "name");
	splits("memory://a/b%2fc", "memory", "a/b/c");
	splits("file:///a%e2%82%ac", "file", "/a\xe2\x82\xac");
	does_not_split("", WEIR_ARG);
	does_not_split("file:///a%2", WEIR_ARG);
	does_not_split("file:///a%zz", WEIR_ARG);
	does_not_split("file:///a%00b", WEIR_ARG);
	does_not_split("memory://", WEIR_ARG);
	does_not_split("file://server/a", WEIR_UNSUPPORTED);
	does_not_split("ftp://a/b", WEIR_UNSUPPORTED);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_18_IX_11_only_regular_files),
		TEST(an_empty_file_is_a_file),
		TEST(ST_20_names_that_cannot_be_opened),
		TEST(IX_02_links_are_followed_unless_forbidden),
		TEST(uris),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
