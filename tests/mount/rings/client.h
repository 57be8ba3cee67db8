/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients for the tests of the ring server: memory of their own, io/usrbio's client end over it, the bell.
 *
 * Raw words of a ring are ring->end.view: hostile cases write there.
 */
#ifndef TESTS_MOUNT_RINGS_CLIENT_H
#define TESTS_MOUNT_RINGS_CLIENT_H

#include "io/usrbio/client.h"
#include "io/usrbio/key.h"
#include "io/usrbio/signal.h"
#include "rig.h"

/* Memory that is registered, as the client has it. */
struct shared {
	uid_t uid;
	struct usrbio_key key;
	char name[USRBIO_KEY_MAX];
	char *object; /* below the rig's directory */
	int fd;
	void *memory;
	uint64_t bytes;
};

struct ring_client {
	struct shared shared;
	struct usrbio_client end;
	struct usrbio_bell_file bell;
	uint32_t entries;
};

/* Registered, or the case fails. */
void iov_make(struct rig *rig, struct shared *iov, uid_t uid, uint64_t bytes, uint64_t block_bytes);
/* key: depth, direction, priority, timeout, flags. */
void ring_make(struct rig *rig, struct ring_client *ring, uid_t uid, uint32_t entries,
	       const struct usrbio_key *key);
/* The client's side only: unmaps, closes, removes the object. */
void shared_close(struct rig *rig, struct shared *shared);
void ring_close(struct rig *rig, struct ring_client *ring);

/* Maps what a shared without memory describes: makes object and memory, registers nothing. */
void shared_make(struct rig *rig, struct shared *shared, uid_t uid, uint64_t bytes);

struct ask {
	const struct shared *iov;
	uint64_t iov_offset, file, offset, length, userdata;
};

/* Queues it, whatever it asks for; the slot. */
int ring_ask(struct ring_client *ring, const struct ask *ask);
void ring_bell(struct ring_client *ring);

/* Waits up to ms for that many completions; returns how many came. */
int ring_reap(struct ring_client *ring, struct usrbio_cqe *out, int count, int ms);

/* One request alone: its result. */
int64_t ring_result(struct ring_client *ring, const struct ask *ask);

#define RESULT_NONE INT64_MIN

#endif
