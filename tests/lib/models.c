/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/models.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/pattern.h"

/* ---- The folder ---- */

static char *folder_;
static pid_t owner;

/* One level of folders inside is enough for every test. */
static void remove_all(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char inside[1024];

	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
		if (unlink(inside) != 0)
			remove_all(inside);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void remove_folder(void)
{
	if (folder_ && owner == getpid())
		remove_all(folder_);
	free(folder_);
}

const char *folder(void)
{
	const char *dir = getenv("TMPDIR");

	if (folder_)
		return folder_;
	check(asprintf(&folder_, "%s/weir-model-XXXXXX", dir ? dir : "/var/tmp") > 0);
	check(mkdtemp(folder_));
	owner = getpid();
	check_int(atexit(remove_folder), 0);
	return folder_;
}

/* Every path that was asked for, so that none is a leak. */
static char **paths;
static size_t path_count;

static void free_paths(void)
{
	while (path_count > 0)
		free(paths[--path_count]);
	free(paths);
}

const char *in_folder(const char *name)
{
	if (!paths)
		check_int(atexit(free_paths), 0);
	paths = realloc(paths, (path_count + 1) * sizeof(*paths));
	check(paths);
	check(asprintf(&paths[path_count], "%s/%s", folder(), name) > 0);
	return paths[path_count++];
}

static void write_all(int fd, const void *bytes, size_t len)
{
	if (len)
		check_int(write(fd, bytes, len), len);
}

static int create(const char *name)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0);
	return fd;
}

void write_file(const char *name, const void *bytes, size_t len)
{
	int fd = create(name);

	write_all(fd, bytes, len);
	close(fd);
}

void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

uint64_t name_seed(const char *name)
{
	uint64_t seed = 17;

	for (; *name; name++)
		seed = seed * 31 + (unsigned char)*name;
	return seed;
}

/* ---- Headers ---- */

static char header[1 << 20];
static size_t header_len, count;
static uint64_t data_bytes;

static void put(const void *bytes, size_t len)
{
	check(len <= sizeof(header) - header_len);
	memcpy(header + header_len, bytes, len);
	header_len += len;
}

static void begin(void)
{
	header_len = 0;
	count = 0;
	data_bytes = 0;
}

static void put_text(const char *text)
{
	put(text, strlen(text));
}

/* The header, and data_bytes of the pattern behind it. */
static void save(const char *name)
{
	int fd = create(name);
	uint64_t done = 0;

	write_all(fd, header, header_len);
	while (done < data_bytes) {
		char block[4096];
		uint64_t step = data_bytes - done < sizeof(block) ? data_bytes - done
								  : sizeof(block);

		pattern_fill(block, name_seed(name), header_len + done, step);
		write_all(fd, block, step);
		done += step;
	}
	close(fd);
}

void st_begin(void)
{
	begin();
	put("\0\0\0\0\0\0\0\0{", 9);
}

void st_tensor(const char *name, const char *dtype, const char *shape, uint64_t bytes)
{
	char entry[512];

	snprintf(entry, sizeof(entry),
		 "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%" PRIu64 ",%" PRIu64
		 "]}",
		 count++ ? "," : "", name, dtype, shape, data_bytes, data_bytes + bytes);
	put_text(entry);
	data_bytes += bytes;
}

void st_save(const char *name)
{
	uint64_t len;

	put_text("}");
	len = header_len - 8;
	memcpy(header, &len, sizeof(len));
	save(name);
}

void st_one(const char *name, const char *tensor)
{
	st_begin();
	st_tensor(tensor, "F32", "[4]", 16);
	st_save(name);
}

/* ---- GGUF: pairs are counted where they are put, tensors gathered until the end ---- */

static char infos[1 << 16];
static size_t infos_len;
static uint64_t info_count;

void gguf_begin(void)
{
	static const char start[24] = "GGUF\3";

	begin();
	infos_len = 0;
	info_count = 0;
	put(start, sizeof(start));
}

static void put_key(const char *key, uint32_t type)
{
	uint64_t len = strlen(key);

	put(&len, 8);
	put_text(key);
	put(&type, 4);
	count++;
}

void gguf_u16(const char *key, uint16_t value)
{
	put_key(key, 2);
	put(&value, 2);
}

void gguf_u32(const char *key, uint32_t value)
{
	put_key(key, 4);
	put(&value, 4);
}

void gguf_text(const char *key, const char *value)
{
	uint64_t len = strlen(value);

	put_key(key, 8);
	put(&len, 8);
	put_text(value);
}

static void put_info(const void *bytes, size_t len)
{
	check(len <= sizeof(infos) - infos_len);
	memcpy(infos + infos_len, bytes, len);
	infos_len += len;
}

void gguf_vector(const char *name, uint64_t elements)
{
	uint64_t len = strlen(name);
	uint32_t rank = 1, type = 0;

	put_info(&len, 8);
	put_info(name, len);
	put_info(&rank, 4);
	put_info(&elements, 8);
	put_info(&type, 4);
	put_info(&data_bytes, 8);
	data_bytes += (elements * 4 + 31) / 32 * 32;
	info_count++;
}

void gguf_save(const char *name)
{
	static const char zeros[32];
	uint64_t pairs = count;

	put(infos, infos_len);
	put(zeros, (32 - header_len % 32) % 32);
	memcpy(header + 8, &info_count, 8);
	memcpy(header + 16, &pairs, 8);
	save(name);
}
