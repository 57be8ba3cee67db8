/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/route.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "engine/group.h"
#include "io/usrbio/mountpoint.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* ---- What was found for a directory ---- */

static size_t parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

/* The directory in which the path's last name is, or will be; false: it is too long. */
static bool parent_of(const char *path, char out[PATH_MAX])
{
	size_t len = parent_length(path);

	if (len >= PATH_MAX)
		return false;
	if (len == 0)
		snprintf(out, PATH_MAX, "%s", path[0] == '/' ? "/" : ".");
	else
		snprintf(out, PATH_MAX, "%.*s", (int)len, path);
	return true;
}

static bool is_dir(const struct route *route, const char *path, size_t len)
{
	return route->dir && strlen(route->dir) == len && memcmp(route->dir, path, len) == 0;
}

/* The mount of the directory, copied; false: nobody looked yet.  "": it is on none. */
static bool recall(struct weir_ctx *ctx, const char *path, size_t len, char mount[PATH_MAX])
{
	bool found = false;

	lock_take(&ctx->lock);
	for (unsigned i = 0; i < ROUTES_KEPT && !found; i++) {
		found = is_dir(&ctx->routes[i], path, len);
		if (found)
			memcpy(mount, ctx->routes[i].mount, strlen(ctx->routes[i].mount) + 1);
	}
	lock_drop(&ctx->lock);
	return found;
}

static void remember(struct weir_ctx *ctx, const char *path, size_t len, const char *mount)
{
	struct route fresh = {strndup(path, len), strdup(mount)}, spare = fresh;

	if (fresh.dir && fresh.mount) {
		lock_take(&ctx->lock);
		spare = ctx->routes[ctx->route_next % ROUTES_KEPT];
		ctx->routes[ctx->route_next++ % ROUTES_KEPT] = fresh;
		lock_drop(&ctx->lock);
	}
	free(spare.dir);
	free(spare.mount);
}

/* ---- Looking ---- */

/* Is it on a FUSE file system?  Of what is not there, what it would be in. */
static bool on_fuse(const struct weir_ctx *ctx, const char *path, bool making)
{
	struct statfs fs;
	char parent[PATH_MAX];

	if (ctx->sys->statfs(path, &fs) == 0)
		return fs.f_type == FUSE_SUPER_MAGIC;
	return making && errno == ENOENT && parent_of(path, parent) &&
	       ctx->sys->statfs(parent, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

/* The mount that the path's directory is on; "": none, and then *err says why. */
static void find_mount(struct weir_ctx *ctx, const char *path, bool making, char mount[PATH_MAX],
		       struct weir_error *err)
{
	size_t len = parent_length(path);
	char parent[PATH_MAX];
	int ret;

	if (recall(ctx, path, len, mount) && mount[0])
		return;
	ret = usrbio_mount_find(ctx->sys, path, ctx->any_mount, mount, err);
	if (ret && making && parent_of(path, parent))
		ret = usrbio_mount_find(ctx->sys, parent, ctx->any_mount, mount, err);
	if (ret)
		mount[0] = '\0';
	remember(ctx, path, len, mount);
}

static int take_group(struct weir_ctx *ctx, const char *scheme, const char *mount, const char *path,
		      struct place *out, struct weir_error *err)
{
	int ret;

	out->path = strdup(path);
	if (!out->path)
		return error_nomem(err, path, "the path");
	ret = ctx_group(ctx, scheme, mount, &out->group, err);
	if (ret < 0)
		place_fini(out);
	return ret;
}

int place_of_path(struct weir_ctx *ctx, const char *path, bool making, struct place *out,
		  struct weir_error *err)
{
	char mount[PATH_MAX] = "";

	*out = (struct place){NULL};
	if (!ctx->simulated && on_fuse(ctx, path, making))
		find_mount(ctx, path, making, mount, NULL);
	if (mount[0] == '\0')
		return take_group(ctx, "file", NULL, path, out, err);
	out->chosen = true;
	return take_group(ctx, "3fs", mount, path, out, err);
}

static int place_on_mount(struct weir_ctx *ctx, const char *path, bool making, struct place *out,
			  struct weir_error *err)
{
	char mount[PATH_MAX];

	find_mount(ctx, path, making, mount, err);
	if (mount[0])
		return take_group(ctx, "3fs", mount, path, out, err);
	return err && err->code ? err->code : WEIR_NOTFOUND;
}

int place_find(struct weir_ctx *ctx, const char *uri, bool making, struct place *out,
	       struct weir_error *err)
{
	const char *scheme;
	char *path;
	int ret;

	*out = (struct place){NULL};
	if (!uri || !*uri)
		return error_set(err, WEIR_ARG, NULL, "an empty URI");
	ret = source_split_uri(uri, &scheme, &path, err);
	if (ret < 0)
		return ret;
	if (strcmp(scheme, "3fs") == 0)
		ret = place_on_mount(ctx, path, making, out, err);
	else if (strcmp(scheme, "file") == 0 && strncasecmp(uri, "file://", strlen("file://")) != 0)
		ret = place_of_path(ctx, path, making, out, err);
	else
		ret = take_group(ctx, scheme, NULL, path, out, err);
	free(path);
	return ret;
}

void place_fini(struct place *place)
{
	free(place->path);
	place->path = NULL;
}

bool place_fall_back(struct weir_ctx *ctx, struct place *place, const struct weir_error *err)
{
	/* A daemon that does not answer answers nobody. */
	if (!place->chosen || err->code == WEIR_PEER_GONE || err->code == WEIR_TIMEOUT ||
	    ctx_group(ctx, "file", NULL, &place->group, NULL) < 0)
		return false;
	place->chosen = false;
	return true;
}

int place_known(struct weir_ctx *ctx, const char *uri, struct group **out, struct weir_error *err)
{
	char mount[PATH_MAX] = "";
	const char *scheme;
	size_t len;
	char *path;
	int ret = source_split_uri(uri, &scheme, &path, err);

	if (ret < 0)
		return ret;
	len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (strcmp(scheme, "memory") != 0 && (!recall(ctx, path, len, mount) || mount[0] == '\0'))
		recall(ctx, path, parent_length(path), mount);
	free(path);
	if (mount[0] == '\0' && strcmp(scheme, "3fs") == 0)
		return error_set(err, WEIR_NOTFOUND, uri, "%s: nothing was read from it yet", uri);
	return mount[0] ? ctx_group(ctx, "3fs", mount, out, err)
			: ctx_group(ctx, scheme, NULL, out, err);
}
