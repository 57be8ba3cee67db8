/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/fuse_init.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/ioctl.h>

/* The newest protocol whose answers we give. */
#define MINOR 40

#define BIT(n) (UINT64_C(1) << (n))

/* Flags by the numbers of the wire. */
enum {
	ASYNC_READ = 0, /* several READs of a file at once */
	BIG_WRITES = 5, /* above 4 KiB */
	DONT_MASK = 6, /* umasks come along: a directory's default access list is instead of them */
	HAS_IOCTL_DIR = 11,    /* ioctls on directories: clients ask 3fs-virt itself */
	AUTO_INVAL_DATA = 12,  /* a directory lives: new size or time, new pages */
	READDIRPLUS = 13,      /* listing with attributes */
	READDIRPLUS_AUTO = 14, /* where somebody uses them */
	ASYNC_DIO = 15,        /* direct I/O in parallel pieces */
	PARALLEL_DIROPS = 18,  /* lookups in a directory side by side */
	POSIX_ACL = 20,        /* stat's group bits are a list's mask: modes alone allow too much */
	MAX_PAGES = 22,        /* the answer has a number of pages for a request */
	CACHE_SYMLINKS = 23,   /* a link's text never changes: another text is another inode */
	INIT_EXT = 30,         /* flags above 31 */
	DIRECT_IO_ALLOW_MMAP = 36,
	PASSTHROUGH = 37,
	NO_EXPORT_SUPPORT = 38, /* no "." and ".." from file handles */
	REQUEST_TIMEOUT = 42,   /* the net behind the watchdog */
};

/*
 * Left out on purpose: ATOMIC_O_TRUNC (the kernel truncates by SETATTR, which a file opened by
 * passthrough needs), WRITEBACK_CACHE (it reorders), POSIX_LOCKS and FLOCK_LOCKS (the kernel keeps
 * locks of one mount by itself), HANDLE_KILLPRIV (it takes the set-uid bits away itself, by
 * SETATTR), the splicing ones (replies come from memory), EXPORT_SUPPORT.
 */
static uint64_t choose(const struct fuse_init_wish *wish, uint64_t offered)
{
	uint64_t flags = BIT(ASYNC_READ) | BIT(BIG_WRITES) | BIT(HAS_IOCTL_DIR) |
			 BIT(AUTO_INVAL_DATA) | BIT(READDIRPLUS) | BIT(READDIRPLUS_AUTO) |
			 BIT(ASYNC_DIO) | BIT(PARALLEL_DIROPS) | BIT(MAX_PAGES) |
			 BIT(CACHE_SYMLINKS);

	if (wish->access_lists)
		flags |= BIT(POSIX_ACL) | BIT(DONT_MASK);
	if (offered & BIT(INIT_EXT)) {
		flags |= BIT(INIT_EXT) | BIT(NO_EXPORT_SUPPORT);
		if (wish->direct_io)
			flags |= BIT(DIRECT_IO_ALLOW_MMAP);
		if (wish->passthrough)
			flags |= BIT(PASSTHROUGH);
		if (wish->timeout_seconds)
			flags |= BIT(REQUEST_TIMEOUT);
	}
	return flags & offered;
}

/* ---- What is written ---- */

/* The answer to INIT as of 7.43; older kernels see the new words as unused ones. */
struct init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
	uint16_t request_timeout, unused[11];
};
static_assert(sizeof(struct init_out) == 64 && sizeof(struct fuse_init_out) == 64,
	      "7.23 and later");
static_assert(offsetof(struct init_out, max_pages) == 28, "as the kernel has it");
static_assert(offsetof(struct init_out, flags2) == 32, "as the kernel has it");
static_assert(offsetof(struct init_out, max_stack_depth) == 36, "as the kernel has it");
static_assert(offsetof(struct init_out, request_timeout) == 40, "as the kernel has it");

/* An open reply whose padding word is the backing id. */
static_assert(sizeof(struct fuse_open_out) == 16, "fh, flags, padding");
static_assert(offsetof(struct fuse_open_out, open_flags) == 8, "as the kernel has it");
static_assert(sizeof(struct fuse_entry_out) == 128, "CREATE: an entry, then an open reply");
static_assert(FUSE_INIT_OPEN_MAX == sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
	      "the longer of the two");

/* FUSE_DEV_IOC_BACKING_OPEN and _CLOSE. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
static_assert(sizeof(struct backing_map) == 16, "as the kernel has it");
#define BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

bool fuse_init_note(struct fuse_init *init, const void *request, size_t bytes)
{
	struct fuse_in_header header;
	struct fuse_init_in in = {0};
	size_t body;

	if (bytes < sizeof(header))
		return false;
	memcpy(&header, request, sizeof(header));
	body = bytes - sizeof(header);
	/* Before 7.36 four words; flags2 is only there with INIT_EXT. */
	if (header.opcode != FUSE_INIT || body < offsetof(struct fuse_init_in, flags2))
		return false;
	memcpy(&in, (const char *)request + sizeof(header), body < sizeof(in) ? body : sizeof(in));
	init->asked = true;
	init->unique = header.unique;
	init->minor = in.minor;
	init->offered = in.flags;
	if (in.flags & BIT(INIT_EXT))
		init->offered |= (uint64_t)in.flags2 << 32;
	return true;
}

bool fuse_init_answer(struct fuse_init *init, void *reply, size_t bytes)
{
	struct init_out out;
	uint64_t flags;

	if (!init->asked || init->answered || bytes != sizeof(out))
		return false;
	memcpy(&out, reply, sizeof(out));
	if (out.major != FUSE_KERNEL_VERSION)
		return false;
	flags = choose(&init->wish, init->offered);
	out.minor = init->minor < MINOR ? init->minor : MINOR;
	out.flags = (uint32_t)flags;
	out.flags2 = (uint32_t)(flags >> 32);
	out.max_pages = flags & BIT(MAX_PAGES) ? (uint16_t)(out.max_write / 4096) : 0;
	out.max_stack_depth = flags & BIT(PASSTHROUGH) ? 1 : 0;
	if (flags & BIT(REQUEST_TIMEOUT))
		out.request_timeout = init->wish.timeout_seconds < UINT16_MAX
					      ? (uint16_t)init->wish.timeout_seconds
					      : UINT16_MAX;
	memcpy(reply, &out, sizeof(out));
	init->answered = true;
	init->flags = flags;
	init->passthrough = flags & BIT(PASSTHROUGH);
	init->direct_mmap = flags & BIT(DIRECT_IO_ALLOW_MMAP);
	return true;
}

bool fuse_init_back_open(const struct iovec *arg, int32_t backing_id, void *reply)
{
	struct fuse_open_out out;
	size_t at;

	if (arg->iov_len == sizeof(out))
		at = 0;
	else if (arg->iov_len == FUSE_INIT_OPEN_MAX)
		at = sizeof(struct fuse_entry_out);
	else
		return false;
	memcpy(reply, arg->iov_base, arg->iov_len);
	memcpy(&out, (char *)reply + at, sizeof(out));
	out.open_flags |= FUSE_INIT_PASSTHROUGH;
	memcpy(&out.padding, &backing_id, sizeof(out.padding));
	memcpy((char *)reply + at, &out, sizeof(out));
	return true;
}

int fuse_init_backing_open(int fuse_fd, int fd)
{
	struct backing_map map = {.fd = fd};
	int id = ioctl(fuse_fd, BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

void fuse_init_backing_close(int fuse_fd, int32_t backing_id)
{
	uint32_t id = (uint32_t)backing_id;

	/* It can only fail where the connection is gone, and the table with it. */
	(void)ioctl(fuse_fd, BACKING_CLOSE, &id);
}
