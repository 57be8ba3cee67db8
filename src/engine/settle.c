/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/settle.h"

#include "source/source.h"

static int check_version(const struct extent *extent, struct version_check *checked)
{
	struct source_object *object = extent->object->core;

	if (extent->write || extent->length == 0)
		return 0;
	if (checked->object != extent->object) {
		checked->object = extent->object;
		checked->code = object->source->ops->check(object, NULL);
	}
	return checked->code;
}

void settle_all(struct weir_transfer *transfer, struct extent *finished,
		struct version_check *checked)
{
	bool live = transfer->opts.flags & WEIR_TRANSFER_LIVE;

	while (finished) {
		struct extent *extent = finished;

		finished = extent->next_finished;
		transfer_settle(transfer, extent, live ? 0 : check_version(extent, checked));
	}
}
