/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io on io_uring, and the door behind which io_uring's own system calls stand: tests forbid them with a
 * seccomp filter instead of the table.
 *
 *	push --> submission queue --enter--> kernel --completion queue--> reap
 *	             again (EAGAIN, EINTR) <--after a pause------'
 *
 * Large requests go to the kernel one by one: a batch of neighbours is merged by the block layer into
 * fewer, larger requests and loses a tenth of the disk's rate.  Each goes when the next one comes, and
 * the last with the reap, whose system call hands it over and waits at once.  Small ones wait for
 * company until the batch is full or the next reap; so do some of those that are as large as requests
 * of disks become.
 *
 * The ring is made by any thread, switched off; the first push or reap switches it on and binds it to
 * its thread, so that completions are worked off where they are reaped and no other task is
 * interrupted.  A wake is an eventfd under a poll that stays armed; the poll writes to no memory.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "io/fd.h"
#include "io/ring.h"

/* From here on a request is a submission of its own, */
#define ALONE_BYTES (128u << 10)
/* and from here on not any more. */
#define WHOLE_BYTES (1u << 20)

/* How many wait for each other: small ones, and whole ones, which may wait for copies of cached ones. */
#define BATCH       16u
#define BATCH_WHOLE 4u

#define SQ_ENTRIES_MAX 256u
#define DEPTH_MAX      16384u

/* Pause before an operation that the kernel could not take is tried again. */
#define AGAIN_NS       (1 * NS_PER_MS)
/* How long destroy waits for operations that it cancelled. */
#define LINGER_NS      (100 * NS_PER_MS)
/* A shorter sleep has a timer of its own. */
#define TIMER_LEAST_NS (2 * NS_PER_MS)

/* Without these (Linux 5.13) the plain threads serve better. */
#define FEATURES_NEEDED (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_RSRC_TAGS)

enum place { /* op->scratch[0] */
	IN_KERNEL,
	WAITS_AGAIN,
};

/* ---- Entering the kernel ---- */

static void end_op(struct ring *ring, struct io_op *op, int result)
{
	op->result = result;
	list_remove(&op->link);
	list_push(&ring->ended, &op->link);
}

/* Nothing can be entered any more: what the kernel did not take ends with this error. */
static void break_ring(struct ring *ring, int os_errno)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	unsigned mask = *sq->kring_mask;

	ring->broken = os_errno;
	for (unsigned at = *sq->khead; at != sq->sqe_tail; at++) {
		uint64_t data = sq->sqes[at & mask].user_data;

		if (data > TAG_LAST)
			end_op(ring, (struct io_op *)(uintptr_t)data, -os_errno);
	}
	list_for_each_safe(link, &ring->again)
		end_op(ring, list_entry(link, struct io_op, link), -os_errno);
}

/* Whether an enter failed for good; those that may pass are left for the next one. */
static bool judge(struct ring *ring, int ret)
{
	ring->io.system_calls++;
	if (ret >= 0 || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY || ret == -ETIME ||
	    ret == -ENOMEM)
		return true;
	break_ring(ring, -ret);
	return false;
}

static bool work_waits(const struct ring *ring)
{
	unsigned flags = __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED);

	return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void ring_enter(struct ring *ring)
{
	if (ring->broken)
		return;
	judge(ring, work_waits(ring) ? io_uring_submit_and_get_events(&ring->uring)
				     : io_uring_submit(&ring->uring));
}

static void enter_if_needed(struct ring *ring)
{
	if (io_uring_sq_ready(&ring->uring) > 0 || work_waits(ring))
		ring_enter(ring);
}

struct io_uring_sqe *ring_take_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (sqe)
		return sqe;
	ring_enter(ring);
	return ring->broken ? NULL : io_uring_get_sqe(&ring->uring);
}

/* Once, on the thread that will drive the ring. */
static bool switch_on(struct ring *ring)
{
	int ret;

	if (likely(!ring->disabled))
		return !ring->broken;
	ring->disabled = false;
	ring->driver = pthread_self();
	/* liburing 2.3 forgot to export io_uring_enable_rings(). */
	ret = io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
				0);
	if (ret < 0)
		break_ring(ring, -ret);
	return ret >= 0;
}

/* ---- Operations ---- */

static void prepare(const struct ring *ring, struct io_uring_sqe *sqe, struct io_op *op)
{
	static const uint8_t codes[2][2] = {
		{IORING_OP_READ, IORING_OP_READ_FIXED},
		{IORING_OP_WRITE, IORING_OP_WRITE_FIXED},
	};
	int entry = ring_find_entry(ring, op);

	io_uring_prep_rw(codes[op->code == IO_WRITE][entry >= 0], sqe, op->fd, op->memory,
			 op->length, op->offset);
	sqe->buf_index = (uint16_t)max_of(entry, 0);
	io_uring_sqe_set_data(sqe, op);
}

static void try_later(struct ring *ring, struct io_op *op)
{
	if (list_empty(&ring->again))
		ring->again_ns = ring->io.sys->now_ns() + AGAIN_NS;
	op->scratch[0] = WAITS_AGAIN;
	list_remove(&op->link);
	list_push(&ring->again, &op->link);
}

static uint32_t batch_of(const struct io_op *op)
{
	if (op->length < ALONE_BYTES)
		return BATCH;
	return op->length < WHOLE_BYTES ? 1 : BATCH_WHOLE;
}

/* Whether what is prepared has to be handed over before this operation joins it. */
static bool must_go(const struct ring *ring, const struct io_op *op)
{
	unsigned waiting = io_uring_sq_ready(&ring->uring);

	return waiting > 0 && waiting >= min_of(ring->batch, batch_of(op));
}

static void issue(struct ring *ring, struct io_op *op)
{
	struct io_uring_sqe *sqe;

	if (must_go(ring, op))
		ring_enter(ring);
	sqe = ring_take_sqe(ring);
	if (unlikely(!sqe)) {
		if (ring->broken)
			end_op(ring, op, -ring->broken);
		else
			try_later(ring, op);
		return;
	}
	op->scratch[0] = IN_KERNEL;
	list_remove(&op->link);
	list_push(&ring->flying, &op->link);
	prepare(ring, sqe, op);
	ring->batch = batch_of(op);
}

static int ring_push(struct io *io, struct io_op *op)
{
	struct ring *ring = ring_of(io);

	if (ring->in_flight >= ring->depth)
		return WEIR_LIMIT;
	ring->in_flight++;
	list_init(&op->link);
	if (likely(switch_on(ring)))
		issue(ring, op);
	else
		end_op(ring, op, -ring->broken);
	return 0;
}

static void issue_again(struct ring *ring)
{
	struct list due;

	if (likely(list_empty(&ring->again)) || ring->io.sys->now_ns() < ring->again_ns)
		return;
	list_init(&due);
	list_for_each_safe(link, &ring->again) {
		list_remove(link);
		list_push(&due, link);
	}
	for (struct list *link = list_pop(&due); link; link = list_pop(&due))
		issue(ring, list_entry(link, struct io_op, link));
}

static void ring_cancel(struct io *io, struct io_op *op)
{
	struct ring *ring = ring_of(io);
	struct io_uring_sqe *sqe;

	if (op->scratch[0] == WAITS_AGAIN) {
		op->scratch[0] = IN_KERNEL;
		end_op(ring, op, -ECANCELED);
		return;
	}
	if (ring->broken)
		return;
	sqe = ring_take_sqe(ring);
	if (!sqe) /* no room even now: cancelling is a wish, and the operation ends without it */
		return;
	io_uring_prep_cancel(sqe, op, 0);
	io_uring_sqe_set_data64(sqe, TAG_NOTHING);
	ring_enter(ring);
}

/* ---- Completions ---- */

static unsigned hand_ended(struct ring *ring, struct io_op **out, unsigned max)
{
	unsigned count = 0;
	struct list *link;

	while (count < max && (link = list_pop(&ring->ended))) {
		out[count++] = list_entry(link, struct io_op, link);
		ring->in_flight--;
	}
	return count;
}

/* True where the completion is an operation's end, and that goes up. */
static bool take_cqe(struct ring *ring, const struct io_uring_cqe *cqe, struct io_op **out)
{
	struct io_op *op;

	if (cqe->user_data == TAG_WAKE && !(cqe->flags & IORING_CQE_F_MORE))
		ring->wake_armed = false;
	if (cqe->user_data == TAG_BELL)
		ring_bell_ended(ring, cqe->res);
	if (cqe->user_data == TAG_TIMER)
		ring->timer_armed = false;
	if (cqe->user_data <= TAG_LAST)
		return false;
	op = (struct io_op *)(uintptr_t)cqe->user_data;
	if (unlikely(cqe->res == -EAGAIN || cqe->res == -EINTR)) {
		try_later(ring, op);
		return false;
	}
	op->result = cqe->res;
	list_remove(&op->link);
	ring->in_flight--;
	*out = op;
	return true;
}

static unsigned harvest(struct ring *ring, struct io_op **out, unsigned max)
{
	unsigned count = hand_ended(ring, out, max), seen = 0, head;
	struct io_uring_cqe *cqe;

	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		if (count == max)
			break;
		seen++;
		count += take_cqe(ring, cqe, &out[count]);
	}
	io_uring_cq_advance(&ring->uring, seen);
	return count;
}

/* Edge-triggered and repeating, so nothing need be read and armed again for each wake. */
static void arm_wake(struct ring *ring)
{
	struct io_uring_sqe *sqe;

	if (likely(ring->wake_armed) || ring->broken)
		return;
	wake_drain(&ring->wake);
	sqe = ring_take_sqe(ring);
	if (!sqe)
		return;
	io_uring_prep_poll_multishot(sqe, ring->wake.fd, POLLIN);
	io_uring_sqe_set_data64(sqe, TAG_WAKE);
	ring->wake_armed = true;
}

/*
 * A timer of its own for each sleep would be set and taken back thousands of times a second, which
 * costs more than the sleep.  So one is left armed from sleep to sleep: it may end one too early, and is
 * armed anew then.  False: this sleep needs its own.
 */
static bool timer_ends(struct ring *ring, int64_t until_ns, int64_t left_ns)
{
	struct io_uring_sqe *sqe;

	if (until_ns == NEVER)
		return true;
	if (ring->timer_armed)
		return ring->timer_ns <= until_ns;
	if (left_ns < TIMER_LEAST_NS || !ring_make_room(ring, GATHER_MOST))
		return false;
	sqe = io_uring_get_sqe(&ring->uring);
	ring->timer_left = (struct __kernel_timespec){left_ns / NS_PER_SEC, left_ns % NS_PER_SEC};
	io_uring_prep_timeout(sqe, &ring->timer_left, 0, 0);
	io_uring_sqe_set_data64(sqe, TAG_TIMER);
	ring_add_company(ring, sqe, GATHER_MOST - 1);
	ring->timer_armed = true;
	ring->timer_ns = until_ns;
	return true;
}

static void sleep_until(struct ring *ring, int64_t until_ns, int64_t left_ns)
{
	struct __kernel_timespec left = {left_ns / NS_PER_SEC, left_ns % NS_PER_SEC};
	struct io_uring_cqe *cqe;
	bool timed;

	if (ring->broken) {
		ring->io.system_calls++;
		wake_wait(&ring->wake, left_ns);
		return;
	}
	timed = timer_ends(ring, until_ns, left_ns);
	judge(ring, io_uring_submit_and_wait_timeout(&ring->uring, &cqe, ring_gathers(ring),
						     timed ? NULL : &left, NULL));
}

/* False: the bell rang, and there was no waiting. */
static bool wait_for(struct ring *ring, int64_t until, int64_t left)
{
	if (left <= 0) {
		enter_if_needed(ring);
		return true;
	}
	if (likely(!ring->bell)) {
		sleep_until(ring, until, left);
		return true;
	}
	if (!ring_bell_wait(ring, &left)) {
		enter_if_needed(ring);
		return false;
	}
	sleep_until(ring, until, left);
	ring_bell_done(ring);
	return true;
}

/* The armed timer ends a sleep in time: it need not be known how long that is. */
static bool timer_suits(const struct ring *ring, int64_t until_ns)
{
	return ring->timer_armed && ring->timer_ns <= until_ns && !ring->bell && !ring->broken;
}

static unsigned ring_reap(struct io *io, struct io_op **out, unsigned max, int64_t deadline_ns)
{
	struct ring *ring = ring_of(io);
	unsigned count;

	switch_on(ring);
	issue_again(ring);
	arm_wake(ring);
	if (work_waits(ring))
		ring_enter(ring);
	for (;;) {
		int64_t until = deadline_ns, now_ns;
		bool last;

		count = harvest(ring, out, max);
		if (count > 0 || wake_take(&ring->wake)) {
			if (io_uring_sq_ready(&ring->uring) > 0)
				ring_enter(ring);
			return count;
		}
		if (!list_empty(&ring->again))
			until = min_of(until, ring->again_ns);
		now_ns = until == NEVER || until <= 0 || timer_suits(ring, until)
				 ? 0
				 : ring->io.sys->now_ns();
		last = deadline_ns != NEVER && now_ns >= deadline_ns;
		last |= !wait_for(ring, until, until == NEVER ? NEVER : until - now_ns);
		issue_again(ring);
		arm_wake(ring);
		if (last)
			return harvest(ring, out, max);
	}
}

static void ring_wake(struct io *io)
{
	wake_fire(&ring_of(io)->wake);
}

/* ---- Life ---- */

static void release(struct ring *ring)
{
	wake_fini(&ring->wake);
	free(ring->pins);
	free(ring);
}

/* Asks everything to end and works off what does; true where nothing is left. */
static bool settle(struct ring *ring)
{
	int64_t end = ring->io.sys->now_ns() + LINGER_NS;
	struct io_op *ops[16];

	if (ring->in_flight == 0)
		return true;
	if (ring->broken || (!ring->disabled && !pthread_equal(ring->driver, pthread_self())))
		return false;
	list_for_each_safe(link, &ring->again)
		ring_cancel(&ring->io, list_entry(link, struct io_op, link));
	list_for_each_safe(link, &ring->flying) {
		ring_cancel(&ring->io, list_entry(link, struct io_op, link));
		if (ring->broken) /* and the list is another one now */
			return false;
	}
	while (ring->in_flight > 0 && ring->io.sys->now_ns() < end)
		ring_reap(&ring->io, ops, array_size(ops), end);
	return ring->in_flight == 0;
}

static unsigned ring_destroy(struct io *io)
{
	struct ring *ring = ring_of(io);

	/* A forked child has the descriptor, but no ring memory and no business in it. */
	if (getpid() != ring->pid) {
		close(ring->uring.ring_fd);
		release(ring);
		return 0;
	}
	if (!settle(ring))
		return ring->in_flight;
	io_uring_queue_exit(&ring->uring);
	release(ring);
	return 0;
}

static const struct io_ops ring_ops = {
	.name = "io_uring",
	.destroy = ring_destroy,
	.register_memory = ring_register_memory,
	.pin = ring_pin,
	.unpin = ring_unpin,
	.listen = ring_listen,
	.gather = ring_gather,
	.push = ring_push,
	.reap = ring_reap,
	.wake = ring_wake,
	.cancel = ring_cancel,
};

/* From the best that the newest kernel has to what all have. */
static int set_up(struct ring *ring, unsigned sq_entries)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED,
		IORING_SETUP_R_DISABLED,
	};
	int ret = -EINVAL;

	for (unsigned i = 0; i < array_size(flags) && ret == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = 2 * ring->depth + 16,
		};

		ret = io_uring_queue_init_params(sq_entries, &ring->uring, &params);
		if (ret == 0 && (params.features & FEATURES_NEEDED) != FEATURES_NEEDED) {
			io_uring_queue_exit(&ring->uring);
			return -ENOSYS;
		}
	}
	return ret;
}

/* A filter may allow the set-up and forbid what follows: better to hear of it now than in a load. */
static int try_out(struct ring *ring)
{
	int ret = io_uring_enter((unsigned)ring->uring.ring_fd, 0, 0, 0, NULL);

	if (ret < 0 && ret != -EBADFD) /* what a ring says that is switched off */
		return ret;
	ret = io_uring_register_buffers_sparse(&ring->uring, RING_PIECES);
	ring->fixed = ret == 0;
	return ret == -EPERM || ret == -ENOSYS || ret == -EACCES ? ret : 0;
}

/* The ring's descriptor is kept above 2, and its memory from forked children. */
static int settle_in(struct ring *ring)
{
	int fd = fd_lift(ring->io.sys, ring->uring.ring_fd);

	if (fd < 0)
		return -errno;
	ring->uring.ring_fd = fd;
	ring->uring.enter_ring_fd = fd;
	io_uring_ring_dontfork(&ring->uring);
	return -wake_init(&ring->wake, ring->io.sys);
}

bool io_ring_possible(void)
{
	/* No set-up without parameters: EFAULT says that all but those would be fine. */
	return syscall(__NR_io_uring_setup, 1, NULL) < 0 && errno == EFAULT;
}

bool io_ring_deferred(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct io_uring uring;

	if (io_uring_queue_init_params(1, &uring, &params) < 0)
		return false;
	io_uring_queue_exit(&uring);
	return true;
}

static int refuse(struct ring *ring, int os_errno, const char *what, struct weir_error *err)
{
	release(ring);
	return error_sys(err, os_errno, NULL, "io_uring: %s", what);
}

int io_ring_create(const struct sys *sys, uint32_t depth, struct io **out, struct weir_error *err)
{
	struct ring *ring;
	int ret;

	if (depth == 0 || depth > DEPTH_MAX)
		return error_set(err, WEIR_ARG, NULL, "io_uring: a depth of %u", depth);
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return error_nomem(err, NULL, "io_uring");
	ring->io = (struct io){.ops = &ring_ops, .sys = sys};
	ring->depth = depth;
	ring->pid = getpid();
	ring->disabled = true;
	ring->wake.fd = -1;
	list_init(&ring->flying);
	list_init(&ring->again);
	list_init(&ring->ended);
	ret = set_up(ring, min_of(depth + 4, SQ_ENTRIES_MAX));
	if (ret < 0)
		return refuse(ring, -ret, "setting up the ring", err);
	ret = settle_in(ring);
	if (ret == 0)
		ret = try_out(ring);
	if (ret < 0) {
		io_uring_queue_exit(&ring->uring);
		return refuse(ring, -ret, "trying the ring", err);
	}
	*out = &ring->io;
	return 0;
}
