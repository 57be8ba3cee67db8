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
	uint32_t size, opcode;
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

static void answer_open(const struct server *server, uint64_t unique)
{
	struct fuse_open_out opened = {
		.open_flags = atomic_load(&server->shared->cached) ? 0 : FOPEN_DIRECT_IO};

	reply(server, unique, 0, &opened, sizeof(opened));
}

static void answer_held(const struct server *server, const struct held *held)
{
	struct fuse_lseek_out data = {.offset = held->offset};

	if (held->opcode == FUSE_READ)
		answer_read(server, held);
	else if (held->opcode == FUSE_OPEN)
		answer_open(server, held->unique);
	else if (held->opcode == FUSE_LSEEK)
		reply(server, held->unique, 0, &data, sizeof(data));
	else
		reply(server, held->unique, 0, NULL, 0);
}

static void hold(struct server *server, const struct held *request)
{
	static const uint32_t whats[] = {[SLOW_READS] = FUSE_READ,
					 [SLOW_OPENS] = FUSE_OPEN,
					 [SLOW_CLOSES] = FUSE_FLUSH,
					 [SLOW_HOLES] = FUSE_LSEEK};

	if (!atomic_load(&server->shared->hold) || server->count == HELD_MAX ||
	    whats[atomic_load(&server->shared->what)] != request->opcode) {
		answer_held(server, request);
		return;
	}
	server->held[server->count++] = *request;
	atomic_store(&server->shared->held, server->count);
}

/* A hole begins where the file ends. */
static void hold_lseek(struct server *server, uint64_t unique, const struct fuse_lseek_in *in)
{
	hold(server, &(struct held){.unique = unique,
				    .opcode = FUSE_LSEEK,
				    .offset = in->whence == SEEK_HOLE ? SLOW_BYTES : in->offset});
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
	answer_held(server, &read);
}

/* Only for what a process waits for itself, so that it can be killed. */
static void interrupt(struct server *server, const struct fuse_interrupt_in *in)
{
	for (int i = 0; i < server->count; i++) {
		struct held held = server->held[i];

		if (held.unique != in->unique || held.opcode == FUSE_READ)
			continue;
		server->held[i] = server->held[--server->count];
		atomic_store(&server->shared->held, server->count);
		reply(server, held.unique, -EINTR, NULL, 0);
		return;
	}
}

static void let_go(struct server *server)
{
	spare_one(server);
	if (atomic_load(&server->shared->hold))
		return;
	for (int i = 0; i < server->count; i++)
		answer_held(server, &server->held[i]);
	server->count = 0;
	atomic_store(&server->shared->held, 0);
}

static void answer(struct server *server, const struct fuse_in_header *in, const void *body)
{
	const struct fuse_read_in *read = body;
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
	case FUSE_READ:
		hold(server, &(struct held){.unique = in->unique,
					    .opcode = FUSE_READ,
					    .offset = read->offset,
					    .size = read->size});
		break;
	case FUSE_OPEN:
	case FUSE_FLUSH:
		hold(server, &(struct held){.unique = in->unique, .opcode = in->opcode});
		break;
	case FUSE_LSEEK:
		hold_lseek(server, in->unique, body);
		break;
	case FUSE_RELEASE:
		reply(server, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	case FUSE_INTERRUPT:
		interrupt(server, body);
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
	if (fd < 0 || mount("slow", slow->dir, "fuse", MS_NOSUID | MS_NODEV, options)) {
		rmdir(slow->dir);
		skip("needs FUSE, and to be root");
	}
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
