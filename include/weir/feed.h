/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/feed.h - I/O for servers: requests in, completions out, on the caller's own thread
 *
 * A transfer has its plan before it starts and threads that carry it out.  A server has neither: its
 * requests come one by one, from many peers, and should be answered by the thread that found them.  A
 * feed is for that: a lane of the engine that whoever calls weir_feed_reap() drives.
 *
 *	find requests --push--> feed --> page cache, io_uring, ...
 *	answer them   <--reap--- |  ^
 *	      ^                  |  '-- wake(), from any thread
 *	      '--- the doorbell rang: look for requests again
 *
 * It moves bytes as a pread or a pwrite would: `result` counts what was moved from the start of the
 * range on without a gap, fewer than asked only at the end of the object or where an error stood
 * behind them; the error itself is the result where nothing came before it.  Bytes behind the result
 * may have been written to as well.  Objects are read as they are now: open them with WEIR_OBJECT_LIVE,
 * or with weir_object_from_fd().  There is no deadline: an io comes back when nothing can touch its
 * memory any more, cancelled or not.
 *
 * What is in the page cache is copied; other ranges go past it where offset, length and memory are
 * aligned as the object wants it, and through it where they are not.  Long ios are cut into several
 * requests that fly at once.  Nothing is allocated for an io.
 *
 * Threads: one pushes, reaps, cancels and destroys, the same one from the first push or reap on.
 * Wake, register, unregister and counters are anybody's.
 */
#ifndef WEIR_FEED_H
#define WEIR_FEED_H

#include <stddef.h>
#include <stdint.h>

#include "weir/context.h"
#include "weir/object.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_feed;

enum weir_feed_flags {
	WEIR_FEED_WRITE = 1u << 0,    /* memory to object; else object to memory */
	WEIR_FEED_BUFFERED = 1u << 1, /* through the page cache, whatever the alignment */
};

/*
 * One request.  Its place is the caller's, and the feed's from push to reap: neither it nor the memory
 * may be touched or freed meanwhile, and the caller keeps its reference to the object.
 */
struct weir_feed_io {
	struct weir_object *object; /* of the feed's kind of source */
	void *memory;
	uint64_t offset, length;
	uint32_t flags;  /* enum weir_feed_flags */
	uint32_t region; /* of weir_feed_register(), which the memory lies in; 0: none */
	uint64_t tag;    /* the caller's */

	int64_t result; /* bytes, or a negative enum weir_code */
	int os_errno;   /* with a negative result: errno, or 0 */

	uint64_t reserved[12]; /* the feed's */
};

/*
 * A word in shared memory that peers raise when there is something to do, in the manner of glibc's
 * sem_t: a futex word, 0 while there is nothing.  weir_feed_reap() returns while it is not 0; taking
 * it down is the caller's business, before it looks for requests.
 *
 * A peer wakes whoever is counted as waiting, and only then; so the feed counts itself in (in the upper
 * half of the 64 bits that the word is the lower half of) for as long as it sleeps.
 *
 * With the three calls the caller does that counting and looking itself: where a peer may truncate the
 * memory under us, only the caller can guard the touch.  All three or none; on the thread that sleeps,
 * which may be one of the feed's own.  Negative answers: the memory is gone, and the feed leaves the
 * doorbell alone from now on.
 */
struct weir_feed_doorbell {
	uint32_t *word; /* NULL: no doorbell */

	int (*look)(void *arg);  /* 0: there is nothing; positive: there is something */
	int (*wait)(void *arg);  /* counts a waiter, then looks; not 0: and has taken it back */
	void (*done)(void *arg); /* the waiter counts no more */
	void *arg;
};

/* Zero means the default, everywhere; set size, or use WEIR_FEED_OPTS(). */
struct weir_feed_opts {
	size_t size;
	const char *scheme; /* NULL: "file" */
	uint32_t depth;     /* ios between push and reap; 0: 1024, at most 16,384 */
	uint32_t
		requests; /* of them or of their pieces with the source at once; 0: 256, at most 4096 */
	uint64_t flying_bytes; /* that these ask for, all together; 0: 64 MiB */
	struct weir_feed_doorbell doorbell;
	struct weir_object *object; /* of the source that the feed is for, instead of the scheme; a
				     * mount of 3FS has a source of its own; NULL: the scheme says */
};
#define WEIR_FEED_OPTS(...)                                                                        \
	(&(struct weir_feed_opts){.size = sizeof(struct weir_feed_opts), __VA_ARGS__})

/* opts may be NULL. */
WEIR_API int weir_feed_create(struct weir_ctx *ctx, const struct weir_feed_opts *opts,
			      struct weir_feed **out, struct weir_error *err);

/*
 * Cancels what is under way and waits for it a little.  Returns how many ios did not come back: those
 * and their memory may be touched for ever, and what the feed needs for them is left behind.  Before
 * weir_ctx_destroy(); NULL is fine.
 */
WEIR_API unsigned weir_feed_destroy(struct weir_feed *feed);

/*
 * weir_feed_push() - hand one io in
 *
 * 0; WEIR_LIMIT where `depth` are in already; WEIR_ARG where the range ends beyond INT64_MAX, the
 * object is of another source, or the region does not hold the memory.  Never waits.  What is cached
 * may have been copied when it returns; the io is reaped all the same.
 */
WEIR_API int weir_feed_push(struct weir_feed *feed, struct weir_feed_io *io);

/*
 * weir_feed_reap() - take ios that have ended
 *
 * Returns how many, up to max.  Waits for the first until deadline_ns, a point of CLOCK_MONOTONIC in
 * nanoseconds (0: does not wait; WEIR_FOREVER).  Returns 0 at the deadline, after a wake, and while
 * the doorbell's word is not 0.
 */
WEIR_API unsigned weir_feed_reap(struct weir_feed *feed, struct weir_feed_io **out, unsigned max,
				 int64_t deadline_ns);

/*
 * weir_feed_gather() - let ends of requests come together
 *
 * From now on a reap that waits does it for `least` ends of requests (8 at most) or until its deadline,
 * so that a driver with much under way wakes up less often.  The doorbell ends it as ever; a wake need
 * not.  A hint: nothing is gathered without io_uring, nor where a thread listens to the doorbell.
 * `least` 0 or 1: each end is worth waking up for.
 */
WEIR_API void weir_feed_gather(struct weir_feed *feed, uint32_t least);

/* The present or next reap returns without waiting.  Any thread, also from a signal handler. */
WEIR_API void weir_feed_wake(struct weir_feed *feed);

/* Asks an io to end soon; it is reaped as always: with what it moved, else with WEIR_CANCELLED. */
WEIR_API void weir_feed_cancel(struct weir_feed *feed, struct weir_feed_io *io);

/*
 * weir_feed_register() - memory that many ios will name
 *
 * Where the kernel allows it, pages are pinned as they are first used, in pieces, and requests name
 * them by number; where it refuses (the limit of locked memory), ios work as without.  Pinned pages
 * stay until weir_feed_unregister(), also those that a peer has cut off a shared object meanwhile.
 * WEIR_LIMIT: too many regions; one that was unregistered counts until the next reap.
 */
WEIR_API int weir_feed_register(struct weir_feed *feed, void *memory, uint64_t bytes,
				uint32_t *region, struct weir_error *err);

/* No io names it any more.  The memory may be unmapped at once; pins end with the next reap. */
WEIR_API void weir_feed_unregister(struct weir_feed *feed, uint32_t region);

/* Bytes of it that are pinned now. */
WEIR_API uint64_t weir_feed_pinned_bytes(struct weir_feed *feed, uint32_t region);

/* What has happened since it was made. */
struct weir_feed_counters {
	uint64_t ios;             /* reaped */
	uint64_t ios_failed;      /* with a negative result */
	uint64_t requests;        /* sent to the source */
	uint64_t bytes_read;      /* results of reads */
	uint64_t bytes_written;   /* and of writes */
	uint64_t bytes_cached;    /* that went through the page cache */
	uint64_t bytes_direct;    /* and past it */
	uint64_t short_results;   /* requests that were asked on */
	uint64_t retries;         /* and sent again after an error */
	uint64_t requests_pinned; /* named by number */
	uint64_t pinned_bytes;    /* now */
	uint64_t pins_refused;    /* pieces that the kernel would not pin */
	uint64_t system_calls;    /* that moved bytes or waited for them */
	uint64_t sleeps;          /* reaps that waited */
	uint64_t doorbells;       /* reaps that ended for the doorbell */
	uint64_t reserved[17];
};

WEIR_API void weir_feed_counters(struct weir_feed *feed, struct weir_feed_counters *out);

/* How the doorbell is listened to, for people: "io_uring", "thread", or "none". */
WEIR_API const char *weir_feed_doorbell_kind(const struct weir_feed *feed);

/*
 * weir_object_from_fd() - an object around a file that is open already
 *
 * The descriptor is duplicated and its access mode decides what may be done: reads, writes (which
 * extend the file), or both.  `name` is what errors call it.  Of opts direct, cache and flags count,
 * and the object is live in any case.  Does not block but for the time of an fstat and an open of
 * /proc/self/fd.  Only regular files.
 */
WEIR_API int weir_object_from_fd(struct weir_ctx *ctx, int fd, const char *name,
				 const struct weir_object_opts *opts, struct weir_object **out,
				 struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
