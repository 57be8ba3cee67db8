/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving the rings of one priority: one thread with a feed (weir/feed.h), which waits for its doorbell
 * and for the ends of its I/O at once.
 *
 *	the bell rang, or it is time to look
 *	  scan.c     what may go, ring by ring       batch.c    by io_depth and timeout
 *	  request.c  is it allowed, and into where   uses.c     iovs in use
 *	                                             grips.c    files in use
 *	  waiting.c  until its file has been opened
 *	  feed
 *	  gather.c   how many ends are waited for together
 *	  attend.c   whose clients need not ring
 *	  finish.c   results into the rings, at most one post for each
 *
 * Nothing here waits for a file system: what may is an errand (errand.h).
 *
 * Everything here belongs to that thread but for what server_add(), server_look(), server_stop() and
 * errands hand over.  A request takes no lock and allocates nothing: its place is one of SERVER_REQUESTS.
 */
#ifndef MOUNT_RINGS_SERVER_H
#define MOUNT_RINGS_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/thread.h"
#include "io/usrbio/server.h"
#include "mount/rings/batch.h"
#include "mount/rings/bell.h"
#include "mount/rings/errand.h"
#include "mount/rings/janitor.h"
#include "mount/rings/share.h"
#include "weir/feed.h"

#define SERVER_REQUESTS  1024 /* under way, of all rings of the priority */
#define SERVER_RING_MOST 256  /* of them of one ring, */
#define SERVER_USER_MOST 512  /* and of one user */
#define SERVER_RING_BYTES                                                                          \
	((uint64_t)64 << 20) /* that one ring asks for, a quarter of it by one request at most */
#define SERVER_TURN    16u   /* of a ring, before it is the next one's */
#define SERVER_BUCKETS 256

/* What clients of full rings do for new requests (gather.c). */
enum trial_way {
	RINGING,
	SPARING,
};

/* How far a look at a ring is away when nobody rings: it was active in the last second, or not. */
#define SERVER_SOON_NS  (10 * NS_PER_MS)
#define SERVER_LATER_NS (100 * NS_PER_MS)

struct server;

/* An iov whose memory this server has touched; holds a reference. */
struct use {
	struct list link; /* server.uses */
	struct share *share;
	uint32_t region; /* of the feed; 0: not registered */
	uint32_t in_flight;
};

/* A file that a user may touch in one direction, as files_find() or files_get() gave it. */
struct grip {
	struct list link; /* server.grips */
	struct errand errand;
	struct server *server;
	bool opening; /* by its errand: no object yet */
	bool told;    /* that this takes long */
	bool local;   /* its file system is of this machine, and is asked for holes at once */
	struct {
		int error;
		struct weir_object *object;
		int fd;
	} got; /* the errand's, while it is opening */
	uid_t uid;
	bool write;
	bool changed; /* files_changed() was called in this reap */
	bool stale;   /* only its requests hold it */
	uint64_t ino, epoch;
	struct weir_object *object;
	int fd;
	uint32_t in_flight;
};

/* Counted by the serving thread, read by anybody. */
struct ring_counters {
	_Atomic uint64_t requests, bytes, errors;
	_Atomic uint32_t in_flight;
};

/* What one user has under way here; as long as it has rings. */
struct user_load {
	struct list link;
	uid_t uid;
	uint32_t rings, in_flight;
};

struct ring {
	struct list link;     /* server.rings, or incoming */
	struct list touched;  /* server.touched: a completion was published, not posted yet */
	struct list attended; /* server.attended: its client knows that we are awake */
	struct share *share;  /* the server's reference; NULL before server_add() */
	struct usrbio_server end;
	uint32_t entries;
	struct batch_rule rule;
	struct batch_wait wait;
	uint32_t granted; /* let go by the rule, not claimed yet */
	uint32_t owed;    /* completions published since its last post */
	uint32_t in_flight;
	uint64_t flying_bytes;
	uint64_t turn_bytes; /* that its last request asked for: how large its turns are */
	bool quick;          /* and nothing was copied in the last one */
	int64_t active_ns;   /* last claim or completion */
	_Atomic bool dead;
	bool for_read, no_holes;
	struct user_load *load;
	struct use *last_use; /* most requests name the same iov and file as the one before */
	struct grip *last_grip;
	struct ring_counters counters;
};

struct request {
	struct weir_feed_io io;
	struct list waiting; /* server.waiting, or looked */
	struct errand errand;
	bool looking; /* for holes, by its errand */
	struct {
		int64_t result;
		bool local;
	} found;           /* by that */
	int64_t since_ns;  /* that it is there, or was claimed */
	struct ring *ring; /* NULL: the place is free */
	struct use *use;
	struct grip *grip;
	uint64_t userdata;
	int32_t index;
	struct request *next_free;
};

struct server_counters {
	_Atomic uint64_t requests, bytes, errors, posts, scans, batches;
};

struct server {
	const struct sys *sys;
	struct log *log;
	struct files *files;
	struct table *table;
	struct janitor *janitor;
	struct errands *errands; /* borrowed */
	struct weir_feed *feed;
	struct bell *bell; /* borrowed */
	enum usrbio_bell which;
	bool read_only, strict, each_alone, started;
	int64_t spin_ns;       /* looks for so long before it sleeps; 0: not */
	int64_t open_limit_ns; /* that a request waits for its file; 0: a minute */
	bool attends;          /* the thread that serves is the one that the feed sleeps on */
	pthread_t thread;

	struct lock lock; /* of these four */
	struct list incoming;
	struct list opened; /* grips, by their errands */
	struct list looked; /* requests, by theirs */
	bool over;          /* there is no feed any more */
	_Atomic bool came;  /* to one of the last two */
	_Atomic bool look;  /* something came or went */
	_Atomic bool stopping;
	int64_t stop_ns; /* waits for I/O no longer than that; set before stopping */
	unsigned stuck;  /* requests that did not come back; read after the thread was joined */

	struct list rings, loads, touched, attended, waiting;
	bool only_deep;        /* of the touched only such are left that may wait a moment */
	int64_t owed_since_ns; /* about: the first of the touched that was left without a post */
	struct list uses[SERVER_BUCKETS], grips[SERVER_BUCKETS];
	uint64_t epoch; /* of the files, when idle grips were last dropped */
	bool backlog;   /* the last scan left something that can go at once */
	bool limited;   /* or when requests have ended */
	struct storm {  /* of the bell: see server.c */
		int64_t since_ns;
		uint32_t idle, fruitful;
	} storm;
	int64_t active_ns; /* any ring was, last */
	int64_t look_ns;   /* a partial batch is due */
	uint32_t in_flight;
	uint32_t looking;  /* of them, for holes */
	uint32_t small;    /* of them */
	uint32_t shallow;  /* rings with few under way, but not none */
	uint32_t together; /* ends that the last wait was for, */
	uint32_t given;    /* and those that it gave */
	uint32_t vain;     /* waits one after the other that did not give all */
	bool held;         /* requests of some ring were not waited for (attend.c) */
	struct trial {     /* see gather.c */
		int64_t since_ns, ns_per_mib[2];
		uint64_t bytes;
		uint32_t turns;
		bool sparing;
	} trial;
	int64_t took_ns;                  /* the request that ended last */
	int64_t awake_ns, alone_until_ns; /* since when, about; until when ends are not gathered */
	struct request *free;
	struct request *requests;
	struct server_counters counters;
};

/* The submit semaphore is made by the caller.  All else starts here. */
int server_start(struct server *server, struct weir_ctx *ctx, struct weir_error *err);

/* From any thread.  A ring whose share has a name; the server takes a reference. */
void server_add(struct server *server, struct ring *ring, struct share *share);
/* Something may have gone. */
void server_look(struct server *server);

/*
 * Takes nothing new, ends when what is under way has ended, at the latest at the deadline; joins the
 * thread.  False: requests are stuck, and what they touch must stay.  server_fini(): when its errands, too,
 * have ended.
 */
bool server_stop(struct server *server, int64_t deadline_ns);
void server_fini(struct server *server);

/* A ring over the share's memory, not served yet: 0 or an errno. */
int ring_create(struct share *share, const struct sys *sys, bool strict);

/* ---- Between the files named above ---- */

/* scan.c: claims and pushes; true: there was something to do. */
bool server_scan(struct server *server, int64_t now_ns);
void ring_kill(struct server *server, struct ring *ring);

/*
 * request.c: what a claim asks for, as an io ready to be pushed (false), or answered already (true), with
 * *result.  An io holds its use and its grip.
 */
bool claim_judge(struct server *server, struct ring *ring, const struct usrbio_claim *claim,
		 struct request *out, int64_t *result);

/* uses.c: NULL: none that this user may name. */
void use_done(struct server *server, struct use *use);
struct use *use_find(struct server *server, struct ring *ring, const uint8_t id[16]);
void uses_sweep(struct server *server); /* gives back what is gone and idle */
void uses_drop(struct server *server);  /* everything, at the end */
void uses_init(struct server *server);

/* grips.c: 0 or an errno, as files_find() has it; it may still be opening. */
int grip_find(struct server *server, struct ring *ring, uint64_t ino, struct grip **out);
void grip_done(struct server *server, struct grip *grip);
void grips_settle(struct server *server); /* those that errands have opened */
void grips_sweep(struct server *server);  /* gives back what is idle: it may have been closed */
void grips_drop(struct server *server);   /* everything, at the end */
void grips_init(struct server *server);

/* waiting.c: for a grip that is opening. */
void request_waits(struct server *server, struct request *request);
void waiting_go(struct server *server, struct grip *grip);  /* it is not any more */
void waiting_sweep(struct server *server);                  /* those of the dead are given up */
void waiting_expire(struct server *server, int64_t now_ns); /* and those that wait for too long */
void waiting_drop(struct server *server);                   /* and all of them */

/* gather.c */
void request_takes_off(struct server *server, struct request *request, int64_t now_ns);
void request_lands(struct server *server, struct request *request);
bool ring_is_patient(const struct ring *ring); /* much is under way, the next end is near */
bool ring_is_full(const struct server *server,
		  const struct ring *ring);            /* more would not be done sooner */
uint32_t server_together(const struct server *server); /* ends that the next wait may be for */
void server_gather(struct server *server);             /* before each wait */
void server_gathered(struct server *server, unsigned count, int64_t now_ns); /* and after it */

/* attend.c */
void ring_attend(struct server *server, struct ring *ring); /* something is under way, or was */
bool server_has_news(struct server *server);                /* of rings that are attended */
bool server_rests(
	void *server); /* before a sleep: none but full ones is attended any more; false: do not sleep */

/* finish.c */
void ring_answer(struct server *server, struct ring *ring, int32_t index, uint64_t userdata,
		 int64_t result);
void server_settle(struct server *server, struct weir_feed_io **ios, unsigned count);
void request_end(struct server *server, struct request *request, int64_t result);
void server_post(struct server *server);      /* all that were touched */
void server_post_soon(struct server *server); /* those whose last turn is next */
void server_post_due(struct server *server);  /* those that should not wait for more */
void server_post_shallow(
	struct server *server); /* nothing is to be done: those that get no more at once */

/* holes.c: the result of a read of a ring that forbids holes; and by an errand, where that may take long (true). */
int64_t hole_result(int fd, uint64_t offset, uint64_t length, int64_t result);
bool holes_ask(struct server *server, struct request *request);
void holes_settle(struct server *server);

static inline void count_up(_Atomic uint64_t *counter, uint64_t by)
{
	/* One thread writes: no locked instruction is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
			      memory_order_relaxed);
}

#endif
