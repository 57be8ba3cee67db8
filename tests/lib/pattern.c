/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"

static uint64_t word_at(uint64_t seed, uint64_t index)
{
	uint64_t x = (index + 1) * UINT64_C(0x9E3779B97F4A7C15) ^
		     seed * UINT64_C(0xD1B54A32D192ED03);

	x ^= x >> 32;
	x *= UINT64_C(0xD6E8FEB86659FD93);
	return x ^ x >> 29;
}

static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
	return (uint8_t)(word_at(seed, offset / 8) >> (offset % 8 * 8));
}

void pattern_fill(void *to, uint64_t seed, uint64_t offset, uint64_t length)
{
	uint8_t *bytes = to;
	uint64_t i = 0;

	for (; i < length && (offset + i) % 8; i++)
		bytes[i] = byte_at(seed, offset + i);
	for (; i + 8 <= length; i += 8) {
		uint64_t word = word_at(seed, (offset + i) / 8);

		memcpy(bytes + i, &word, 8);
	}
	for (; i < length; i++)
		bytes[i] = byte_at(seed, offset + i);
}

uint64_t pattern_check(const void *data, uint64_t seed, uint64_t offset, uint64_t length)
{
	const uint8_t *bytes = data;
	uint64_t i = 0, word;

	for (; i < length && (offset + i) % 8; i++)
		if (bytes[i] != byte_at(seed, offset + i))
			return i;
	for (; i + 8 <= length; i += 8) {
		memcpy(&word, bytes + i, 8);
		if (word != word_at(seed, (offset + i) / 8))
			break; /* the loop below says where */
	}
	for (; i < length; i++)
		if (bytes[i] != byte_at(seed, offset + i))
			return i;
	return length;
}

char *pattern_file(const char *name, uint64_t seed, uint64_t size)
{
	const char *dir = getenv("TMPDIR");
	char *path, buffer[64 << 10];
	uint64_t done = 0;
	int fd;

	check(asprintf(&path, "%s/weir-%d-%s", dir ? dir : "/var/tmp", (int)getpid(), name) > 0);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0);
	while (done < size) {
		uint64_t step = size - done < sizeof(buffer) ? size - done : sizeof(buffer);

		pattern_fill(buffer, seed, done, step);
		check_int(write(fd, buffer, step), step);
		done += step;
	}
	check_int(fsync(fd), 0);
	check_int(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
	return path;
}

uint64_t chance(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}
