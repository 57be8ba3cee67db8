/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the extension weir._ring share.
 *
 *	module.c  the module, its two types, errors
 *	file.c    functions on descriptors, paths and names
 *	iovec.c   memory that requests read into or write from, and slices of it
 *	ioring.c  rings: make, prepare, submit, end
 *	wait.c    what became of requests
 *
 * It is the Python face of compat/hf3fs/hf3fs_usrbio.h, whose objects are linked in, and sees
 * nothing else of the tree.  The objects' fields belong to whoever has the interpreter lock; the
 * library is called without it, and for a ring by one thread at a time on either side, as it wants.
 * Importing the module starts nothing and opens nothing.
 */
#ifndef PYTHON_RING_RING_H
#define PYTHON_RING_RING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "compat/hf3fs/hf3fs_usrbio.h"

struct state {
	PyTypeObject *iovec, *ioring; /* counted */
};

extern PyType_Spec iovec_spec, ioring_spec;
extern PyMethodDef file_functions[];

/* OSError of that errno; about: a str or bytes path, or NULL.  Always NULL. */
PyObject *raise_errno(int number, PyObject *about);

/* Arguments by position or name, as PyArg_ParseTupleAndKeywords() reads them. */
bool parse(PyObject *args, PyObject *kwds, const char *format, const char *const *names, ...);

/* ---- Memory ---- */

/* What the slices of one iovec share; it ends with the iovec that they were cut from. */
struct shared {
	struct hf3fs_iov iov; /* base: our own view of the memory */
	uintptr_t theirs;     /* where the caller sees it: for arithmetic alone, it may be gone */
	void *map;            /* that view, a second mapping; NULL: held has the memory */
	size_t map_bytes;
	Py_buffer held; /* memory that cannot be mapped twice stays exported */
};

struct iovec_object {
	PyObject_HEAD struct shared *shared;
	PyObject *owner; /* what this is a slice of, counted; NULL: nothing, and shared is ours */
	size_t offset, size;
	int64_t result;
	PyObject *userdata; /* counted; NULL: None */
};

/* The request has ended: takes over the reference to userdata. */
void iovec_settle(struct iovec_object *iovec, int64_t result, PyObject *userdata);

/* ---- Rings ---- */

struct link {
	struct link *next, *prev;
};

/* A request, from prepare until wait has handed it out. */
struct request {
	struct link link; /* in the ring's flying or done, or in a wait's own list; must be first */
	struct iovec_object *iovec; /* counted: the very object that prepare was given */
	PyObject *userdata;         /* counted; NULL: None */
	int64_t result;
};

struct ioring_object {
	PyObject_HEAD struct hf3fs_ior ior;
	bool made;          /* ior is there to be destroyed */
	bool closed;        /* no new call may begin */
	pid_t pid;          /* who made it; a forked child leaves it alone */
	int entries;        /* usable depth */
	unsigned inside;    /* calls that are in the library, without the interpreter lock */
	unsigned airborne;  /* how many are in flying */
	struct link flying; /* prepared, not collected */
	struct link done;   /* collected by a wait that then failed: the next one hands them out */
	pthread_mutex_t preparing,
		waiting; /* the library takes one thread at a time on each side */
};

void link_init(struct link *head);
void link_push(struct link *head, struct link *link);
struct link *link_pop(struct link *head); /* NULL: empty */
void link_remove(struct link *link);

/* Before and after each call of the library; leave ends a ring that was closed meanwhile. */
bool ioring_enter(struct ioring_object *ring); /* false: closed, and OSError is raised */
void ioring_leave(struct ioring_object *ring);

/* wait(*, max_results=0, min_results=0, timeout=None) */
PyObject *ioring_wait(PyObject *self, PyObject *args, PyObject *kwds);

#endif
