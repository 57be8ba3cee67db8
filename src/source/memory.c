/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of objects in RAM: putting, opening, listing and writing them.
 *
 * Names are flat; a '/' in them makes directories appear in listings, as object stores have it, and
 * mkdir() has nothing to do.
 */
#include "source/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "mem/limits.h"
#include "source/memory_store.h"

#define REQUEST_BYTES UINT32_C(524288)

/* Largest listing, with its names. */
#define LISTING_MAX ((size_t)64 << 20)

/* ---- Blobs ---- */

static void blob_unref_locked(struct blob *blob)
{
	if (!blob || --blob->refs > 0)
		return;
	free(blob->name);
	free(blob->data);
	free(blob);
}

/* A blob that nobody sees yet, with one reference; zeroed. */
static struct blob *blob_create(const char *name, uint64_t size_bytes)
{
	struct blob *blob = calloc(1, sizeof(*blob));

	if (!blob)
		return NULL;
	list_init(&blob->link);
	blob->refs = 1;
	blob->size_bytes = size_bytes;
	blob->name = strdup(name);
	blob->data = size_bytes < SIZE_MAX ? calloc(1, size_bytes ? size_bytes : 1) : NULL;
	if (blob->name && blob->data)
		return blob;
	blob_unref_locked(blob);
	return NULL;
}

static struct blob *find_locked(struct memory_source *source, const char *name)
{
	list_for_each(link, &source->shared.blobs) {
		struct blob *blob = list_entry(link, struct blob, link);
		int order = strcmp(blob->name, name);

		if (order == 0)
			return blob;
		if (order > 0)
			break;
	}
	return NULL;
}

static void unpublish_locked(struct blob *blob)
{
	if (!blob)
		return;
	list_remove(&blob->link);
	blob_unref_locked(blob);
}

/* The blob gets its name; the store takes the caller's reference. */
static void publish_locked(struct memory_source *source, struct blob *blob)
{
	struct list *place = &source->shared.blobs;

	unpublish_locked(find_locked(source, blob->name));
	list_for_each(link, &source->shared.blobs) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that list_remove() unlinks */
		if (strcmp(list_entry(link, struct blob, link)->name, blob->name) > 0) {
			place = link;
			break;
		}
	}
	blob->version = ++source->shared.versions;
	list_push(place, &blob->link); /* before it */
}

int source_memory_put(struct source *base, const char *name, const void *data, uint64_t size_bytes,
		      struct weir_error *err)
{
	struct memory_source *source = memory_source(base);
	struct blob *blob = blob_create(name, size_bytes);

	if (!blob)
		return error_nomem(err, name, "the object");
	if (size_bytes > 0)
		memcpy(blob->data, data, size_bytes);
	lock_take(&source->shared.lock);
	publish_locked(source, blob);
	lock_drop(&source->shared.lock);
	return 0;
}

static int no_such(struct weir_error *err, const char *uri)
{
	return error_set(err, WEIR_NOTFOUND, uri, "%s: no such object in memory", uri);
}

int source_memory_remove(struct source *base, const char *name, struct weir_error *err)
{
	struct memory_source *source = memory_source(base);
	struct blob *blob;

	lock_take(&source->shared.lock);
	blob = find_locked(source, name);
	unpublish_locked(blob);
	lock_drop(&source->shared.lock);
	return blob ? 0 : no_such(err, name);
}

void source_memory_behave(struct source *base, const struct memory_behaviour *behaviour)
{
	struct memory_source *source = memory_source(base);

	lock_take(&source->shared.lock);
	source->shared.behaviour = *behaviour;
	source->shared.random = behaviour->seed;
	source->shared.free_ns = 0;
	lock_drop(&source->shared.lock);
}

/* ---- Objects ---- */

/* An object onto a blob; takes the caller's reference to it when it succeeds. */
static int open_blob(struct memory_source *source, struct blob *blob, const char *uri,
		     const struct source_how *how, bool writing, struct source_object **out,
		     struct weir_error *err)
{
	struct memory_object *object = calloc(1, sizeof(*object));
	struct memory_behaviour behaviour;

	lock_take(&source->shared.lock);
	behaviour = source->shared.behaviour;
	lock_drop(&source->shared.lock);
	if (object)
		object->object.uri = strdup(uri);
	if (!object || !object->object.uri) {
		free(object);
		return error_nomem(err, uri, "the object");
	}
	object->object.source = &source->source;
	object->object.size_bytes = blob->size_bytes;
	object->object.offset_align = max_of(behaviour.offset_align, UINT32_C(1));
	object->object.memory_align = max_of(behaviour.memory_align, UINT32_C(1));
	object->object.request_bytes = behaviour.request_bytes ? behaviour.request_bytes
							       : REQUEST_BYTES;
	object->object.writing = writing;
	object->how = *how;
	object->blob = blob;
	*out = &object->object;
	return 0;
}

static void unref(struct memory_source *source, struct blob *blob)
{
	lock_take(&source->shared.lock);
	blob_unref_locked(blob);
	lock_drop(&source->shared.lock);
}

static int open_object(struct source *base, const char *path, const char *uri,
		       const struct source_how *how, struct source_object **out,
		       struct weir_error *err)
{
	struct memory_source *source = memory_source(base);
	struct blob *blob;
	int ret;

	lock_take(&source->shared.lock);
	blob = find_locked(source, path);
	if (blob)
		blob->refs++;
	lock_drop(&source->shared.lock);
	if (!blob)
		return no_such(err, uri);
	ret = open_blob(source, blob, uri, how, false, out, err);
	if (ret)
		unref(source, blob);
	return ret;
}

static void close_object(struct source_object *base)
{
	struct memory_object *object = memory_object(base);

	unref(memory_source(base->source), object->blob);
	free(base->uri);
	free(object);
}

static int check_object(struct source_object *base, struct weir_error *err)
{
	struct memory_source *source = memory_source(base->source);
	struct memory_object *object = memory_object(base);
	uint64_t size = object->blob->size_bytes;
	bool same = true;
	struct blob *now;

	if (base->writing || (object->how.flags & WEIR_OBJECT_LIVE))
		return 0;
	lock_take(&source->shared.lock);
	now = find_locked(source, object->blob->name);
	if (now) {
		same = now == object->blob;
		size = now->size_bytes;
	}
	lock_drop(&source->shared.lock);
	if (same)
		return 0;
	if (size < object->blob->size_bytes)
		return error_set(err, WEIR_TRUNCATED, base->uri,
				 "%s: has %" PRIu64 " bytes now, and had %" PRIu64
				 " when it was opened",
				 base->uri, size, object->blob->size_bytes);
	return error_set(err, WEIR_CHANGED, base->uri, "%s: was replaced while it was read",
			 base->uri);
}

static int way(struct source_object *object, uint64_t offset, uint64_t length, uint64_t *until)
{
	*until = offset + length;
	if (object->offset_align == 1 && object->memory_align == 1)
		return WAY_BUFFERED;
	return memory_object(object)->how.direct == WEIR_DIRECT_OFF ? WAY_BUFFERED : WAY_DIRECT;
}

/* ---- Describing and listing ---- */

static void describe_blob(const struct blob *blob, struct weir_stat *out)
{
	*out = (struct weir_stat){
		.kind = WEIR_KIND_FILE,
		.size_bytes = blob->size_bytes,
		.memory_align = 1,
		.cached_bytes = UINT64_MAX,
	};
	snprintf(out->version, sizeof(out->version), "%" PRIu64, blob->version);
}

static int describe(struct source_object *base, struct weir_stat *out, struct weir_error *err)
{
	struct memory_source *source = memory_source(base->source);

	(void)err;
	lock_take(&source->shared.lock);
	describe_blob(memory_object(base)->blob, out);
	lock_drop(&source->shared.lock);
	if (base->offset_align > 1)
		out->direct_align = base->offset_align;
	out->memory_align = base->memory_align;
	return 0;
}

/* A header read comes at once: how the store behaves is for requests. */
static int64_t read_here(struct source_object *base, void *to, uint64_t offset, uint64_t length,
			 struct weir_error *err)
{
	const struct blob *blob = memory_object(base)->blob;
	uint64_t left = offset < blob->size_bytes ? blob->size_bytes - offset : 0;

	(void)err;
	length = min_of(length, left);
	if (length > 0)
		memcpy(to, blob->data + offset, length);
	return (int64_t)length;
}

/* What of a name lies in a directory ("" is the top): the rest, or NULL. */
static const char *inside(const char *name, const char *path, size_t len)
{
	if (len == 0)
		return name;
	if (strncmp(name, path, len) != 0 || name[len] != '/')
		return NULL;
	return name + len + 1;
}

/* A path without the slashes at its end. */
static size_t path_len(const char *path)
{
	size_t len = strlen(path);

	while (len > 0 && path[len - 1] == '/')
		len--;
	return len;
}

static bool is_directory_locked(struct memory_source *source, const char *path)
{
	size_t len = path_len(path);

	list_for_each(link, &source->shared.blobs)
		if (inside(list_entry(link, struct blob, link)->name, path, len))
			return true;
	return len == 0;
}

static int stat_path(struct source *base, const char *path, const char *uri,
		     const struct source_how *how, struct weir_stat *out, struct weir_error *err)
{
	struct memory_source *source = memory_source(base);
	struct blob *blob;
	bool found = true;

	(void)how;
	lock_take(&source->shared.lock);
	blob = find_locked(source, path);
	if (blob)
		describe_blob(blob, out);
	else if ((found = is_directory_locked(source, path)))
		*out = (struct weir_stat){.kind = WEIR_KIND_DIRECTORY, .cached_bytes = UINT64_MAX};
	lock_drop(&source->shared.lock);
	return found ? 0 : no_such(err, uri);
}

/* Adds what stands directly inside; a directory comes once, since names with one beginning are
 * neighbours, except where "a-b" stands between "a" and "a/b": then what is there is compared. */
static int add_entry(struct source_listing *listing, size_t room, const struct blob *blob,
		     const char *rest)
{
	size_t len = strcspn(rest, "/");
	bool file = rest[len] == '\0';
	struct source_entry *entry;

	for (size_t i = 0; !file && i < listing->count; i++)
		if (listing->entries[i].stat.kind == WEIR_KIND_DIRECTORY &&
		    strlen(listing->entries[i].name) == len &&
		    memcmp(listing->entries[i].name, rest, len) == 0)
			return 0;
	if (listing->count == room)
		return -1;
	entry = &listing->entries[listing->count];
	entry->name = arena_strdup(&listing->arena, (struct bytes){rest, len});
	if (!entry->name)
		return -1;
	if (file)
		describe_blob(blob, &entry->stat);
	else
		entry->stat = (struct weir_stat){.kind = WEIR_KIND_DIRECTORY,
						 .cached_bytes = UINT64_MAX};
	listing->count++;
	return 0;
}

static int list_locked(struct memory_source *source, const char *path, struct source_listing *out)
{
	size_t len = path_len(path), room = 0;

	list_for_each(link, &source->shared.blobs)
		room += inside(list_entry(link, struct blob, link)->name, path, len) != NULL;
	out->entries = arena_alloc(&out->arena, room ? room : 1, sizeof(struct source_entry));
	if (!out->entries)
		return -1;
	list_for_each(link, &source->shared.blobs) {
		const struct blob *blob = list_entry(link, struct blob, link);
		const char *rest = inside(blob->name, path, len);

		if (rest && *rest && add_entry(out, room, blob, rest) < 0)
			return -1;
	}
	return 0;
}

static int list(struct source *base, const char *path, const char *uri, struct source_listing *out,
		struct weir_error *err)
{
	struct memory_source *source = memory_source(base);
	bool found;
	int ret = 0;

	*out = (struct source_listing){0};
	arena_init(&out->arena, LISTING_MAX);
	lock_take(&source->shared.lock);
	found = is_directory_locked(source, path);
	if (found)
		ret = list_locked(source, path, out);
	lock_drop(&source->shared.lock);
	if (!found)
		return no_such(err, uri);
	if (ret < 0) {
		arena_fini(&out->arena);
		return error_nomem(err, uri, "the list of what stands inside");
	}
	source_sort(out->entries, out->count);
	return 0;
}

/* ---- Writing ---- */

static int create(struct source *base, const char *path, const char *uri, uint64_t size_bytes,
		  const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	struct memory_source *source = memory_source(base);
	int ret = memory_check(base->env->sys, size_bytes, uri, err);
	struct blob *blob;

	if (ret)
		return ret;
	if (*path == '\0' || path[strlen(path) - 1] == '/')
		return error_set(err, WEIR_ARG, uri, "%s: not a name for an object", uri);
	blob = blob_create(path, size_bytes);
	if (!blob)
		return error_nomem(err, uri, "the object");
	ret = open_blob(source, blob, uri, how, true, out, err);
	if (ret)
		unref(source, blob);
	return ret;
}

static int copy_object(struct source_object *to, struct source_object *from,
		       const struct source_pace *pace, struct weir_error *err)
{
	struct blob *target = memory_object(to)->blob;
	const struct blob *origin;

	(void)pace; /* at the speed of memory */
	if (to->source != from->source)
		return error_set(err, WEIR_UNSUPPORTED, to->uri, "%s: cannot share bytes with %s",
				 to->uri, from->uri);
	origin = memory_object(from)->blob;
	if (target->size_bytes != origin->size_bytes)
		return error_set(err, WEIR_ARG, to->uri,
				 "%s: made for %" PRIu64 " bytes, but %s has %" PRIu64, to->uri,
				 target->size_bytes, from->uri, origin->size_bytes);
	memcpy(target->data, origin->data, origin->size_bytes);
	return 0;
}

static int commit(struct source_object *base, int durability, struct weir_error *err)
{
	struct memory_source *source = memory_source(base->source);
	struct blob *blob = memory_object(base)->blob;

	(void)durability;
	if (!base->writing)
		return error_set(err, WEIR_ARG, base->uri, "%s: is not being written", base->uri);
	lock_take(&source->shared.lock);
	blob->refs++;
	publish_locked(source, blob);
	lock_drop(&source->shared.lock);
	base->writing = false;
	return 0;
}

/* What was written goes away with the object: nobody else has seen it. */
static int abort_object(struct source_object *base, struct weir_error *err)
{
	if (!base->writing)
		return error_set(err, WEIR_ARG, base->uri, "%s: is not being written", base->uri);
	base->writing = false;
	return 0;
}

static int make_directory(struct source *source, const char *path, const char *uri,
			  struct weir_error *err)
{
	(void)source;
	(void)path;
	(void)uri;
	(void)err;
	return 0;
}

/* ---- The source ---- */

static void choice(struct source *source, struct weir_choice *out)
{
	(void)source;
	snprintf(out->kind, sizeof(out->kind), "memory");
	out->request_bytes = REQUEST_BYTES;
}

static void destroy(struct source *base)
{
	struct memory_source *source = memory_source(base);

	while (!list_empty(&source->shared.blobs))
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that list_remove() unlinks */
		unpublish_locked(list_entry(source->shared.blobs.next, struct blob, link));
	lock_fini(&source->shared.lock);
	free(source);
}

static const struct source_ops memory_ops = {
	.scheme = "memory",
	.features = SOURCE_WRITES | SOURCE_LISTS,
	.destroy = destroy,
	.open = open_object,
	.stat = stat_path,
	.describe = describe,
	.read = read_here,
	.list = list,
	.create = create,
	.clone = copy_object,
	.commit = commit,
	.abort = abort_object,
	.mkdir = make_directory,
	.close = close_object,
	.check = check_object,
	.way = way,
	.lane_create = memory_lane_create,
	.lane_destroy = memory_lane_destroy,
	.lane_register = memory_lane_register,
	.submit = memory_lane_submit,
	.reap = memory_lane_reap,
	.wake = memory_lane_wake,
	.cancel = memory_lane_cancel,
	.next_ns = memory_lane_next_ns,
	.choice = choice,
	.system_calls = memory_lane_system_calls,
};

int source_memory_create(const struct source_env *env, struct source **out, struct weir_error *err)
{
	struct memory_source *source = calloc(1, sizeof(*source));

	if (!source)
		return error_nomem(err, NULL, "the store of objects in memory");
	source->source.ops = &memory_ops;
	source->source.env = env;
	lock_init(&source->shared.lock);
	list_init(&source->shared.blobs);
	*out = &source->source;
	return 0;
}
