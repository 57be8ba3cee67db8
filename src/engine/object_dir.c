/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many files of one directory, without asking for each what is the same for all.
 *
 * A plain path may lie on a mount with rings, which costs a statfs to find out (engine/route.h), and the
 * kernel walks all of it.  Files of one directory on one device share both answers.
 */
#include <fcntl.h>
#include <string.h>

#include "engine/group.h"
#include "engine/object_call.h"
#include "io/fd.h"

/* At the end of a path that is joined with a name. */
static size_t joined_length(const char *path)
{
	size_t len = strlen(path);

	return len + (len > 0 && path[len - 1] != '/');
}

/* Only a path that the file source serves as it stands: one that is spelled as a URI has escapes. */
static bool is_plain(struct weir_ctx *ctx, const char *path, struct group **group)
{
	struct place place;
	bool plain;

	if (place_find(ctx, path, false, &place, NULL) < 0)
		return false;
	plain = strcmp(place.group->scheme, "file") == 0 && strcmp(place.path, path) == 0;
	*group = place.group;
	place_fini(&place);
	return plain;
}

bool object_dir_open_here(struct weir_ctx *ctx, const char *path, struct object_dir *out)
{
	const char *place = path[0] ? path : ".";
	const struct sys *sys = ctx->sys;
	struct stat st;
	int fd;

	*out = (struct object_dir){.ctx = ctx, .at.name_at = joined_length(path)};
	if (!is_plain(ctx, place, &out->group))
		return false;
	fd = fd_lift(sys, sys->openat(AT_FDCWD, place, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
	if (fd < 0)
		return false;
	if (sys->fstat(fd, &st)) {
		sys->close(fd);
		return false;
	}
	out->at.fd = fd;
	out->at.device = st.st_dev;
	return true;
}

void object_dir_close(struct object_dir *dir)
{
	dir->ctx->sys->close(dir->at.fd);
}

int object_dir_find_here(struct object_dir *dir, const char *uri, const struct source_how *how,
			 struct weir_object **out, struct weir_error *err)
{
	struct source *source = dir->group->source;
	struct source_how here = *how;
	struct source_object *core;
	int ret = 1;

	here.dir = &dir->at;
	/* Relaxed: a hint. */
	if (!atomic_load_explicit(&dir->left, memory_order_relaxed))
		ret = source->ops->open(source, uri, uri, &here, &core, err);
	if (ret <= 0)
		return ret < 0 ? ret : object_wrap(dir->ctx, dir->group, core, out, err);
	atomic_store_explicit(&dir->left, true, memory_order_relaxed);
	return object_open_here(dir->ctx, uri, how, out, err);
}
