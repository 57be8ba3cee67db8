/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hf3fs_usrbio.h - ring I/O on 3FS: the C interface that 3FS's clients are written for, as weir serves it
 *
 * Programs that were built for the vendor's libhf3fs_api_shared.so run on weir's: same names, same
 * structures, same results.  A read goes like this:
 *
 *	struct hf3fs_iov iov;	memory that the daemon reads into: shared, registered once
 *	struct hf3fs_ior ior;	a ring: what is to be read, and what has been
 *
 *	hf3fs_iovcreate(&iov, "/3fs", 16 << 20, 0, -1);
 *	hf3fs_iorcreate4(&ior, "/3fs", 64, true, 0, 0, -1, 0);
 *	hf3fs_reg_fd(fd, 0);
 *	hf3fs_prep_io(&ior, &iov, true, iov.base, fd, offset, length, userdata);
 *	hf3fs_submit_ios(&ior);
 *	n = hf3fs_wait_for_ios(&ior, cqes, 64, 1, NULL);
 *
 * Unless said otherwise a function returns 0, or a negative errno.  One thread at a time prepares and
 * submits on a ring, and one at a time waits on it; the two may be different threads.  Everything else
 * may be called from any thread.  A forked child must not use what its parent made.
 *
 * Where weir differs, it is safer: a path or a size that makes no sense is an error and not the end
 * of the process; requests whose daemon has died come back as completions with -ENOTCONN; ids, indices
 * and results that a daemon writes are checked before they are believed.
 */
#ifndef HF3FS_USRBIO_H
#define HF3FS_USRBIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the magic ioctl answers on a file of 3FS. */
#define HF3FS_SUPER_MAGIC 0x8f3f5fff

typedef void *hf3fs_iov_handle;
typedef void *hf3fs_ior_handle;

/* Memory for data.  Filled in by the calls below; base, id and size are for reading. */
struct hf3fs_iov {
	uint8_t *base;
	hf3fs_iov_handle iovh;
	char id[16];           /* by which requests name it */
	char mount_point[256]; /* NUL-terminated */
	size_t size;
	size_t block_size; /* a request may not cross a multiple of it; 0: it may */
	int numa;
};

/* A ring.  The iov in it is the memory of the ring itself. */
struct hf3fs_ior {
	struct hf3fs_iov iov;
	hf3fs_ior_handle iorh;
	char mount_point[256];
	bool for_read;
	int io_depth; /* > 0: taken that many at a time; 0: all that there are; < 0: at most that many */
	int priority; /* < 0: high; 0: normal; > 0: low */
	int timeout;  /* milliseconds that an incomplete batch waits */
	uint64_t flags;
};

struct hf3fs_cqe {
	int32_t index; /* what hf3fs_prep_io() returned */
	int32_t reserved;
	int64_t result; /* bytes, or a negative errno */
	const void *userdata;
};

/* Is this descriptor a file of 3FS? */
bool hf3fs_is_hf3fs(int fd);

/*
 * The mount that a path lies on.  Returns the length of its name plus one, or -1 where the path does not
 * exist or is not on 3FS.  The name is written only where it fits into size bytes.
 */
int hf3fs_extract_mount_point(char *hf3fs_mount_point, int size, const char *path);

/*
 * New memory of size bytes, registered with the daemon.  numa >= 0: from that node.  block_size may not
 * be larger than size.
 */
int hf3fs_iovcreate(struct hf3fs_iov *iov, const char *hf3fs_mount_point, size_t size,
		    size_t block_size, int numa);

/* Memory that another process of the same user has registered under this id. */
int hf3fs_iovopen(struct hf3fs_iov *iov, const uint8_t id[16], const char *hf3fs_mount_point,
		  size_t size, size_t block_size, int numa);

/* Memory that the caller has mapped and registered himself, and will take away himself. */
int hf3fs_iovwrap(struct hf3fs_iov *iov, void *base, const uint8_t id[16],
		  const char *hf3fs_mount_point, size_t size, size_t block_size, int numa);

/* Takes the name of the memory away, so that it dies with its last user; it can still be used. */
void hf3fs_iovunlink(struct hf3fs_iov *iov);

/* Ends it.  Memory that was wrapped is left alone.  Nothing may be in flight. */
void hf3fs_iovdestroy(struct hf3fs_iov *iov);

/* Bytes that a ring of so many entries takes. */
size_t hf3fs_ior_size(int entries);

#define HF3FS_IOR_ALLOW_READ_UNCOMMITTED 1 /* bytes that are not yet on all replicas will do */
#define HF3FS_IOR_FORBID_READ_HOLES      2 /* a hole with data behind it is -ENODATA */

/* A ring for reads, or one for writes; entries: the most that can be in flight. */
int hf3fs_iorcreate(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
		    bool for_read, int io_depth, int numa);
int hf3fs_iorcreate2(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
		     bool for_read, int io_depth, int priority, int numa);
int hf3fs_iorcreate3(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
		     bool for_read, int io_depth, int priority, int timeout, int numa);
int hf3fs_iorcreate4(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
		     bool for_read, int io_depth, int timeout, int numa, uint64_t flags);
void hf3fs_iordestroy(struct hf3fs_ior *ior);

/*
 * Makes a descriptor known, before requests may name it.  Zero or less is success; more than zero is
 * an errno: EBADF, not on 3FS; EINVAL, known already.  The file stays open inside until
 * hf3fs_dereg_fd(), whatever happens to fd.
 */
int hf3fs_reg_fd(int fd, uint64_t flags);
void hf3fs_dereg_fd(int fd);

/* The most requests that can be in flight on this ring. */
int hf3fs_io_entries(const struct hf3fs_ior *ior);

/*
 * Puts a request into the ring: len bytes at off of the file, to or from ptr inside of iov.  Returns
 * its index; -EAGAIN where the ring is full (collect, then try again); -EINVAL, -EBADF, -EACCES.
 */
int hf3fs_prep_io(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, bool read, void *ptr,
		  int fd, size_t off, uint64_t len, const void *userdata);

/* Tells the daemon that there are requests. */
int hf3fs_submit_ios(const struct hf3fs_ior *ior);

/*
 * Collects up to cqec completions; waits for at least min_results of them, or until abs_timeout (of
 * CLOCK_REALTIME; NULL: none).  Returns how many, 0 included.
 */
int hf3fs_wait_for_ios(const struct hf3fs_ior *ior, struct hf3fs_cqe *cqes, int cqec,
		       int min_results, const struct timespec *abs_timeout);

/* A second name for a file.  0, or a positive errno. */
int hf3fs_hardlink(const char *target, const char *link_name);

/* Takes n ranges [start, end) out of a file.  0, or a positive errno. */
int hf3fs_punchhole(int fd, int n, const size_t *start, const size_t *end, size_t flags);

#ifdef __cplusplus
}
#endif
#endif
