/* SPDX-License-Identifier: Apache-2.0 */
/* How often the parsers allocate, when, and what they do when there is nothing to get. */
#include "format/shard_index.h"
#include "judge.h"
#include "lib/fail.h"

static struct weir_error err;

/* A header of many tensors, most of whose bytes are commas, so that the bounds are far too high. */
static struct builder wide_header(void)
{
	struct builder b = {0};

	build(&b, "{");
	for (unsigned i = 0; i < 20000; i++)
		build(&b, "%s\"t%u\":" ENTRY("U8", "[1,1,1,1,1,1,1,0]", 0, 0), i ? "," : "", i);
	build(&b, ",\"__metadata__\":{\"k\":\"");
	build_fill(&b, ",,,,,,,,", 50000);
	build(&b, "\"}}");
	return b;
}

static int parse(struct format_input *in, struct format_index **out)
{
	*out = NULL;
	return safetensors_parse(in, out, &err);
}

static void a_header_costs_one_allocation(void)
{
	static const char header[] = "{\"__metadata__\":{\"a\":\"b\"}," A_F32 "}";
	struct format_input in = make_input(header, strlen(header), 0, 4, 0);
	uint64_t before = fail_alloc_count();
	struct format_index *index;

	check_int(parse(&in, &index), 0);
	check_int(fail_alloc_count() - before, 1);
	format_index_destroy(index);
}

static void a_header_refused_early_costs_none(void)
{
	static const struct {
		const char *header;
		uint64_t prefix;
	} rows[] = {
		{"{}", 100000000},
		{"{}", 100000001},
		{"{}", UINT64_MAX},
		{"{\xFF", 2},
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		struct format_input in = make_input(rows[i].header, 2, 0, 0, 0);
		uint64_t before = fail_alloc_count();
		struct format_index *index;

		store_le64(in.text, rows[i].prefix);
		check(parse(&in, &index) < 0);
		check_int(fail_alloc_count() - before, 0);
		free(in.text);
	}
}

static void no_memory_is_said_and_nothing_kept(void)
{
	static const char header[] = "{" A_F32 "}";
	struct format_input in = make_input(header, strlen(header), 0, 4, 0);
	int64_t live = fail_alloc_live();
	struct format_index *index;

	fail_alloc(1, FAIL_FROM);
	check_int(parse(&in, &index), WEIR_NOMEM);
	check(fail_alloc_end());
	check_str(err.message, JUDGE_LABEL ": the tensor table: out of memory");
	check(!index);
	check_int(fail_alloc_live(), live);
	check_int(parse(&in, &index), 0); /* the text is still the caller's, and whole */
	format_index_destroy(index);
}

static void refusals_at_every_stage_keep_nothing(void)
{
	static const struct file files[] = {
		{"\xFF", 0, 0},
		{"{", 0, 0},
		{"[]", 0, 0},
		{"{" A_F32 "," A_F32 "}", 4, 0},
		{"{" A_F32 "}", 5, 0},
		{"{\"a\":{}}", 0, 0},
		{"{" A_F32 "}x", 4, 0},
		{"{\"a\":" ENTRY("F32", "[1]", 4, 8) "}", 8, 0},
		{"{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0, 0},
	};

	for (size_t i = 0; i < array_size(files); i++) {
		int64_t live = fail_alloc_live();

		check(judge(&files[i], 0, 0).code < 0);
		check_int(fail_alloc_live(), live);
	}
}

/* What is not needed is given back; where even that fails, the index is right all the same. */
static void much_that_is_not_needed_is_given_back(void)
{
	struct builder b = wide_header();

	for (unsigned nth = 2; nth <= 3; nth++) {
		struct format_input in = make_input(b.at, b.len, 0, 0, 0);
		struct format_index *index;

		fail_alloc(nth, FAIL_ONCE);
		check_int(parse(&in, &index), 0);
		check_int(fail_alloc_end(),
			  nth == 2); /* the first was the block, and there is no third */
		check_index(index, false);
		check_int(index->tensor_count, 20000);
		check_int(format_shape(index, &index->tensors[19999])[6], 1);
		check_int(index->metas[0].value_len, 400000);
		format_index_destroy(index);
	}
	free(b.at);
}

static void a_shard_index_likewise(void)
{
	static const char map[] = "{\"weight_map\":{\"a\":\"x\",\"b\":\"y\"}}";
	struct shard_index *index = NULL;
	uint64_t before;
	struct format_input in = {
		.label = JUDGE_LABEL, .text_bytes = strlen(map), .file_bytes = strlen(map)};

	in.text = malloc(in.text_bytes);
	check(in.text);
	memcpy(in.text, map, in.text_bytes);
	fail_alloc(1, FAIL_FROM);
	check_int(shard_index_parse(&in, &index, &err), WEIR_NOMEM);
	check(fail_alloc_end());
	check(!index);
	before = fail_alloc_count();
	check_int(shard_index_parse(&in, &index, &err), 0);
	check_int(fail_alloc_count() - before, 1);
	shard_index_destroy(index);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_header_costs_one_allocation),
		TEST(a_header_refused_early_costs_none),
		TEST(no_memory_is_said_and_nothing_kept),
		TEST(refusals_at_every_stage_keep_nothing),
		TEST(much_that_is_not_needed_is_given_back),
		TEST(a_shard_index_likewise),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
