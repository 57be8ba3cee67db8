/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an io takes of its process: pinned memory, descriptors, and what a forked child has of it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io_rig.h"

/* ---- Registered memory ---- */

BOTH(registered_memory_reads_the_same)
{
	size_t bytes = 4u << 20;
	unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io *io = io_made(make, sys_real(), 4);
	struct io_op ops[4];
	int fd = file_made();

	io->ops->register_memory(io, memory + 4096, bytes - 8192);
	ops[0] = read_op(fd, memory + 5000, 3000, 200000);
	ops[1] = read_op(fd, memory + bytes - 4106, 5000, 10);
	ops[2] = read_op(fd, memory + bytes - 5000, 6000, 5000); /* out over its end */
	ops[3] = read_op(fd, memory + 4000, 7000, 5000);         /* in from before it */
	for (unsigned i = 0; i < 4; i++) {
		check_int(io->ops->push(io, &ops[i]), 0);
		check_int(reap_one(io)->result, ops[i].length);
		check_bytes(ops[i].memory, ops[i].offset, ops[i].length);
	}
	check_int(io->ops->destroy(io), 0);
	munmap(memory, bytes);
}

/* What is more than may be locked goes unregistered, and works. */
BOTH(PR_10_ST_22_little_lockable_memory)
{
	struct rlimit limit = {64 << 10, 64 << 10};
	size_t bytes = 4u << 20;
	unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_op op;
	struct io *io;

	check_int(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (getuid() == 0) /* who is exempt; and users share a limit, so a new one */
		check_int(setuid(200000 + (uid_t)getpid()), 0);
	io = io_made(make, sys_real(), 4);
	io->ops->register_memory(io, memory, bytes);
	op = read_op(file_made(), memory, 0, 100000);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 100000);
	check_bytes(memory, 0, 100000);
	check_int(io->ops->destroy(io), 0);
	munmap(memory, bytes);
}

/* ---- Processes ---- */

static bool has_ring_memory(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	while (maps && fgets(line, sizeof(line), maps))
		found |= strstr(line, "io_uring") != NULL;
	if (maps)
		fclose(maps);
	return found;
}

BOTH(PR_13_a_forked_child_only_frees)
{
	struct io *io = io_made(make, sys_real(), 4);
	unsigned char memory[100];
	struct io_op op = read_op(file_made(), memory, 0, 100);
	int status;
	pid_t pid;

	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 100);
	check_int(io->ops->push(io, &op), 0);
	check_int(has_ring_memory(), make == make_ring);
	pid = fork();
	if (pid == 0)
		_exit(has_ring_memory() || io->ops->destroy(io) != 0);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	check_int(reap_one(io)->result, 100);
	check_bytes(memory, 0, 100);
	check_int(io->ops->destroy(io), 0);
}

static unsigned count_fds(int from, int *not_cloexec)
{
	unsigned count = 0;

	for (int fd = from; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		count += flags >= 0;
		if (flags >= 0 && !(flags & FD_CLOEXEC) && not_cloexec)
			(*not_cloexec)++;
	}
	return count;
}

/* With 0, 1 and 2 closed nothing of ours takes their places; all is closed by exec, and at the end. */
BOTH(PR_11_PR_14_descriptors)
{
	unsigned before = count_fds(3, NULL);
	int not_cloexec = 0, inherited = 0;
	struct io_op *out;
	struct io *io;

	count_fds(3, &inherited);
	close(0);
	close(1);
	close(2);
	io = io_made(make, sys_real(), 4);
	check_int(io->ops->reap(io, &out, 1, 0), 0);
	check_int(fcntl(0, F_GETFD), -1);
	check_int(fcntl(1, F_GETFD), -1);
	check_int(fcntl(2, F_GETFD), -1);
	count_fds(3, &not_cloexec);
	check_int(not_cloexec, inherited);
	check_int(io->ops->destroy(io), 0);
	check_int(count_fds(0, NULL), before);
}

BOTH(PR_11_no_descriptor_left)
{
	struct rlimit limit = {16, 16};
	struct io *io = NULL;
	int ret;

	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int fd = 3; fd < 16; fd++)
		dup2(0, fd);
	ret = make(sys_real(), 4, &io);
	for (int fd = 3; fd < 16; fd++)
		close(fd); /* what looks for leaks needs some */
	if (make == make_threads)
		check_int(io->ops->destroy(io), 0);
	else
		check_int(ret, WEIR_IO);
}

static void depths_that_make_no_sense(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct io *io;

	check_int(io_ring_create(sys_real(), 0, &io, &err), WEIR_ARG);
	check_int(io_threads_create(sys_real(), 0, 1, &io, &err), WEIR_ARG);
	check_int(io_threads_create(sys_real(), 1, 0, &io, &err), WEIR_ARG);
	check_int(io_ring_create(sys_real(), UINT32_MAX, &io, &err), WEIR_ARG);
	check_has(err.message, "4294967295");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST_BOTH(registered_memory_reads_the_same),
		TEST_BOTH(PR_10_ST_22_little_lockable_memory),
		TEST_BOTH(PR_13_a_forked_child_only_frees),
		TEST_BOTH(PR_11_PR_14_descriptors),
		TEST_BOTH(PR_11_no_descriptor_left),
		TEST(depths_that_make_no_sense),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
