/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring-client - a client of rings through a mount, put where the yardstick "ring" stands
 *
 *	ring-client -L LIBRARY -m MOUNT -S PID [-b BLOCK] [-q DEPTH] [-r] [FILE [OFFSET [LENGTH]]]
 *
 * The same blocks into shared memory, read from a file of MOUNT through the C interface of 3FS: LIBRARY is
 * weir's libhf3fs_api_shared.so or any other with that interface, so two can be compared.  The
 * processor time is that of this process and, as "server_cpu_seconds", that of the daemon PID.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hf3fs_usrbio.h>

#include "yard/blocks.h"

#define BATCH 64

struct library {
	__typeof__(&hf3fs_iovcreate) iovcreate;
	__typeof__(&hf3fs_iorcreate4) iorcreate;
	__typeof__(&hf3fs_iovdestroy) iovdestroy;
	__typeof__(&hf3fs_iordestroy) iordestroy;
	__typeof__(&hf3fs_reg_fd) reg_fd;
	__typeof__(&hf3fs_dereg_fd) dereg_fd;
	__typeof__(&hf3fs_prep_io) prep_io;
	__typeof__(&hf3fs_submit_ios) submit_ios;
	__typeof__(&hf3fs_wait_for_ios) wait_for_ios;
};

static struct client {
	struct blocks blocks;
	struct library calls;
	const char *path, *mount;
	long pid;
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
	char extra[64];
} client;

static int other_option(int option)
{
	switch (option) {
	case 'L':
		client.path = optarg;
		return 0;
	case 'm':
		client.mount = optarg;
		return 0;
	case 'S':
		client.pid = atol(optarg);
		return 0;
	}
	return -1;
}

static int find(void *library, const char *name, void *out)
{
	void *found = dlsym(library, name);

	memcpy(out, &found, sizeof(found)); /* a function's address */
	return found ? 0 : yard_fail("%s: no %s", client.path, name);
}

static int load(void)
{
	void *library = dlopen(client.path, RTLD_NOW | RTLD_LOCAL);
	struct library *calls = &client.calls;

	if (!library)
		return yard_fail("%s", dlerror());
	return find(library, "hf3fs_iovcreate", &calls->iovcreate) < 0 ||
			       find(library, "hf3fs_iorcreate4", &calls->iorcreate) < 0 ||
			       find(library, "hf3fs_iovdestroy", &calls->iovdestroy) < 0 ||
			       find(library, "hf3fs_iordestroy", &calls->iordestroy) < 0 ||
			       find(library, "hf3fs_reg_fd", &calls->reg_fd) < 0 ||
			       find(library, "hf3fs_dereg_fd", &calls->dereg_fd) < 0 ||
			       find(library, "hf3fs_prep_io", &calls->prep_io) < 0 ||
			       find(library, "hf3fs_submit_ios", &calls->submit_ios) < 0 ||
			       find(library, "hf3fs_wait_for_ios", &calls->wait_for_ios) < 0
		       ? -1
		       : 0;
}

static int set_up(void)
{
	struct blocks *blocks = &client.blocks;
	int ret = client.calls.iovcreate(&client.iov, client.mount, blocks->depth * blocks->block,
					 0, -1);

	if (ret == 0)
		ret = client.calls.iorcreate(&client.ior, client.mount, (int)blocks->depth, true, 0,
					     0, -1, 0);
	errno = -ret;
	if (ret)
		return yard_fail("%s: registering", client.mount);
	memset(client.iov.base, 1, client.iov.size);
	return 0;
}

/* Nanoseconds on processors that all threads of the daemon had, as its scheduler counts. */
static double server_seconds(void)
{
	char path[320], line[64];
	struct dirent *entry;
	double sum = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%ld/task", client.pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", client.pid,
			 entry->d_name);
		file = fopen(path, "r");
		if (file && fgets(line, sizeof(line), file))
			sum += strtod(line, NULL) / 1e9;
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return sum;
}

static int prepare(const struct yard_job *job, int fd, uintptr_t slot)
{
	struct blocks *blocks = &client.blocks;
	uint64_t offset;

	if (!blocks_next(blocks, job, &offset))
		return 0;
	return client.calls.prep_io(&client.ior, &client.iov, true,
				    client.iov.base + slot * blocks->block, fd, offset,
				    blocks->block, (const void *)slot) < 0
		       ? yard_fail("%s: preparing", job->path)
		       : 1;
}

static int read_all(const struct yard_job *job, int fd, struct yard_window *window)
{
	struct hf3fs_cqe cqes[BATCH];
	int flying = 0;

	for (uintptr_t slot = 0; slot < client.blocks.depth; slot++)
		flying += prepare(job, fd, slot);
	client.calls.submit_ios(&client.ior);
	while (flying > 0) {
		int n = client.calls.wait_for_ios(&client.ior, cqes, BATCH, 1, NULL);

		for (int i = 0; i < n; i++) {
			if (cqes[i].result != (int64_t)client.blocks.block)
				return yard_fail("%s: a read gave %lld", job->path,
						 (long long)cqes[i].result);
			window->bytes += client.blocks.block;
			window->requests++;
			flying -= !prepare(job, fd, (uintptr_t)cqes[i].userdata);
		}
		if (n < 0)
			return yard_fail("%s: waiting", job->path);
		client.calls.submit_ios(&client.ior);
	}
	return 0;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	double before = server_seconds();
	int fd, ret;

	(void)arg;
	blocks_start(&client.blocks, job);
	yard_begin(window);
	fd = open(job->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || client.calls.reg_fd(fd, 0) > 0)
		return yard_fail("%s", job->path);
	ret = read_all(job, fd, window);
	client.calls.dereg_fd(fd);
	close(fd);
	yard_end(window);
	snprintf(client.extra, sizeof(client.extra), "\"server_cpu_seconds\": %.6f",
		 server_seconds() - before);
	window->extra = client.extra;
	return ret;
}

int main(int argc, char **argv)
{
	int ret;

	client.blocks.extra = "L:m:S:";
	if (blocks_options(&client.blocks, argc, argv, other_option) < 0 || !client.path ||
	    !client.mount)
		return 2;
	if (load() < 0 || set_up() < 0)
		return 1;
	ret = yard_serve(argc - optind, argv + optind, run, NULL);
	client.calls.iordestroy(&client.ior);
	client.calls.iovdestroy(&client.iov);
	return ret;
}
