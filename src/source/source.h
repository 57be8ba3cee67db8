/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where bytes come from and go to.
 *
 * A source opens objects by path and moves bytes asynchronously on lanes.  The engine owns
 * destination memory, planning, deadlines and retries by policy; a source owns descriptors and the
 * way to the device.  What stands in front of a source (retry, fault) is itself a source: it answers
 * this interface and hands on to the next.
 *
 *	engine --submit--> lane --> kernel, network, RAM
 *	engine <---reap--- lane <------+
 *
 * Rules that every source keeps:
 *
 *   - Calls on names (open, stat, list, create, commit ...) may block; the engine makes them on a
 *     helper thread.  submit, wake, cancel, way and close never block; only reap waits.
 *   - A request belongs to the lane from a submit that returned 0 until reap hands it back, cancelled
 *     or not.  Until then its memory may be written, and nobody may free it.
 *   - A read that comes back with result >= 0 brought exactly that many bytes to the start of its
 *     memory; less than asked is legal and the engine asks again.  0 is the end of the object.
 *   - Lanes are driven by one thread at a time.  wake() may be called from any.
 *   - No allocation in submit and reap; room for `depth` requests is made with the lane.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/bell.h"
#include "base/compiler.h"
#include "base/list.h"
#include "base/log.h"
#include "base/node.h"
#include "base/sys.h"
#include "weir/context.h"
#include "weir/object.h"

struct source;
struct source_lane;
struct source_object;

/* What a source lives in.  Outlives it. */
struct source_env {
	const struct sys *sys;
	struct log *log;
};

/*
 * A directory of files, open while many of them are opened: each is looked for from there, and is known to
 * lie on the same device.
 */
struct source_dir {
	int fd;
	dev_t device;
	size_t name_at; /* in the paths of its files */
};

/* How an object is opened: what the caller's options say. */
struct source_how {
	int direct;                   /* enum weir_direct */
	int cache;                    /* enum weir_cache */
	uint32_t flags;               /* enum weir_object_flags */
	uint32_t mode;                /* of a file that is made; 0: 0666 */
	const struct source_dir *dir; /* borrowed for the call; NULL: none is open */
};

/*
 * The part of an opened object that everybody reads; sources embed it as their first member.  All but
 * `size_bytes` of an object being written is constant once it is open.
 */
struct source_object {
	struct source *source;
	char *uri; /* owned; as errors name it */
	uint64_t size_bytes;
	uint32_t offset_align;  /* of direct requests: offsets and lengths; 1: anything goes */
	uint32_t memory_align;  /* and addresses */
	uint32_t request_bytes; /* best size of one request */
	bool writing;
};

enum request_op {
	REQUEST_READ,
	REQUEST_WRITE,
};

/* How a range is best read: the answer of way(), and a flag of the request. */
enum request_way {
	WAY_DIRECT,   /* past the page cache: aligned as the object says */
	WAY_BUFFERED, /* copied by the kernel: any alignment */
};

struct request {
	/* Set by whoever submits. */
	struct source_object *object;
	void *memory;
	uint64_t offset;
	uint32_t length; /* at most REQUEST_MAX */
	uint8_t op;      /* enum request_op */
	uint8_t way;     /* enum request_way */
	bool interim;    /* nothing settles before another one comes back, sent after this did */
	uint32_t pin;    /* of lane_pin(), which all of the memory lies in; 0: none */
	int64_t deadline_ns; /* no further try is made past it; 0: none.  Who submits still waits */

	/* Set by the lane. */
	int64_t result;   /* bytes moved, or a negative enum weir_code */
	int os_errno;     /* with a negative result: errno, or 0 */
	uint32_t retries; /* 0 before submit; how often it was sent again */

	/* The lane's, from submit to reap; nobody else's. */
	struct list link;
	uint64_t scratch[4];
};

#define REQUEST_MAX (UINT32_C(64) << 20)

struct lane_how {
	uint32_t depth; /* most requests in flight */
	bool simulated; /* one thread drives all lanes: reap never waits, threads are not started */
};

enum source_features {
	SOURCE_WRITES = 1u << 0, /* create, commit, abort */
	SOURCE_LISTS = 1u << 1,
	SOURCE_ONE_DIRECT_LANE = 1u
				 << 2, /* direct requests cost no processor: one lane sends them */
	SOURCE_LOOKS_LATE = 1u << 3,   /* each read that comes back, but for interim ones, had its
					* object's version asked for after its last byte */
};

/* A name found by list(); memory is the arena's. */
struct source_entry {
	const char *name;
	struct weir_stat stat;
};

/* A mapping, and where in it the range begins that was asked for.  Undone with munmap. */
struct source_view {
	void *mapping;
	uint64_t mapping_bytes;
	void *at;
};

/* What takes long asks this as it gets on: false where it should leave off (WEIR_CANCELLED). */
struct source_pace {
	bool (*go_on)(void *arg);
	void *arg;
};

struct source_listing {
	struct arena arena;
	struct source_entry *entries; /* sorted by name, if not in any order */
	size_t count;
	bool names_only; /* the caller's: entries may come without their stat, which costs a call each */
	bool any_order; /* the caller's: they need not be sorted */
};

struct source_ops {
	const char *scheme; /* "file", "memory"; for messages too */
	unsigned features;

	void (*destroy)(struct source *source); /* no lanes, no objects left */

	/* ---- Names: may block ---- */
	/* 1 where how->dir is given and the file lies on another device: nothing was opened. */
	int (*open)(struct source *source, const char *path, const char *uri,
		    const struct source_how *how, struct source_object **out,
		    struct weir_error *err);
	int (*stat)(struct source *source, const char *path, const char *uri,
		    const struct source_how *how, struct weir_stat *out, struct weir_error *err);
	int (*describe)(struct source_object *object, struct weir_stat *out,
			struct weir_error *err);
	/* For headers: up to length bytes, fewer only at the end.  Bytes, or a negative code. */
	int64_t (*read)(struct source_object *object, void *to, uint64_t offset, uint64_t length,
			struct weir_error *err);
	/*
	 * A view of a range that stands in memory already, every page of it, and is of the version that was
	 * opened.  0; 1 where there is no such
	 * view to be had; NULL: this source never has any.  Does not wait.
	 */
	int (*map)(struct source_object *object, uint64_t offset, uint64_t length,
		   struct source_view *out);
	int (*list)(struct source *source, const char *path, const char *uri,
		    struct source_listing *out, struct weir_error *err);
	int (*create)(struct source *source, const char *path, const char *uri, uint64_t size_bytes,
		      const struct source_how *how, struct source_object **out,
		      struct weir_error *err);
	int (*clone)(struct source_object *to, struct source_object *from,
		     const struct source_pace *pace, struct weir_error *err);
	int (*commit)(struct source_object *object, int durability, struct weir_error *err);
	int (*abort)(struct source_object *object, struct weir_error *err);
	int (*mkdir)(struct source *source, const char *path, const char *uri,
		     struct weir_error *err);

	/*
	 * An object around a descriptor, which stays the caller's; for reading, writing or both, as the
	 * descriptor is.  NULL: this source has no descriptors.
	 */
	int (*adopt)(struct source *source, int fd, const char *uri, const struct source_how *how,
		     struct source_object **out, struct weir_error *err);

	/*
	 * One more descriptor of the object, past the page cache, the caller's to close; -1: it has none.
	 * NULL: this source has no descriptors.
	 */
	int (*duplicate)(struct source_object *object);

	/* ---- Objects: never block ---- */

	/* No requests in flight.  Frees it; what was being written and not committed is removed. */
	void (*close)(struct source_object *object);

	/*
	 * Is it still the version that was opened?  0; WEIR_CHANGED; WEIR_TRUNCATED where it is
	 * shorter now.  Called after the last byte of an extent and before it settles.
	 */
	int (*check)(struct source_object *object, struct weir_error *err);

	/*
	 * Does its name still lead to it, as far as the kernel knows without asking anybody?  NULL: nobody
	 * knows.
	 */
	bool (*in_place)(struct source_object *object);

	/*
	 * How [offset, offset + length) is best read: the way of its first bytes, and in *until the
	 * offset up to which that holds (> offset, aligned where the way needs it, or the end).
	 */
	int (*way)(struct source_object *object, uint64_t offset, uint64_t length, uint64_t *until);

	/*
	 * Can requests name this memory as it is?  What they cannot reach is read into staging and
	 * copied.  NULL: everything can be reached.  Asked for every request.
	 */
	bool (*reaches)(struct source *source, const void *memory, uint64_t length);

	/* ---- Lanes ---- */
	int (*lane_create)(struct source *source, const struct lane_how *how,
			   struct source_lane **out, struct weir_error *err);
	/* Nothing in flight but what is stuck for ever; that is left behind with what it needs. */
	void (*lane_destroy)(struct source_lane *lane);

	/* Staging memory that many requests will name: pinned once, where that is possible.  Any
	 * return value is fine. */
	void (*lane_register)(struct source_lane *lane, void *memory, uint64_t bytes);

	/*
	 * Memory that requests name by a number (request.pin): pinned until lane_unpin(), which requests in
	 * flight outlive.  On the driving thread.  0: refused.  Both NULL: there is no such thing here.
	 */
	uint32_t (*lane_pin)(struct source_lane *lane, void *memory, uint64_t bytes);
	void (*lane_unpin)(struct source_lane *lane, uint32_t pin);

	/*
	 * From now on reap also ends for the bell, which outlives the lane; on the driving thread or before
	 * there is one.  False, or NULL: the lane cannot.
	 */
	bool (*lane_listen)(struct source_lane *lane, const struct bell *bell);

	/*
	 * From now on a reap that waits may do it for so many ends together, or until its deadline;
	 * the bell ends it as ever, a wake need not.  On the driving thread.  NULL: never.
	 */
	void (*lane_gather)(struct source_lane *lane, uint32_t least);

	/* 0, or WEIR_LIMIT: as many in flight as the lane takes. */
	int (*submit)(struct source_lane *lane, struct request *request);

	/*
	 * Hands back what has ended: up to max.  Where nothing has, waits for the first, for wake()
	 * or for the deadline (a point of the monotonic clock); in the past: does not wait.
	 */
	unsigned (*reap)(struct source_lane *lane, struct request **out, unsigned max,
			 int64_t deadline_ns);
	void (*wake)(struct source_lane *lane);

	/* Asks; reap still hands the request back. */
	void (*cancel)(struct source_lane *lane, struct request *request);

	/* Simulated lanes: when the next request ends, or NEVER. */
	int64_t (*next_ns)(struct source_lane *lane);

	/* What was chosen, for people; and system calls made so far. */
	void (*choice)(struct source *source, struct weir_choice *out);
	uint64_t (*system_calls)(const struct source_lane *lane);
};

/* Sources embed these as their first members. */
struct source {
	const struct source_ops *ops;
	const struct source_env *env;
};

struct source_lane {
	struct source *source;
	bool simulated;
};

/* One constructor for each kind; a source that stands in front takes the next one over. */
int source_file_create(const struct source_env *env, struct source **out, struct weir_error *err);
int source_memory_create(const struct source_env *env, struct source **out, struct weir_error *err);

/* One 3FS mount. */
struct driver;
struct pool;
struct source_usrbio_how {
	const char *mount;     /* as usrbio_mount_find() gives it */
	struct pool *pool;     /* of shared memory, the only one it reaches */
	struct driver *driver; /* source/usrbio_driver.h; taken over, also by a call that fails */
	struct node_wish node; /* where rings lie */
};
int source_usrbio_create(const struct source_env *env, const struct source_usrbio_how *how,
			 struct source **out, struct weir_error *err);

/* By name. */
void source_sort(struct source_entry *entries, size_t count);

/*
 * The path within a source that a URI means, and which source: "file:///a%20b" and "/a b" are "/a b" of
 * "file".  *path is allocated.  A scheme that weir does not know: WEIR_UNSUPPORTED.
 */
int source_split_uri(const char *uri, const char **scheme, char **path, struct weir_error *err);

#endif
