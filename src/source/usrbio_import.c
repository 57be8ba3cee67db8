/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slabs and their registration with the mount.
 *
 * A slab is registered when the first request names it, by the worker; the name that the daemon opens
 * it by is made here and removed as soon as the daemon has answered.  When the slab goes, so does its
 * registration: releasing may be anybody's thread, so that is a job as well.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "source/usrbio.h"

void usrbio_import_fini(struct usrbio_import *import)
{
	struct driver *driver = import->source->driver;

	driver->ops->iov_unwrap(driver, import->wrapped);
	usrbio_iov_destroy(&import->iov);
}

static void free_import(struct usrbio_source *source, struct usrbio_import *import)
{
	usrbio_import_fini(import);
	lock_take(&source->lock);
	list_remove(&import->link);
	lock_drop(&source->lock);
	free(import);
}

/* What became of it; where the daemon was lost meanwhile, that was not of the next one's. */
static enum usrbio_import_state state_locked(const struct usrbio_source *source, uint32_t epoch,
					     int ret)
{
	if (epoch != source->epoch || !source->session)
		return IMPORT_LOST;
	return ret ? IMPORT_FAILED : IMPORT_READY;
}

static void register_import(struct usrbio_source *source, struct usrbio_import *import)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct driver *driver = source->driver;
	struct driver_iov *wrapped = NULL;
	struct usrbio_session *session;
	struct usrbio_iov iov = {0};
	char path[SHM_PATH_MAX];
	uint32_t epoch;
	int ret = usrbio_connect(source, &session, &epoch, &err);

	if (ret == 0)
		ret = usrbio_iov_register(session, &import->shm, 0, &iov, &err);
	if (ret == 0)
		ret = driver->ops->iov_wrap(driver, &iov, &wrapped, &err);
	snprintf(path, sizeof(path), SHM_DIR "/%.48s", import->shm.name);
	source->source.env->sys->unlinkat(AT_FDCWD, path, 0);
	if (ret)
		log_warn(source->source.env->log, "registering memory: %s", err.message);
	lock_take(&source->lock);
	import->iov = iov;
	import->wrapped = wrapped;
	import->epoch = epoch;
	import->os_errno = err.os_errno;
	import->state = state_locked(source, epoch, ret);
	lock_drop(&source->lock);
}

static void run(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_import *import = container_of(job, struct usrbio_import, job);
	bool released;

	lock_take(&source->lock);
	released = import->released;
	lock_drop(&source->lock);
	if (!released && import->state == IMPORT_COMING)
		register_import(source, import);
	lock_take(&source->lock);
	released = import->released;
	import->job.queued = false;
	lock_drop(&source->lock);
	if (released)
		free_import(source, import);
}

/* From the slab, wherever its last byte is given back.  Where the worker has it, it looks again. */
static void release(void *arg, struct shared *slab)
{
	struct usrbio_import *import = arg;
	struct usrbio_source *source = import->source;

	(void)slab;
	lock_take(&source->lock);
	import->released = true;
	usrbio_queue_locked(source, &import->job);
	lock_drop(&source->lock);
}

static struct usrbio_import *make(struct usrbio_source *source, struct shared *slab)
{
	struct usrbio_import *import = calloc(1, sizeof(*import));
	char path[SHM_PATH_MAX];

	if (!import)
		return NULL;
	import->source = source;
	import->job.run = run;
	list_init(&import->job.link);
	import->at = slab->at;
	import->shm.memory = slab->at;
	import->shm.bytes = slab->bytes;
	if (shared_name(slab, path, NULL) < 0 ||
	    !shared_attach(slab, SHARED_MOUNT, (struct shared_slot){release, import})) {
		free(import);
		return shared_import(slab, SHARED_MOUNT); /* another lane's, if it was as quick */
	}
	snprintf(import->shm.name, sizeof(import->shm.name), "%s", strrchr(path, '/') + 1);
	lock_take(&source->lock);
	list_push(&source->imports, &import->link);
	usrbio_queue_locked(source, &import->job);
	lock_drop(&source->lock);
	return import;
}

struct usrbio_import *usrbio_import_find(struct usrbio_source *source, const void *memory,
					 uint64_t length)
{
	struct shared *slab = pool_slab(source->pool, memory, length);
	struct usrbio_import *import;

	if (!slab)
		return NULL;
	import = shared_import(slab, SHARED_MOUNT);
	return import ? import : make(source, slab);
}
