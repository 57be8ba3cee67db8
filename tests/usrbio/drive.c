/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drive: an honest client that does many requests and checks everything that comes back.
 *
 *     drive make FILE BYTES                writes the pattern file that `run` expects
 *     drive run MOUNT FILE [NAME=VALUE...] FILE is below MOUNT; prints one line of JSON
 *
 * Names: entries (16), count (1000), block (4096: the largest request), inflight (entries), depth (0),
 * priority (0), timeout (0), seed (1), submit (1: requests a post), write (0), seconds (0: no end
 * but count), stall (10: seconds without a completion that are a failure).
 *
 * Offsets and lengths are random; each result must be what pread would have said, each byte the pattern's,
 * each slot completed once with its userdata.  Exit status 1 when something was wrong.
 *
 * Writing writes the pattern itself, below the end of the file, so that readers beside it see no change.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raw.h"

static struct {
	const char *name;
	long long value;
} options[] = {{"entries", 16}, {"count", 1000}, {"block", 4096}, {"inflight", 0},
	       {"depth", 0},    {"priority", 0}, {"timeout", 0},  {"seed", 1},
	       {"submit", 1},   {"write", 0},    {"seconds", 0},  {"stall", 10}};

static long long *option(const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (!strcmp(options[i].name, name))
			return &options[i].value;
	die("no option %s", name);
}

static void parse_options(char **arguments)
{
	for (; *arguments; arguments++) {
		char *value = strchr(*arguments, '=');
		if (!value)
			die("%s: NAME=VALUE", *arguments);
		*value = 0;
		*option(*arguments) = atoll(value + 1);
	}
}

struct slot {
	bool busy;
	uint64_t offset, length, userdata;
};

struct drive {
	struct raw_mount mount;
	struct raw_object iov;
	struct raw_ring ring;
	struct slot *slots;
	int32_t slot_count, busy;
	uint64_t block, ino, file_bytes, random;
	bool write;
	unsigned long long made, done, bytes, wrong, errors;
	double last_completion, worst_stall;
};

static void fill(uint8_t *to, uint64_t offset, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		to[i] = pattern_byte(offset + i);
}

static bool matches(const uint8_t *bytes, uint64_t offset, uint64_t length)
{
	uint64_t i = 0;
	for (; i < length && (offset + i) % 8; i++)
		if (bytes[i] != pattern_byte(offset + i))
			return false;
	for (; i + 8 <= length; i += 8) {
		uint64_t word = pattern_word((offset + i) >> 3);
		if (memcmp(bytes + i, &word, 8) != 0)
			return false;
	}
	for (; i < length; i++)
		if (bytes[i] != pattern_byte(offset + i))
			return false;
	return true;
}

static uint8_t *buffer_of(struct drive *d, int32_t slot)
{
	return (uint8_t *)d->iov.memory + (uint64_t)slot * d->block;
}

static void push(struct drive *d, int32_t i)
{
	struct slot *slot = &d->slots[i];
	uint64_t limit = d->write ? d->file_bytes - d->block : d->file_bytes + d->block / 2;
	slot->offset = random_next(&d->random) % (limit + 1);
	slot->length = 1 + random_next(&d->random) % d->block;
	slot->userdata = random_next(&d->random);
	slot->busy = true;
	d->busy++;
	d->made++;
	if (d->write)
		fill(buffer_of(d, i), slot->offset, slot->length);
	else
		memset(buffer_of(d, i), 0xee, slot->length < 64 ? slot->length : 64);
	struct wire_args args = {.iov_offset = (uint64_t)i * d->block,
				 .ino = d->ino,
				 .file_offset = slot->offset,
				 .length = slot->length,
				 .userdata = slot->userdata};
	memcpy(args.iov, d->iov.id, 16);
	raw_ring_push(&d->ring, i, &args);
}

static void wrong(struct drive *d, const struct wire_cqe *cqe, const char *what)
{
	if (d->wrong++ < 5)
		fprintf(stderr, "slot %d, result %lld: %s\n", cqe->index, (long long)cqe->result,
			what);
}

static void check(struct drive *d, const struct wire_cqe *cqe)
{
	if (cqe->index < 0 || cqe->index >= d->slot_count || !d->slots[cqe->index].busy) {
		wrong(d, cqe, "no request of that slot is in flight");
		return;
	}
	struct slot *slot = &d->slots[cqe->index];
	slot->busy = false;
	d->busy--;
	d->done++;
	if (cqe->userdata != slot->userdata)
		wrong(d, cqe, "another userdata");
	if (cqe->result < 0) {
		d->errors++;
		return;
	}
	uint64_t left = slot->offset < d->file_bytes ? d->file_bytes - slot->offset : 0;
	uint64_t expected = slot->length < left || d->write ? slot->length : left;
	if ((uint64_t)cqe->result != expected)
		wrong(d, cqe, "another number of bytes");
	else if (!d->write && !matches(buffer_of(d, cqe->index), slot->offset, expected))
		wrong(d, cqe, "wrong bytes");
	d->bytes += expected;
}

static bool reap(struct drive *d)
{
	struct wire_cqe cqe;
	bool any = false;
	while (raw_ring_take(&d->ring, &cqe)) {
		check(d, &cqe);
		any = true;
	}
	double now = now_seconds();
	if (any || !d->busy) {
		if (any && now - d->last_completion > d->worst_stall)
			d->worst_stall = now - d->last_completion;
		d->last_completion = now;
	}
	return any;
}

/* Fills free slots; posts after each SUBMIT of them, and after the last. */
static void top_up(struct drive *d, unsigned long long count)
{
	long long group = *option("submit"), posted = 0;
	for (int32_t i = 0; i < d->slot_count && d->made < count; i++) {
		if (d->slots[i].busy)
			continue;
		push(d, i);
		if (++posted % group == 0)
			raw_ring_submit(&d->ring);
	}
	if (posted % group)
		raw_ring_submit(&d->ring);
}

static bool loop(struct drive *d)
{
	double start = now_seconds(), seconds = (double)*option("seconds");
	unsigned long long count = (unsigned long long)*option("count");
	d->last_completion = start;
	while (d->done < count || d->busy) {
		bool more = seconds <= 0 || now_seconds() - start < seconds;
		if (!more && !d->busy)
			break;
		if (more)
			top_up(d, count);
		if (!reap(d))
			raw_ring_sleep(&d->ring, 1000000);
		if (now_seconds() - d->last_completion > (double)*option("stall")) {
			fprintf(stderr, "%d requests without an answer\n", d->busy);
			return false;
		}
	}
	return true;
}

static void set_up(struct drive *d, const char *mount, const char *file)
{
	struct raw_ring_options ring = {.entries = (int32_t)*option("entries"),
					.write = *option("write"),
					.depth = (int)*option("depth"),
					.priority = (int)*option("priority"),
					.timeout_ms = (int)*option("timeout")};
	struct stat st;
	char path[800];
	snprintf(path, sizeof(path), "%s/%s", mount, file);
	int fd = open(path, (*option("write") ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	d->ino = st.st_ino;
	d->file_bytes = (uint64_t)st.st_size;
	d->block = (uint64_t)*option("block");
	d->write = ring.write;
	d->random = (uint64_t)*option("seed");
	d->slot_count = *option("inflight") ? (int32_t)*option("inflight") : ring.entries;
	d->slots = calloc((size_t)d->slot_count, sizeof(*d->slots));
	raw_mount_open(&d->mount, mount);
	int error = raw_object_register(&d->iov, &d->mount, d->block * (uint64_t)d->slot_count, "");
	if (!error)
		error = raw_ring_open(&d->ring, &d->mount, &ring);
	if (error || !d->slots)
		die("registering: %s", strerror(error));
}

static int run(const char *mount, const char *file)
{
	static struct drive d;
	set_up(&d, mount, file);
	double start = now_seconds();
	bool complete = loop(&d);
	printf("{\"done\": %llu, \"made\": %llu, \"bytes\": %llu, \"wrong\": %llu, \"errors\": %llu, "
	       "\"lost\": %d, \"seconds\": %.3f, \"worst_stall\": %.4f}\n",
	       d.done, d.made, d.bytes, d.wrong, d.errors, d.busy, now_seconds() - start,
	       d.worst_stall);
	raw_object_drop(&d.ring.object);
	raw_object_drop(&d.iov);
	return complete && !d.wrong ? 0 : 1;
}

static int make(const char *path, uint64_t bytes)
{
	static uint8_t chunk[1 << 16];
	FILE *file = fopen(path, "w");
	if (!file)
		die("%s: %s", path, strerror(errno));
	for (uint64_t at = 0; at < bytes; at += sizeof(chunk)) {
		fill(chunk, at, sizeof(chunk));
		size_t length = bytes - at < sizeof(chunk) ? (size_t)(bytes - at) : sizeof(chunk);
		if (fwrite(chunk, 1, length, file) != length)
			die("%s: %s", path, strerror(errno));
	}
	return fclose(file) ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "make"))
		return make(argv[2], (uint64_t)atoll(argv[3]));
	if (argc < 4 || strcmp(argv[1], "run") != 0)
		die("usage: drive make FILE BYTES | drive run MOUNT FILE [NAME=VALUE...]");
	parse_options(argv + 4);
	return run(argv[2], argv[3]);
}
