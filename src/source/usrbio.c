/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of a 3FS mount.  See usrbio.h for what stands where.
 */
#include "source/usrbio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* ---- Names: the file source's ---- */

static struct source *files_of(struct source *source)
{
	return usrbio_source_of(source)->files;
}

static int stat_name(struct source *source, const char *path, const char *uri,
		     const struct source_how *how, struct weir_stat *out, struct weir_error *err)
{
	return file_stat(files_of(source), path, uri, how, out, err);
}

static int list(struct source *source, const char *path, const char *uri,
		struct source_listing *out, struct weir_error *err)
{
	return file_list(files_of(source), path, uri, out, err);
}

static int make_directory(struct source *source, const char *path, const char *uri,
			  struct weir_error *err)
{
	return file_mkdir(files_of(source), path, uri, err);
}

/* The daemon has no way to share blocks that is told to its clients. */
static int share(struct source_object *to, struct source_object *from,
		 const struct source_pace *pace, struct weir_error *err)
{
	(void)pace;
	return error_set(err, WEIR_UNSUPPORTED, to->uri, "%s: cannot be cloned from %s", to->uri,
			 from->uri);
}

/* ---- The source ---- */

/* Rings take any place and any length. */
static int way(struct source_object *object, uint64_t offset, uint64_t length, uint64_t *until)
{
	(void)object;
	*until = offset + length;
	return WAY_DIRECT;
}

static bool reaches(struct source *source, const void *memory, uint64_t length)
{
	return pool_slab(usrbio_source_of(source)->pool, memory, length) != NULL;
}

static void choice(struct source *source, struct weir_choice *out)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->kind, sizeof(out->kind), "usrbio");
	out->library = usrbio_source_of(source)->driver->library;
	out->direct = 1;
	out->lanes = 1;
	out->depth = USRBIO_ENTRIES_MIN;
	out->request_bytes = USRBIO_REQUEST_BYTES;
}

static void release(struct usrbio_source *source)
{
	source->files->ops->destroy(source->files);
	pool_unref(source->pool);
	cond_fini(&source->work);
	cond_fini(&source->done);
	lock_fini(&source->lock);
	free(source);
}

static void destroy(struct source *base)
{
	struct usrbio_source *source = usrbio_source_of(base);

	if (!usrbio_end_work(source)) {
		log_warn(base->env->log,
			 "%s: its daemon does not answer; what waits for it is left behind",
			 source->mount);
		source->log.fn = NULL; /* nobody listens when it goes on one day */
		return;
	}
	source->driver->ops->destroy(source->driver);
	release(source);
}

static const struct source_ops usrbio_ops = {
	.scheme = "3fs",
	.features = SOURCE_WRITES | SOURCE_LISTS | SOURCE_ONE_DIRECT_LANE | SOURCE_LOOKS_LATE,
	.destroy = destroy,
	.open = usrbio_open,
	.stat = stat_name,
	.describe = usrbio_describe,
	.read = usrbio_read,
	.list = list,
	.create = usrbio_create,
	.clone = share,
	.commit = usrbio_commit,
	.abort = usrbio_abort,
	.mkdir = make_directory,
	.close = usrbio_close,
	.check = usrbio_check,
	.in_place = usrbio_in_place,
	.way = way,
	.reaches = reaches,
	.lane_create = usrbio_lane_create,
	.lane_destroy = usrbio_lane_destroy,
	.lane_register = usrbio_lane_register,
	.submit = usrbio_submit,
	.reap = usrbio_reap,
	.wake = usrbio_wake,
	.cancel = usrbio_cancel,
	.next_ns = usrbio_next_ns,
	.choice = choice,
	.system_calls = usrbio_system_calls,
};

static int create(const struct source_env *env, const struct source_usrbio_how *how,
		  struct source **out, struct weir_error *err)
{
	const char *mount = how->mount;
	struct usrbio_source *source;
	int ret;

	if (strlen(mount) >= USRBIO_MOUNT_MAX)
		return error_set(err, WEIR_ARG, mount,
				 "%s: the path of a 3FS mount has at most %d bytes", mount,
				 USRBIO_MOUNT_MAX - 1);
	source = calloc(1, sizeof(*source));
	if (!source)
		return error_nomem(err, mount, "the source of a 3FS mount");
	source->log = (struct log){.fn = env->log->fn,
				   .arg = env->log->arg,
				   .level = env->log->level,
				   .sys = env->log->sys};
	source->env = (struct source_env){env->sys, &source->log};
	ret = source_file_create(&source->env, &source->files, err);
	if (ret) {
		free(source);
		return ret;
	}
	source->source = (struct source){.ops = &usrbio_ops, .env = &source->env};
	source->pid = getpid();
	source->pool = pool_ref(how->pool);
	source->driver = how->driver;
	source->node = how->node;
	snprintf(source->mount, sizeof(source->mount), "%s", mount);
	lock_init(&source->lock);
	cond_init(&source->work);
	cond_init(&source->done);
	list_init(&source->jobs);
	list_init(&source->lanes);
	list_init(&source->imports);
	ret = usrbio_start_work(source, err);
	if (ret)
		release(source);
	else
		*out = &source->source;
	return ret;
}

int source_usrbio_create(const struct source_env *env, const struct source_usrbio_how *how,
			 struct source **out, struct weir_error *err)
{
	int ret = create(env, how, out, err);

	if (ret)
		how->driver->ops->destroy(how->driver);
	return ret;
}
