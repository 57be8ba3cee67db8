/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of a mount: whatever may hang on its daemon is done here, one job after another, so that
 * no lane and no caller with a deadline ever does.  It starts with the source, so that nobody waits for a
 * job that there is no thread for; where the daemon is stopped it is stuck, and a context that ends leaves
 * it behind.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "source/usrbio.h"

/* How long an end waits for it. */
#define PARTING_NS (2 * NS_PER_SEC)

/* Requests of a batch: the completions of the first are seen while the last are read. */
#define RING_DEPTH (-8)

void usrbio_ring_opts(struct usrbio_ring_opts *opts, bool for_read, uint32_t entries, int node)
{
	*opts = (struct usrbio_ring_opts){
		.entries = entries < USRBIO_ENTRIES_MIN ? USRBIO_ENTRIES_MIN : entries,
		.for_read = for_read,
		.depth = RING_DEPTH,
		.node = node,
	};
}

/* ---- Jobs ---- */

void usrbio_wake_lanes(struct usrbio_source *source)
{
	lock_take(&source->lock);
	list_for_each(link, &source->lanes) {
		struct usrbio_lane *lane = list_entry(link, struct usrbio_lane, link);

		if (lane->asks)
			usrbio_lane_wake_locked(lane);
		lane->asks = false;
	}
	lock_drop(&source->lock);
}

static void *work(void *arg)
{
	struct usrbio_source *source = arg;

	lock_take(&source->lock);
	for (;;) {
		struct list *link = list_pop(&source->jobs);
		struct usrbio_job *job = list_entry(link, struct usrbio_job, link);

		if (!link && source->ending)
			break;
		if (!link) {
			cond_wait(&source->work, &source->lock, NEVER);
			continue;
		}
		lock_drop(&source->lock);
		job->run(source, job); /* says itself that it is not queued any more, or is gone */
		usrbio_wake_lanes(source);
		lock_take(&source->lock);
		cond_wake_all(&source->done);
	}
	source->worker_ended = true;
	cond_wake_all(&source->done);
	lock_drop(&source->lock);
	return NULL;
}

int usrbio_start_work(struct usrbio_source *source, struct weir_error *err)
{
	return thread_start(source->source.env->sys, &source->thread, "weir-3fs", work, source,
			    err);
}

void usrbio_queue_locked(struct usrbio_source *source, struct usrbio_job *job)
{
	if (job->queued)
		return;
	job->queued = true;
	list_push(&source->jobs, &job->link);
	cond_wake(&source->work);
}

int usrbio_run_job(struct usrbio_source *source, struct usrbio_job *job, int64_t deadline_ns)
{
	int ret = 0;

	lock_take(&source->lock);
	usrbio_queue_locked(source, job);
	while (job->queued && cond_wait(&source->done, &source->lock, deadline_ns))
		;
	if (job->queued)
		ret = WEIR_TIMEOUT;
	lock_drop(&source->lock);
	return ret;
}

/* ---- The session ---- */

/* Where there was a daemon, and nothing is mounted just now, another may come: that is worth waiting for. */
static int not_there(const struct usrbio_source *source, uint32_t epoch, int ret,
		     struct weir_error *err)
{
	if (epoch == 0 || (ret != WEIR_NOTFOUND && ret != WEIR_UNSUPPORTED))
		return ret;
	return error_sys(err, ENOTCONN, source->mount, "%s: its daemon is gone", source->mount);
}

int usrbio_connect(struct usrbio_source *source, struct usrbio_session **out, uint32_t *epoch,
		   struct weir_error *err)
{
	struct usrbio_session *session;
	struct usrbio_sem *bell;
	int ret;

	lock_take(&source->lock);
	*out = source->session;
	*epoch = source->epoch;
	lock_drop(&source->lock);
	if (*out && usrbio_session_health(*out) != USRBIO_GONE)
		return 0;
	if (*out)
		usrbio_lost(source, *epoch);
	ret = usrbio_session_get(source->source.env->sys, source->mount, &session, err);
	if (ret)
		return not_there(source, *epoch, ret, err);
	ret = usrbio_session_bell(session, USRBIO_BELL_NORMAL, &bell, err);
	if (ret) {
		usrbio_session_put(session);
		return not_there(source, *epoch, ret, err);
	}
	lock_take(&source->lock);
	source->session = session;
	*epoch = ++source->epoch;
	lock_drop(&source->lock);
	if (*epoch == 1)
		shm_names_sweep(
			source->source.env->sys); /* of processes of ours that were killed */
	*out = session;
	return 0;
}

void usrbio_lost(struct usrbio_source *source, uint32_t epoch)
{
	struct usrbio_session *session = NULL;
	struct driver_ring *spare = NULL;

	lock_take(&source->lock);
	if (source->epoch == epoch && source->session) {
		session = source->session;
		spare = source->spare;
		source->session = NULL;
		source->spare = NULL;
		list_for_each(link, &source->imports)
			list_entry(link, struct usrbio_import, link)->state = IMPORT_LOST;
	}
	lock_drop(&source->lock);
	if (!session)
		return;
	log_warn(source->source.env->log, "%s: its daemon is gone", source->mount);
	pool_retire(source->pool);
	source->driver->ops->ring_destroy(
		spare); /* of a session that is gone: touches the mount no more */
	usrbio_session_put(session);
}

/* ---- The end ---- */

static void forget_importer(struct shared *slab)
{
	shared_detach(slab, SHARED_MOUNT);
}

static struct usrbio_import *next_import(struct usrbio_source *source)
{
	struct usrbio_import *import = NULL;
	struct list *link;

	lock_take(&source->lock);
	link = list_pop(&source->imports);
	if (link) {
		import = list_entry(link, struct usrbio_import, link);
		list_remove(&import->job.link); /* one that waits to be run has nothing to do */
	}
	lock_drop(&source->lock);
	return import;
}

/* Slabs that buffers keep have no importer any more; their registrations go. */
static void end_imports(struct usrbio_source *source)
{
	struct usrbio_import *import;

	pool_each_slab(source->pool, forget_importer);
	while ((import = next_import(source))) {
		usrbio_import_fini(import);
		free(import);
	}
}

static void run_ending(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_session *session;
	struct driver_ring *spare;

	end_imports(source);
	lock_take(&source->lock);
	session = source->session;
	spare = source->spare;
	source->session = NULL;
	source->spare = NULL;
	lock_drop(&source->lock);
	source->driver->ops->ring_destroy(spare);
	if (session)
		usrbio_session_put(session);
	free(job);
}

bool usrbio_end_work(struct usrbio_source *source)
{
	int64_t deadline_ns = deadline_after(source->source.env->sys, PARTING_NS);
	struct usrbio_job *job = calloc(1, sizeof(*job));
	bool ended;

	if (!job)
		return false;
	job->run = run_ending;
	lock_take(&source->lock);
	source->ending = true;
	usrbio_queue_locked(source, job);
	while (!source->worker_ended && cond_wait(&source->done, &source->lock, deadline_ns))
		;
	ended = source->worker_ended;
	lock_drop(&source->lock);
	if (ended)
		thread_join(source->thread);
	else
		thread_detach(source->thread);
	return ended;
}
