/* SPDX-License-Identifier: Apache-2.0 */
#include "slow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/pattern.h"
#include "rig.h"

#define FILE_NODE 2
#define HELD_MAX  64
#define REQUEST   (FUSE_MIN_READ_BUFFER + (128 << 10))

struct held {
	uint64_t unique, offset;
	uint32_t size;
};

struct server {
	int fd;
	struct slow_shared *shared;
	struct held held[HELD_MAX];
	int count;
};

/* ---- The process that answers ---- */

static void reply(const struct server *server, uint64_t unique, int error, const void *data,
		  size_t bytes)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + bytes), .error = error, .unique = unique};
	struct iovec parts[2] = {{&out, sizeof(out)}, {(void *)(uintptr_t)data, bytes}};

	if (writev(server->fd, parts, bytes ? 2 : 1) < 0 && errno != ENOENT)
		_exit(1);
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){.ino = node,
				  .size = node == FILE_NODE ? SLOW_BYTES : 0,
				  .mode = node == FILE_NODE ? S_IFREG | 0666 : S_IFDIR | 0755,
				  .nlink = 1,
				  .blksize = 4096};
}

static void answer_read(const struct server *server, const struct held *read)
{
	static char data[128 << 10];
	uint64_t left = read->offset < SLOW_BYTES ? SLOW_BYTES - read->offset : 0;
	size_t size = read->size < left ? read->size : (size_t)left;

	pattern_fill(data, SLOW_SEED, read->offset, size);
	reply(server, read->unique, 0, data, size);
}

static void hold_read(struct server *server, uint64_t unique, const struct fuse_read_in *in)
{
	struct held read = {unique, in->offset, in->size};

	if (!atomic_load(&server->shared->hold) || server->count == HELD_MAX) {
		answer_read(server, &read);
		return;
	}
	server->held[server->count++] = read;
	atomic_store(&server->shared->held, server->count);
}

static void spare_one(struct server *server)
{
	struct held read;

	if (server->count == 0 || atomic_load(&server->shared->spare) == 0)
		return;
	read = server->held[0];
	server->count--;
	memmove(server->held, server->held + 1, (size_t)server->count * sizeof(server->held[0]));
	atomic_store(&server->shared->held, server->count);
	/* Before the answer, which the next one may be asked for after. */
	atomic_fetch_sub(&server->shared->spare, 1);
	answer_read(server, &read);
}

static void let_go(struct server *server)
{
	spare_one(server);
	if (atomic_load(&server->shared->hold))
		return;
	for (int i = 0; i < server->count; i++)
		answer_read(server, &server->held[i]);
	server->count = 0;
	atomic_store(&server->shared->held, 0);
}

static void answer(struct server *server, const struct fuse_in_header *in, const void *body)
{
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
				     .minor = 31,
				     .flags = FUSE_ASYNC_DIO, /* as libfuse has it */
				     .max_write = 128 << 10,
				     .max_background = HELD_MAX,
				     .congestion_threshold = HELD_MAX};
	struct fuse_entry_out entry = {.nodeid = FILE_NODE,
				       .entry_valid = 3600,
				       .attr_valid = 3600,
				       .attr = attributes(FILE_NODE)};
	struct fuse_attr_out attr = {.attr_valid = 3600, .attr = attributes(in->nodeid)};
	struct fuse_open_out opened = {
		.open_flags = atomic_load(&server->shared->cached) ? 0 : FOPEN_DIRECT_IO};

	switch (in->opcode) {
	case FUSE_INIT:
		reply(server, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		reply(server, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		reply(server, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		reply(server, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		hold_read(server, in->unique, body);
		break;
	case FUSE_RELEASE:
	case FUSE_FLUSH:
		reply(server, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(server, in->unique, -ENOSYS, NULL, 0);
	}
}

__attribute__((noreturn)) static void serve_reads(int fd, struct slow_shared *shared)
{
	static char request[REQUEST] __attribute__((aligned(8)));
	struct server server = {.fd = fd, .shared = shared};
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (poll(&wait, 1, 2) > 0) {
			ssize_t got = read(fd, request, sizeof(request));

			if (got < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
				_exit(0); /* unmounted */
			if (got > 0)
				answer(&server, (void *)request,
				       request + sizeof(struct fuse_in_header));
		}
		let_go(&server);
	}
}

/* ---- The test's side ---- */

void slow_make(struct slow *slow)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128], path[80];

	*slow = (struct slow){.dir = "/tmp/weir-slow-XXXXXX"};
	check(mkdtemp(slow->dir) != NULL);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", fd, (int)geteuid(),
		 (int)getegid());
	if (fd < 0 || mount("slow", slow->dir, "fuse", MS_NOSUID | MS_NODEV, options))
		skip("needs FUSE, and to be root");
	slow->shared = mmap(NULL, sizeof(*slow->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(slow->shared != MAP_FAILED);
	slow->pid = fork();
	if (slow->pid == 0)
		serve_reads(fd, slow->shared);
	close(fd);
	snprintf(path, sizeof(path), "%s/slow", slow->dir);
	slow->fd = open(path, O_RDWR | O_CLOEXEC);
	check(slow->fd >= 0);
}

void slow_end(struct slow *slow)
{
	close(slow->fd);
	check_int(umount2(slow->dir, MNT_DETACH), 0);
	kill(slow->pid, SIGKILL);
	waitpid(slow->pid, NULL, 0);
	rmdir(slow->dir);
	munmap(slow->shared, sizeof(*slow->shared));
}

bool slow_holds(const struct slow *slow, int count)
{
	for (int ms = 0; ms < 5000; ms++) {
		if (atomic_load(&slow->shared->held) >= count)
			return true;
		rig_rest(1000);
	}
	return false;
}
