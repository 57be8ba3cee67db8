/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioring: requests go in here, and wait.c collects them.
 *
 * A request's record is the userdata that the library carries; it checks what the daemon hands back against
 * what was asked, so that a record comes out exactly once or, where the ring is ended before, not at
 * all.  Then the daemon may still move bytes, by a mapping of its own, and nobody hears of it.
 *
 * destroy() may be called while another thread is in a call: that one ends the ring when it leaves.  In a
 * forked child the ring is the parent's: calls answer EPERM, and ending it touches nothing but memory.
 */
#include <errno.h>
#include <unistd.h>

#include "python/ring/ring.h"

static struct ioring_object *ring_of(PyObject *self)
{
	return (struct ioring_object *)(void *)self;
}

void link_init(struct link *head)
{
	head->next = head->prev = head;
}

void link_push(struct link *head, struct link *link)
{
	link->next = head;
	link->prev = head->prev;
	head->prev->next = link;
	head->prev = link;
}

void link_remove(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
}

struct link *link_pop(struct link *head)
{
	struct link *first = head->next;

	if (first == head)
		return NULL;
	link_remove(first);
	return first;
}

/* ---- Making ---- */

struct options {
	PyObject *mount; /* bytes */
	int entries, for_read, io_depth, timeout, numa, flags;
};

static int create(struct ioring_object *ring, const struct options *options)
{
	const char *mount = PyBytes_AsString(options->mount);
	int ret;

	Py_BEGIN_ALLOW_THREADS
	ret = hf3fs_iorcreate4(&ring->ior, mount, options->entries, options->for_read,
			       options->io_depth, options->timeout, options->numa,
			       (uint64_t)options->flags);
	Py_END_ALLOW_THREADS
	if (ret < 0) {
		raise_errno(-ret, options->mount);
		return -1;
	}
	ring->made = true;
	ring->closed = false;
	ring->entries = hf3fs_io_entries(&ring->ior);
	return 0;
}

static PyObject *make(PyTypeObject *type, const struct options *options)
{
	struct ioring_object *ring = (void *)PyType_GenericAlloc(type, 0);

	if (!ring)
		return NULL;
	ring->closed = true;
	ring->pid = getpid();
	link_init(&ring->flying);
	link_init(&ring->done);
	pthread_mutex_init(&ring->preparing, NULL);
	pthread_mutex_init(&ring->waiting, NULL);
	if (create(ring, options) < 0)
		Py_CLEAR(ring);
	return (PyObject *)ring;
}

static PyObject *ioring_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {
		"hf3fs_mount_point", "entries", "for_read", "io_depth", "priority",
		"timeout",           "numa",    "flags",    NULL};
	struct options options = {.for_read = true, .numa = -1};
	PyObject *priority = Py_None, *timeout = Py_None, *ring = NULL;

	if (!parse(args, kwds, "O&i|piOOii:ioring", names, PyUnicode_FSConverter, &options.mount,
		   &options.entries, &options.for_read, &options.io_depth, &priority, &timeout,
		   &options.numa, &options.flags))
		return NULL;
	(void)priority; /* all rings are of normal priority here, as callers are used to */
	if (timeout == Py_None || PyArg_Parse(timeout, "i:ioring", &options.timeout))
		ring = make(type, &options);
	Py_DECREF(options.mount);
	return ring;
}

static PyObject *size_for_entries(PyObject *unused, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"entries", NULL};
	int entries;

	(void)unused;
	if (!parse(args, kwds, "i:size_for_entries", names, &entries))
		return NULL;
	return PyLong_FromSize_t(hf3fs_ior_size(entries));
}

static PyObject *get_entries(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromLong(ring_of(self)->entries);
}

/* ---- Ending ---- */

static void drop(struct request *request)
{
	Py_XDECREF(request->userdata);
	Py_DECREF(request->iovec);
	PyMem_Free(request);
}

/* Nobody is inside.  Letting go may run any code, even of this ring. */
static void end(struct ioring_object *ring)
{
	struct hf3fs_ior ior = ring->ior;
	bool ours = ring->made && ring->pid == getpid();
	struct link *link;

	ring->made = false;
	if (ours) {
		Py_BEGIN_ALLOW_THREADS
		hf3fs_iordestroy(&ior);
		Py_END_ALLOW_THREADS
	}
	ring->airborne = 0;
	while ((link = link_pop(&ring->flying)) || (link = link_pop(&ring->done)))
		drop((struct request *)link);
}

bool ioring_enter(struct ioring_object *ring)
{
	if (ring->closed || ring->pid != getpid()) {
		raise_errno(ring->closed ? EINVAL : EPERM, NULL);
		return false;
	}
	ring->inside++;
	return true;
}

void ioring_leave(struct ioring_object *ring)
{
	ring->inside--;
	if (!ring->inside && ring->closed && ring->made)
		end(ring);
}

static PyObject *ioring_destroy(PyObject *self, PyObject *unused)
{
	struct ioring_object *ring = ring_of(self);

	(void)unused;
	ring->closed = true;
	if (!ring->inside && ring->made)
		end(ring);
	return Py_NewRef(Py_None);
}

/* ---- Requests ---- */

static struct request *make_request(PyObject *iovec, PyObject *userdata)
{
	struct request *request = PyMem_Calloc(1, sizeof(*request));

	if (!request) {
		PyErr_NoMemory();
		return NULL;
	}
	request->iovec = (struct iovec_object *)(void *)Py_NewRef(iovec);
	request->userdata = Py_NewRef(userdata);
	return request;
}

struct target {
	struct iovec_object *iovec;
	int read, fd;
	unsigned long long off;
};

/* Its index, or a negative errno; another thread may have collected it already. */
static int prepare(struct ioring_object *ring, const struct target *target, struct request *request)
{
	const struct iovec_object *iovec = target->iovec;
	const struct hf3fs_iov *iov = &iovec->shared->iov;
	int ret;

	Py_BEGIN_ALLOW_THREADS
	pthread_mutex_lock(&ring->preparing);
	ret = hf3fs_prep_io(&ring->ior, iov, target->read, iov->base + iovec->offset, target->fd,
			    target->off, iovec->size, request);
	pthread_mutex_unlock(&ring->preparing);
	Py_END_ALLOW_THREADS
	return ret;
}

/* In the file of that request: 0, or -1 with an exception. */
static int offset_of(PyObject *off, struct target *target)
{
	PyObject *number = PyNumber_Index(off);

	if (!number)
		return -1;
	target->off = PyLong_AsUnsignedLongLong(number);
	Py_DECREF(number);
	return PyErr_Occurred() ? -1 : 0;
}

/* Takes the request over: 0, or -1 with an exception. */
static int fly(struct ioring_object *ring, const struct target *target, struct request *request)
{
	int ret;

	link_push(&ring->flying, &request->link);
	ring->airborne++;
	ret = prepare(ring, target, request);
	if (ret < 0) {
		link_remove(&request->link);
		ring->airborne--;
	}
	ioring_leave(ring);
	if (ret >= 0)
		return 0;
	drop(request);
	raise_errno(-ret, NULL);
	return -1;
}

static PyObject *ioring_prepare(PyObject *self, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"iov", "read", "fd", "off", "userdata", NULL};
	struct state *state = PyType_GetModuleState(Py_TYPE(self));
	PyObject *iovec, *off, *userdata = Py_None;
	struct request *request;
	struct target target;

	if (!parse(args, kwds, "O!piO|O:prepare", names, state->iovec, &iovec, &target.read,
		   &target.fd, &off, &userdata))
		return NULL;
	target.iovec = (struct iovec_object *)(void *)iovec;
	if (offset_of(off, &target) < 0)
		return NULL;
	request = make_request(iovec, userdata);
	if (!request)
		return NULL;
	if (!ioring_enter(ring_of(self))) {
		drop(request);
		return NULL;
	}
	return fly(ring_of(self), &target, request) < 0 ? NULL : Py_NewRef(self);
}

static PyObject *ioring_submit(PyObject *self, PyObject *unused)
{
	struct ioring_object *ring = ring_of(self);
	int ret;

	(void)unused;
	if (!ioring_enter(ring))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = hf3fs_submit_ios(&ring->ior);
	Py_END_ALLOW_THREADS
	ioring_leave(ring);
	return ret < 0 ? raise_errno(-ret, NULL) : Py_NewRef(self);
}

/* ---- The type ---- */

static int visit_requests(struct link *head, visitproc visit, void *arg)
{
	for (struct link *link = head->next; link != head; link = link->next) {
		Py_VISIT(((struct request *)link)->iovec);
		Py_VISIT(((struct request *)link)->userdata);
	}
	return 0;
}

static int ioring_traverse(PyObject *self, visitproc visit, void *arg)
{
	int ret;

	Py_VISIT(Py_TYPE(self));
	if (!ring_of(self)->flying.next)
		return 0; /* not begun yet */
	ret = visit_requests(&ring_of(self)->flying, visit, arg);
	return ret ? ret : visit_requests(&ring_of(self)->done, visit, arg);
}

/* The daemon may still work on the iovecs' memory; every cycle goes through some userdata. */
static int ioring_clear(PyObject *self)
{
	struct link *heads[] = {&ring_of(self)->flying, &ring_of(self)->done};

	for (size_t i = 0; i < 2; i++)
		for (struct link *link = heads[i]->next; link != heads[i]; link = link->next)
			Py_CLEAR(((struct request *)link)->userdata);
	return 0;
}

static void ioring_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	end(ring_of(self));
	pthread_mutex_destroy(&ring_of(self)->preparing);
	pthread_mutex_destroy(&ring_of(self)->waiting);
	PyObject_GC_Del(self);
	Py_DECREF(type);
}

PyDoc_STRVAR(
	ioring_doc,
	"ioring(hf3fs_mount_point, entries, for_read=True, io_depth=0, priority=None, "
	"timeout=None, numa=-1, flags=0)\n--\n\n"
	"A ring of requests on a mount of 3FS, for reads or for writes.\n\n"
	"entries: the most that may be under way.  io_depth: 0, whatever is prepared is taken at\n"
	"once; above 0, that many at a time, which waits for more where timeout (milliseconds) does\n"
	"not end that; below 0, at most that many.  flags: 1, bytes that are not on all replicas\n"
	"yet will do; 2, a hole is an error.  priority is not looked at.");

PyDoc_STRVAR(prepare_doc,
	     "prepare($self, /, iov, read, fd, off, userdata=None)\n--\n\n"
	     "Puts a request in: as many bytes as iov is long, at off of the registered file fd.\n"
	     "Returns the ring.  OSError EAGAIN: the ring is full; wait() first.");

PyDoc_STRVAR(submit_doc, "submit($self, /)\n--\n\n"
			 "Tells the daemon that there are requests.  Returns the ring.");

PyDoc_STRVAR(
	wait_doc,
	"wait($self, /, *, max_results=0, min_results=0, timeout=None)\n--\n\n"
	"The iovecs whose requests have ended, each with result and userdata, in the order in\n"
	"which they ended.  Waits for min_results of them; a timeout (seconds or a timedelta)\n"
	"ends that, and is no error.  With neither a minimum nor a maximum: at most one, at once.\n"
	"OSError ENOTCONN: the daemon is gone; ETIMEDOUT: without a timeout, nothing for 60 s.");

PyDoc_STRVAR(destroy_doc, "destroy($self, /)\n--\n\n"
			  "Ends the ring.  Once more does nothing.");

PyDoc_STRVAR(size_doc, "size_for_entries(entries)\n--\n\nBytes of memory that a ring takes.");

static PyMethodDef ioring_methods[] = {
	{"prepare", (PyCFunction)(void (*)(void))ioring_prepare, METH_VARARGS | METH_KEYWORDS,
	 prepare_doc},
	{"submit", ioring_submit, METH_NOARGS, submit_doc},
	{"wait", (PyCFunction)(void (*)(void))ioring_wait, METH_VARARGS | METH_KEYWORDS, wait_doc},
	{"destroy", ioring_destroy, METH_NOARGS, destroy_doc},
	{"size_for_entries", (PyCFunction)(void (*)(void))size_for_entries,
	 METH_VARARGS | METH_KEYWORDS | METH_STATIC, size_doc},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef ioring_fields[] = {
	{"entries", get_entries, NULL, "How many requests may be under way.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot ioring_slots[] = {
	{Py_tp_doc, (void *)ioring_doc}, {Py_tp_new, ioring_new},
	{Py_tp_dealloc, ioring_dealloc}, {Py_tp_traverse, ioring_traverse},
	{Py_tp_clear, ioring_clear},     {Py_tp_methods, ioring_methods},
	{Py_tp_getset, ioring_fields},   {0, NULL},
};

PyType_Spec ioring_spec = {
	.name = "weir._ring.ioring",
	.basicsize = sizeof(struct ioring_object),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = ioring_slots,
};
