/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What legal and hostile headers near the cap cost: RC-01 to RC-05.
 *
 * Time is processor time, so that a busy machine fails nothing.  Memory is the peak of the resident
 * set above what there was before the header was, the header included.
 */
#include <time.h>
#include <unistd.h>

#include "judge.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER     10
#define FATTER     10
#define HEADER_MAX 10000000
#else
#define SLOWER     1
#define FATTER     1
#define HEADER_MAX 100000000
#endif

struct cost {
	double seconds;
	double memory; /* in headers */
};

static size_t status_bytes(const char *field)
{
	FILE *file = fopen("/proc/self/status", "r");
	size_t kib = 0, len = strlen(field);
	char line[256];

	check(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, field, len) == 0)
			kib = strtoull(line + len + 1, NULL, 10);
	fclose(file);
	check(kib);
	return kib * 1024;
}

static void forget_peak(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");

	check(file && fputs("5", file) >= 0 && fclose(file) == 0);
}

/* Parses the header that was built, and frees it. */
static struct cost measure(struct builder *b, uint64_t data_bytes, unsigned flags, uint64_t seed,
			   int expected)
{
	struct format_input in = make_input(b->at, b->len, 0, data_bytes, flags);
	struct format_index *index = NULL;
	struct weir_error err = WEIR_ERROR_INIT;
	struct cost cost;
	size_t before;
	clock_t begin;
	int code;

	free(b->at);
	*b = (struct builder){0};
	in.seed = seed;
	before = status_bytes("VmRSS") - in.text_bytes;
	forget_peak();
	begin = clock();
	code = safetensors_parse(&in, &index, &err);
	cost.seconds = (double)(clock() - begin) / CLOCKS_PER_SEC / SLOWER;
	cost.memory = (double)(status_bytes("VmHWM") - before) / (double)in.text_bytes / FATTER;
	check_str(weir_code_name(code), weir_code_name(expected));
	if (code == 0)
		check_index(index, false);
	else
		free(in.text);
	format_index_destroy(index);
	printf("# %.3f s, %.2f headers of %zu bytes\n", cost.seconds, cost.memory, in.text_bytes);
	return cost;
}

static struct builder room_for_header(void)
{
	struct builder b = {.room = HEADER_MAX + 1000};

	b.at = malloc(b.room);
	check(b.at);
	return b;
}

static void RC_01_as_many_empty_tensors_as_fit(void)
{
	struct builder b = room_for_header();
	struct cost cost;

	build(&b, "{\"0\":" ENTRY("U8", "[0]", 0, 0));
	for (unsigned i = 1; b.len < HEADER_MAX - 64; i++)
		build(&b, ",\"%x\":" ENTRY("U8", "[0]", 0, 0), i);
	build(&b, "}");
	cost = measure(&b, 0, 0, JUDGE_SEED, 0);
	check(cost.seconds <= 1 && cost.memory <= 3);
}

static void RC_01_the_same_in_falling_order(void)
{
	struct builder b = room_for_header();
	unsigned count = HEADER_MAX / 1000 * 14;
	struct cost cost;

	build(&b, "{");
	for (unsigned i = count; i-- > 0;)
		build(&b, "\"%x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%u,%u]}%s", i,
		      i, i + 1, i ? "," : "}");
	check(b.len <= HEADER_MAX);
	cost = measure(&b, count, 0, JUDGE_SEED, 0);
	check(cost.seconds <= 1 && cost.memory <= 3);
}

static void RC_02_rank_of_fifty_million(void)
{
	for (unsigned flags = 0; flags <= FORMAT_LENIENT; flags++) {
		struct builder b = room_for_header();
		struct cost cost;

		build(&b, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1");
		build_fill(&b, ",1", HEADER_MAX / 2 - 50);
		build(&b, "],\"data_offsets\":[0,4]}}");
		check(b.len <= HEADER_MAX);
		cost = measure(&b, 4, flags, JUDGE_SEED, WEIR_LIMIT);
		check(cost.seconds <= 0.5 && cost.memory <= 1.2);
	}
}

static void RC_03_ignored_member_with_fifty_million_numbers(void)
{
	struct builder b = room_for_header();
	struct cost cost;

	build(&b, "{\"a\":{\"x\":[1");
	build_fill(&b, ",1", HEADER_MAX / 2 - 60);
	build(&b, "],\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
	check(b.len <= HEADER_MAX);
	cost = measure(&b, 4, FORMAT_LENIENT, JUDGE_SEED, 0);
	check(cost.seconds <= 1 && cost.memory <= 1.2);
}

/* 300,000 names whose first slots are, under this seed, the lowest 64th of the table; or any. */
static struct builder many_names(bool collide)
{
	struct builder b = room_for_header();
	unsigned found = 0;
	char name[16];

	build(&b, "{");
	for (unsigned i = 0; found < 300000 / SLOWER; i++) {
		size_t len = (size_t)snprintf(name, sizeof(name), "%x", i);

		if (collide && format_hash((struct bytes){name, len}, 0) >> 26)
			continue;
		build(&b, "%s\"%s\":" ENTRY("U8", "[0]", 0, 0), found ? "," : "", name);
		found++;
	}
	build(&b, "}");
	return b;
}

static void RC_04_names_that_collide_under_a_known_seed(void)
{
	struct builder chosen = many_names(true), random = many_names(false);
	struct cost cost = measure(&chosen, 0, 0, JUDGE_SEED, 0);
	struct cost usual = measure(&random, 0, 0, JUDGE_SEED, 0);

	check(cost.seconds <= 3 * usual.seconds + 0.01);
}

static void RC_05_header_of_escapes(void)
{
	struct builder b = room_for_header();
	struct cost cost;

	build(&b, "{\"__metadata__\":{\"k\":\"");
	build_fill(&b, "\\u0061", (HEADER_MAX - 200) / 6);
	build(&b, "\"}," A_F32 "}");
	cost = measure(&b, 4, 0, JUDGE_SEED, 0);
	check(cost.seconds <= 1 && cost.memory <= 1.2);
	b = room_for_header();
	build(&b, "{");
	for (unsigned i = 0; b.len < HEADER_MAX / 2; i++) {
		build(&b, "%s\"%x", i ? "," : "", i);
		build_fill(&b, "\\u0061", 10000);
		build(&b, "\":" ENTRY("U8", "[0]", 0, 0));
	}
	build(&b, "}");
	cost = measure(&b, 0, 0, JUDGE_SEED, 0);
	check(cost.seconds <= 1 && cost.memory <= 1.2);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(RC_01_as_many_empty_tensors_as_fit),
		TEST(RC_01_the_same_in_falling_order),
		TEST(RC_02_rank_of_fifty_million),
		TEST(RC_03_ignored_member_with_fifty_million_numbers),
		TEST(RC_04_names_that_collide_under_a_known_seed),
		TEST(RC_05_header_of_escapes),
	};

	/* An allocator that fills what it hands out makes memory resident that nobody used. */
	if (getenv("MALLOC_PERTURB_")) {
		unsetenv("MALLOC_PERTURB_");
		execv("/proc/self/exe", argv);
	}
	return tests_run(argc, argv, tests, array_size(tests));
}
