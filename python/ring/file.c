/* SPDX-License-Identifier: Apache-2.0 */
/* Functions on descriptors, paths and names.  All may ask the daemon, so all go without the interpreter lock. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "python/ring/ring.h"

#define RANGES_MAX 1000
#define IOC_FSYNC  _IOR('h', 11, uint32_t) /* answers with no bytes, and wants no pointer */

static PyObject *register_fd(PyObject *module, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"fd", "flags", NULL};
	unsigned long long flags = 0;
	int fd, ret;

	(void)module;
	if (!parse(args, kwds, "i|K:register_fd", names, &fd, &flags))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = hf3fs_reg_fd(fd, flags);
	Py_END_ALLOW_THREADS
	return ret > 0 ? raise_errno(ret, NULL) : Py_NewRef(Py_None);
}

static PyObject *deregister_fd(PyObject *module, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"fd", NULL};
	int fd;

	(void)module;
	if (!parse(args, kwds, "i:deregister_fd", names, &fd))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	hf3fs_dereg_fd(fd);
	Py_END_ALLOW_THREADS
	return Py_NewRef(Py_None);
}

static PyObject *force_fsync(PyObject *module, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"fd", NULL};
	int fd, ret;

	(void)module;
	if (!parse(args, kwds, "i:force_fsync", names, &fd))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = ioctl(fd, IOC_FSYNC);
	Py_END_ALLOW_THREADS
	return PyLong_FromLong(ret);
}

static PyObject *extract_mount_point(PyObject *module, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"path", NULL};
	PyObject *path = NULL, *found = NULL;
	char mount[PATH_MAX];
	int ret = INT_MAX;

	(void)module;
	if (!parse(args, kwds, "O&:extract_mount_point", names, PyUnicode_FSConverter, &path))
		return NULL;
	if (PyBytes_Size(path) <= PATH_MAX) {
		const char *text = PyBytes_AsString(path);

		Py_BEGIN_ALLOW_THREADS
		ret = hf3fs_extract_mount_point(mount, sizeof(mount), text);
		Py_END_ALLOW_THREADS
	}
	if (ret < 0)
		found = Py_NewRef(Py_None);
	else if (ret > (int)sizeof(mount))
		raise_errno(ENAMETOOLONG, path);
	else
		found = PyUnicode_DecodeFSDefault(mount);
	Py_DECREF(path);
	return found;
}

static PyObject *hardlink(PyObject *module, PyObject *args, PyObject *kwds)
{
	static const char *const names[] = {"target", "link_name", NULL};
	PyObject *target = NULL, *name = NULL, *done = NULL;
	const char *from, *to;
	int ret;

	(void)module;
	if (!parse(args, kwds, "O&O&:hardlink", names, PyUnicode_FSConverter, &target,
		   PyUnicode_FSConverter, &name))
		return NULL;
	from = PyBytes_AsString(target);
	to = PyBytes_AsString(name);
	Py_BEGIN_ALLOW_THREADS
	ret = hf3fs_hardlink(from, to);
	Py_END_ALLOW_THREADS
	done = ret ? raise_errno(ret, name) : Py_NewRef(Py_None);
	Py_DECREF(target);
	Py_DECREF(name);
	return done;
}

/* ---- Holes ---- */

struct ranges {
	Py_ssize_t count;
	size_t start[RANGES_MAX], end[RANGES_MAX];
};

static int fill(PyObject *list, Py_ssize_t count, size_t *out)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = PySequence_GetItem(list, i), *number;

		if (!item)
			return -1;
		number = PyNumber_Index(item);
		Py_DECREF(item);
		if (!number)
			return -1;
		out[i] = PyLong_AsSize_t(number);
		Py_DECREF(number);
		if (PyErr_Occurred())
			return -1;
	}
	return 0;
}

static int fill_ranges(PyObject *start, PyObject *end, struct ranges *ranges)
{
	Py_ssize_t ends;

	ranges->count = PySequence_Size(start);
	if (ranges->count < 0)
		return -1;
	ends = PySequence_Size(end);
	if (ends < 0)
		return -1;
	if (ends != ranges->count || ends > RANGES_MAX) {
		PyErr_Format(PyExc_RuntimeError,
			     "%zd starts and %zd ends: as many of both, at most %d", ranges->count,
			     ends, RANGES_MAX);
		return -1;
	}
	if (fill(start, ends, ranges->start) < 0)
		return -1;
	return fill(end, ends, ranges->end);
}

/* 0, or an errno. */
static int punch_fd(int fd, const struct ranges *ranges, size_t flags)
{
	int ret;

	Py_BEGIN_ALLOW_THREADS
	ret = hf3fs_punchhole(fd, (int)ranges->count, ranges->start, ranges->end, flags);
	Py_END_ALLOW_THREADS
	return ret;
}

static PyObject *punch_path(PyObject *file, const struct ranges *ranges, size_t flags)
{
	PyObject *path = NULL, *done;
	const char *text;
	int fd, ret;

	if (!PyUnicode_FSConverter(file, &path))
		return NULL;
	text = PyBytes_AsString(path);
	Py_BEGIN_ALLOW_THREADS
	fd = open(text, O_RDWR | O_CLOEXEC);
	ret = fd < 0 ? errno : 0;
	Py_END_ALLOW_THREADS
	if (!ret)
		ret = punch_fd(fd, ranges, flags);
	if (fd >= 0)
		close(fd);
	done = ret ? raise_errno(ret, path) : Py_NewRef(Py_None);
	Py_DECREF(path);
	return done;
}

static PyObject *punch(PyObject *file, const struct ranges *ranges, size_t flags)
{
	int fd, ret;

	if (!PyIndex_Check(file))
		return punch_path(file, ranges, flags);
	if (!PyArg_Parse(file, "i:punch_hole", &fd))
		return NULL;
	ret = punch_fd(fd, ranges, flags);
	return ret ? raise_errno(ret, NULL) : Py_NewRef(Py_None);
}

/* The first argument is called fd by some callers and filename by others. */
static PyObject *punch_hole(PyObject *module, PyObject *args, PyObject *kwds)
{
	static const char *const by_name[] = {"filename", "start", "end", "flags", NULL};
	static const char *const by_fd[] = {"fd", "start", "end", "flags", NULL};
	bool fd_named = kwds && PyDict_GetItemString(kwds, "fd");
	PyObject *file, *start, *end, *done = NULL;
	unsigned long long flags = 0;
	struct ranges *ranges;

	(void)module;
	if (!parse(args, kwds, "OOO|K:punch_hole", fd_named ? by_fd : by_name, &file, &start, &end,
		   &flags))
		return NULL;
	ranges = PyMem_Malloc(sizeof(*ranges));
	if (!ranges)
		return PyErr_NoMemory();
	if (fill_ranges(start, end, ranges) == 0)
		done = punch(file, ranges, flags);
	PyMem_Free(ranges);
	return done;
}

#define FUNCTION(name, text)                                                                       \
	{                                                                                          \
#name, (PyCFunction)(void (*)(void))(name), METH_VARARGS | METH_KEYWORDS, text     \
	}

PyMethodDef file_functions[] = {
	FUNCTION(register_fd,
		 "register_fd($module, /, fd, flags=0)\n--\n\n"
		 "Makes an open file known to rings.  OSError: EBADF, it is not on 3FS;\n"
		 "EINVAL, that descriptor is registered already."),
	FUNCTION(deregister_fd,
		 "deregister_fd($module, /, fd)\n--\n\n"
		 "Forgets a registered descriptor; before it is closed.  Never fails."),
	FUNCTION(force_fsync, "force_fsync($module, /, fd)\n--\n\n"
			      "Makes the next stat() tell the file's true length: 0, or -1."),
	FUNCTION(extract_mount_point,
		 "extract_mount_point($module, /, path)\n--\n\n"
		 "The mount of 3FS that a path lies on; None where it lies on none,\n"
		 "or does not exist."),
	FUNCTION(hardlink, "hardlink($module, /, target, link_name)\n--\n\n"
			   "Gives a file a second name."),
	FUNCTION(punch_hole,
		 "punch_hole($module, /, filename, start, end, flags=0)\n--\n\n"
		 "Takes the ranges [start[i], end[i]) out of a file, which is named by a\n"
		 "path or an open descriptor."),
	{NULL, NULL, 0, NULL},
};
