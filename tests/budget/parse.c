/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing one header, for whoever counts or times it.
 *
 *	budget-parse                a header made here, always the same: for callgrind (tests/budget/run)
 *	budget-parse serve FILE     for bench/format: for each line "N" of stdin parses the header of
 *	                            FILE N times; prints the median in nanoseconds and how many tensors
 *	budget-parse file FILE      once, from opening the file to the table; prints also the peak of
 *	                            memory above the start, the header included, in bytes, and the
 *	                            processor time in nanoseconds
 *
 * A time of `serve` is that of the parse and of freeing its table; the text is copied before, because
 * the index keeps it.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "format/safetensors.h"

#define RUNS_MAX 10000

static int fail(const char *what)
{
	fprintf(stderr, "budget-parse: %s\n", what);
	return 1;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* About what a model of 1,541 tensors has: 199 KB. */
static size_t make_header(char *text, size_t room, uint64_t *data_bytes)
{
	static const char *const parts[] = {"q_proj",  "k_proj",    "v_proj",   "o_proj",
					    "up_proj", "gate_proj", "down_proj"};
	uint64_t offset = 0;
	size_t len = 8;

	len += (size_t)snprintf(text + len, room - len, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (unsigned i = 0; i < 1541; i++) {
		uint64_t rows = UINT64_C(1024) << i % 4, end = offset + rows * 4096 * 2;

		len += (size_t)snprintf(
			text + len, room - len,
			",\"model.layers.%u.mlp.experts.%u.%s.weight\":{\"dtype\":\"BF16\","
			"\"shape\":[%" PRIu64 ",4096],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
			i / 70, i % 70 / 7, parts[i % 7], rows, offset, end);
		offset = end;
	}
	len += (size_t)snprintf(text + len, room - len, "}");
	store_le64(text, len - 8);
	*data_bytes = offset;
	return len;
}

static int parse_once(char *text, size_t len, uint64_t file_bytes, size_t *tensors)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct format_index *index = NULL;
	struct format_input in = {.label = "header",
				  .text = text,
				  .text_bytes = len,
				  .file_bytes = file_bytes,
				  .seed = 0x5EED};

	if (safetensors_parse(&in, &index, &err) < 0)
		return fail(err.message);
	*tensors = index->tensor_count;
	format_index_destroy(index);
	return 0;
}

static int count(void)
{
	size_t room = 300000, tensors;
	char *text = malloc(room);
	uint64_t data_bytes;
	size_t len;

	if (!text)
		return fail("no memory");
	len = make_header(text, room, &data_bytes);
	if (parse_once(text, len, len + data_bytes, &tensors))
		return 1;
	printf("%zu tensors in %zu bytes\n", tensors, len);
	return 0;
}

static size_t status_bytes(const char *field)
{
	FILE *file = fopen("/proc/self/status", "r");
	size_t kib = 0, len = strlen(field);
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, field, len) == 0)
			kib = strtoull(line + len + 1, NULL, 10);
	if (file)
		fclose(file);
	return kib * 1024;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The header of the file, and the size of the file. */
static char *read_header(const char *path, size_t *len, uint64_t *file_bytes)
{
	FILE *file = fopen(path, "rb");
	char prefix[8], *text = NULL;

	if (file && fread(prefix, 1, 8, file) == 8 && fseek(file, 0, SEEK_END) == 0) {
		*file_bytes = (uint64_t)ftell(file);
		*len = (size_t)(load_le64(prefix) + 8);
		text = *len <= *file_bytes ? malloc(*len) : NULL;
		rewind(file);
		if (text && fread(text, 1, *len, file) != *len)
			exit(fail("short read"));
	}
	if (file)
		fclose(file);
	return text;
}

/* One time of N parses each of which has a copy of its own. */
static int time_runs(const char *header, size_t len, uint64_t file_bytes, size_t runs,
		     int64_t *times, size_t *tensors)
{
	for (size_t i = 0; i < runs; i++) {
		char *text = malloc(len);

		if (!text)
			return fail("no memory");
		memcpy(text, header, len);
		times[i] = clock_ns(CLOCK_MONOTONIC);
		if (parse_once(text, len, file_bytes, tensors))
			return 1;
		times[i] = clock_ns(CLOCK_MONOTONIC) - times[i];
	}
	qsort(times, runs, sizeof(*times), compare);
	return 0;
}

static int serve(const char *path)
{
	static int64_t times[RUNS_MAX];
	uint64_t file_bytes = 0;
	size_t len = 0, tensors = 0;
	char *header = read_header(path, &len, &file_bytes);
	char line[64];

	if (!header)
		return fail("cannot read the file");
	/* What is freed stays with the process, so that no run pays for fresh pages; the yardstick does
	 * the same.  A header near the cap pays all the same. */
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	while (fgets(line, sizeof(line), stdin)) {
		size_t runs = strtoull(line, NULL, 10);

		if (runs < 1 || runs > RUNS_MAX)
			return fail("how many runs?");
		if (time_runs(header, len, file_bytes, runs, times, &tensors))
			return 1;
		printf("%" PRId64 " %zu\n", times[runs / 2], tensors);
		fflush(stdout);
	}
	free(header);
	return 0;
}

static int parse_file(const char *path)
{
	size_t before = status_bytes("VmRSS"), len = 0, tensors;
	int64_t start = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t file_bytes = 0;
	char *header = read_header(path, &len, &file_bytes);

	if (!header)
		return fail("cannot read the file");
	if (parse_once(header, len, file_bytes, &tensors))
		return 1;
	start = clock_ns(CLOCK_MONOTONIC) - start;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%" PRId64 " %zu %zu %" PRId64 "\n", start, tensors, status_bytes("VmHWM") - before,
	       cpu);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return count();
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc == 3 && strcmp(argv[1], "file") == 0)
		return parse_file(argv[2]);
	return fail("usage: budget-parse [serve FILE | file FILE]");
}
