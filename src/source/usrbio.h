/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of files on a 3FS mount, read and written through its rings, as its own files see it.
 *
 *	usrbio.c         the source itself, its table; names, which the file source knows
 *	usrbio_work.c    its worker: all that may hang on a daemon, one job after another
 *	usrbio_object.c  files: their numbers, their version, finding them again after a restart
 *	usrbio_import.c  slabs of our memory and their registration
 *	usrbio_lane.c    requests on their way
 *	usrbio_ring.c    a lane's rings, and what comes out of them
 *	usrbio_driver.h  who drives the rings: weir's own client, or the vendor's library
 *
 * One source serves one mount.  Names, headers, drafts and commits go through the mount's POSIX face, by
 * a file source of its own; bytes go through rings, straight between daemon and slab.
 *
 * The mount's daemon may die, be stopped, come back as another.  Each incarnation that we have to do
 * with has an *epoch*: rings, registrations and numbers of files belong to one and are made anew
 * for the next.  Memory that one daemon was let into is never handed out again after its loss: who was
 * only cut off, and not killed, may still write there.
 *
 * No lane touches the mount.  What a request needs and has not (a ring, a registration, a number) is a
 * job for the worker, and the request waits on its lane until that is done, or its deadline.
 */
#ifndef SOURCE_USRBIO_H
#define SOURCE_USRBIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/thread.h"
#include "io/usrbio/iov.h"
#include "io/usrbio/session.h"
#include "mem/pool.h"
#include "mem/shared.h"
#include "source/file.h"
#include "source/usrbio_driver.h"

/* Requests that rings serve best, and the entries of a ring at least. */
#define USRBIO_REQUEST_BYTES (UINT32_C(1) << 20)
#define USRBIO_ENTRIES_MIN   64u

struct usrbio_source;

/* Something for the worker; its owner's. */
struct usrbio_job {
	struct list link;
	void (*run)(struct usrbio_source *source, struct usrbio_job *job); /* without the lock */
	bool queued;                                                       /* or being run */
};

struct usrbio_source {
	struct source source;
	struct source *files;  /* owned */
	struct pool *pool;     /* counted */
	struct driver *driver; /* owned */
	struct node_wish node; /* where rings lie */
	/* A worker that is stuck outlives the context: it has what it needs for itself. */
	struct source_env env;
	struct log log;
	pid_t pid;
	char mount[USRBIO_MOUNT_MAX];

	struct lock lock;
	/* Under the lock. */
	struct list jobs, lanes, imports;
	struct cond work, done; /* for the worker; for who waits for a job, or for its end */
	bool ending, worker_ended;
	pthread_t thread;
	struct usrbio_session *session; /* a reference; NULL: none, or the one there was is lost */
	struct driver_ring *spare;      /* a ring that showed that the mount takes rings */
	uint32_t epoch;                 /* of the session; 0: none yet */
	bool works;                     /* a ring was made, once */
	struct weir_error why;          /* the last connecting that failed */
	int64_t failed_ns;              /* when; 0: it did not */
};

static inline struct usrbio_source *usrbio_source_of(struct source *source)
{
	return container_of(source, struct usrbio_source, source);
}

/* ---- usrbio_work.c ---- */

/* Starts the worker: the last thing that makes a source. */
int usrbio_start_work(struct usrbio_source *source, struct weir_error *err);

/* Puts a job in line, unless it stands there; with the lock held. */
void usrbio_queue_locked(struct usrbio_source *source, struct usrbio_job *job);

/* Queues it and waits until it was run: 0, or WEIR_TIMEOUT, and then the job is still the worker's. */
int usrbio_run_job(struct usrbio_source *source, struct usrbio_job *job, int64_t deadline_ns);

/* All lanes that wait for a job look again. */
void usrbio_wake_lanes(struct usrbio_source *source);

/* On the worker: a session, the one there is or a new one. */
int usrbio_connect(struct usrbio_source *source, struct usrbio_session **out, uint32_t *epoch,
		   struct weir_error *err);

/* The daemon of that epoch is gone. */
void usrbio_lost(struct usrbio_source *source, uint32_t epoch);

/* Ends the worker, the registrations and the session; false: it is stuck, and all stays as it is. */
bool usrbio_end_work(struct usrbio_source *source);

/* node: as node_of() said, on the thread that will use the ring. */
void usrbio_ring_opts(struct usrbio_ring_opts *opts, bool for_read, uint32_t entries, int node);

/* ---- usrbio_import.c ---- */

enum usrbio_import_state {
	IMPORT_COMING,
	IMPORT_READY,
	IMPORT_FAILED,
	IMPORT_LOST, /* of an epoch that has passed; it cannot be named again */
};

struct usrbio_import {
	struct usrbio_job job;
	struct usrbio_source *source;
	struct list link;      /* source->imports */
	char *at;              /* of the slab */
	struct usrbio_shm shm; /* what is registered: path and size */
	/* Under the source's lock. */
	struct usrbio_iov iov;
	struct driver_iov *wrapped; /* what requests name it by; may be NULL */
	uint32_t epoch;
	enum usrbio_import_state state;
	int os_errno;
	bool released; /* the slab is gone: the worker frees it */
};

/* The registration that covers a range, asked for where there is none; NULL: no slab of ours. */
struct usrbio_import *usrbio_import_find(struct usrbio_source *source, const void *memory,
					 uint64_t length);

/* Ends what is registered of it; on the worker. */
void usrbio_import_fini(struct usrbio_import *import);

/* ---- usrbio_object.c ---- */

struct usrbio_object {
	struct source_object object;
	struct usrbio_job find, look, end; /* its number again; its version; closing it */
	char *path;                        /* owned; NULL where it is being written */
	bool live;
	_Atomic int verdict; /* what is wrong with it: 0, or a code */

	/* Under the source's lock. */
	struct source_object *file; /* owned; of the source's files, held */
	uint64_t number;            /* st_ino */
	int named;                  /* what the driver's requests name it by; below 0: nothing */
	uint32_t epoch;
	int find_code, find_errno; /* why its number was not found in the source's epoch */
	uint32_t find_epoch;
	int64_t fresh_ns;  /* the version was the same at that time */
	int64_t failed_ns; /* and at that time could not be asked for */
	int look_errno;
};

static inline struct usrbio_object *usrbio_object_of(struct source_object *object)
{
	return container_of(object, struct usrbio_object, object);
}

int usrbio_open(struct source *source, const char *path, const char *uri,
		const struct source_how *how, struct source_object **out, struct weir_error *err);
int usrbio_create(struct source *source, const char *path, const char *uri, uint64_t size_bytes,
		  const struct source_how *how, struct source_object **out, struct weir_error *err);
int usrbio_commit(struct source_object *object, int durability, struct weir_error *err);
int usrbio_abort(struct source_object *object, struct weir_error *err);
void usrbio_close(struct source_object *object);
int usrbio_describe(struct source_object *object, struct weir_stat *out, struct weir_error *err);
int64_t usrbio_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
		    struct weir_error *err);
int usrbio_check(struct source_object *object, struct weir_error *err);
bool usrbio_in_place(struct source_object *object);

/* ---- usrbio_lane.c, usrbio_ring.c ---- */

enum usrbio_ring_state {
	RING_NONE,
	RING_COMING,
	RING_READY,
	RING_FAILED,
};

/* The ring of one direction; the lane has two. */
struct usrbio_lane_ring {
	struct usrbio_job job;
	struct usrbio_lane *lane;
	bool for_read;
	uint32_t flying;  /* the driving thread's, as what follows */
	uint32_t interim; /* of these: nobody has use for one alone */
	bool unposted;
	bool full; /* refused a request since the parked ones were last tried */

	/* Under the source's lock. */
	enum usrbio_ring_state state;
	int node; /* where the next one lies */
	struct driver_ring
		*ring; /* changed by the driving thread where it is READY, else by the worker */
	uint32_t epoch;
	struct weir_error why;
	int64_t failed_ns;
};

#define BOUNCE_SLOTS 8u

struct usrbio_flight {
	struct request *request;
	struct list link; /* free, parked, unchecked, or none: in a ring */
	char *bounce;     /* what the daemon cannot be let into is copied by way of this */
	uint32_t done;    /* bytes that are there */
	int64_t landed_ns;
	bool in_ring, cancelled;
	uint8_t losses; /* how often the ring that it was in was lost */
};

struct usrbio_lane {
	struct source_lane lane;
	struct usrbio_job end; /* the last of its jobs: behind the making of its rings */
	struct list link;      /* source->lanes */
	uint32_t depth, in_flight;
	struct list free, parked, unchecked, done; /* done: requests */
	bool parked_anew;                          /* some of them since they were last tried */
	struct usrbio_lane_ring rings[2];          /* reads, writes */
	char *bounces; /* BOUNCE_SLOTS of them, of the source's pool; NULL: not needed yet */
	uint32_t bounces_free;
	_Atomic bool woken;
	struct cond event;     /* with the source's lock */
	_Atomic bool sleeping; /* on it */
	bool asks;             /* under the source's lock: it waits for a job of the worker's */
	uint64_t system_calls;
	int64_t collected_ns; /* when what landed last was found in its ring */
	struct usrbio_flight slots[];
};

static inline struct usrbio_source *usrbio_source_of_lane(const struct usrbio_lane *lane)
{
	return usrbio_source_of(lane->lane.source);
}

int usrbio_lane_create(struct source *source, const struct lane_how *how, struct source_lane **out,
		       struct weir_error *err);
void usrbio_lane_destroy(struct source_lane *lane);
void usrbio_lane_register(struct source_lane *lane, void *memory, uint64_t bytes);
int usrbio_submit(struct source_lane *lane, struct request *request);
unsigned usrbio_reap(struct source_lane *lane, struct request **out, unsigned max,
		     int64_t deadline_ns);
void usrbio_wake(struct source_lane *lane);
void usrbio_cancel(struct source_lane *lane, struct request *request);
int64_t usrbio_next_ns(struct source_lane *lane);
uint64_t usrbio_system_calls(const struct source_lane *lane);

/* Wakes it with the source's lock held. */
void usrbio_lane_wake_locked(struct usrbio_lane *lane);

/* Ends a slot: its request goes to the lane's done ones. */
void usrbio_flight_end(struct usrbio_lane *lane, struct usrbio_flight *slot, int64_t result,
		       int os_errno);

enum usrbio_answer {
	SLOT_STARTED,
	SLOT_WAITS, /* somebody wakes the lane */
	SLOT_ENDED,
};

/* Puts it into a ring, if all that it needs is there. */
enum usrbio_answer usrbio_flight_start(struct usrbio_lane *lane, struct usrbio_flight *slot);

/* Rings the bells of what was put in. */
void usrbio_rings_post(struct usrbio_lane *lane);

/* Is there a ring to look at: with requests in it, or one that had no room for more? */
bool usrbio_rings_due(const struct usrbio_lane *lane);

/* Takes what has come out; waits until the deadline where something flies, and a moment for room. */
void usrbio_rings_collect(struct usrbio_lane *lane, int64_t deadline_ns);

/* Is the version of what landed known to be the right one?  Else it is asked for. */
bool usrbio_flight_checked(struct usrbio_lane *lane, struct usrbio_flight *slot);

void usrbio_ring_init(struct usrbio_lane *lane, bool for_read);

#endif
