/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/failure.h"

#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "mem/cuda.h"

/* What happened, for the classes where the caller can be told more than the class's name. */
static const char *explain(int code)
{
	switch (code) {
	case WEIR_TRUNCATED:
		return "the file ends there; it is shorter than it should be, or was cut while "
		       "being read";
	case WEIR_CHANGED:
		return "the file changed or was replaced while it was read; open it again";
	case WEIR_TIMEOUT:
		return "not done in time";
	case WEIR_CANCELLED:
		return "cancelled";
	case WEIR_LIMIT:
		return "more than the budget ever leaves for it";
	default:
		return weir_code_text(code);
	}
}

int failure_describe(const struct extent *extent, struct weir_error *err)
{
	const char *uri = extent->object->core->uri;
	const struct cuda *cuda = atomic_load_explicit(&extent->object->ctx->cuda,
						       memory_order_acquire);
	const char *system = extent->os_errno > 0 ? strerrordesc_np(extent->os_errno) : NULL;
	char device[CUDA_TEXT_MAX];

	if (extent->status == 0)
		return 0;
	/* A number of the driver's is kept as a negative one. */
	if (extent->os_errno < 0 && cuda)
		system = cuda_text(cuda, -extent->os_errno, device);
	error_at(err, extent->status, uri, extent->error_offset, extent->length,
		 "%s: %s %llu bytes at offset %llu: %s%sat byte %llu: %s", uri,
		 extent->write ? "writing" : "reading", (unsigned long long)extent->length,
		 (unsigned long long)extent->offset, system ? system : "", system ? ", " : "",
		 (unsigned long long)extent->error_offset, explain(extent->status));
	if (err)
		err->os_errno = max_of(extent->os_errno, 0);
	return extent->status;
}
