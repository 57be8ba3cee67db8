/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioring.wait: what became of requests.
 *
 * It sleeps in slices.  Between two of them the interpreter runs its signal handlers, so that Ctrl-C ends a
 * wait, and a ring that was destroyed meanwhile is noticed.  What had been collected when a wait fails
 * is kept for the next one.
 */
#include <errno.h>
#include <math.h>
#include <time.h>

#include "python/ring/ring.h"

#define NS_PER_SEC 1000000000LL
#define SLICE_NS   (100 * 1000000LL)
#define SILENCE_NS (60 * NS_PER_SEC)
#define NEVER      INT64_MAX
#define AT_ONCE    64 /* completions taken from the library in one call */

struct waiting {
	struct ioring_object *ring;
	struct link got; /* ours, to be handed out */
	int count;       /* how many are in there */
	int max, min;
	int64_t deadline_ns;
	int64_t quiet_since; /* the last news, or the last time that nothing was under way */
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Seconds, or a timedelta; None: no deadline.  0, or -1 with an exception. */
static int deadline_of(PyObject *timeout, int64_t *deadline_ns)
{
	PyObject *seconds;
	double value;

	*deadline_ns = NEVER;
	if (timeout == Py_None)
		return 0;
	seconds = PyObject_HasAttrString(timeout, "total_seconds")
			  ? PyObject_CallMethod(timeout, "total_seconds", NULL)
			  : Py_NewRef(timeout);
	if (!seconds)
		return -1;
	value = PyFloat_AsDouble(seconds);
	Py_DECREF(seconds);
	if (PyErr_Occurred())
		return -1;
	if (isnan(value)) {
		PyErr_SetString(PyExc_ValueError, "a timeout that is not a number");
		return -1;
	}
	if (value < 1e9)
		*deadline_ns = now_ns() + (value > 0 ? (int64_t)(value * 1e9) : 0);
	return 0;
}

/* When this call of the library ends at the latest, on its clock: at once, or after a slice. */
static struct timespec end_of_slice(const struct waiting *waiting)
{
	int64_t left = waiting->deadline_ns - now_ns();
	int64_t until = clock_ns(CLOCK_REALTIME);

	if (waiting->count < waiting->min && left > 0)
		until += left < SLICE_NS ? left : SLICE_NS;
	return (struct timespec){.tv_sec = until / NS_PER_SEC, .tv_nsec = until % NS_PER_SEC};
}

/* Takes what the library has: how many, or a negative errno. */
static int take(const struct waiting *waiting, struct hf3fs_cqe *cqes)
{
	struct ioring_object *ring = waiting->ring;
	int room = waiting->max - waiting->count, wanted = waiting->min - waiting->count;
	struct timespec until = end_of_slice(waiting);
	int ret = 0;

	room = room < AT_ONCE ? room : AT_ONCE;
	Py_BEGIN_ALLOW_THREADS
	if (pthread_mutex_timedlock(&ring->waiting, &until) == 0) {
		ret = hf3fs_wait_for_ios(&ring->ior, cqes, room, wanted, &until);
		pthread_mutex_unlock(&ring->waiting);
	}
	Py_END_ALLOW_THREADS
	return ret;
}

static int collect(struct waiting *waiting)
{
	struct ioring_object *ring = waiting->ring;
	struct hf3fs_cqe cqes[AT_ONCE];
	int count;

	if (ring->closed)
		return -ECANCELED;
	count = take(waiting, cqes);
	for (int i = 0; i < count; i++) {
		struct request *request = (struct request *)cqes[i].userdata;

		request->result = cqes[i].result;
		link_remove(&request->link);
		link_push(&waiting->got, &request->link);
		ring->airborne--;
	}
	if (count > 0)
		waiting->count += count;
	return count;
}

/* Nothing came: 1, that is the answer; 0, look again; or a negative errno. */
static int reason_to_stop(struct waiting *waiting)
{
	int64_t now = now_ns();

	if (waiting->count >= waiting->min || now >= waiting->deadline_ns)
		return 1;
	if (!waiting->ring->airborne)
		waiting->quiet_since = now;
	if (waiting->deadline_ns == NEVER && now - waiting->quiet_since >= SILENCE_NS)
		return -ETIMEDOUT;
	return 0;
}

/* 0, or -1 with an exception, and then what was collected is still in the list. */
static int wait_for(struct waiting *waiting)
{
	while (waiting->count < waiting->max) {
		int stop = 0, got = collect(waiting);

		if (got > 0)
			waiting->quiet_since = now_ns();
		else
			stop = got < 0 ? got : reason_to_stop(waiting);
		if (stop < 0 && !waiting->count) {
			raise_errno(-stop, NULL);
			return -1;
		}
		if (stop)
			return 0; /* an error comes again; results do not */
		if (PyErr_CheckSignals() < 0)
			return -1;
	}
	return 0;
}

/* What a wait before this one collected and could not hand out. */
static void take_left_over(struct waiting *waiting)
{
	while (waiting->count < waiting->max) {
		struct link *link = link_pop(&waiting->ring->done);

		if (!link)
			break;
		link_push(&waiting->got, link);
		waiting->count++;
	}
}

static void put_back(struct waiting *waiting)
{
	for (struct link *link; (link = link_pop(&waiting->got));)
		link_push(&waiting->ring->done, link);
}

static PyObject *hand_out(struct waiting *waiting)
{
	PyObject *list = PyList_New(waiting->count);

	for (Py_ssize_t i = 0; list && i < waiting->count; i++) {
		struct request *request = (struct request *)link_pop(&waiting->got);
		struct request taken = *request;

		PyMem_Free(request);
		iovec_settle(taken.iovec, taken.result, taken.userdata);
		PyList_SetItem(list, i, (PyObject *)taken.iovec);
	}
	return list;
}

PyObject *ioring_wait(PyObject *self, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"max_results", "min_results", "timeout", NULL};
	struct waiting waiting = {.ring = (struct ioring_object *)(void *)self};
	PyObject *timeout = Py_None, *list = NULL;

	if (!parse(args, kwds, "|$iiO:wait", names, &waiting.max, &waiting.min, &timeout))
		return NULL;
	if (deadline_of(timeout, &waiting.deadline_ns) < 0 || !ioring_enter(waiting.ring))
		return NULL;
	if (waiting.max < waiting.min)
		waiting.max = waiting.min;
	if (waiting.max < 1)
		waiting.max = 1;
	waiting.quiet_since = now_ns();
	link_init(&waiting.got);
	take_left_over(&waiting);
	if (wait_for(&waiting) == 0)
		list = hand_out(&waiting);
	if (!list)
		put_back(&waiting);
	ioring_leave(waiting.ring);
	return list;
}
