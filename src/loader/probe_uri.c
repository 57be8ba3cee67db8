/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading a file, or the files of a model's directory, will be like.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "engine/context.h"
#include "loader/probe.h"
#include "weir/object.h"

/* Files of a directory that are looked at: the first ones say what the rest is like. */
#define FILES_MAX 64u

struct sums {
	unsigned files, direct;
	uint64_t size_bytes, cached_bytes;
	bool cached_told;
	uint32_t file_align, memory_align;
};

static int add_file(const struct probe *probe, const char *uri, struct sums *sums,
		    struct weir_error *err)
{
	struct weir_object *object = NULL;
	struct weir_stat stat = {0};
	int ret = weir_object_open(probe->ctx, uri, NULL, &object, err);

	if (ret == 0)
		ret = weir_object_stat(object, &stat, err);
	weir_object_unref(object);
	if (ret < 0)
		return ret;
	sums->files++;
	sums->size_bytes += stat.size_bytes;
	if (stat.cached_bytes == UINT64_MAX)
		sums->cached_told = false;
	else
		sums->cached_bytes += stat.cached_bytes;
	sums->direct += stat.direct_align != 0;
	if (stat.direct_align > sums->file_align)
		sums->file_align = stat.direct_align;
	if (stat.memory_align > sums->memory_align)
		sums->memory_align = stat.memory_align;
	return 0;
}

static bool is_model_file(const struct weir_entry *entry)
{
	const char *dot = strrchr(entry->name, '.');

	return entry->stat.kind != WEIR_KIND_DIRECTORY && dot &&
	       (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".gguf") == 0);
}

static int add_directory(const struct probe *probe, const char *uri, struct sums *sums,
			 struct weir_error *err)
{
	struct weir_listing *listing = NULL;
	struct weir_entry entry;
	int ret = weir_list_open(probe->ctx, uri, NULL, &listing, err), more = 0;

	while (ret == 0 && sums->files < FILES_MAX &&
	       (more = weir_list_next(listing, &entry, err)) > 0) {
		scoped(freep) char *path = NULL;

		if (!is_model_file(&entry))
			continue;
		if (asprintf(&path, "%s/%s", uri, entry.name) < 0) {
			path = NULL;
			ret = error_nomem(err, uri, "the name of a file");
		} else {
			ret = add_file(probe, path, sums, err);
		}
	}
	weir_list_close(listing);
	return ret < 0 ? ret : more < 0 ? more : 0;
}

/* A line of mountinfo, "31 23 254:1 ROOT AT options ... - TYPE device OPTIONS", of this device. */
static bool mount_type(const char *line, const char *device, char type[32])
{
	const char *dash = strstr(line, " - "), *at = line;
	size_t len = strlen(device);

	for (unsigned field = 0; field < 2 && at; field++)
		at = strchr(at + 1, ' ');
	return dash && at && strncmp(at + 1, device, len) == 0 && at[1 + len] == ' ' &&
	       snprintf(type, 32, "%.*s", (int)strcspn(dash + 3, " "), dash + 3) > 0;
}

/* "254:1", from the two numbers that the version of a file begins with, in hexadecimal. */
static bool device_of(const struct probe *probe, const char *uri, char to[32])
{
	struct weir_stat stat = {0};
	unsigned long major_, minor_;
	char *end;

	if (weir_stat(probe->ctx, uri, NULL, &stat, NULL) < 0)
		return false;
	major_ = strtoul(stat.version, &end, 16);
	if (*end != ':')
		return false;
	minor_ = strtoul(end + 1, &end, 16);
	snprintf(to, 32, "%lu:%lu", major_, minor_);
	return *end == '-';
}

static void say_file_system(const struct probe *probe, const char *uri)
{
	static const char *const slow[] = {"nfs", "nfs4", "fuse", "9p", "cifs", "smb3", "overlay"};
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[4096], type[32] = "", device[32];
	bool found = false, remote = false, known = device_of(probe, uri, device);

	while (file && known && !found && fgets(line, sizeof(line), file))
		found = mount_type(line, device, type);
	if (file)
		fclose(file);
	for (unsigned n = 0; n < sizeof(slow) / sizeof(slow[0]); n++)
		remote |= strcmp(type, slow[n]) == 0;
	if (found)
		probe_say(probe, "file_system", remote ? WEIR_PROBE_WARN : WEIR_PROBE_OK,
			  "something stands between this file and its disk: a copy on a local file "
			  "system may be faster",
			  "%s", type);
}

static void say(const struct probe *probe, const char *uri, const struct sums *sums)
{
	char size[PROBE_SIZE_MAX], cached[PROBE_SIZE_MAX];

	probe_say(probe, "size", WEIR_PROBE_OK, "", "%s in %u file%s",
		  probe_size(size, sums->size_bytes), sums->files, sums->files == 1 ? "" : "s");
	say_file_system(probe, uri);
	if (sums->direct == sums->files)
		probe_say(probe, "direct_io", WEIR_PROBE_OK, "",
			  "works; offsets are multiples of %u, addresses of %u", sums->file_align,
			  sums->memory_align);
	else
		probe_say(probe, "direct_io", WEIR_PROBE_FAIL,
			  "reads go through the page cache, which copies each byte once more",
			  "not possible for %u of %u files", sums->files - sums->direct,
			  sums->files);
	if (!sums->cached_told)
		probe_say(probe, "page_cache", WEIR_PROBE_WARN,
			  "the kernel tells owners of a file, and who may write it, what is cached",
			  "not told");
	else
		probe_say(probe, "page_cache", WEIR_PROBE_OK, "", "%s cached (%llu%%)",
			  probe_size(cached, sums->cached_bytes),
			  sums->size_bytes ? (unsigned long long)(sums->cached_bytes * 100 /
								  sums->size_bytes)
					   : 0);
}

int weir_probe_uri(struct weir_ctx *ctx, const char *uri, weir_probe_fn *fn, void *arg,
		   struct weir_error *err)
{
	const struct probe probe = {ctx, fn, arg};
	struct sums sums = {.cached_told = true};
	struct weir_stat stat = {0};
	int ret = weir_stat(ctx, uri, NULL, &stat, err);

	if (ret == 0)
		ret = stat.kind == WEIR_KIND_DIRECTORY ? add_directory(&probe, uri, &sums, err)
						       : add_file(&probe, uri, &sums, err);
	if (ret < 0)
		return ret;
	if (sums.files == 0)
		return error_set(err, WEIR_NOTFOUND, uri, "%s: no safetensors or GGUF files in it",
				 uri);
	say(&probe, uri, &sums);
	return 0;
}
