/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the interpreter: contexts are closed then, so that no ring and no memory stays registered
 * with a mount until its daemon notices that the process is gone.
 *
 * The interpreter calls end() when the program's threads have ended, daemon threads aside, and before it
 * takes anything down (weir/ending.py asks it to).  Transfers that still run are cancelled, and a thread
 * that is in a call is let out of it: waits look for it, and new calls are refused.  What does not come
 * out in time keeps its context, which then goes with the process, as all of it did before.
 */
#include <time.h>

#include "flight.h"

/* For all of it; weir_ctx_close() has a second of its own. */
#define ENDING_NS 2000000000

static bool tell_interpreter(PyObject *module_end)
{
	PyObject *ending = PyImport_ImportModule("weir.ending");
	PyObject *done = ending ? PyObject_CallMethod(ending, "register", "O", module_end) : NULL;

	Py_XDECREF(ending);
	Py_XDECREF(done);
	return done != NULL;
}

/* Once for each process: a forked child's interpreter ends on its own. */
static void ask_to_be_ended(struct native_state *state)
{
	PyObject *module, *end;

	if (state->told_pid == getpid())
		return;
	state->told_pid = getpid();
	module = PyType_GetModule(state->context_type);
	end = module ? PyObject_GetAttrString(module, "end") : NULL;
	/* Where nobody can be asked, the process ends without. */
	if (!end || !tell_interpreter(end))
		PyErr_Clear();
	Py_XDECREF(end);
}

void native_context_known(struct native_state *state, struct native_context *context)
{
	context->next = state->contexts;
	state->contexts = context;
	ask_to_be_ended(state);
}

void native_context_gone(struct native_state *state, struct native_context *context)
{
	struct native_context **at;

	if (!state) /* the module went first */
		return;
	for (at = &state->contexts; *at && *at != context; at = &(*at)->next)
		;
	if (*at)
		*at = context->next;
}

static void pause_a_moment(void)
{
	const struct timespec moment = {0, 1000000};

	Py_BEGIN_ALLOW_THREADS
	nanosleep(&moment, NULL);
	Py_END_ALLOW_THREADS
}

/* One that runs, a new reference; NULL: none does, or others end those that do. */
static struct native_transfer *next_of(struct native_context *context)
{
	struct native_transfer *transfer = context->transfers;

	while (transfer && transfer->ending)
		transfer = transfer->beside;
	return (struct native_transfer *)Py_XNewRef((PyObject *)transfer);
}

/* False: something does not come out. */
static bool quiet(struct native_context *context, int64_t until_ns)
{
	struct native_transfer *transfer;

	context->ending = true;
	while ((transfer = next_of(context))) {
		native_transfer_end(transfer, until_ns);
		Py_DECREF((PyObject *)transfer);
	}
	while ((context->inside || context->transfers) && native_now_ns() < until_ns)
		pause_a_moment();
	return !context->inside && !context->transfers;
}

PyObject *native_end(PyObject *module, PyObject *none)
{
	struct native_state *state = PyModule_GetState(module);
	int64_t until_ns = native_now_ns() + ENDING_NS;
	struct native_context *context = state->contexts;

	(void)none;
	while (context) {
		if (context->pid != getpid() || context->ending) {
			context = context->next;
			continue;
		}
		Py_INCREF((PyObject *)context);
		/* With the interpreter's lock, which nothing in there wants: so nobody comes in. */
		if (quiet(context, until_ns))
			weir_ctx_close(context->ctx);
		Py_DECREF((PyObject *)context);
		context = state->contexts; /* it may have changed meanwhile */
	}
	Py_RETURN_NONE;
}
