/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of one ring: claiming requests and publishing what became of them.
 *
 * The memory is the client's, who may change or truncate it at any moment.  sq_tail and cq_head are kept
 * privately and only written out; each word and record of the client is read once, into memory of the
 * caller's; every touch is guarded (guard.h).  A client that breaks the rules has its ring marked
 * dead, and nothing else happens: from then on every call here answers at once and touches nothing.
 *
 * One thread at a time.  Nothing here blocks.
 */
#ifndef IO_USRBIO_SERVER_H
#define IO_USRBIO_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "io/usrbio/layout.h"

/* One request, as it stood when it was claimed. */
struct usrbio_claim {
	struct usrbio_args args;
	int32_t index; /* as the client wrote it: echoed */
	int32_t error; /* 0; -EINVAL: the index is none, and args are zero: complete it with that */
	uint64_t userdata;
};

struct usrbio_server {
	const struct sys *sys;
	struct usrbio_view view;
	void *memory;
	uint64_t bytes;
	int32_t entries;              /* n */
	int32_t sq_tail;              /* claimed up to here */
	int32_t cq_head;              /* published up to here */
	int32_t cq_tail;              /* as last seen, checked */
	int32_t unfinished;           /* claimed and not completed */
	int32_t seen_head, seen_tail; /* the client's two markers, as last looked at */
	bool marks;                   /* the client reads the mark, */
	bool awake;                   /* and we said there that we are */
	int dead;        /* 0; -EPROTO: rules were broken; -EFAULT: the memory went away */
	const char *why; /* what was broken, for the log */
};

/*
 * A ring over the mapped object of that size: its markers are zeroed as far as they are ours, its
 * semaphore is initialised.  0; -EINVAL: not a ring, or more than USRBIO_ENTRIES_MAX; -EFAULT.
 */
must_use int usrbio_server_init(struct usrbio_server *server, const struct sys *sys, void *memory,
				uint64_t bytes);

/* How many requests wait to be claimed, as the client's head has it; -EPROTO, -EFAULT: dead. */
must_use int usrbio_server_available(struct usrbio_server *server);

/*
 * How many of them may be claimed now: fewer where completions were not collected.  Claims up to max in
 * order, releases their places, and returns how many; -EPROTO, -EFAULT: dead.
 */
must_use int usrbio_server_claim(struct usrbio_server *server, struct usrbio_claim *out,
				 unsigned max);

/* Publishes the completion of one claimed request.  0, or why the ring is dead; it is finished then too. */
int usrbio_server_complete(struct usrbio_server *server, int32_t index, uint64_t userdata,
			   int64_t result);

/*
 * Tells the client that it need not post: from now on it is for us to look, until usrbio_server_rests().
 * False: it does not read that, or the ring is dead.
 */
bool usrbio_server_attends(struct usrbio_server *server);

/*
 * The client has to post again.  True: it did something since the last available() or claim() here,
 * of which nobody was told maybe; to be asked before each sleep of a server that attends.
 */
must_use bool usrbio_server_rests(struct usrbio_server *server);

/* The same question, while it still need not post. */
must_use bool usrbio_server_news(struct usrbio_server *server);

/*
 * Posts the completion semaphore: once for each run of completions.  False: it did not, for the
 * client sleeps for more than there are, and more are to come.
 */
bool usrbio_server_post(struct usrbio_server *server);

/* How many threads of the client wait for completions, as the semaphore has it: a hint. */
must_use uint32_t usrbio_server_waiters(struct usrbio_server *server);

#endif
