/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of GPUs: is the driver there, which devices does it have, and can memory that they copy from be
 * pinned, shared memory too?  Does storage write to devices by itself (cuFile)?
 */
#include <stdlib.h>
#include <string.h>

#include "engine/context.h"
#include "loader/probe.h"
#include "mem/cuda.h"
#include "mem/cufile.h"
#include "mem/shared.h"

#define TRIED_BYTES ((uint64_t)2 << 20)

static const char *kind_of(const struct cuda_about *about)
{
	if (about->coherent)
		return "the processor reaches its memory: nothing is copied";
	if (about->unified)
		return "shares the processor's memory: nothing is copied";
	return "memory of its own";
}

static void look_at_device(const struct probe *probe, struct cuda *cuda, int ordinal)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct cuda_about about;
	char size[PROBE_SIZE_MAX];

	if (cuda_describe(cuda, ordinal, &about, &err) < 0)
		probe_say(probe, "cuda_device", WEIR_PROBE_FAIL, "nvidia-smi may tell why",
			  "cuda:%d: %s", ordinal, err.message);
	else
		probe_say(probe, "cuda_device", WEIR_PROBE_OK, "", "cuda:%d: %s, %s, %s", ordinal,
			  about.name, probe_size(size, about.memory_bytes), kind_of(&about));
}

static bool pins_private(struct cuda_device *device)
{
	void *memory = aligned_alloc(TRIED_BYTES, TRIED_BYTES);
	bool pinned = memory && cuda_pin(device, memory, TRIED_BYTES);

	if (pinned)
		cuda_unpin(device, memory, TRIED_BYTES);
	free(memory);
	return pinned;
}

static bool pins_shared(const struct probe *probe, struct cuda_device *device)
{
	struct shared *slab;
	bool pinned;

	if (shared_create(probe->ctx->sys, TRIED_BYTES, &slab, NULL) < 0)
		return false;
	pinned = shared_allocate(slab, slab->at, TRIED_BYTES) == 0 &&
		 cuda_pin(device, slab->at, TRIED_BYTES);
	if (pinned)
		cuda_unpin(device, slab->at, TRIED_BYTES);
	shared_destroy(slab);
	return pinned;
}

static void look_at_pinning(const struct probe *probe, struct cuda *cuda)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct cuda_device *device;
	bool private_, shared;

	if (cuda_device_get(cuda, 0, &device, &err) < 0) {
		probe_say(probe, "cuda_pinning", WEIR_PROBE_FAIL, "nvidia-smi may tell why", "%s",
			  err.message);
		return;
	}
	private_ = pins_private(device);
	shared = pins_shared(probe, device);
	probe_say(probe, "cuda_pinning",
		  private_ && shared ? WEIR_PROBE_OK
		  : private_         ? WEIR_PROBE_WARN
				     : WEIR_PROBE_FAIL,
		  private_ ? "what 3FS brings by its rings crosses to devices more slowly"
			   : "copies to devices are slower; in a container, the limit on locked "
			     "memory may be in the way",
		  "%s",
		  private_ && shared ? "memory, and shared memory"
		  : private_         ? "memory, but not shared memory"
				     : "does not work");
}

static void say_cufile(const struct probe *probe, const struct cufile *cufile)
{
	const struct cufile_properties *says = &cufile->properties;
	bool any = probe->ctx->opts.cufile == WEIR_CUFILE_ON;
	bool direct = cufile_is_direct(cufile);

	probe_say(probe, "cufile",
		  direct ? WEIR_PROBE_OK
		  : any  ? WEIR_PROBE_WARN
			 : WEIR_PROBE_ABSENT,
		  any ? "WEIR_CUFILE=auto leaves it alone"
		      : "WEIR_CUFILE=on uses it all the same, for measuring",
		  "libcufile %d.%d, nvidia-fs %u.%u: %s%s", cufile->version / 1000,
		  cufile->version % 1000 / 10, says->kernel_major, says->kernel_minor,
		  direct ? "" : "its compatibility mode alone, by way of the host; ",
		  any      ? "used wherever it takes a file"
		  : direct ? "used where it is measured to be faster"
			   : "not used");
}

/* Looked for as a transfer does: where the kernel's half is not loaded, no library is opened. */
static void look_at_cufile(const struct probe *probe, struct cuda *cuda)
{
	const struct weir_ctx *ctx = probe->ctx;
	struct weir_error err = WEIR_ERROR_INIT;
	struct cuda_device *device;
	struct cufile cufile;

	if (ctx->opts.cufile == WEIR_CUFILE_OFF ||
	    (ctx->opts.cufile == WEIR_CUFILE_AUTO && !cufile_kernel_found(ctx->sys))) {
		probe_say(probe, "cufile", WEIR_PROBE_ABSENT,
			  "bytes reach devices by way of the host's memory", "%s",
			  ctx->opts.cufile == WEIR_CUFILE_OFF
				  ? "WEIR_CUFILE is off"
				  : "the kernel module nvidia-fs is not loaded");
		return;
	}
	if (cuda_device_get(cuda, 0, &device, &err) < 0 || cuda_enter(device) != CU_OK)
		return; /* said above */
	if (cufile_open(NULL, &cufile, &err) < 0) {
		probe_say(probe, "cufile", WEIR_PROBE_ABSENT,
			  "bytes reach devices by way of the host's memory", "%s", err.message);
	} else {
		say_cufile(probe, &cufile);
		cufile_close(&cufile);
	}
	cuda_leave(device);
}

void probe_cuda(const struct probe *probe)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct cuda *cuda;
	int count;

	if (ctx_cuda(probe->ctx, &cuda, &err) < 0 || cuda_count(cuda, &count, &err) < 0) {
		probe_say(probe, "cuda",
			  err.code == WEIR_UNSUPPORTED ? WEIR_PROBE_ABSENT : WEIR_PROBE_FAIL,
			  "models are loaded into the processor's memory", "%s", err.message);
		return;
	}
	probe_say(probe, "cuda", WEIR_PROBE_OK, "", "the driver is of CUDA %d.%d; devices: %d",
		  cuda->version / 1000, cuda->version % 1000 / 10, count);
	for (int i = 0; i < count; i++)
		look_at_device(probe, cuda, i);
	look_at_pinning(probe, cuda);
	look_at_cufile(probe, cuda);
}
