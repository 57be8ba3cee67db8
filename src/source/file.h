/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file source, as its own files see it.
 *
 *	file.c         the source itself, its table, what it chose
 *	file_open.c    objects: opening, reading headers, closing
 *	file_adopt.c   objects around a descriptor that is open already
 *	file_version.c what the kernel says of a file, and whether it is still the same
 *	file_hold.c    descriptors, and doing without them
 *	file_cache.c   what of an object is in the page cache, and what that is worth
 *	file_lane.c    requests on their way
 *	file_names.c   stat, list, mkdir
 *	file_write.c   objects being written: temporary, clone, commit
 *
 * An object has two descriptors: one through the page cache and, where the file allows, one past it,
 * as soon as a request needs it.
 * Which of them a request takes is said in the request; what cannot go past the cache goes through it.
 */
#ifndef SOURCE_FILE_H
#define SOURCE_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/list.h"
#include "base/thread.h"
#include "source/source.h"

/* Requests that each way of moving bytes serves best: a thread is woken for each, a ring is not. */
#define FILE_RING_REQUEST_BYTES   (512u << 10)
#define FILE_THREAD_REQUEST_BYTES (2u << 20)

/* Two stats that agree in all of this are of one version. */
struct file_version {
	dev_t device;
	ino_t inode;
	uint64_t size_bytes;
	struct timespec modified, changed;
	uint64_t links;
};

/*
 * What the cache and the disk deliver, as seen; a smoothed figure each.  Lanes update them without a
 * lock: a lost sample does no harm.
 */
struct file_rates {
	_Atomic uint64_t copy_bytes_s; /* of one lane; 0: nothing seen yet */
	_Atomic uint64_t disk_bytes_s;
	_Atomic uint64_t doubts; /* cached windows read direct since a copy was last tried */

	/* The sample under way: direct reads of all lanes since the first that found none. */
	_Atomic uint32_t disk_in_flight;
	_Atomic int64_t disk_since_ns;
	_Atomic uint64_t disk_bytes;
};

enum file_ring {
	FILE_RING_UNKNOWN,
	FILE_RING_POSSIBLE,
	FILE_RING_NOT,
};

struct file_source {
	struct source source;
	pid_t pid; /* in a forked child locks may be held for ever: there memory is freed, no more */

	struct lock lock;    /* for what follows */
	struct list open;    /* objects with descriptors that may be parked, oldest first */
	uint32_t open_count; /* of them */
	uint32_t open_max;

	_Atomic uint32_t lanes;
	_Atomic bool ring_refused; /* said in the log already */
	_Atomic uint8_t ring;     /* enum file_ring: asked once, not for each of a thousand files */
	_Atomic bool direct_seen; /* an object was opened past the cache */
	struct file_rates rates;
};

/*
 * Which cells of an object are cached.  Windows are looked at as they are needed and believed for a
 * moment: pages come and go.
 */
#define WINDOW_BYTES (UINT64_C(16) << 20)
#define CELL_BYTES   (UINT64_C(32) << 10)
#define WINDOW_CELLS (WINDOW_BYTES / CELL_BYTES)
#define WINDOWS_KEPT 16

struct file_window {
	uint64_t number; /* offset / WINDOW_BYTES */
	int64_t until_ns;
	uint64_t cached[WINDOW_CELLS / 64]; /* a bit for each cell */
};

struct file_object {
	struct source_object object;
	char *path;       /* in text, as the URI; NULL where it is being written */
	int open_flags;   /* with which it was opened, and is opened again */
	struct list link; /* file_source.open, or on no list */
	_Atomic uint32_t holds;

	/* Read between file_hold() and file_drop(), written under the lock while nobody holds. */
	int fd;        /* through the page cache; -1: parked */
	int direct_fd; /* past it; -1: none, not needed yet, or parked */

	bool ready; /* for requests; under the lock */

	bool has_direct; /* can be read past the cache, as far as opening it told */
	int direct;      /* enum weir_direct, as asked */
	int cache;       /* enum weir_cache, as asked */
	bool live;
	bool adopted; /* around somebody's descriptor: never parked, so holding it is nothing */
	_Atomic int8_t
		heat; /* how many small reads in a row were cached, or as a negative number not */
	_Atomic uint32_t small_reads; /* while it is cold */
	_Atomic bool direct_off;      /* refused after all: buffered from now on */
	_Atomic bool nowait_off;      /* the file system cannot say what is cached */
	_Atomic bool cachestat_off;   /* the kernel does not tell us */

	struct lock lock; /* for what follows */
	struct file_version version;
	struct file_window *windows; /* owned; WINDOWS_KEPT, from the first request on */
	_Atomic uint32_t
		probes; /* counts samples, so that no two windows are sampled at the same places */
	uint32_t cold;  /* windows in a row that were not there, or taken for it */

	struct file_draft *draft; /* being written; owned */

	char text[];
};

static inline struct file_source *file_source_of(struct source *source)
{
	return container_of(source, struct file_source, source);
}

static inline struct file_object *file_object_of(struct source_object *object)
{
	return container_of(object, struct file_object, object);
}

static inline const struct sys *file_sys(const struct file_object *file)
{
	return file->object.source->env->sys;
}

static inline bool file_goes_direct(const struct file_object *file)
{
	return file->has_direct && !atomic_load_explicit(&file->direct_off, memory_order_relaxed);
}

/* ---- file_open.c ---- */

int file_open(struct source *source, const char *path, const char *uri,
	      const struct source_how *how, struct source_object **out, struct weir_error *err);
void file_close(struct source_object *object);
int64_t file_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
		  struct weir_error *err);

/*
 * An object around a descriptor that is open already, which it owns from then on, failing or not.  path
 * NULL: it cannot be opened again.
 */
int file_object_create(struct source *source, int fd, const char *path, const char *uri,
		       const struct source_how *how, struct file_object **out,
		       struct weir_error *err);

/*
 * The alignment that requests past the page cache need, and a descriptor for them unless that can wait
 * for the first.  path is for where there is no /proc, and may be NULL.
 */
int file_open_direct(struct file_object *file, const char *path, int flags, const struct statx *stx,
		     struct weir_error *err);

/* Said for each object that is read through the cache though it might go past it. */
void file_log_no_direct(const struct file_object *file, int os_errno);

/* A descriptor past the cache was had. */
void file_saw_direct(struct file_source *source);

/* ---- file_adopt.c ---- */

int file_adopt(struct source *source, int fd, const char *uri, const struct source_how *how,
	       struct source_object **out, struct weir_error *err);

/* ---- file_version.c ---- */

/* The two fields of struct statx that a C library may not know yet. */
struct file_dio_align {
	bool known;
	uint32_t memory, file; /* 0: not possible */
};
struct file_dio_align file_dio_align_of(const struct statx *stx);

/* What the kernel says of a file, alignment included; 0 or an errno. */
int file_statx(const struct sys *sys, int dir, const char *path, int flags, struct statx *out);
void file_fill_stat(const struct statx *stx, struct weir_stat *out);

void file_set_version(struct file_object *file, const struct statx *stx);
int file_check(struct source_object *object, struct weir_error *err);
bool file_in_place(struct source_object *object);
/* The same for a path, and any file of which that was known when it was opened. */
bool file_leads_to(const struct sys *sys, const char *path, struct file_object *file);
int file_describe(struct source_object *object, struct weir_stat *out, struct weir_error *err);

/* Whether this descriptor is of the version that was opened; under the object's lock. */
bool file_is_same_locked(struct file_object *file, int fd);

/* ---- file_hold.c ---- */

/*
 * Makes sure that the descriptors are there, and keeps them there; 0 or an errno.  To look at a header
 * the one through the cache is enough, and no more is done.
 */
int file_hold(struct file_object *file);
int file_hold_to_look(struct file_object *file);
void file_drop(struct file_object *file);

/* A descriptor past the cache, of the caller's own, or -1. */
int file_duplicate(struct source_object *object);

/* The error of a hold that failed. */
int file_no_hold(const struct file_object *file, int os_errno, struct weir_error *err);

/* From now on the object may be parked; no more. */
void file_enroll(struct file_object *file);
void file_strike_off(struct file_object *file);

/* How many objects may have descriptors at once. */
uint32_t file_open_limit(void);

/* Each a descriptor above 2, or -1 and errno: just so; parking others where no number is left; the same
 * file as file->fd a second time. */
int file_open_fd(const struct sys *sys, int dir, const char *path, int flags);
int file_open_first(struct file_source *source, int dir, const char *path, int flags);
int file_open_second(const struct file_object *file, const char *path, int flags);

void file_close_fds(struct file_object *file);

/* ---- file_cache.c ---- */

/* From here on a read tells something of how fast cache and disk are; shorter ones measure calls. */
#define FILE_TELLING_BYTES (64u << 10)

/* The windows, none of them looked at; under the object's lock, or before others see it.  0 or an errno. */
int file_make_windows(struct file_object *file);

/* A small read that was thought to be cached and was not. */
void file_saw_miss(struct file_object *file);

int file_way(struct source_object *object, uint64_t offset, uint64_t length, uint64_t *until);

/* The range as the page cache has it, where it has all of it and says so. */
int file_map(struct source_object *object, uint64_t offset, uint64_t length,
	     struct source_view *out);

/* Cached bytes of a file, or UINT64_MAX where the kernel does not say. */
uint64_t file_cached_bytes(const struct sys *sys, int fd, uint64_t size_bytes);

void file_saw_copy(struct file_source *source, uint64_t bytes, int64_t ns);
void file_disk_starts(struct file_source *source);
void file_disk_ends(struct file_source *source, uint64_t bytes);

/* ---- file_lane.c ---- */

int file_lane_create(struct source *source, const struct lane_how *how, struct source_lane **out,
		     struct weir_error *err);
void file_lane_destroy(struct source_lane *lane);
void file_lane_register(struct source_lane *lane, void *memory, uint64_t bytes);
uint32_t file_lane_pin(struct source_lane *lane, void *memory, uint64_t bytes);
void file_lane_unpin(struct source_lane *lane, uint32_t pin);
bool file_lane_listen(struct source_lane *lane, const struct bell *bell);
void file_lane_gather(struct source_lane *lane, uint32_t least);
int file_submit(struct source_lane *lane, struct request *request);
unsigned file_reap(struct source_lane *lane, struct request **out, unsigned max,
		   int64_t deadline_ns);
void file_wake(struct source_lane *lane);
void file_cancel(struct source_lane *lane, struct request *request);
int64_t file_next_ns(struct source_lane *lane);
uint64_t file_system_calls(const struct source_lane *lane);

/* ---- file_names.c ---- */

int file_stat(struct source *source, const char *path, const char *uri,
	      const struct source_how *how, struct weir_stat *out, struct weir_error *err);
int file_list(struct source *source, const char *path, const char *uri, struct source_listing *out,
	      struct weir_error *err);
int file_mkdir(struct source *source, const char *path, const char *uri, struct weir_error *err);

/* ---- file_write.c ---- */

int file_create(struct source *source, const char *path, const char *uri, uint64_t size_bytes,
		const struct source_how *how, struct source_object **out, struct weir_error *err);
int file_clone(struct source_object *to, struct source_object *from, const struct source_pace *pace,
	       struct weir_error *err);
int file_commit(struct source_object *object, int durability, struct weir_error *err);
int file_abort(struct source_object *object, struct weir_error *err);

/* Removes what was not committed, and frees it; NULL is fine. */
void file_draft_drop(struct file_object *file);

#endif
