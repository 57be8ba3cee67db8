/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shm_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PID_BITS       22
#define NAMESPACE_BITS 32
#define START_BITS     38
#define CHANCE_BITS    30

/* ---- Bits of a UUID, version and variant left out ---- */

/* Which bit of the 128 the n-th free one is: 48 before the version, 12 to the variant, 62 behind. */
static unsigned place(unsigned n)
{
	if (n < 48)
		return n;
	return n < 60 ? n + 4 : n + 6;
}

static void put(uint8_t id[16], unsigned from, unsigned count, uint64_t value)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned at = place(from + i);

		if (value >> (count - 1 - i) & 1)
			id[at / 8] |= (uint8_t)(0x80 >> at % 8);
	}
}

static uint64_t get(const uint8_t id[16], unsigned from, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned at = place(from + i);

		value = value << 1 | (id[at / 8] >> (7 - at % 8) & 1);
	}
	return value;
}

static void print(const uint8_t id[16], char *to)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[id[i] >> 4];
		*to++ = digits[id[i] & 15];
	}
	*to = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool scan(const char *text, uint8_t id[16])
{
	for (unsigned i = 0; i < 16; i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return false;
		high = digit(text[0]);
		low = high < 0 ? -1 : digit(text[1]);
		if (low < 0)
			return false;
		id[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return *text == '\0';
}

/* ---- Processes ---- */

/* When a process started: the 22nd field of its stat, counted from behind the name. */
static int start_of(const struct sys *sys, const char *path, uint64_t *out)
{
	int fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	char text[1024];
	const char *at;
	ssize_t got;

	if (fd < 0)
		return errno;
	got = sys->pread(fd, text, sizeof(text) - 1, 0);
	sys->close(fd);
	if (got <= 0)
		return got < 0 ? errno : ENOENT;
	text[got] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return EIO;
	*out = strtoull(at + 1, NULL, 10) & ((UINT64_C(1) << START_BITS) - 1);
	return 0;
}

static bool namespace_self(const struct sys *sys, uint32_t *out)
{
	struct statx stx;

	if (sys->statx(AT_FDCWD, "/proc/self/ns/pid", 0, STATX_INO, &stx) < 0)
		return false;
	*out = (uint32_t)stx.stx_ino;
	return true;
}

bool shm_owner_self(const struct sys *sys, struct shm_owner *out)
{
	out->pid = (uint32_t)getpid() & ((1u << PID_BITS) - 1);
	return namespace_self(sys, &out->namespace) &&
	       start_of(sys, "/proc/self/stat", &out->start) == 0;
}

enum shm_life shm_owner_life(const struct sys *sys, const struct shm_owner *owner)
{
	char path[32];
	uint32_t here;
	uint64_t start = 0;
	int ret;

	if (!namespace_self(sys, &here) || here != owner->namespace)
		return SHM_UNKNOWN;
	snprintf(path, sizeof(path), "/proc/%u/stat", owner->pid);
	ret = start_of(sys, path, &start);
	if (ret == ENOENT || ret == ESRCH)
		return SHM_DEAD;
	if (ret)
		return SHM_UNKNOWN;
	return start == owner->start ? SHM_LIVES : SHM_DEAD;
}

/* ---- Names ---- */

int shm_name_make(const struct sys *sys, char path[SHM_PATH_MAX])
{
	struct shm_owner owner;
	uint8_t id[16];
	uint64_t chance;
	char text[40];

	if (sys->random(id, sizeof(id)) < 0)
		return -1;
	memcpy(&chance, id, sizeof(chance));
	id[6] = (uint8_t)(0x40 | (id[6] & 15));
	id[8] = (uint8_t)(0x80 | (id[8] & 63));
	if (shm_owner_self(sys, &owner)) {
		memset(id, 0, sizeof(id));
		id[6] = 0x80;
		id[8] = 0x80;
		put(id, 0, PID_BITS, owner.pid);
		put(id, PID_BITS, NAMESPACE_BITS, owner.namespace);
		put(id, PID_BITS + NAMESPACE_BITS, START_BITS, owner.start);
		put(id, PID_BITS + NAMESPACE_BITS + START_BITS, CHANCE_BITS, chance);
	}
	print(id, text);
	snprintf(path, SHM_PATH_MAX, SHM_DIR "/" SHM_PREFIX "%s", text);
	return 0;
}

bool shm_name_owner(const char *name, struct shm_owner *out)
{
	uint8_t id[16];

	if (strncmp(name, SHM_PREFIX, strlen(SHM_PREFIX)) != 0 ||
	    !scan(name + strlen(SHM_PREFIX), id) || (id[6] & 0xf0) != 0x80 ||
	    (id[8] & 0xc0) != 0x80)
		return false;
	out->pid = (uint32_t)get(id, 0, PID_BITS);
	out->namespace = (uint32_t)get(id, PID_BITS, NAMESPACE_BITS);
	out->start = get(id, PID_BITS + NAMESPACE_BITS, START_BITS);
	return true;
}

/* ---- The directory ---- */

static int look(const struct sys *sys, int dir, const char *name,
		int (*fn)(void *arg, const struct shm_found *found), void *arg)
{
	struct shm_found found = {.name = name, .life = SHM_UNKNOWN};
	struct statx stx;

	if (strncmp(name, SHM_PREFIX, strlen(SHM_PREFIX)) != 0 ||
	    sys->statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx) < 0 ||
	    !S_ISREG(stx.stx_mode) || stx.stx_uid != geteuid())
		return 0;
	found.size_bytes = stx.stx_size;
	found.ours = shm_name_owner(name, &found.owner);
	if (found.ours)
		found.life = shm_owner_life(sys, &found.owner);
	return fn(arg, &found);
}

int shm_names_walk(const struct sys *sys, int (*fn)(void *arg, const struct shm_found *found),
		   void *arg)
{
	int fd = sys->openat(AT_FDCWD, SHM_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), ret = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			sys->close(fd);
		return -1;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
	while (ret >= 0 && (entry = readdir(dir)))
		ret = look(sys, dirfd(dir), entry->d_name, fn, arg);
	closedir(dir);
	return ret;
}

struct sweep {
	const struct sys *sys;
	unsigned removed;
};

static int remove_dead(void *arg, const struct shm_found *found)
{
	struct sweep *sweep = arg;
	char path[SHM_PATH_MAX];

	if (!found->ours || found->life != SHM_DEAD)
		return 0;
	snprintf(path, sizeof(path), SHM_DIR "/%s", found->name);
	sweep->removed += sweep->sys->unlinkat(AT_FDCWD, path, 0) == 0;
	return 0;
}

unsigned shm_names_sweep(const struct sys *sys)
{
	struct sweep sweep = {sys, 0};

	shm_names_walk(sys, remove_dead, &sweep);
	return sweep.removed;
}
