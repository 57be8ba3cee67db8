/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse - blocks of a file through a plain FUSE server, both ends
 *
 *	fuse [-b BLOCK] [-q READERS] [-t SERVERS] FILE COUNT
 *
 * What a ring server is held against where there are no rings: a server on the raw device, without any
 * library, that answers reads of one file past the page cache on both sides, and a client process that
 * reads COUNT blocks of it (from its start again, where it ends) with so many threads.  Needs the
 * right to mount.  Prints a line of JSON; the processor time is that of both processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "yard.h"

#define BLOCK_MAX   ((size_t)1 << 20)
#define THREADS_MAX 64
#define FILE_NODE   2
#define VALID       1000000u /* seconds: names and sizes do not change */

static struct {
	const char *path;
	char dir[64];
	uint64_t block, count, size;
	unsigned readers, servers;
	int device, file;
	_Atomic uint64_t next;
	_Atomic int failed;
} all = {.block = 1 << 20, .readers = 16, .servers = 2};

/* ---- The server ---- */

struct answer {
	struct fuse_out_header head;
	union {
		struct fuse_init_out init;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		struct fuse_statfs_out statfs;
	} body;
};

static void fill_attr(struct fuse_attr *attr, uint64_t node)
{
	*attr = (struct fuse_attr){.ino = node, .nlink = 1, .blksize = 4096};
	attr->mode = node == FILE_NODE ? S_IFREG | 0444 : S_IFDIR | 0555;
	attr->size = node == FILE_NODE ? all.size : 0;
}

static size_t answer_init(struct answer *answer, const struct fuse_init_in *in)
{
	answer->body.init = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION < in->minor ? FUSE_KERNEL_MINOR_VERSION
							       : in->minor,
		.flags = in->flags &
			 (FUSE_ASYNC_READ | FUSE_MAX_PAGES | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS),
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = BLOCK_MAX,
		.max_pages = BLOCK_MAX / 4096,
		.time_gran = 1,
	};
	return sizeof(answer->body.init);
}

/* Everything but READ: the size of the body, or a negative errno. */
static int64_t answer_small(struct answer *answer, const struct fuse_in_header *head)
{
	memset(&answer->body, 0, sizeof(answer->body));
	switch (head->opcode) {
	case FUSE_INIT:
		return (int64_t)answer_init(answer, (const void *)(head + 1));
	case FUSE_LOOKUP:
		if (strcmp((const char *)(head + 1), "file") != 0)
			return -ENOENT;
		answer->body.entry = (struct fuse_entry_out){
			.nodeid = FILE_NODE, .entry_valid = VALID, .attr_valid = VALID};
		fill_attr(&answer->body.entry.attr, FILE_NODE);
		return sizeof(answer->body.entry);
	case FUSE_GETATTR:
		answer->body.attr.attr_valid = VALID;
		fill_attr(&answer->body.attr.attr, head->nodeid);
		return sizeof(answer->body.attr);
	case FUSE_OPEN:
		answer->body.open.open_flags = FOPEN_DIRECT_IO;
		return sizeof(answer->body.open);
	case FUSE_STATFS:
		return sizeof(answer->body.statfs);
	case FUSE_RELEASE:
	case FUSE_FLUSH:
		return 0;
	default:
		return -ENOSYS;
	}
}

static void answer_read(const struct fuse_in_header *head, char *data)
{
	const struct fuse_read_in *in = (const void *)(head + 1);
	size_t size = in->size < BLOCK_MAX ? in->size : BLOCK_MAX;
	ssize_t got = pread(all.file, data, size, (off_t)in->offset);
	struct fuse_out_header out = {.unique = head->unique, .len = sizeof(out)};
	struct iovec parts[2] = {{&out, sizeof(out)}, {data, got > 0 ? (size_t)got : 0}};

	if (got < 0)
		out.error = -errno;
	else
		out.len += (uint32_t)got;
	if (writev(all.device, parts, got > 0 ? 2 : 1) < 0 && errno != ENOENT)
		atomic_store(&all.failed, errno);
}

static void answer_one(const struct fuse_in_header *head, char *data)
{
	struct answer answer;
	int64_t size;

	if (head->opcode == FUSE_FORGET || head->opcode == FUSE_BATCH_FORGET ||
	    head->opcode == FUSE_INTERRUPT)
		return;
	if (head->opcode == FUSE_READ) {
		answer_read(head, data);
		return;
	}
	size = answer_small(&answer, head);
	answer.head = (struct fuse_out_header){
		.unique = head->unique,
		.error = size < 0 ? (int)size : 0,
		.len = (uint32_t)(sizeof(answer.head) + (size > 0 ? (size_t)size : 0)),
	};
	if (write(all.device, &answer, answer.head.len) < 0 && errno != ENOENT)
		atomic_store(&all.failed, errno);
}

static void *serve(void *arg)
{
	char *request = aligned_alloc(4096, BLOCK_MAX + 65536),
	     *data = aligned_alloc(4096, BLOCK_MAX);

	(void)arg;
	while (request && data) {
		ssize_t got = read(all.device, request, BLOCK_MAX + 65536);

		if (got >= (ssize_t)sizeof(struct fuse_in_header))
			answer_one((const void *)request, data);
		else if (got < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
			break; /* unmounted */
	}
	free(request);
	free(data);
	return NULL;
}

static int run_threads(unsigned count, void *(*run)(void *))
{
	pthread_t threads[THREADS_MAX];
	unsigned started = 0;

	while (started < count && pthread_create(&threads[started], NULL, run, NULL) == 0)
		started++;
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	return started == count ? 0 : yard_fail("threads");
}

/* ---- The client ---- */

static void *read_blocks(void *arg)
{
	char path[80], *data = aligned_alloc(4096, all.block);
	uint64_t blocks = all.size / all.block, at;
	int fd;

	(void)arg;
	snprintf(path, sizeof(path), "%s/file", all.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && data && (at = atomic_fetch_add(&all.next, 1)) < all.count)
		if (pread(fd, data, all.block, (off_t)(at % blocks * all.block)) !=
		    (ssize_t)all.block)
			atomic_store(&all.failed, errno ? errno : EIO);
	if (fd < 0 || !data)
		atomic_store(&all.failed, errno);
	else
		close(fd);
	free(data);
	return NULL;
}

/* ---- Both ---- */

static int mount_it(void)
{
	char options[128];

	strcpy(all.dir, "/tmp/yard-fuse-XXXXXX");
	all.device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (all.device < 0 || !mkdtemp(all.dir))
		return yard_fail("/dev/fuse");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%zu", all.device,
		 (int)geteuid(), (int)getegid(), BLOCK_MAX);
	return mount("yard", all.dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0
		       ? yard_fail("mounting")
		       : 0;
}

static int open_file(void)
{
	struct stat st;

	all.file = open(all.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (all.file < 0 || fstat(all.file, &st) < 0)
		return yard_fail("%s", all.path);
	all.size = (uint64_t)st.st_size;
	return all.size < all.block ? yard_fail("%s: too short", all.path) : 0;
}

static int measure(void)
{
	struct yard_window window = {.bytes = all.count * all.block, .requests = all.count};
	struct rusage server;
	pid_t child = fork();
	char extra[64];
	int ret;

	if (child == 0) {
		run_threads(all.servers, serve);
		_exit(0);
	}
	close(all.device);
	yard_begin(&window);
	ret = run_threads(all.readers, read_blocks);
	yard_end(&window);
	umount2(all.dir, MNT_DETACH);
	rmdir(all.dir);
	wait4(child, NULL, 0, &server);
	snprintf(extra, sizeof(extra), "\"server_cpu_seconds\": %.6f",
		 (double)(server.ru_utime.tv_sec + server.ru_stime.tv_sec) +
			 (double)(server.ru_utime.tv_usec + server.ru_stime.tv_usec) / 1e6);
	window.extra = extra;
	yard_print(stdout, &window);
	errno = all.failed;
	return ret < 0 || all.failed ? yard_fail("reading") : 0;
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "b:q:t:")) != -1) {
		if (option == 'b')
			all.block = yard_size(optarg);
		else if (option == 'q')
			all.readers = (unsigned)atoi(optarg);
		else if (option == 't')
			all.servers = (unsigned)atoi(optarg);
		else
			return 2;
	}
	if (argc - optind != 2 || all.readers < 1 || all.readers > THREADS_MAX || all.servers < 1 ||
	    all.servers > THREADS_MAX || all.block > BLOCK_MAX || all.block < 4096)
		return 2;
	all.path = argv[optind];
	all.count = strtoull(argv[optind + 1], NULL, 0);
	if (open_file() < 0 || mount_it() < 0)
		return 1;
	return measure() < 0;
}
