/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two ends of a USRBIO ring agree on: records, their places, numbers, names.
 *
 * A ring is one shared memory object.  n entries may be in flight, and the queues have N = n + 1 places,
 * so that full and empty differ:
 *
 *	0         sq_head  sq_tail  cq_head  cq_tail    four int32, each 0..N-1
 *	16        args[N]                               what a request asks for
 *	16 + 56N  cqe[N]                                what became of it
 *	16 + 80N  sqe[N]                                which args are asked for, in order
 *	16 + 96N  semaphore of completions              32 bytes, as glibc lays it out
 *	48 + 96N  slack                                 4096 bytes
 *	          from the next multiple of 64 on       16 bytes: struct usrbio_mark
 *
 * The client writes args, sqe, sq_head and cq_tail; the server writes cqe, cq_head, sq_tail and posts the
 * semaphore.  The mark is ours and lies where nobody else looks: between a client and a server of which one
 * knows none, nothing is different.  Either side may be hostile: whoever reads a word of the other
 * side reads it once (usrbio_load_*), checks the copy and uses the copy; whoever owns a word keeps
 * it privately and never reads it back.
 */
#ifndef IO_USRBIO_LAYOUT_H
#define IO_USRBIO_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct usrbio_args {
	uint8_t iov[16];      /* id of the buffer: the link's UUID, in the order of its text */
	uint64_t iov_offset;  /* where in the buffer */
	uint64_t file;        /* st_ino */
	uint64_t file_offset; /* where in the file */
	uint64_t length;
	uint64_t userdata; /* the server does not read this copy */
};

struct usrbio_cqe {
	int32_t index;    /* of the args */
	int32_t reserved; /* never written by the vendor's server; 0 in ours */
	int64_t result;   /* bytes, or a negative errno */
	uint64_t userdata;
};

struct usrbio_sqe {
	int32_t index;
	int32_t padding;
	uint64_t userdata;
};

_Static_assert(sizeof(struct usrbio_args) == 56 && offsetof(struct usrbio_args, iov_offset) == 16 &&
		       offsetof(struct usrbio_args, file) == 24 &&
		       offsetof(struct usrbio_args, file_offset) == 32 &&
		       offsetof(struct usrbio_args, length) == 40 &&
		       offsetof(struct usrbio_args, userdata) == 48,
	       "args have one layout");
_Static_assert(sizeof(struct usrbio_cqe) == 24 && offsetof(struct usrbio_cqe, result) == 8 &&
		       offsetof(struct usrbio_cqe, userdata) == 16,
	       "completions have one layout");
_Static_assert(sizeof(struct usrbio_sqe) == 16 && offsetof(struct usrbio_sqe, userdata) == 8,
	       "submissions have one layout");

#define USRBIO_RING_FIXED  4144u /* markers, semaphore, slack */
#define USRBIO_RING_PLACE  96u   /* args, cqe and sqe of one place */
#define USRBIO_RING_MIN    (USRBIO_RING_FIXED + 2 * USRBIO_RING_PLACE) /* one entry */
#define USRBIO_ENTRIES_MAX 65536u                                      /* our cap, for each ring */
#define USRBIO_MOUNT_MAX   256                 /* bytes of a mount path, its end included */
#define USRBIO_FILES_MAX   ((uint64_t)1 << 57) /* numbers of real files lie below */
#define USRBIO_RANGES_MAX  1000                /* of a punch-hole call */
#define USRBIO_CLUSTER_MAX 32                  /* bytes of a cluster id, its end included */

/* The size of the object of a ring of that many entries. */
static inline uint64_t usrbio_ring_bytes(uint32_t entries)
{
	return USRBIO_RING_FIXED + USRBIO_RING_PLACE * ((uint64_t)entries + 1);
}

/* The entries that an object of that size has; 0: it is no ring. */
static inline uint32_t usrbio_ring_entries(uint64_t bytes)
{
	uint64_t count = bytes < USRBIO_RING_MIN ? 1
						 : (bytes - USRBIO_RING_FIXED) / USRBIO_RING_PLACE;

	return (uint32_t)((count > INT32_MAX ? INT32_MAX : count) - 1);
}

/* A semaphore in shared memory: see signal.h. */
struct usrbio_sem {
	_Atomic uint64_t data; /* low half: the value; high half: how many wait */
	uint32_t flag;         /* 128: between processes */
	uint32_t unused[5];
};
_Static_assert(sizeof(struct usrbio_sem) == 32, "as large as a sem_t of glibc");

/*
 * While `awake` is USRBIO_MARK_AWAKE the server looks at the ring by itself, once more after it has taken
 * the mark back and before it sleeps; so nobody need post the submit semaphore.  Both sides touch the word
 * with an exchange, the client after it wrote what the server is to see: whichever is second sees what the
 * first did.  A mark that lies costs the client a wait for the server's next look.
 *
 * `wanted` is how many completions the client sleeps for.  While fewer of them lie there the server
 * may leave out its post, as long as it holds requests whose completions will be due one.
 *
 * A server writes only where the client said, before it registered the ring, that it reads marks.
 */
struct usrbio_mark {
	_Atomic uint64_t asked;  /* the client's: USRBIO_MARK_ASKED */
	_Atomic uint32_t awake;  /* the server's */
	_Atomic uint32_t wanted; /* the client's; 0 and 1: each is told of */
};
_Static_assert(sizeof(struct usrbio_mark) == 16, "a mark has one layout");

#define USRBIO_MARK_ASKED UINT64_C(0x6b72616d72696577) /* "weirmark" */
#define USRBIO_MARK_AWAKE 1u
#define USRBIO_MARK_ALIGN 64u /* a line of its own */

/* Where the parts of one ring lie in this process.  Plain pointers: making it touches nothing. */
struct usrbio_view {
	_Atomic int32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
	struct usrbio_args *args;
	struct usrbio_cqe *cqe;
	struct usrbio_sqe *sqe;
	struct usrbio_sem *done;
	struct usrbio_mark *mark;
	int32_t places; /* N */
};

static inline size_t usrbio_mark_place(size_t places)
{
	return (48 + 96 * places + USRBIO_MARK_ALIGN - 1) / USRBIO_MARK_ALIGN * USRBIO_MARK_ALIGN;
}

static inline struct usrbio_view usrbio_view_of(void *memory, uint32_t entries)
{
	char *start = memory;
	size_t n = (size_t)entries + 1;
	struct usrbio_view view = {.places = (int32_t)n};

	view.sq_head = (_Atomic int32_t *)(void *)start;
	view.sq_tail = (_Atomic int32_t *)(void *)(start + 4);
	view.cq_head = (_Atomic int32_t *)(void *)(start + 8);
	view.cq_tail = (_Atomic int32_t *)(void *)(start + 12);
	view.args = (struct usrbio_args *)(void *)(start + 16);
	view.cqe = (struct usrbio_cqe *)(void *)(start + 16 + 56 * n);
	view.sqe = (struct usrbio_sqe *)(void *)(start + 16 + 80 * n);
	view.done = (struct usrbio_sem *)(void *)(start + 16 + 96 * n);
	view.mark = (struct usrbio_mark *)(void *)(start + usrbio_mark_place(n));
	return view;
}

/* The place after this one, and how far it is from one place to another. */
static inline int32_t usrbio_next(int32_t at, int32_t places)
{
	return at + 1 == places ? 0 : at + 1;
}

static inline int32_t usrbio_distance(int32_t from, int32_t to, int32_t places)
{
	return to >= from ? to - from : to - from + places;
}

/*
 * Records cross by words of eight bytes, each read or written exactly once: what the compiler may not
 * fetch again, the other side cannot change between a check and a use.
 */
static inline void usrbio_load_words(void *to, const void *shared, size_t bytes)
{
	uint64_t *out = to;
	const _Atomic uint64_t *in = shared;

#pragma GCC unroll 8
	for (size_t i = 0; i < bytes / 8; i++)
		out[i] = atomic_load_explicit(&in[i], memory_order_relaxed);
}

static inline void usrbio_store_words(void *shared, const void *from, size_t bytes)
{
	_Atomic uint64_t *out = shared;
	const uint64_t *in = from;

#pragma GCC unroll 8
	for (size_t i = 0; i < bytes / 8; i++)
		atomic_store_explicit(&out[i], in[i], memory_order_relaxed);
}

/* ---- ioctl ---- */

#define USRBIO_MAGIC               0x8f3f5fffu
#define USRBIO_IOCTL_VERSION       1u
#define USRBIO_IOC_GET_MOUNT_NAME  0x80206800u
#define USRBIO_IOC_GET_PATH_OFFSET 0x80046801u
#define USRBIO_IOC_GET_MAGIC       0x80046802u
#define USRBIO_IOC_GET_VERSION     0x80046803u
#define USRBIO_IOC_RECURSIVE_RM    0x8004680au
#define USRBIO_IOC_FSYNC           0x8004680bu
#define USRBIO_IOC_HARDLINK        0x4108680cu
#define USRBIO_IOC_PUNCH_HOLE      0x7e90680du
#define USRBIO_IOC_MOVE            0x4218680eu
#define USRBIO_IOC_REMOVE          0x4110680fu

#define USRBIO_IOC_NAME_MAX 256 /* of a name in these, its end included */

/* On a file: another name for it. */
struct usrbio_ioc_hardlink {
	uint64_t parent; /* st_ino of a directory, as in all of these */
	char name[USRBIO_IOC_NAME_MAX];
};

/* On a file: ranges [start, end) that become holes. */
struct usrbio_ioc_punch_hole {
	int32_t count;
	uint64_t flags;
	uint64_t start[USRBIO_RANGES_MAX], end[USRBIO_RANGES_MAX];
};

/* On the directory `parent`. */
struct usrbio_ioc_move {
	uint64_t parent;
	char name[USRBIO_IOC_NAME_MAX];
	uint64_t to_parent;
	char to_name[USRBIO_IOC_NAME_MAX];
	uint8_t to_trash;
};
struct usrbio_ioc_remove {
	uint64_t parent;
	char name[USRBIO_IOC_NAME_MAX];
	uint8_t recursive;
};
_Static_assert(sizeof(struct usrbio_ioc_hardlink) == 264 &&
		       sizeof(struct usrbio_ioc_punch_hole) == 16016 &&
		       sizeof(struct usrbio_ioc_move) == 536 &&
		       offsetof(struct usrbio_ioc_move, to_trash) == 528 &&
		       sizeof(struct usrbio_ioc_remove) == 272 &&
		       offsetof(struct usrbio_ioc_remove, recursive) == 264,
	       "as the ioctls' numbers say");

/* ---- Names ---- */

#define USRBIO_FS_TYPE     "fuse.hf3fs" /* in mountinfo */
#define USRBIO_VIRT        "3fs-virt"
#define USRBIO_IOVS        "iovs"
#define USRBIO_SHM         "/dev/shm"
#define USRBIO_SHM_PREFIX  "hf3fs-iov-"            /* of our shared memory objects */
#define USRBIO_BELL_PREFIX "sem.hf3fs-submit-ios." /* of the files of submit semaphores */

/* The three submit semaphores, by the server's index. */
enum usrbio_bell {
	USRBIO_BELL_HIGH,
	USRBIO_BELL_NORMAL,
	USRBIO_BELL_LOW,
	USRBIO_BELLS,
};

/* "submit-ios.ph", "submit-ios", "submit-ios.pl": of the links in iovs/. */
const char *usrbio_bell_link(enum usrbio_bell bell);

/* From a client's priority: < 0 is high, > 0 is low. */
static inline enum usrbio_bell usrbio_bell_of(int priority)
{
	if (priority == 0)
		return USRBIO_BELL_NORMAL;
	return priority < 0 ? USRBIO_BELL_HIGH : USRBIO_BELL_LOW;
}

/* ---- Flags of a ring ---- */

#define USRBIO_FLAG_UNCOMMITTED UINT64_C(1)
#define USRBIO_FLAG_NO_HOLES    UINT64_C(2)

#endif
