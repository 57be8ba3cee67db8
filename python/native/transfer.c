/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers: a plan under way.
 *
 * A transfer that nobody finished is finished when its object goes.  Where its memory may still be
 * written even then, the transfer is abandoned to its context and what the destinations need is left
 * behind for good: better lost than written to by a request that wakes up later.
 */
#include <time.h>

#include "flight.h"

/* How long an object that goes waits for its requests to come back. */
#define PARTING_NS 2000000000

/* The library's limit for a transfer without progress; what it watches itself it ends by then. */
#define STALL_NS 60000000000
#define GRACE_NS 500000000

/* ---- Starting ---- */

/* What the plan kept alive is the transfer's from here on. */
static struct native_transfer *transfer_new(struct native_state *state, struct native_plan *plan,
					    struct native_queue *queue)
{
	struct native_transfer *self = PyObject_New(struct native_transfer, state->transfer_type);

	if (!self)
		return NULL;
	self->context = (struct native_context *)Py_NewRef((PyObject *)plan->context);
	self->queue = (struct native_queue *)Py_XNewRef((PyObject *)queue);
	self->stall_ns = STALL_NS;
	self->transfer = NULL;
	self->next = self->beside = NULL;
	self->batches = plan->batch;
	self->models = plan->models;
	self->busy = 0;
	self->ending = false;
	self->lent = false;
	plan->plan = NULL;
	plan->batch = NULL;
	plan->models = NULL;
	return self;
}

static void give_back(struct native_transfer *self, struct native_plan *plan,
		      struct weir_plan *taken)
{
	plan->plan = taken;
	plan->batch = self->batches;
	plan->models = self->models;
	self->batches = NULL;
	self->models = NULL;
}

static void post_to(struct native_transfer *self, struct native_queue *queue)
{
	if (!queue)
		return;
	self->next = queue->transfers;
	queue->transfers = self;
}

/* From here on completions of it that are taken out of the queue are dropped. */
static void post_no_more(struct native_transfer *self)
{
	struct native_transfer **at;

	if (!self->queue)
		return;
	for (at = &self->queue->transfers; *at; at = &(*at)->next)
		if (*at == self) {
			*at = self->next;
			break;
		}
}

/* The context's list of what runs: at the end of the interpreter they are ended. */
static void run_in(struct native_transfer *self)
{
	self->beside = self->context->transfers;
	self->context->transfers = self;
}

static void run_no_more(struct native_transfer *self)
{
	struct native_transfer **at = &self->context->transfers;

	while (*at && *at != self)
		at = &(*at)->beside;
	if (*at)
		*at = self->beside;
}

/* Another thread may see the first completions before this returns: all is in place by then. */
static PyObject *start(struct native_state *state, struct native_plan *plan,
		       struct native_queue *queue, const struct weir_transfer_opts *opts)
{
	struct weir_plan *taken = plan->plan;
	struct native_transfer *self = transfer_new(state, plan, queue);
	struct weir_error err = WEIR_ERROR_INIT;
	int ret;

	if (!self)
		return NULL;
	if (opts->stall_ns != 0)
		self->stall_ns = opts->stall_ns;
	post_to(self, queue);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_transfer_start(taken, queue ? queue->queue : NULL, opts, &self->transfer, &err);
	Py_END_ALLOW_THREADS
	if (ret == 0) {
		run_in(self);
		return (PyObject *)self;
	}
	post_no_more(self);
	self->transfer = NULL;
	give_back(self, plan, taken);
	Py_DECREF((PyObject *)self);
	return native_raise(state, &err);
}

static struct native_queue *queue_of(struct native_state *state, PyObject *queue, bool *fine)
{
	*fine = true;
	if (!queue || queue == Py_None)
		return NULL;
	*fine = Py_IS_TYPE(queue, state->queue_type);
	if (!*fine)
		PyErr_SetString(PyExc_TypeError, "queue is a weir Queue, or None");
	return (struct native_queue *)queue;
}

PyObject *native_start(PyObject *object, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"queue",  "budget", "timeout",    "stall", "guarded",
					    "at_end", "live",   "on_release", "open",  NULL};
	struct native_state *state = native_state_of(object);
	struct weir_transfer_opts opts = {.size = sizeof(opts)};
	int guarded = 0, at_end = 0, live = 0, on_release = 0, open = 0;
	PyObject *asked = NULL, *timeout = NULL, *stall = NULL;
	struct native_queue *queue;
	struct native_plan *plan;
	PyObject *transfer;
	bool fine;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OO&OOppppp", (char **)names, &asked,
					 native_take_u64, &opts.budget_bytes, &timeout, &stall,
					 &guarded, &at_end, &live, &on_release, &open) ||
	    !native_seconds(timeout, 0, &opts.timeout_ns) ||
	    !native_seconds(stall, 0, &opts.stall_ns))
		return NULL;
	opts.flags = (guarded ? WEIR_TRANSFER_GUARDED : 0u) | (at_end ? WEIR_TRANSFER_AT_END : 0u) |
		     (live ? WEIR_TRANSFER_LIVE : 0u) |
		     (on_release ? WEIR_TRANSFER_ON_RELEASE : 0u) |
		     (open ? WEIR_TRANSFER_OPEN : 0u);
	queue = queue_of(state, asked, &fine);
	plan = fine ? native_plan_of(state, object) : NULL;
	if (!plan || !native_enter(plan->context))
		return NULL;
	transfer = start(state, plan, queue, &opts);
	native_leave(plan->context);
	return transfer;
}

/* ---- Calls on one that runs ---- */

/* Every call without the interpreter's lock stands between these two. */
static struct native_transfer *enter(PyObject *object)
{
	struct native_transfer *self = (struct native_transfer *)object;

	if (self->transfer && !self->ending) {
		self->busy++;
		native_stay(self->context);
		return self;
	}
	native_raise_code(native_state_of(object), WEIR_CLOSED, "this transfer was finished");
	return NULL;
}

static void leave(struct native_transfer *self)
{
	native_leave(self->context);
	self->busy--;
}

/*
 * Waiting in slices never exhausts the library's own patience, which counts from the start of a wait.
 * So it is counted here: true while bytes move, or did within the transfer's limit.
 */
struct patience {
	uint64_t done_bytes;
	int64_t since_ns;
};

static bool patient(struct native_transfer *self, struct patience *patience)
{
	uint64_t done = 0, total;
	int64_t now_ns = native_now_ns();

	weir_transfer_progress(self->transfer, &done, &total);
	if (patience->since_ns == 0 || done != patience->done_bytes) {
		patience->done_bytes = done;
		patience->since_ns = now_ns;
	}
	return self->stall_ns < 0 || now_ns - patience->since_ns < self->stall_ns + GRACE_NS;
}

static PyObject *transfer_wait(PyObject *object, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"max", "timeout", NULL};
	struct native_state *state = native_state_of(object);
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_done done[NATIVE_DONE_MAX];
	uint32_t max = NATIVE_DONE_MAX;
	struct native_transfer *self;
	struct patience patience = {0, 0};
	struct native_slices slices;
	PyObject *timeout = NULL, *list = NULL;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O&O", (char **)names, native_take_u32,
					 &max, &timeout) ||
	    !native_slices_begin(&slices, timeout) || !(self = enter(object)))
		return NULL;
	max = max < NATIVE_DONE_MAX ? max : NATIVE_DONE_MAX;
	do {
		Py_BEGIN_ALLOW_THREADS
		ret = weir_transfer_wait(self->transfer, done, max, native_slice(&slices), &err);
		Py_END_ALLOW_THREADS
	} while (ret == WEIR_TIMEOUT && !self->ending && patient(self, &patience) &&
		 native_slices_next(&slices));
	if (ret >= 0)
		list = native_dones(state, &self, done, ret);
	else if (ret == WEIR_TIMEOUT && self->context->ending)
		native_raise_ending(self->context);
	else if (!PyErr_Occurred())
		native_raise(state, &err);
	leave(self);
	return list;
}

/* Before the plan goes to the library: completions may come, on another thread, while it does. */
static void take_over(struct native_transfer *self, struct native_plan *plan)
{
	plan->plan = NULL;
	plan->batch->next = self->batches;
	self->batches = plan->batch;
	plan->batch = NULL;
	/* Where there is no room in the list, its models stay open for ever, and no harm is done. */
	if (PyList_SetSlice(self->models, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, plan->models) < 0)
		PyErr_Clear();
	Py_CLEAR(plan->models);
}

static PyObject *transfer_append(PyObject *object, PyObject *argument)
{
	struct native_state *state = native_state_of(object);
	struct native_plan *plan = native_plan_of(state, argument);
	struct native_transfer *self = plan ? enter(object) : NULL;
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_plan *taken;
	struct batch *batch;
	int ret;

	if (!self)
		return NULL;
	taken = plan->plan;
	batch = plan->batch;
	take_over(self, plan);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_transfer_append(self->transfer, taken, &err);
	Py_END_ALLOW_THREADS
	leave(self);
	if (ret == 0)
		Py_RETURN_NONE;
	weir_plan_destroy(taken);
	for (uint32_t i = 0; i < batch->count; i++)
		batch_let_go(batch, &batch->places[i]);
	return native_raise(state, &err);
}

static PyObject *transfer_end(PyObject *object, PyObject *none)
{
	struct native_transfer *self = enter(object);

	(void)none;
	if (!self)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	weir_transfer_end(self->transfer);
	Py_END_ALLOW_THREADS
	leave(self);
	Py_RETURN_NONE;
}

static PyObject *transfer_cancel(PyObject *object, PyObject *none)
{
	struct native_transfer *self = (struct native_transfer *)object;

	(void)none;
	if (self->transfer && !self->ending) {
		self->busy++;
		native_stay(self->context);
		Py_BEGIN_ALLOW_THREADS
		weir_transfer_cancel(self->transfer);
		Py_END_ALLOW_THREADS
		leave(self);
	}
	Py_RETURN_NONE;
}

/* Extents with this tag: another class, or (class_ negative) away. */
static PyObject *redirect(PyObject *object, PyObject *tag, int class_)
{
	struct native_transfer *self = enter(object);
	long hits = 0;

	if (!self)
		return NULL;
	for (struct batch *batch = self->batches; batch; batch = batch->next) {
		uint64_t number;
		uint32_t at = 0;

		while (batch_next_of(batch, tag, &at, &number)) {
			int ret = class_ < 0
					  ? weir_transfer_drop(self->transfer, number)
					  : weir_transfer_promote(self->transfer, number, class_);

			hits += ret > 0 ? ret : 0;
		}
	}
	leave(self);
	return PyLong_FromLong(hits);
}

static PyObject *transfer_promote(PyObject *object, PyObject *args)
{
	PyObject *tag;
	int class_;

	if (!PyArg_ParseTuple(args, "Oi", &tag, &class_))
		return NULL;
	return redirect(object, tag, class_ < 0 ? WEIR_CLASS_NORMAL : class_);
}

static PyObject *transfer_drop(PyObject *object, PyObject *tag)
{
	return redirect(object, tag, -1);
}

static PyObject *transfer_progress(PyObject *object, PyObject *none)
{
	struct native_transfer *self = enter(object);
	uint64_t done = 0, total = 0;

	(void)none;
	if (!self)
		return NULL;
	weir_transfer_progress(self->transfer, &done, &total);
	leave(self);
	return Py_BuildValue("(KK)", (unsigned long long)done, (unsigned long long)total);
}

static PyObject *transfer_counters(PyObject *object, PyObject *none)
{
	struct native_transfer *self = enter(object);
	struct weir_counters counters;

	(void)none;
	if (!self)
		return NULL;
	weir_transfer_counters(self->transfer, &counters);
	leave(self);
	return native_counters(&counters);
}

/* ---- Ending ---- */

/* Lets the other threads out of their calls: none waits longer than a slice.  False: until then. */
static bool wait_alone(struct native_transfer *self, int64_t until_ns)
{
	const struct timespec moment = {0, 1000000};

	self->ending = true;
	if (self->context->pid != getpid())
		self->busy = 0; /* those threads are the parent's */
	while (self->busy && native_now_ns() < until_ns) {
		Py_BEGIN_ALLOW_THREADS
		nanosleep(&moment, NULL);
		Py_END_ALLOW_THREADS
	}
	return self->busy == 0;
}

static void free_kept(struct native_transfer *self)
{
	struct batch *batches = self->batches;
	PyObject *models = self->models;

	self->batches = NULL;
	self->models = NULL;
	batch_destroy(batches);
	native_models_release(models);
}

/* The answer of finish: LENT leaves all as it was. */
static int finish_alone(struct native_transfer *self, int64_t timeout_ns, struct weir_error *err)
{
	int ret;

	post_no_more(self);
	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_transfer_finish(self->transfer, timeout_ns, err);
	Py_END_ALLOW_THREADS
	native_leave(self->context);
	self->lent = ret == WEIR_LENT;
	if (self->lent) {
		post_to(self, self->queue);
	} else {
		run_no_more(self);
		self->transfer = NULL;
		free_kept(self);
	}
	self->ending = false;
	return ret;
}

static int finish(struct native_transfer *self, int64_t timeout_ns, struct weir_error *err)
{
	wait_alone(self, INT64_MAX);
	return finish_alone(self, timeout_ns, err);
}

static PyObject *transfer_finish(PyObject *object, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"timeout", NULL};
	struct native_transfer *self = (struct native_transfer *)object;
	struct weir_error err = WEIR_ERROR_INIT;
	PyObject *timeout = NULL;
	int64_t timeout_ns;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", (char **)names, &timeout) ||
	    !native_seconds(timeout, 60 * (int64_t)1000000000, &timeout_ns))
		return NULL;
	if (!self->transfer || self->ending)
		Py_RETURN_NONE;
	if (finish(self, timeout_ns, &err) < 0)
		return native_raise(native_state_of(object), &err);
	Py_RETURN_NONE;
}

/* The destinations stay as they are for ever: nobody will say when they are free. */
static void abandon(struct native_transfer *self)
{
	struct weir_error err;

	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	weir_transfer_abandon(self->transfer, &err);
	Py_END_ALLOW_THREADS
	native_leave(self->context);
	batch_leave_behind(self->batches);
	post_no_more(self);
	run_no_more(self);
	self->transfer = NULL;
	free_kept(self);
}

bool native_transfer_end(struct native_transfer *self, int64_t until_ns)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t left_ns;

	if (!self->transfer || self->ending)
		return !self->transfer; /* another thread ends it */
	if (!wait_alone(self, until_ns))
		return false;
	left_ns = until_ns - native_now_ns();
	if (finish_alone(self, left_ns > 0 ? left_ns : 0, &err) == WEIR_LENT)
		abandon(self);
	return true;
}

static void transfer_dealloc(PyObject *object)
{
	struct native_transfer *self = (struct native_transfer *)object;
	PyTypeObject *type = Py_TYPE(object);
	struct weir_error err = WEIR_ERROR_INIT;

	if (self->transfer && finish(self, self->lent ? 0 : PARTING_NS, &err) == WEIR_LENT)
		abandon(self);
	free_kept(self);
	Py_XDECREF((PyObject *)self->queue);
	Py_DECREF((PyObject *)self->context);
	PyObject_Free(object);
	Py_DECREF(type);
}

/* ---- The type ---- */

static PyObject *transfer_finished(PyObject *self, void *none)
{
	(void)none;
	return PyBool_FromLong(((struct native_transfer *)self)->transfer == NULL);
}

static PyMethodDef methods[] = {
	{"wait", WITH_KEYWORDS(transfer_wait), METH_VARARGS | METH_KEYWORDS,
	 "wait(max=64, timeout=None) -> list[Done]\n\n"
	 "Of a transfer without a queue; empty when all have been taken."},
	{"append", transfer_append, METH_O,
	 "append(plan)\n\nTo one that was started with open=True."},
	{"end", transfer_end, METH_NOARGS, "end()\n\nNo more will be appended."},
	{"cancel", transfer_cancel, METH_NOARGS, "cancel()\n\nAsks; finish() ends."},
	{"promote", transfer_promote, METH_VARARGS, "promote(tag, class_) -> int"},
	{"drop", transfer_drop, METH_O, "drop(tag) -> int"},
	{"progress", transfer_progress, METH_NOARGS, "progress() -> (done, total)\n\nIn bytes."},
	{"counters", transfer_counters, METH_NOARGS, "counters() -> dict[str, int]"},
	{"finish", WITH_KEYWORDS(transfer_finish), METH_VARARGS | METH_KEYWORDS,
	 "finish(timeout=60)\n\nEnds it: cancels what has not settled, raises the first failure."},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"finished", transfer_finished, NULL, NULL, NULL},
	{NULL},
};

static char doc[] = "A plan under way.  See Plan.start().";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_dealloc, transfer_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{0, NULL},
};

PyType_Spec native_transfer_spec = {
	.name = "weir._native.Transfer",
	.basicsize = sizeof(struct native_transfer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
