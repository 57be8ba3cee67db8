/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 3FS on this machine: its mounts, what of shared memory is left, what this user has registered, and what
 * dead processes have left behind.
 *
 * A mount whose daemon is stopped hangs whoever looks at it, so that is asked with a time limit.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/shm_name.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/environment.h"
#include "io/usrbio/key.h"
#include "io/usrbio/mountpoint.h"
#include "loader/probe.h"
#include "source/usrbio_vendor.h"
#include "weir/object.h"

/* Less than that is no more than staging for a lane or two. */
#define ROOM_WANTED (UINT64_C(64) << 20)

/* How long a mount is given to list what is registered. */
#define PATIENCE_NS (5 * NS_PER_SEC)

/* ---- Mounts and what is registered with them ---- */

struct mounts {
	const struct probe *probe;
	unsigned count;
};

static void say_registered(const struct probe *probe, const char *point)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .timeout_ns = PATIENCE_NS};
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_listing *listing;
	unsigned rings = 0, iovs = 0;
	struct weir_entry entry;
	struct usrbio_key key;
	char uri[4200];

	snprintf(uri, sizeof(uri), "file://%s/3fs-virt/iovs", point);
	if (weir_list_open(probe->ctx, uri, &opts, &listing, &err) < 0) {
		probe_say(probe, "3fs_registered", WEIR_PROBE_FAIL,
			  "the daemon of that mount is dead or stopped: mount it anew", "%s: %s",
			  point, err.message);
		return;
	}
	while (weir_list_next(listing, &entry, NULL) > 0)
		if (usrbio_key_parse(entry.name, &key) == 0)
			*(key.ring ? &rings : &iovs) += 1;
	weir_list_close(listing);
	probe_say(probe, "3fs_registered", WEIR_PROBE_OK, "", "%s: %u rings and %u iovs of yours",
		  point, rings, iovs);
}

static int say_mount(void *arg, const char *point, const char *type, const char *source)
{
	struct mounts *mounts = arg;

	mounts->count++;
	probe_say(mounts->probe, "3fs_mount", WEIR_PROBE_OK, "", "%s (%s, %s)", point, type,
		  source);
	say_registered(mounts->probe, point);
	return 0;
}

static void look_at_mounts(const struct probe *probe)
{
	struct mounts mounts = {probe, 0};

	if (usrbio_mount_each(probe->ctx->sys, probe->ctx->any_mount, say_mount, &mounts, NULL) <
		    0 ||
	    mounts.count == 0)
		probe_say(probe, "3fs_mount", WEIR_PROBE_ABSENT, "", "none");
}

/* Which one drives rings, as a source would choose; 0 where the vendor's can. */
static void say_library(const struct probe *probe, int ret)
{
	static const char *const asked[] = {"auto", "native", "vendor"};
	int library = probe->ctx->library;

	if (library != LIBRARY_VENDOR)
		probe_say(probe, "3fs_library", WEIR_PROBE_OK, "", "native (WEIR_3FS_LIBRARY=%s)",
			  asked[library]);
	else if (ret == 0)
		probe_say(probe, "3fs_library", WEIR_PROBE_OK, "",
			  "the vendor's (WEIR_3FS_LIBRARY=vendor)");
	else if (ret == WEIR_LIMIT)
		probe_say(probe, "3fs_library", WEIR_PROBE_WARN,
			  "lower the limit: ulimit -Hn 1048576",
			  "native: the vendor's is not loaded with that many descriptors");
	else
		probe_say(probe, "3fs_library", WEIR_PROBE_FAIL,
			  "say where the vendor's library is (HF3FS_LIB_DIR), or unset "
			  "WEIR_3FS_LIBRARY",
			  "none: what lies on 3FS cannot be read");
}

/* Who did not ask for it has nothing of it loaded: it starts threads. */
static int look_at_vendor(const struct probe *probe)
{
	const struct usrbio_vendor_places places = {probe->ctx->vendor_places.directory,
						    probe->ctx->vendor_places.directories};
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_vendor_calls calls;
	struct usrbio_vendor vendor;
	int ret;

	if (probe->ctx->library != LIBRARY_VENDOR)
		return 0;
	ret = usrbio_vendor_find(probe->ctx->sys, &places, &vendor, &err);
	if (ret == 0)
		ret = usrbio_vendor_load(probe->ctx->sys, &vendor, &calls, &err);
	if (ret)
		probe_say(probe, "3fs_vendor_library",
			  ret == WEIR_NOTFOUND ? WEIR_PROBE_ABSENT : WEIR_PROBE_FAIL,
			  "HF3FS_LIB_DIR names the directory of the vendor's library", "%s",
			  err.message);
	else
		probe_say(probe, "3fs_vendor_library", WEIR_PROBE_OK, "",
			  "vendor: %s (by %s) loads and has all its functions", vendor.path,
			  vendor.named_by);
	return ret;
}

/* ---- Shared memory ---- */

static void look_at_room(const struct probe *probe)
{
	char left[PROBE_SIZE_MAX];
	struct statfs fs;
	uint64_t bytes;

	if (probe->ctx->sys->statfs(SHM_DIR, &fs) < 0) {
		probe_say(probe, "shared_memory", WEIR_PROBE_FAIL,
			  "rings need " SHM_DIR ", shared with the daemon of the mount", "%s",
			  "there is no " SHM_DIR);
		return;
	}
	bytes = fs.f_blocks ? (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize : UINT64_MAX;
	probe_say(probe, "shared_memory", bytes >= ROOM_WANTED ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
		  "what does not fit there is copied once more: mount " SHM_DIR
		  " larger (docker run --shm-size)",
		  "%s left in " SHM_DIR, probe_size(left, bytes));
}

/* ---- What was left behind ---- */

struct orphan {
	char name[80];
	uint64_t bytes;
	bool dead, mapped;
};

#define ORPHANS_MAX 256u

struct orphans {
	struct orphan *list;
	unsigned count, more;
};

static int note_object(void *arg, const struct shm_found *found)
{
	struct orphans *orphans = arg;

	if (found->ours && found->life != SHM_DEAD)
		return 0;
	if (orphans->count == ORPHANS_MAX) {
		orphans->more++;
		return 0;
	}
	orphans->list[orphans->count] = (struct orphan){.bytes = found->size_bytes,
							.dead = found->ours};
	snprintf(orphans->list[orphans->count].name, sizeof(orphans->list[0].name), "%.79s",
		 found->name);
	orphans->count++;
	return 0;
}

/* Lines end with the path of what is mapped. */
static void note_mapped(struct orphans *orphans, const char *line)
{
	const char *name = strstr(line, SHM_DIR "/" SHM_PREFIX);

	if (!name)
		return;
	name += strlen(SHM_DIR "/");
	for (unsigned i = 0; i < orphans->count; i++) {
		size_t len = strlen(orphans->list[i].name);

		orphans->list[i].mapped |= strncmp(name, orphans->list[i].name, len) == 0;
	}
}

static void look_into(struct orphans *orphans, const char *pid)
{
	char path[300], line[512];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps))
		note_mapped(orphans, line);
	if (maps)
		fclose(maps);
}

/* Names of others do not say whose they are: what no process that we may look at maps is left over. */
static void look_into_processes(struct orphans *orphans)
{
	DIR *dir = orphans->count ? opendir("/proc") : NULL;
	struct dirent *entry;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			look_into(orphans, entry->d_name);
	if (dir)
		closedir(dir);
}

static void say_leaked(const struct probe *probe, const struct orphans *orphans)
{
	char size[PROBE_SIZE_MAX];
	const char *first = NULL;
	uint64_t bytes = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < orphans->count; i++) {
		const struct orphan *orphan = &orphans->list[i];

		if (!orphan->dead && orphan->mapped)
			continue;
		first = first ? first : orphan->name;
		bytes += orphan->bytes;
		count++;
	}
	if (count == 0)
		probe_say(probe, "3fs_leaked", WEIR_PROBE_OK, "", "nothing of yours in " SHM_DIR);
	else
		probe_say(probe, "3fs_leaked", WEIR_PROBE_WARN,
			  "no process of yours maps them: remove them (rm " SHM_DIR "/" SHM_PREFIX
			  "...) where no other container uses the same " SHM_DIR,
			  "%u objects, %s, in " SHM_DIR ": %s ...", count + orphans->more,
			  probe_size(size, bytes), first);
}

static void look_at_leaks(const struct probe *probe)
{
	struct orphans orphans = {calloc(ORPHANS_MAX, sizeof(struct orphan)), 0, 0};

	if (!orphans.list)
		return;
	if (shm_names_walk(probe->ctx->sys, note_object, &orphans) == 0) {
		look_into_processes(&orphans);
		say_leaked(probe, &orphans);
	}
	free(orphans.list);
}

void probe_3fs(const struct probe *probe)
{
	say_library(probe, look_at_vendor(probe));
	look_at_mounts(probe);
	look_at_room(probe);
	look_at_leaks(probe);
}
