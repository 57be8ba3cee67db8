/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slabs of shared memory: their size, their one name, who imported them; and the pool that is made of
 * them.
 */
#include "mem/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "mem/pool.h"

static struct weir_error err = WEIR_ERROR_INIT;

static struct shared *make(uint64_t bytes)
{
	struct shared *slab;

	if (shared_create(sys_real(), bytes, &slab, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return slab;
}

/* Names in /dev/shm of this process. */
static int count_one(void *arg, const struct shm_found *found)
{
	*(unsigned *)arg += found->ours && found->owner.pid == (uint32_t)getpid();
	return 0;
}

static unsigned names(void)
{
	unsigned count = 0;

	check_int(shm_names_walk(sys_real(), count_one, &count), 0);
	return count;
}

/* ---- Slabs ---- */

static void another_mapping_sees_the_same_bytes(void)
{
	struct shared *slab = make(3 * MIB);
	char path[SHM_PATH_MAX];
	struct stat st;
	char *other;
	int fd;

	check_int((uintptr_t)slab->at & (2 * MIB - 1), 0);
	check_int(names(), 0);
	check_int(shared_name(slab, path, &err), 0);
	check_int(names(), 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	check(fd >= 0);
	shared_unname(slab);
	check_int(names(), 0);
	check_int(fstat(fd, &st), 0);
	check_int(st.st_size, 3 * MIB);
	check_int(st.st_mode & 0777, 0600);
	other = mmap(NULL, 3 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(other != MAP_FAILED);
	pattern_fill(other, 5, 0, 3 * MIB);
	check_int(pattern_check(slab->at, 5, 0, 3 * MIB), 3 * MIB);
	munmap(other, 3 * MIB);
	close(fd);
	shared_destroy(slab);
}

static void a_name_is_given_once(void)
{
	struct shared *slab = make(MIB);
	char path[SHM_PATH_MAX];

	check_int(shared_name(slab, path, &err), 0);
	shared_unname(slab);
	check_int(shared_name(slab, path, &err), WEIR_CLOSED);
	shared_destroy(slab);
}

static int full_fstatfs(int fd, struct statfs *out)
{
	check_int(fstatfs(fd, out), 0);
	out->f_bavail = 5;
	return 0;
}

static void UB_50_too_little_room_is_said_with_both_numbers(void)
{
	struct sys sys = *sys_real();
	struct shared *slab;
	char left[32];

	sys.fstatfs = full_fstatfs;
	check_int(shared_create(&sys, 2 * GIB, &slab, &err), WEIR_NOSPACE);
	check_int(err.os_errno, ENOSPC);
	check_has(err.message, "2147483648 bytes");
	snprintf(left, sizeof(left), "has %d left", 5 * 4096);
	check_has(err.message, left);
}

static int full_fallocate(int fd, int mode, off_t off, off_t len)
{
	(void)fd;
	(void)mode;
	(void)off;
	(void)len;
	errno = ENOSPC;
	return -1;
}

static int refused_madvise(void *at, size_t len, int advice)
{
	(void)at;
	(void)len;
	(void)advice;
	errno = EFAULT;
	return -1;
}

static void UB_50_a_full_file_system_is_an_error_and_no_signal(void)
{
	struct sys sys = *sys_real();
	struct pool_opts opts = {.sys = &sys, .shared = true};
	struct pool *pool;
	void *at;
	bool fresh;

	sys.fallocate = full_fallocate;
	sys.madvise = refused_madvise;
	check_int(pool_create(&opts, &pool, &err), 0);
	check_int(pool_take(pool, MIB, 4096, 0, &at, &fresh, &err), 0);
	check(fresh);
	check_int(pool_populate(pool, at, MIB, &err), WEIR_NOSPACE);
	pool_drop(pool, at, MIB);
	pool_unref(pool);
}

static unsigned released[SHARED_IMPORTERS], release_count;

static void release(void *import, struct shared *slab)
{
	check(slab->at != NULL); /* still mapped */
	released[release_count++] = *(unsigned *)import;
}

static void importers_let_go_in_order_before_unmapping(void)
{
	struct shared *slab = make(MIB);
	unsigned kinds[] = {SHARED_MOUNT, SHARED_CUDA, SHARED_URING};

	for (int i = SHARED_IMPORTERS - 1; i >= 0; i--) {
		check(shared_attach(slab, (enum shared_importer)i,
				    (struct shared_slot){release, &kinds[i]}));
		check(!shared_attach(slab, (enum shared_importer)i,
				     (struct shared_slot){release, &kinds[i]}));
	}
	check(shared_import(slab, SHARED_CUDA) == &kinds[SHARED_CUDA]);
	shared_detach(slab, SHARED_CUDA);
	shared_destroy(slab);
	check_int(release_count, 2);
	check_int(released[0], SHARED_MOUNT);
	check_int(released[1], SHARED_URING);
}

/* ---- Names ---- */

static void a_name_tells_its_owner(void)
{
	struct shm_owner self, owner;
	char path[SHM_PATH_MAX], again[SHM_PATH_MAX];

	check(shm_owner_self(sys_real(), &self));
	check_int(shm_name_make(sys_real(), path), 0);
	check_int(shm_name_make(sys_real(), again), 0);
	check(strcmp(path, again) != 0);
	check(shm_name_owner(strrchr(path, '/') + 1, &owner));
	check_int(owner.pid, self.pid);
	check_int(owner.pid, getpid());
	check_int(owner.namespace, self.namespace);
	check_int(owner.start, self.start);
	check_int(shm_owner_life(sys_real(), &owner), SHM_LIVES);
	owner.start++;
	check_int(shm_owner_life(sys_real(), &owner), SHM_DEAD);
	owner.namespace ++;
	check_int(shm_owner_life(sys_real(), &owner), SHM_UNKNOWN);
	/* Random ones, as others make them, and what is no name at all. */
	check(!shm_name_owner("hf3fs-iov-9f7faec0-69d1-4d54-9296-764b69addbde", &owner));
	check(!shm_name_owner("hf3fs-iov-9f7faec0-69d1-8d54-9296-764b69addbd", &owner));
	check(!shm_name_owner("hf3fs-iov-", &owner));
}

/* A process that dies with a name: it goes with the next sweep, and the living one's stays. */
static void UB_47_names_of_dead_processes_are_removed(void)
{
	char ours[SHM_PATH_MAX], theirs[SHM_PATH_MAX];
	struct shared *slab = make(MIB);
	int pipe_fds[2], status;
	pid_t child;

	check_int(shared_name(slab, ours, &err), 0);
	check_int(pipe(pipe_fds), 0);
	child = fork();
	if (child == 0) {
		struct shared *other = make(MIB);

		if (shared_name(other, theirs, &err) == 0 &&
		    write(pipe_fds[1], theirs, sizeof(theirs)) == sizeof(theirs))
			raise(SIGKILL);
		_exit(1);
	}
	check_int(read(pipe_fds[0], theirs, sizeof(theirs)), sizeof(theirs));
	check_int(waitpid(child, &status, 0), child);
	check(WIFSIGNALED(status));
	check_int(access(theirs, F_OK), 0);
	check(shm_names_sweep(sys_real()) >= 1);
	check_int(access(theirs, F_OK), -1);
	check_int(access(ours, F_OK), 0);
	shared_destroy(slab);
	check_int(access(ours, F_OK), -1);
}

static void UB_47_killed_without_a_name_leaves_nothing(void)
{
	unsigned long long before, after;
	struct statfs fs;
	int status;
	pid_t child;

	check_int(statfs(SHM_DIR, &fs), 0);
	before = fs.f_bfree;
	child = fork();
	if (child == 0) {
		struct shared *slab = make(64 * MIB);

		if (shared_allocate(slab, slab->at, 64 * MIB) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	check_int(waitpid(child, &status, 0), child);
	check(WIFSIGNALED(status));
	check_int(statfs(SHM_DIR, &fs), 0);
	after = fs.f_bfree;
	check(after + 32 * MIB / (unsigned long long)fs.f_bsize > before);
}

/* ---- The pool ---- */

static void the_pool_finds_the_slab_of_a_range(void)
{
	struct pool_opts opts = {.sys = sys_real(), .keep_bytes = UINT64_MAX, .shared = true};
	struct pool *pool;
	struct shared *slab;
	void *at;
	bool fresh;
	char here;

	check_int(pool_create(&opts, &pool, &err), 0);
	check(!pool_slab(pool, &here, 1));
	check_int(pool_take(pool, 5 * MIB, 4096, 0, &at, &fresh, &err), 0);
	slab = pool_slab(pool, at, 5 * MIB);
	check(slab != NULL);
	check((char *)at >= slab->at && (char *)at + 5 * MIB <= slab->at + slab->bytes);
	check(!pool_slab(pool, at, slab->bytes + 1));
	check_int(pool_populate(pool, at, 5 * MIB, &err), 0);
	pattern_fill(at, 9, 0, 5 * MIB);
	check_int(pattern_check(at, 9, 0, 5 * MIB), 5 * MIB);
	pool_drop(pool, at, 5 * MIB);
	pool_unref(pool);
}

static struct {
	unsigned calls;
	const char *at;
	size_t bytes;
	unsigned long first;
} bound;

static int note_bind(void *at, size_t len, int mode, const unsigned long *nodes, unsigned long bits,
		     unsigned flags)
{
	(void)mode;
	(void)bits;
	(void)flags;
	bound.calls++;
	bound.at = at;
	bound.bytes = len;
	bound.first = nodes[0];
	return 0;
}

/* All of it, before a page of it exists. */
static void a_slab_lies_on_the_node_that_is_wished_for(void)
{
	struct sys sys = *sys_real();
	struct pool_opts opts = {.sys = &sys, .shared = true, .node = {NODE_WISH_ONE, 2}};
	struct shared *slab;
	struct pool *pool;
	bool fresh;
	void *at;

	sys.mbind = note_bind;
	check_int(pool_create(&opts, &pool, &err), 0);
	check_int(pool_take(pool, 5 * MIB, 4096, 0, &at, &fresh, &err), 0);
	slab = pool_slab(pool, at, 5 * MIB);
	check_int(bound.calls, 1);
	check(bound.at == slab->at);
	check_int(bound.bytes, slab->bytes);
	check_int(bound.first, 1 << 2);
	pool_drop(pool, at, 5 * MIB);
	pool_unref(pool);
}

/* What is trimmed goes out of the object, not only out of our map. */
static void trimmed_memory_is_given_back(void)
{
	struct pool_opts opts = {.sys = sys_real(), .keep_bytes = UINT64_MAX, .shared = true};
	void *at, *other;
	struct pool *pool;
	struct stat st;
	bool fresh;
	int fd;

	check_int(pool_create(&opts, &pool, &err), 0);
	check_int(pool_take(pool, 8 * MIB, 4096, 0, &at, &fresh, &err), 0);
	check_int(pool_take(pool, 2 * MIB, 4096, 0, &other, &fresh, &err), 0);
	check_int(pool_populate(pool, at, 8 * MIB, &err), 0);
	fd = pool_slab(pool, at, 1)->fd;
	check_int(fstat(fd, &st), 0);
	check(st.st_blocks * 512 >= (off_t)(8 * MIB));
	pool_drop(pool, at, 8 * MIB);
	check(pool_trim(pool) >= 8 * MIB);
	check_int(fstat(fd, &st), 0);
	check(st.st_blocks * 512 < (off_t)MIB);
	pool_drop(pool, other, 2 * MIB);
	pool_unref(pool);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(another_mapping_sees_the_same_bytes),
		TEST(a_name_is_given_once),
		TEST(UB_50_too_little_room_is_said_with_both_numbers),
		TEST(UB_50_a_full_file_system_is_an_error_and_no_signal),
		TEST(importers_let_go_in_order_before_unmapping),
		TEST(a_name_tells_its_owner),
		TEST(UB_47_names_of_dead_processes_are_removed),
		TEST(UB_47_killed_without_a_name_leaves_nothing),
		TEST(the_pool_finds_the_slab_of_a_range),
		TEST(a_slab_lies_on_the_node_that_is_wished_for),
		TEST(trimmed_memory_is_given_back),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
