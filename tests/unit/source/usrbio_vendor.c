/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file is taken for the vendor's library; that it loads is tested where there is one to load.
 */
#include "source/usrbio_vendor.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "lib/check.h"
#include "source/usrbio_driver.h"

#define NAME "libhf3fs_api_shared.so"

/* As small as one can be: its headers, and one segment of notes behind them. */
struct library {
	Elf64_Ehdr elf;
	Elf64_Phdr part;
	Elf64_Nhdr note;
	char owner[8], text[8];
	Elf64_Nhdr second;
	char second_owner[8];
};

static char top[64];
static struct usrbio_vendor found;
static struct weir_error err;

static struct library library_of(const char *owner, const char *second)
{
	struct library it;

	memset(&it, 0, sizeof(it));
	memcpy(it.elf.e_ident, ELFMAG, SELFMAG);
	it.elf.e_ident[EI_CLASS] = ELFCLASS64;
	it.elf.e_ident[EI_DATA] = ELFDATA2LSB;
	it.elf.e_type = ET_DYN;
	it.elf.e_phentsize = sizeof(it.part);
	it.elf.e_phnum = 1;
	it.elf.e_phoff = offsetof(struct library, part);
	it.part.p_type = PT_NOTE;
	it.part.p_offset = offsetof(struct library, note);
	it.part.p_filesz = sizeof(it) - offsetof(struct library, note);
	it.note = (Elf64_Nhdr){(Elf64_Word)strlen(owner) + 1, sizeof(it.text), 1};
	snprintf(it.owner, sizeof(it.owner), "%s", owner);
	it.second = (Elf64_Nhdr){(Elf64_Word)strlen(second) + 1, 0, 1};
	snprintf(it.second_owner, sizeof(it.second_owner), "%s", second);
	return it;
}

static const char *below(const char *name)
{
	static char paths[4][256];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
	return path;
}

static void put(const char *name, const struct library *it, size_t bytes)
{
	int fd = open(below(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0);
	check_int(write(fd, it, bytes), bytes);
	close(fd);
}

static void put_of(const char *name, const char *owner)
{
	struct library it = library_of(owner, "none");

	put(name, &it, sizeof(it));
}

static int find(const char *directory, const char *directories)
{
	const struct usrbio_vendor_places places = {directory, directories};

	memset(&err, 0, sizeof(err));
	return usrbio_vendor_find(sys_real(), &places, &found, &err);
}

static int look(const struct library *it, size_t bytes)
{
	put("file", it, bytes);
	memset(&err, 0, sizeof(err));
	return usrbio_vendor_look(sys_real(), below("file"), &err);
}

static void begin(void)
{
	snprintf(top, sizeof(top), "/tmp/weir-vendor-XXXXXX");
	check(mkdtemp(top));
	check_int(mkdir(below("a"), 0700), 0);
	check_int(mkdir(below("b"), 0700), 0);
}

static void end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", top);
	check_int(system(command), 0);
}

static void the_directory_comes_before_the_list(void)
{
	char list[256];

	begin();
	put_of("a/" NAME, "theirs");
	put_of("b/" NAME, "theirs");
	snprintf(list, sizeof(list), ":  :/nowhere: %s :%s", below("b"), below("a"));
	check_int(find(below("a"), list), 0);
	check_str(found.path, below("a/" NAME));
	check_str(found.named_by, "HF3FS_LIB_DIR");
	check_int(find("", list), 0);
	check_str(found.path, below("b/" NAME));
	check_str(found.named_by, "LD_LIBRARY_PATH");
	check_int(find("/nowhere", list), 0);
	check_str(found.path, below("b/" NAME));
	end();
}

static void the_exact_name_then_the_others_in_order(void)
{
	begin();
	put_of("a/" NAME ".2", "theirs");
	put_of("a/" NAME ".10", "theirs");
	put_of("a/" NAME "x", "theirs");
	check_int(mkdir(below("a/" NAME ".1"), 0700), 0);
	check_int(find(below("a"), NULL), 0);
	check_str(found.path, below("a/" NAME ".10"));
	put_of("a/" NAME, "theirs");
	check_int(find(below("a"), NULL), 0);
	check_str(found.path, below("a/" NAME));
	end();
}

static void ours_is_passed_over(void)
{
	char list[256];

	begin();
	put_of("a/" NAME, "weir");
	snprintf(list, sizeof(list), "%s:%s", below("a"), below("b"));
	check_int(find(NULL, list), WEIR_UNSUPPORTED);
	check_has(err.message, "weir's own library");
	put_of("b/" NAME ".1", "theirs");
	check_int(find(NULL, list), 0);
	check_str(found.path, below("b/" NAME ".1"));
	end();
}

static void none_at_all(void)
{
	begin();
	check_int(find(NULL, NULL), WEIR_NOTFOUND);
	check_has(err.message, "set HF3FS_LIB_DIR");
	check_int(find(below("a"), below("b")), WEIR_NOTFOUND);
	end();
}

static void a_note_behind_another(void)
{
	struct library it = library_of("other", "weir");

	begin();
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	check_has(err.message, "weir's own library");
	it = library_of("weird", "wei");
	check_int(look(&it, sizeof(it)), 0);
	end();
}

static void sizes_that_reach_too_far(void)
{
	const struct library good = library_of("theirs", "none");
	struct library it = good;

	begin();
	check_int(look(&good, sizeof(good)), 0);
	for (size_t bytes = 0; bytes < sizeof(good); bytes++)
		check_int(look(&good, bytes), WEIR_UNSUPPORTED);
	it.note.n_namesz = UINT32_MAX;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	it = good;
	it.second.n_descsz = 1;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	it = good;
	it.part.p_offset = UINT64_MAX - 8;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	it = good;
	it.part.p_filesz = UINT64_MAX;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	it = good;
	it.part.p_type = PT_LOAD;
	check_int(look(&it, sizeof(it)), 0);
	it.part.p_filesz++;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	it = good;
	it.elf.e_phoff = UINT64_MAX - 8;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	it = good;
	it.elf.e_phnum = UINT16_MAX;
	check_int(look(&it, sizeof(it)), WEIR_UNSUPPORTED);
	end();
}

static uint64_t limit;

static int limit_of(int resource, struct rlimit *out)
{
	check_int(resource, RLIMIT_NOFILE);
	*out = (struct rlimit){1024, limit};
	return 0;
}

static char heard[512];

static void hear(void *arg, int level, const char *message)
{
	(void)arg;
	(void)level;
	snprintf(heard, sizeof(heard), "%s", message);
}

static void many_descriptors(void)
{
	struct usrbio_vendor_calls calls;
	struct sys sys = *sys_real();

	sys.getrlimit = limit_of;
	memset(&found, 0, sizeof(found));
	snprintf(found.path, sizeof(found.path), "/nowhere/" NAME);
	limit = VENDOR_DESCRIPTORS_MAX + 1;
	check_int(usrbio_vendor_load(&sys, &found, &calls, &err), WEIR_LIMIT);
	check_has(err.message, "16777217");
	limit = VENDOR_DESCRIPTORS_MAX;
	check_int(usrbio_vendor_load(&sys, &found, &calls, &err), WEIR_UNSUPPORTED);
}

/* A library that would do, and a limit that forbids it: said, and the driver is ours. */
static void UB_55_a_limit_too_high_leaves_the_native_client(void)
{
	struct log log = {.fn = hear, .level = WEIR_LOG_WARN, .sys = sys_real()};
	struct usrbio_vendor_places places = {.directory = top};
	struct sys sys = *sys_real();
	struct driver *driver;

	begin();
	put_of(NAME, "them");
	sys.getrlimit = limit_of;
	limit = UINT64_C(1) << 30;
	check_int(driver_vendor(&sys, &log, &places, &driver, &err), 0);
	check(driver == driver_native());
	check_has(heard, "1073741824");
	check_has(heard, "weir's own client");
	/* No limit forbids this one, but it is none: no driver at all. */
	limit = 1024;
	check_int(driver_vendor(&sys, &log, &places, &driver, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "WEIR_3FS_LIBRARY=vendor: ");
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(the_directory_comes_before_the_list),
		TEST(the_exact_name_then_the_others_in_order),
		TEST(ours_is_passed_over),
		TEST(none_at_all),
		TEST(a_note_behind_another),
		TEST(sizes_that_reach_too_far),
		TEST(many_descriptors),
		TEST(UB_55_a_limit_too_high_leaves_the_native_client),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
