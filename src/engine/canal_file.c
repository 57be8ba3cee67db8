/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/berth.h"
#include "engine/canal_inside.h"
#include "engine/context.h"
#include "engine/object.h"

#define HALT_NS NS_PER_SEC

/* ---- Making and ending ---- */

static int run_open(struct helper_call *call);
static void end_open(struct helper_call *call);

int canal_create(struct weir_ctx *ctx, const struct cufile_driver *table, struct canal **out,
		 struct weir_error *err)
{
	struct canal *canal;

	*out = NULL;
	if (ctx->opts.cufile == WEIR_CUFILE_OFF)
		return 0;
	canal = calloc(1, sizeof(*canal));
	if (!canal)
		return error_nomem(err, NULL, "the use of cuFile");
	canal->ctx = ctx;
	canal->table = table;
	canal->wish = ctx->opts.cufile;
	canal->opening.run = run_open;
	canal->opening.free = end_open;
	lock_init(&canal->lock);
	cond_init(&canal->quiet);
	*out = canal;
	return 0;
}

void canal_halt(struct canal *canal, bool wait)
{
	int64_t until;

	if (!canal)
		return;
	until = deadline_after(canal->ctx->sys, wait ? HALT_NS : 0);
	/* Sequentially consistent, as in canal_post(): one of the two sees what the other did. */
	atomic_store(&canal->halted, true);
	lock_take(&canal->lock);
	while (atomic_load(&canal->calls) && cond_wait(&canal->quiet, &canal->lock, until))
		;
	lock_drop(&canal->lock);
}

void canal_destroy(struct canal *canal)
{
	if (!canal)
		return;
	if (atomic_load_explicit(&canal->state, memory_order_acquire) == CANAL_OPEN)
		cufile_close(&canal->cufile);
	cond_fini(&canal->quiet);
	lock_fini(&canal->lock);
	free(canal);
}

/* ---- Calls ---- */

void canal_post(struct canal *canal, struct helper_call *call)
{
	atomic_fetch_add(&canal->calls, 1);
	if (atomic_load(&canal->halted))
		call->free(call);
	else if (helper_post(canal->ctx->helpers, call) < 0)
		log_debug(&canal->ctx->log, "cuFile: no thread is to be had for a call");
}

void canal_call_ended(struct canal *canal)
{
	lock_take(&canal->lock);
	if (atomic_fetch_sub(&canal->calls, 1) == 1)
		cond_wake_all(&canal->quiet);
	lock_drop(&canal->lock);
}

/* ---- cuFile, opened ---- */

static int open_library(struct canal *canal, struct weir_error *err)
{
	bool any = canal->wish == WEIR_CUFILE_ON;
	int ret = 0;

	/* Without the kernel's half there is nothing to gain. */
	if (!any && !canal->table && !cufile_kernel_found(canal->ctx->sys))
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "the kernel module nvidia-fs is not loaded");
	if (cuda_enter(canal->opener) != CU_OK)
		return error_set(err, WEIR_UNSUPPORTED, NULL, "the device is lost");
	ret = cufile_open(canal->table, &canal->cufile, err);
	if (ret == 0 && !any && !cufile_is_direct(&canal->cufile)) {
		cufile_close(&canal->cufile);
		ret = error_set(err, WEIR_UNSUPPORTED, NULL,
				"cuFile runs in its compatibility mode, by way of the host");
	}
	cuda_leave(canal->opener);
	return ret;
}

static int run_open(struct helper_call *call)
{
	struct canal *canal = container_of(call, struct canal, opening);
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = open_library(canal, &err);

	if (ret < 0)
		log_info(&canal->ctx->log, "cuFile is not used: %s", err.message);
	/* Release, paired with canal_is_open(): what was found out is seen whole. */
	atomic_store_explicit(&canal->state, ret < 0 ? CANAL_SHUT : CANAL_OPEN,
			      memory_order_release);
	return 0;
}

static void end_open(struct helper_call *call)
{
	struct canal *canal = container_of(call, struct canal, opening);
	uint8_t opening = CANAL_OPENING;

	/* No thread was to be had: another time. */
	atomic_compare_exchange_strong(&canal->state, &opening, CANAL_UNTRIED);
	canal_call_ended(canal);
}

bool canal_is_open(struct canal *canal, struct cuda_device *device)
{
	uint8_t state = atomic_load_explicit(&canal->state, memory_order_acquire);

	if (state == CANAL_UNTRIED &&
	    atomic_compare_exchange_strong(&canal->state, &state, CANAL_OPENING)) {
		canal->opener = device;
		canal_post(canal, &canal->opening);
	}
	return state == CANAL_OPEN;
}

/* ---- Files ---- */

static int look_at(struct canal_file *file)
{
	struct canal *canal = file->canal;
	const struct sys *sys = canal->ctx->sys;
	struct cufile_file as = {.kind = CUFILE_DESCRIPTOR, .of.fd = file->fd};
	struct cufile_status status = {.code = CUFILE_CUDA};
	struct statfs fs;
	struct stat st;
	char text[CUFILE_TEXT_MAX];

	if (sys->fstat(file->fd, &st) < 0 || sys->fstatfs(file->fd, &fs) < 0)
		return FILE_REFUSED;
	file->file_system = st.st_dev;
	if (canal->wish != WEIR_CUFILE_ON && !cufile_serves(&canal->cufile, fs.f_type))
		return FILE_REFUSED;
	if (cuda_enter(file->device) == CU_OK) {
		status = canal->cufile.driver.file_register(&file->handle, &as);
		cuda_leave(file->device);
	}
	if (status.code == CUFILE_OK)
		return FILE_READY;
	log_debug(&canal->ctx->log, "a file cannot be read by cuFile: %s",
		  cufile_text(status.code, text));
	return FILE_REFUSED;
}

static void close_fd(struct canal_file *file)
{
	if (file->fd < 0)
		return;
	file->canal->ctx->sys->close(file->fd);
	file->fd = -1;
	atomic_fetch_sub_explicit(&file->canal->files, 1, memory_order_relaxed);
}

static int run_look(struct helper_call *call)
{
	struct canal_file *file = container_of(call, struct canal_file, looking);
	int state = look_at(file);

	if (state == FILE_REFUSED)
		close_fd(file);
	/* Release, paired with canal_file_of(). */
	atomic_store_explicit(&file->state, (uint8_t)state, memory_order_release);
	return 0;
}

static void unref(struct canal_file *file)
{
	struct canal *canal = file->canal;

	if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (atomic_load_explicit(&file->state, memory_order_relaxed) == FILE_READY)
		canal->cufile.driver.file_deregister(file->handle);
	close_fd(file);
	free(file);
}

static void end_look(struct helper_call *call)
{
	struct canal_file *file = container_of(call, struct canal_file, looking);
	struct canal *canal = file->canal;

	unref(file);
	canal_call_ended(canal);
}

static struct canal_file *file_create(struct canal *canal, struct source_object *core,
				      struct cuda_device *device)
{
	const struct source_ops *ops = core->source->ops;
	struct canal_file *file;
	int fd = ops->duplicate ? ops->duplicate(core) : -1;

	file = fd < 0 ? NULL : calloc(1, sizeof(*file));
	if (!file) {
		if (fd >= 0)
			canal->ctx->sys->close(fd);
		return NULL;
	}
	file->canal = canal;
	file->device = device;
	file->fd = fd;
	file->looking.run = run_look;
	file->looking.free = end_look;
	atomic_init(&file->refs, 1);
	atomic_fetch_add_explicit(&canal->files, 1, memory_order_relaxed);
	return file;
}

/* The first to need it has it looked at; of two that come at once, one does. */
static void begin_look(struct canal *canal, struct weir_object *object, struct cuda_device *device)
{
	struct canal_file *file, *none = NULL;

	if (atomic_load_explicit(&canal->files, memory_order_relaxed) >= FILES_MAX)
		return;
	file = file_create(canal, object->core, device);
	if (!file)
		return;
	if (!atomic_compare_exchange_strong(&object->canal, &none, file)) {
		unref(file);
		return;
	}
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
	canal_post(canal, &file->looking);
}

struct canal_file *canal_file_of(struct canal *canal, const struct part *part)
{
	struct cursor cursor = part->from;
	struct canal_file *file;
	struct piece piece;

	if (!part_next(part, &cursor, &piece))
		return NULL;
	file = atomic_load_explicit(&piece.extent->object->canal, memory_order_acquire);
	if (!file) {
		begin_look(canal, piece.extent->object, part->device);
		return NULL;
	}
	/* Acquire, paired with run_look(): the handle is seen. */
	return atomic_load_explicit(&file->state, memory_order_acquire) == FILE_READY ? file : NULL;
}

void canal_file_close(struct weir_object *object, bool alive)
{
	struct canal_file *file = atomic_load_explicit(&object->canal, memory_order_acquire);

	if (!file)
		return;
	if (alive)
		unref(file);
	else
		free(file); /* the registration is the parent's */
}
