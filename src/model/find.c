/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a model consists of.
 *
 * A directory is its index, where it has one, else all `*.safetensors` directly inside, else all
 * `*.gguf`.  Names that begin with a dot are nobody's weights: temporaries, and what some systems
 * leave beside every file.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/context.h"
#include "engine/object.h"
#include "model/opening.h"

#define INDEX_SUFFIX ".safetensors.index.json"
#define INDEX_USUAL  "model" INDEX_SUFFIX

static bool ends_with(const char *text, const char *suffix)
{
	size_t len = strlen(text), tail = strlen(suffix);

	return len >= tail && memcmp(text + len - tail, suffix, tail) == 0;
}

/* ---- URIs ---- */

/* '%' means itself in a path and must be spelled in a URI. */
char *uri_join(struct arena *arena, const char *dir, struct bytes name)
{
	bool escape = strstr(dir, "://") != NULL;
	size_t len = strlen(dir);
	char *out = arena_alloc(arena, len + name.len * 3 + 2, 1);
	char *to = out;

	if (!out)
		return NULL;
	memcpy(to, dir, len);
	to += len;
	if (len > 0 && dir[len - 1] != '/')
		*to++ = '/';
	if (!escape) {
		memcpy(to, name.at, name.len); /* the arena's memory is zeroed: the end is there */
		return out;
	}
	for (size_t i = 0; i < name.len; i++) {
		*to++ = name.at[i];
		if (name.at[i] == '%') {
			*to++ = '2';
			*to++ = '5';
		}
	}
	return out;
}

/* What stands before the last slash, with it; "" where there is none. */
static char *uri_parent(struct arena *arena, const char *uri)
{
	const char *slash = strrchr(uri, '/');

	return arena_strdup(arena, (struct bytes){uri, slash ? (size_t)(slash - uri) + 1 : 0});
}

static const char *dir_to_list(const struct opening *opening)
{
	return opening->dir[0] ? opening->dir : ".";
}

/* ---- Shards by name ---- */

static int make_shards(struct opening *opening, uint64_t count, const char *label)
{
	struct weir_model *model = opening->model;

	if (count > MODEL_SHARDS_MAX)
		return error_set(opening->err, WEIR_LIMIT, label,
				 "%s: %" PRIu64 " files, of at most %d", label, count,
				 MODEL_SHARDS_MAX);
	model->shards = arena_alloc(&model->arena, (size_t)max_of(count, UINT64_C(1)),
				    sizeof(*model->shards));
	return model->shards ? 0 : opening_nomem(opening);
}

/* name: within opening->dir; where there is no such, the URI itself. */
static int add_shard(struct opening *opening, struct bytes name)
{
	struct weir_model *model = opening->model;
	struct shard *shard = &model->shards[model->shard_count];

	shard->name.at = arena_strdup(&model->arena, name);
	shard->name.len = name.len;
	shard->view.uri = opening->dir ? uri_join(&model->arena, opening->dir, name)
				       : shard->name.at;
	if (!shard->name.at || !shard->view.uri)
		return opening_nomem(opening);
	model->shard_count++;
	return 0;
}

static int find_list(struct opening *opening)
{
	int ret = make_shards(opening, opening->uri_count, "the list");

	for (uint64_t i = 0; ret == 0 && i < opening->uri_count; i++) {
		const char *uri = opening->uris[i];

		ret = add_shard(opening, (struct bytes){uri, strlen(uri)});
	}
	return ret;
}

/* ---- An index ---- */

static int read_index(struct opening *opening, const char *uri)
{
	struct weir_object *object = NULL;
	struct format_input input = {
		.label = uri, .seed = opening->model->seed, .flags = SHARD_INDEX_UNLINKED};
	int ret = object_open_here(opening->ctx, uri, &opening->how, &object, opening->err);

	if (ret)
		return ret;
	ret = file_read_whole(opening->model, object, SHARD_INDEX_MAX_BYTES, &input.text,
			      opening->err);
	input.file_bytes = object->core->size_bytes;
	input.text_bytes = (size_t)input.file_bytes;
	opening->map_bytes = input.file_bytes;
	weir_object_unref(object);
	opening->map_uri = uri;
	if (ret == 0)
		ret = shard_index_parse(&input, &opening->map, opening->err);
	if (ret)
		free(input.text);
	return ret;
}

static int compare_shards(const void *a, const void *b, void *arg)
{
	const struct shard_index *map = arg;
	struct bytes x = shard_name(map, *(const uint32_t *)a);
	struct bytes y = shard_name(map, *(const uint32_t *)b);
	int order = memcmp(x.at, y.at, min_of(x.len, y.len));

	return order ? order : x.len < y.len ? -1 : x.len > y.len;
}

/* The named files, by name: their first use in the index follows the names of tensors. */
static int find_named(struct opening *opening)
{
	struct weir_model *model = opening->model;
	struct shard_index *map = opening->map;
	size_t count = map->shard_count;
	uint32_t *order = arena_alloc(&model->arena, count + 1, sizeof(*order));
	bool sorted = true;
	int ret = 0;

	opening->map_shards = arena_alloc(&model->arena, count + 1, sizeof(*order));
	if (!order || !opening->map_shards)
		return opening_nomem(opening);
	for (uint32_t i = 0; i < count; i++) {
		order[i] = i;
		sorted = sorted && (i == 0 || compare_shards(&order[i - 1], &order[i], map) < 0);
	}
	if (!sorted)
		qsort_r(order, count, sizeof(*order), compare_shards, map);
	for (uint32_t i = 0; ret == 0 && i < count; i++) {
		opening->map_shards[order[i]] = i;
		ret = add_shard(opening, shard_name(map, order[i]));
	}
	return ret;
}

static int find_in_index(struct opening *opening, const char *uri)
{
	int ret = read_index(opening, uri);

	if (ret)
		return ret;
	if (!opening->dir)
		opening->dir = uri_parent(&opening->model->arena, uri);
	if (!opening->dir)
		return opening_nomem(opening);
	opening->model->format = "model";
	ret = make_shards(opening, opening->map->shard_count, uri);
	if (ret == 0)
		ret = find_named(opening);
	/* To tell of files that the index does not name; where that is not to be had, nothing is
	 * told. */
	if (ret == 0 && !opening->listed)
		opening->listed = object_list_here(opening->ctx, dir_to_list(opening),
						   &opening->listing, NULL) == 0;
	return ret;
}

/* ---- A directory ---- */

static bool has_usual_index(const struct source_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		if (strcmp(listing->entries[i].name, INDEX_USUAL) == 0)
			return true;
	return false;
}

/*
 * The only index there, or the one with the usual name; *name is NULL where there is none.  But for the
 * usual one, what is taken or told depends on the order of the names, which is made here.
 */
static int choose_index(const struct opening *opening, const char **name)
{
	const struct source_listing *listing = &opening->listing;
	const char *other = NULL;

	*name = INDEX_USUAL;
	if (has_usual_index(listing))
		return 0;
	*name = NULL;
	source_sort(listing->entries, listing->count);
	for (size_t i = 0; i < listing->count; i++) {
		const char *entry = listing->entries[i].name;

		if (entry[0] == '.' || !ends_with(entry, INDEX_SUFFIX))
			continue;
		other = *name;
		*name = entry;
	}
	if (!other)
		return 0;
	return error_set(opening->err, WEIR_ARG, opening->dir,
			 "%s: holds several models, %s and %s among them: name one index",
			 opening->dir, other, *name);
}

static uint64_t count_files(const struct source_listing *listing, const char *suffix)
{
	uint64_t count = 0;

	for (size_t i = 0; i < listing->count; i++)
		count += listing->entries[i].name[0] != '.' &&
			 ends_with(listing->entries[i].name, suffix);
	return count;
}

static int find_files_named(struct opening *opening, const char *suffix)
{
	const struct source_listing *listing = &opening->listing;
	int ret = make_shards(opening, count_files(listing, suffix), opening->dir);

	for (size_t i = 0; ret == 0 && i < listing->count; i++) {
		const char *name = listing->entries[i].name;

		if (name[0] != '.' && ends_with(name, suffix))
			ret = add_shard(opening, (struct bytes){name, strlen(name)});
	}
	return ret;
}

static int find_in_directory(struct opening *opening)
{
	const char *index;
	int ret = object_list_here(opening->ctx, opening->dir, &opening->listing, opening->err);

	if (ret)
		return ret;
	opening->listed = true;
	ret = choose_index(opening, &index);
	if (ret)
		return ret;
	if (index) {
		const char *uri = uri_join(&opening->model->arena, opening->dir,
					   (struct bytes){index, strlen(index)});

		return uri ? find_in_index(opening, uri) : opening_nomem(opening);
	}
	if (count_files(&opening->listing, ".safetensors") > 0)
		return find_files_named(opening, ".safetensors");
	if (count_files(&opening->listing, ".gguf") > 0)
		return find_files_named(opening, ".gguf");
	return error_set(opening->err, WEIR_NOTFOUND, opening->dir,
			 "%s: holds no index, no *.safetensors and no *.gguf", opening->dir);
}

int find_files(struct opening *opening)
{
	const char *uri = opening->uris[0];
	struct weir_stat stat;
	int ret;

	if (opening->list)
		return find_list(opening);
	ret = object_stat_here(opening->ctx, uri, &opening->how, &stat, opening->err);
	if (ret)
		return ret;
	if (stat.kind != WEIR_KIND_DIRECTORY) /* whatever it is called */
		return ends_with(uri, ".json") ? find_in_index(opening, uri) : find_list(opening);
	opening->dir = uri;
	return find_in_directory(opening);
}
