/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iovec: memory that requests read into or write from.
 *
 * The caller has the memory mapped, usually by multiprocessing.shared_memory, and may unmap it whenever he
 * likes: SharedMemory.close() fails while anybody holds an export of its buffer, so none may be held.
 * An address alone would dangle from then on.  Therefore the iovec maps the same pages a second time and
 * uses that view, which ends with the last slice and the last memoryview of it.  Memory that is not
 * shared cannot be had twice; such an iovec keeps its buffer exported instead.
 *
 * Requests name memory by id and offset, and the daemon has a mapping of its own: no address of ours ever
 * leaves the process.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "python/ring/ring.h"

static struct iovec_object *iovec_of(PyObject *self)
{
	return (struct iovec_object *)(void *)self;
}

static uint8_t *address(const struct iovec_object *iovec)
{
	return iovec->shared->iov.base + iovec->offset;
}

/* ---- Making ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* 8-4-4-4-12 hexadecimal digits, of either case. */
static bool parse_id(const char *text, uint8_t id[16])
{
	static const char pattern[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t digits = 0;

	if (strlen(text) != sizeof(pattern) - 1)
		return false;
	memset(id, 0, 16);
	for (size_t i = 0; pattern[i]; i++) {
		int value = hex_digit(text[i]);

		if (pattern[i] == '-' ? text[i] != '-' : value < 0)
			return false;
		if (pattern[i] == '-')
			continue;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | value);
		digits++;
	}
	return true;
}

/* A second view of shared pages: 0, or an errno; EINVAL and EFAULT: they cannot be had twice. */
static int map_again(struct shared *shared)
{
	const Py_buffer *view = &shared->held;
	size_t into = (uintptr_t)view->buf % (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = into + (size_t)view->len;
	/* An old size of 0 asks for a copy of the mapping, which is refused for private ones. */
	void *map = mremap((uint8_t *)view->buf - into, 0, bytes, MREMAP_MAYMOVE);

	if (map == MAP_FAILED)
		return errno;
	shared->map = map;
	shared->map_bytes = bytes;
	shared->iov.base = (uint8_t *)map + into;
	return 0;
}

/* 0, or an errno.  The caller's buffer stays exported only where there is no other way. */
static int have_memory(struct shared *shared)
{
	int ret = shared->held.len ? map_again(shared) : ERANGE;

	shared->theirs = (uintptr_t)shared->held.buf;
	if (ret == EINVAL || ret == EFAULT) {
		shared->iov.base = shared->held.buf;
		return 0;
	}
	PyBuffer_Release(&shared->held);
	return ret == ERANGE ? EINVAL : ret;
}

static void end_shared(struct shared *shared)
{
	if (!shared)
		return;
	if (shared->map)
		munmap(shared->map, shared->map_bytes);
	if (shared->held.obj)
		PyBuffer_Release(&shared->held);
	PyMem_Free(shared);
}

/* Takes over a reference to owner, or the memory itself where there is none. */
static PyObject *make(PyTypeObject *type, struct shared *shared, PyObject *owner, size_t offset,
		      size_t size)
{
	struct iovec_object *iovec = (void *)PyType_GenericAlloc(type, 0);

	if (!iovec) {
		Py_XDECREF(owner);
		if (!owner)
			end_shared(shared);
		return NULL;
	}
	iovec->shared = shared;
	iovec->owner = owner;
	iovec->offset = offset;
	iovec->size = size;
	return (PyObject *)iovec;
}

/* The buffer is in held: 0, or an errno. */
static int wrap(struct shared *shared, const uint8_t *id, const char *mount, size_t block_size,
		int numa)
{
	size_t size = (size_t)shared->held.len;
	int ret = have_memory(shared);

	if (ret)
		return ret;
	return -hf3fs_iovwrap(&shared->iov, shared->iov.base, id, mount, size, block_size, numa);
}

static PyObject *new_from(PyTypeObject *type, PyObject *base, const uint8_t *id, PyObject *mount,
			  size_t block_size, int numa)
{
	struct shared *shared = PyMem_Calloc(1, sizeof(*shared));
	int ret;

	if (!shared)
		return PyErr_NoMemory();
	if (PyObject_GetBuffer(base, &shared->held, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0) {
		PyMem_Free(shared);
		return NULL;
	}
	ret = wrap(shared, id, PyBytes_AsString(mount), block_size, numa);
	if (ret) {
		end_shared(shared);
		return raise_errno(ret, mount);
	}
	return make(type, shared, NULL, 0, shared->iov.size);
}

static PyObject *iovec_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"base",       "id",   "hf3fs_mount_point",
					    "block_size", "numa", NULL};
	PyObject *base, *mount = NULL, *iovec = NULL;
	Py_ssize_t block_size = 0;
	const char *text;
	uint8_t id[16];
	int numa = -1;

	if (!parse(args, kwds, "OsO&|ni:iovec", names, &base, &text, PyUnicode_FSConverter, &mount,
		   &block_size, &numa))
		return NULL;
	if (!parse_id(text, id))
		PyErr_Format(PyExc_ValueError, "id '%.80s' is not a UUID", text);
	else if (block_size < 0)
		PyErr_Format(PyExc_ValueError, "block_size %zd is negative", block_size);
	else
		iovec = new_from(type, base, id, mount, (size_t)block_size, numa);
	Py_DECREF(mount);
	return iovec;
}

/* ---- Slices ---- */

static PyObject *cut(struct iovec_object *iovec, size_t offset, size_t size)
{
	PyObject *owner = iovec->owner ? iovec->owner : (PyObject *)iovec;

	Py_INCREF(owner);
	return make(Py_TYPE((PyObject *)iovec), iovec->shared, owner, offset, size);
}

static PyObject *iovec_getitem(PyObject *self, PyObject *key)
{
	struct iovec_object *iovec = iovec_of(self);
	Py_ssize_t start, stop, step, length;

	if (!PySlice_Check(key))
		return PyErr_Format(PyExc_TypeError, "an iovec is indexed by slices, not by %R",
				    (PyObject *)Py_TYPE(key));
	if (PySlice_Unpack(key, &start, &stop, &step) < 0)
		return NULL;
	if (step != 1)
		return PyErr_Format(PyExc_ValueError, "slices of an iovec have step 1, not %zd",
				    step);
	length = PySlice_AdjustIndices((Py_ssize_t)iovec->size, &start, &stop, step);
	return cut(iovec, iovec->offset + (size_t)start, (size_t)length);
}

/* iovec[a:b] = bytes, as a memoryview does it. */
static int iovec_setitem(PyObject *self, PyObject *key, PyObject *value)
{
	PyObject *view;
	int ret;

	if (!value) {
		PyErr_SetString(PyExc_TypeError, "bytes of an iovec cannot be deleted");
		return -1;
	}
	view = PyMemoryView_FromObject(self);
	if (!view)
		return -1;
	ret = PyObject_SetItem(view, key, value);
	Py_DECREF(view);
	return ret;
}

/* Where a buffer lies in the memory, as the caller sees it or as we do. */
static bool place_of(const struct iovec_object *iovec, const Py_buffer *view, size_t *offset)
{
	const uintptr_t bases[] = {iovec->shared->theirs, (uintptr_t)iovec->shared->iov.base};
	uintptr_t at = (uintptr_t)view->buf;

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		uintptr_t from = bases[i] + iovec->offset;

		if (at < from || at - from > iovec->size)
			continue;
		*offset = iovec->offset + (at - from);
		return (size_t)view->len <= iovec->size - (at - from);
	}
	return false;
}

static PyObject *iovec_slice_by(PyObject *self, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"buf", NULL};
	PyObject *buf, *slice = NULL;
	size_t offset = 0;
	Py_buffer view;

	if (!parse(args, kwds, "O:slice_by", names, &buf))
		return NULL;
	if (PyObject_GetBuffer(buf, &view, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0)
		return NULL;
	if (place_of(iovec_of(self), &view, &offset))
		slice = cut(iovec_of(self), offset, (size_t)view.len);
	else
		PyErr_SetString(PyExc_IndexError, "the buffer is not inside of the iovec");
	PyBuffer_Release(&view);
	return slice;
}

/* ---- What is to be seen of it ---- */

static int iovec_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	struct iovec_object *iovec = iovec_of(self);

	return PyBuffer_FillInfo(view, self, address(iovec), (Py_ssize_t)iovec->size, 0, flags);
}

static PyObject *get_result(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromLongLong(iovec_of(self)->result);
}

static PyObject *get_base_off(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromSize_t(iovec_of(self)->offset);
}

static PyObject *get_userdata(PyObject *self, void *unused)
{
	PyObject *userdata = iovec_of(self)->userdata;

	(void)unused;
	return Py_NewRef(userdata ? userdata : Py_None);
}

/* ---- Ending ---- */

/* Iovecs that hold iovecs that hold iovecs: one after the other, for the stack is finite. */
static void drop_userdata(PyTypeObject *type, PyObject *userdata)
{
	while (userdata && Py_TYPE(userdata) == type && Py_REFCNT(userdata) == 1) {
		PyObject *next = iovec_of(userdata)->userdata;

		iovec_of(userdata)->userdata = NULL;
		Py_DECREF(userdata);
		userdata = next;
	}
	Py_XDECREF(userdata);
}

void iovec_settle(struct iovec_object *iovec, int64_t result, PyObject *userdata)
{
	PyObject *old = iovec->userdata;

	iovec->result = result;
	iovec->userdata = userdata;
	drop_userdata(Py_TYPE((PyObject *)iovec), old);
}

static int iovec_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(iovec_of(self)->owner);
	Py_VISIT(iovec_of(self)->userdata);
	return 0;
}

/* The owner stays, for the memory is its own: every cycle has some userdata in it. */
static int iovec_clear(PyObject *self)
{
	PyObject *userdata = iovec_of(self)->userdata;

	iovec_of(self)->userdata = NULL;
	drop_userdata(Py_TYPE(self), userdata);
	return 0;
}

static void iovec_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	struct iovec_object *iovec = iovec_of(self);

	PyObject_GC_UnTrack(self);
	iovec_clear(self);
	if (iovec->owner)
		Py_DECREF(iovec->owner);
	else
		end_shared(iovec->shared);
	PyObject_GC_Del(self);
	Py_DECREF(type);
}

PyDoc_STRVAR(
	iovec_doc,
	"iovec(base, id, hf3fs_mount_point, block_size=0, numa=-1)\n--\n\n"
	"Memory that rings read into or write from.\n\n"
	"base is a writable buffer whose pages the daemon of the mount knows by the UUID id: the\n"
	"link 3fs-virt/iovs/ID points to them.  A request may not cross a multiple of block_size,\n"
	"unless that is 0.  numa binds the memory to a node.\n\n"
	"iovec[a:b] is a slice, again an iovec; its length is the length of a request.  The\n"
	"memory stays readable through memoryview(iovec) after base was closed.");

PyDoc_STRVAR(slice_by_doc, "slice_by($self, /, buf)\n--\n\n"
			   "The slice that covers the same memory as a buffer inside of it.");

static PyMethodDef iovec_methods[] = {
	{"slice_by", (PyCFunction)(void (*)(void))iovec_slice_by, METH_VARARGS | METH_KEYWORDS,
	 slice_by_doc},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef iovec_fields[] = {
	{"result", get_result, NULL, "Bytes read or written, or a negative errno; 0 before.", NULL},
	{"base_off", get_base_off, NULL, "Where the slice begins in the first iovec.", NULL},
	{"userdata", get_userdata, NULL, "What prepare() was given with the last request.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot iovec_slots[] = {
	{Py_tp_doc, (void *)iovec_doc},
	{Py_tp_new, iovec_new},
	{Py_tp_dealloc, iovec_dealloc},
	{Py_tp_traverse, iovec_traverse},
	{Py_tp_clear, iovec_clear},
	{Py_tp_methods, iovec_methods},
	{Py_tp_getset, iovec_fields},
	{Py_mp_subscript, iovec_getitem},
	{Py_mp_ass_subscript, iovec_setitem},
	{Py_bf_getbuffer, iovec_getbuffer},
	{0, NULL},
};

PyType_Spec iovec_spec = {
	.name = "weir._ring.iovec",
	.basicsize = sizeof(struct iovec_object),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = iovec_slots,
};
