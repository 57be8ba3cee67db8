/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on files, on their way.
 *
 *	submit --cached bytes, copied at once-----------------> done --> reap
 *	      \--the rest: an operation of the lane's io --reap--^
 *
 * A lane moves bytes with io_uring or, where that is refused, with plain threads.  What is in the page
 * cache is copied inside submit by a read that does not wait; only what it did not find becomes an
 * operation.  A request that may go past the cache and cannot (its alignment, a file system that
 * changed its mind) goes through it: right bytes first.
 *
 * A simulated lane has neither ring nor threads: submit reads, and reap hands back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "io/io.h"
#include "source/file.h"

/* Plain threads: so many read at once; more requests than that wait in line, so none sleeps between. */
#define THREADS_MAX 8u

/* Completions taken from the io in one go. */
#define REAP_BATCH 64u

/* A request under way.  request->scratch[0] is its slot's address. */
struct slot {
	struct io_op op;
	struct request *request;
	uint32_t copied; /* bytes that came from the cache before the operation began */
	bool direct;
	struct list link; /* lane->free */
};

struct file_lane {
	struct source_lane lane;
	struct io *io; /* NULL: simulated */
	uint32_t depth, in_flight;
	struct list free;
	struct list done; /* requests that ended inside submit */
	uint64_t system_calls;
	struct slot slots[];
};

static struct file_lane *lane_of(struct source_lane *lane)
{
	return container_of(lane, struct file_lane, lane);
}

static const struct sys *lane_sys(const struct file_lane *lane)
{
	return lane->lane.source->env->sys;
}

/* ---- Ends ---- */

static void set_result(struct request *request, int64_t moved, int os_errno)
{
	request->result = os_errno ? error_class(os_errno) : moved;
	request->os_errno = os_errno;
}

/* Inside submit; the object is not held any more. */
static void end_now(struct file_lane *lane, struct request *request, int64_t moved, int os_errno)
{
	set_result(request, moved, os_errno);
	list_push(&lane->done, &request->link);
}

/* ---- Reading what is cached ---- */

/*
 * Copies what is there without waiting for what is not: bytes from the start of the request.  *end: the
 * read reached the end of the file.
 */
static uint32_t copy_cached(struct file_lane *lane, struct file_object *file,
			    const struct request *request, bool *end)
{
	struct iovec iov = {request->memory, request->length};
	bool telling = request->length >= FILE_TELLING_BYTES;
	int64_t start_ns;
	ssize_t got;

	*end = false;
	if (atomic_load_explicit(&file->nowait_off, memory_order_relaxed))
		return 0;
	start_ns = telling ? lane_sys(lane)->now_ns() : 0;
	got = lane_sys(lane)->preadv2(file->fd, &iov, 1, (off_t)request->offset, RWF_NOWAIT);
	lane->system_calls++;
	if (got < 0) {
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			atomic_store_explicit(&file->nowait_off, true, memory_order_relaxed);
		file_saw_miss(file);
		return 0;
	}
	*end = got == 0;
	if (telling)
		file_saw_copy(file_source_of(lane->lane.source), (uint64_t)got,
			      lane_sys(lane)->now_ns() - start_ns);
	return (uint32_t)got;
}

/* ---- Submitting ---- */

static bool fits_direct(const struct file_object *file, const struct request *request)
{
	uint64_t bits = request->offset | request->length;

	return file->direct_fd >= 0 &&
	       !atomic_load_explicit(&file->direct_off, memory_order_relaxed) &&
	       (bits & (file->object.offset_align - 1)) == 0 &&
	       ((uintptr_t)request->memory & (file->object.memory_align - 1)) == 0;
}

/* Small reads say nothing of how fast the disk is. */
static bool tells_of_disk(const struct slot *slot)
{
	return slot->direct && slot->op.code == IO_READ && slot->op.length >= FILE_TELLING_BYTES;
}

static void push(struct file_lane *lane, struct slot *slot)
{
	struct file_object *file = file_object_of(slot->request->object);
	int ret;

	slot->op.fd = slot->direct ? file->direct_fd : file->fd;
	if (tells_of_disk(slot))
		file_disk_starts(file_source_of(lane->lane.source));
	ret = lane->io->ops->push(lane->io, &slot->op);
	/* The io is as deep as the lane, and each of its operations has a slot of the lane. */
	if (unlikely(ret != 0))
		abort();
}

static void start(struct file_lane *lane, struct request *request, uint32_t copied)
{
	struct slot *slot = list_entry(list_pop(&lane->free), struct slot, link);

	slot->request = request;
	slot->copied = copied;
	slot->direct = request->way == WAY_DIRECT &&
		       fits_direct(file_object_of(request->object), request);
	slot->op.code = request->op == REQUEST_WRITE ? IO_WRITE : IO_READ;
	slot->op.memory = (char *)request->memory + copied;
	slot->op.offset = request->offset + copied;
	slot->op.length = request->length - copied;
	slot->op.pin = request->pin;
	request->scratch[0] = (uintptr_t)slot;
	push(lane, slot);
}

/* One thread drives everything and the clock may be a made-up one: the file is read here and now. */
static void run_now(struct file_lane *lane, struct request *request)
{
	struct file_object *file = file_object_of(request->object);
	const struct sys *sys = lane_sys(lane);
	ssize_t moved;
	int os_errno;

	do {
		moved = request->op == REQUEST_WRITE
				? sys->pwrite(file->fd, request->memory, request->length,
					      (off_t)request->offset)
				: sys->pread(file->fd, request->memory, request->length,
					     (off_t)request->offset);
		lane->system_calls++;
	} while (moved < 0 && (errno == EINTR || errno == EAGAIN));
	os_errno = errno;
	file_drop(file);
	end_now(lane, request, moved, moved < 0 ? os_errno : 0);
}

static void submit_buffered(struct file_lane *lane, struct request *request)
{
	struct file_object *file = file_object_of(request->object);
	uint32_t copied;
	bool end;

	copied = copy_cached(lane, file, request, &end);
	if (end || copied == request->length) {
		file_drop(file);
		end_now(lane, request, copied, 0);
		return;
	}
	start(lane, request, copied);
}

/* The object is held from here to the end of the request. */
static void submit_held(struct file_lane *lane, struct request *request)
{
	if (!lane->io)
		run_now(lane, request);
	else if (request->op == REQUEST_READ && request->way == WAY_BUFFERED)
		submit_buffered(lane, request);
	else
		start(lane, request, 0);
}

int file_submit(struct source_lane *base, struct request *request)
{
	struct file_lane *lane = lane_of(base);
	int ret = EINVAL;

	if (lane->in_flight >= lane->depth)
		return WEIR_LIMIT;
	lane->in_flight++;
	request->scratch[0] = 0;
	if (request->length <= REQUEST_MAX &&
	    size_inside(request->offset, request->length, INT64_MAX))
		ret = file_hold(file_object_of(request->object));
	if (ret)
		end_now(lane, request, 0, ret);
	else
		submit_held(lane, request);
	return 0;
}

/* ---- Reaping ---- */

/*
 * A file system may take O_DIRECT at open and refuse the reads.  True where the request goes through the
 * page cache instead, as all that follow.
 */
static bool turn_buffered(struct file_lane *lane, struct slot *slot)
{
	struct file_object *file = file_object_of(slot->request->object);

	if (!slot->direct || slot->op.result != -EINVAL || file->direct == WEIR_DIRECT_ON)
		return false;
	if (!atomic_exchange_explicit(&file->direct_off, true, memory_order_relaxed))
		log_info(lane->lane.source->env->log,
			 "%s: goes through the page cache: direct requests are refused",
			 file->object.uri);
	slot->direct = false;
	push(lane, slot);
	return true;
}

/* True where the request has ended. */
static bool finish(struct file_lane *lane, struct slot *slot)
{
	int result = slot->op.result;

	if (tells_of_disk(slot))
		file_disk_ends(file_source_of(lane->lane.source),
			       result > 0 ? (uint64_t)result : 0);
	if (unlikely(result < 0) && turn_buffered(lane, slot))
		return false;
	/* What was copied before the failure counts; whoever asks for the rest hears of it. */
	if (result < 0 && slot->copied > 0)
		result = 0;
	set_result(slot->request, (int64_t)slot->copied + result, result < 0 ? -result : 0);
	slot->request->scratch[0] = 0;
	file_drop(file_object_of(slot->request->object));
	list_push(&lane->free, &slot->link);
	return true;
}

static unsigned hand_done(struct file_lane *lane, struct request **out, unsigned max)
{
	unsigned count = 0;
	struct list *link;

	while (count < max && (link = list_pop(&lane->done)))
		out[count++] = list_entry(link, struct request, link);
	return count;
}

static unsigned reap_io(struct file_lane *lane, struct request **out, unsigned max,
			int64_t deadline_ns)
{
	not_zeroed struct io_op *ops[REAP_BATCH];
	unsigned count = 0, got;

	do {
		got = lane->io->ops->reap(lane->io, ops, min_of(max, REAP_BATCH), deadline_ns);
		for (unsigned i = 0; i < got; i++) {
			struct slot *slot = container_of(ops[i], struct slot, op);
			struct request *request = slot->request;

			if (finish(lane, slot))
				out[count++] = request;
		}
	} while (got > 0 && count == 0);
	return count;
}

unsigned file_reap(struct source_lane *base, struct request **out, unsigned max,
		   int64_t deadline_ns)
{
	struct file_lane *lane = lane_of(base);
	unsigned count = 0;

	/* The io first, at any time: copies that go on and on would keep what it has ended, and was given. */
	if (lane->io)
		count = reap_io(lane, out, max, list_empty(&lane->done) ? deadline_ns : 0);
	count += hand_done(lane, out + count, max - count);
	lane->in_flight -= count;
	return count;
}

void file_wake(struct source_lane *base)
{
	struct file_lane *lane = lane_of(base);

	if (lane->io)
		lane->io->ops->wake(lane->io);
}

void file_cancel(struct source_lane *base, struct request *request)
{
	struct file_lane *lane = lane_of(base);
	struct slot *slot = (struct slot *)(uintptr_t)request->scratch[0];

	if (slot)
		lane->io->ops->cancel(lane->io, &slot->op);
}

int64_t file_next_ns(struct source_lane *base)
{
	const struct file_lane *lane = lane_of(base);

	return list_empty(&lane->done) ? NEVER : lane_sys(lane)->now_ns();
}

uint64_t file_system_calls(const struct source_lane *base)
{
	const struct file_lane *lane = container_of(base, struct file_lane, lane);

	return lane->system_calls + (lane->io ? lane->io->system_calls : 0);
}

/* ---- Life ---- */

void file_lane_register(struct source_lane *base, void *memory, uint64_t bytes)
{
	struct file_lane *lane = lane_of(base);

	if (lane->io)
		lane->io->ops->register_memory(lane->io, memory, bytes);
}

uint32_t file_lane_pin(struct source_lane *base, void *memory, uint64_t bytes)
{
	struct file_lane *lane = lane_of(base);

	return lane->io && lane->io->ops->pin ? lane->io->ops->pin(lane->io, memory, bytes) : 0;
}

void file_lane_unpin(struct source_lane *base, uint32_t pin)
{
	struct file_lane *lane = lane_of(base);

	lane->io->ops->unpin(lane->io, pin);
}

bool file_lane_listen(struct source_lane *base, const struct bell *bell)
{
	struct file_lane *lane = lane_of(base);

	return lane->io && lane->io->ops->listen && lane->io->ops->listen(lane->io, bell);
}

void file_lane_gather(struct source_lane *base, uint32_t least)
{
	struct file_lane *lane = lane_of(base);

	if (lane->io && lane->io->ops->gather)
		lane->io->ops->gather(lane->io, least);
}

/* The first lane that does without a ring says so. */
static int create_io(struct file_source *source, uint32_t depth, struct io **out,
		     struct weir_error *err)
{
	const struct source_env *env = source->source.env;
	struct weir_error why = WEIR_ERROR_INIT;

	if (io_ring_create(env->sys, depth, out, &why) == 0)
		return 0;
	if (!atomic_exchange_explicit(&source->ring_refused, true, memory_order_relaxed))
		log_info(env->log, "files are read by plain threads: %s", why.message);
	return io_threads_create(env->sys, depth, min_of(depth, THREADS_MAX), out, err);
}

int file_lane_create(struct source *base, const struct lane_how *how, struct source_lane **out,
		     struct weir_error *err)
{
	struct file_source *source = file_source_of(base);
	struct file_lane *lane;
	uint64_t bytes;
	int ret = 0;

	if (how->depth == 0 || !size_mul(how->depth, sizeof(struct slot), &bytes) ||
	    !size_add(bytes, sizeof(*lane), &bytes))
		return error_set(err, WEIR_ARG, NULL, "a lane of depth %u", how->depth);
	lane = calloc(1, bytes);
	if (!lane)
		return error_nomem(err, NULL, "a lane for files");
	lane->lane = (struct source_lane){.source = base, .simulated = how->simulated};
	lane->depth = how->depth;
	list_init(&lane->free);
	list_init(&lane->done);
	for (uint32_t i = 0; i < how->depth; i++)
		list_push(&lane->free, &lane->slots[i].link);
	if (!how->simulated)
		ret = create_io(source, how->depth, &lane->io, err);
	if (ret) {
		free(lane);
		return ret;
	}
	atomic_fetch_add_explicit(&source->lanes, 1, memory_order_relaxed);
	*out = &lane->lane;
	return 0;
}

void file_lane_destroy(struct source_lane *base)
{
	struct file_lane *lane = lane_of(base);
	unsigned stuck = 0;

	atomic_fetch_sub_explicit(&file_source_of(base->source)->lanes, 1, memory_order_relaxed);
	if (lane->io)
		stuck = lane->io->ops->destroy(lane->io);
	if (stuck > 0) {
		/* The slots are what the operations point to: they stay. */
		log_warn(base->source->env->log,
			 "%u requests on files do not end; what they need is left behind", stuck);
		return;
	}
	free(lane);
}
