/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Semaphores in shared memory, as glibc (2.21 and later, 64 bits) lays them out, so that either side may
 * use libc's functions on them: a value, and beside it how many wait.
 *
 * Ours wait on the monotonic clock, and may be asked to do it for a slice.  A semaphore is a hint: it
 * says "look at the ring", never what is in it, so that a peer who posts too much, too little or
 * garbage costs a look or some latency.  No function here reads a word twice, and none loops for as
 * long as a peer likes.
 */
#ifndef IO_USRBIO_SIGNAL_H
#define IO_USRBIO_SIGNAL_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "io/usrbio/key.h"
#include "io/usrbio/layout.h"
#include "weir/error.h"

/* Value 0, nobody waits, between processes. */
void usrbio_sem_init(struct usrbio_sem *sem);

/* One more, and a wake where somebody waits.  A full one stays as it is. */
void usrbio_sem_post(const struct sys *sys, struct usrbio_sem *sem);

/* Takes all of the value; returns what it was. */
uint32_t usrbio_sem_drain(struct usrbio_sem *sem);

/* Takes one, waiting until the deadline (monotonic; NEVER): 0, or -ETIMEDOUT.  May return 0 early. */
must_use int usrbio_sem_wait(const struct sys *sys, struct usrbio_sem *sem, int64_t deadline_ns);

static inline uint32_t usrbio_sem_waiters(const struct usrbio_sem *sem)
{
	return (uint32_t)(atomic_load_explicit(&sem->data, memory_order_relaxed) >> 32);
}

/* The word that waiters sleep on (the low half of data), for who waits on several at once. */
static inline uint32_t *usrbio_sem_word(struct usrbio_sem *sem)
{
	return (uint32_t *)(void *)&sem->data;
}

/* ---- Submit semaphores: named ones, mapped from /dev/shm ---- */

struct usrbio_bell_file {
	struct usrbio_sem *sem; /* mapped; NULL: closed */
	char name[64];          /* below /dev/shm: "sem.hf3fs-submit-ios.<uuid>" */
};

/* The server: a new one with a random name and mode 0666, in the directory (/dev/shm) of that descriptor. */
must_use int usrbio_bell_create(const struct sys *sys, int shm_dir, struct usrbio_bell_file *out,
				struct weir_error *err);

/* The client: the one that a link points to.  Targets other than /dev/shm/sem.<name> are PROTO. */
must_use int usrbio_bell_open(const struct sys *sys, int shm_dir, const char *target,
			      struct usrbio_bell_file *out, struct weir_error *err);

/*
 * The client's post.  Whoever may post may cut the file off, and a touch of what was cut off would end this
 * process; so the kernel adds and wakes, in one call, and -EFAULT is what comes of it then.
 */
int usrbio_bell_ring(const struct sys *sys, struct usrbio_sem *sem);

/* Unmaps it; the name stays. */
void usrbio_bell_close(const struct sys *sys, struct usrbio_bell_file *bell);

/* Removes the name. */
void usrbio_bell_unlink(const struct sys *sys, int shm_dir, const struct usrbio_bell_file *bell);

#endif
