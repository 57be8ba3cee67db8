/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a sharded model: IX-01, 07 to 10, as far as the text tells. */
#include "format/shard_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/check.h"
#include "weir/error.h"

#define LABEL      "m.safetensors.index.json"
#define MAP(pairs) "{\"weight_map\":{" pairs "}}"

static struct weir_error err;

/* The index of this text, or NULL with the code in *code. */
static struct shard_index *parse(struct bytes text, int *code)
{
	char *copy = malloc(text.len ? text.len : 1);
	struct shard_index *index = NULL;
	struct format_input in = {.label = LABEL,
				  .text = copy,
				  .text_bytes = text.len,
				  .file_bytes = text.len,
				  .seed = 3};

	check(copy);
	memcpy(copy, text.at, text.len);
	*code = shard_index_parse(&in, &index, &err);
	if (*code < 0)
		free(copy);
	check(*code == 0 ? index != NULL : index == NULL && err.code == *code);
	return index;
}

static void refuse(int expected, struct bytes text)
{
	int code;

	shard_index_destroy(parse(text, &code));
	if (code != expected)
		check_failed(__FILE__, __LINE__, "%s, not %s: %.*s", weir_code_name(code),
			     weir_code_name(expected), (int)text.len, text.at);
}

static struct shard_index *take(struct bytes text)
{
	int code;
	struct shard_index *index = parse(text, &code);

	if (code < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return index;
}

static void names_and_shards_come_out(void)
{
	struct shard_index *index = take(
		BYTES("{\"metadata\": {\"total_size\": 12, \"x\": [1]}, \"other\": null, "
		      "\"weight_map\": {\"a\": \"1.safetensors\", \"b\": \"2.safetensors\", "
		      "\"c\": \"1.safe\\u0074ensors\", \"\\u0064\": \"sub/3\"}}"));

	check_int(index->entry_count, 4);
	check_int(index->shard_count, 3);
	check(bytes_equal(shard_name(index, 0), BYTES("1.safetensors")));
	check(bytes_equal(shard_name(index, 2), BYTES("sub/3")));
	check_int(shard_index_find(index, BYTES("a"))->shard, 0);
	check_int(shard_index_find(index, BYTES("b"))->shard, 1);
	check_int(shard_index_find(index, BYTES("c"))->shard, 0);
	check_int(shard_index_find(index, BYTES("d"))->shard, 2);
	check(!shard_index_find(index, BYTES("e")));
	check(bytes_equal(shard_entry_name(index, &index->entries[3]), BYTES("d")));
	check_int(index->total, SHARD_TOTAL_GIVEN);
	check_int(index->total_bytes, 12);
	shard_index_destroy(index);
}

/* With and without blanks, and with escapes between entries that have none. */
static void entries_are_read_alike_however_they_are_written(void)
{
	static const struct bytes texts[] = {
		BYTES(MAP("\"a\":\"x\",\"b\":\"x\",\"c\":\"y\"")),
		BYTES(MAP("\"a\": \"x\", \"b\": \"x\", \"c\": \"y\"")),
		BYTES(MAP("\n  \"a\": \"x\",\n  \"b\": \"x\",\n  \"c\": \"y\"\n")),
		BYTES(MAP("\"a\" : \"x\" ,\"b\":  \"x\" , \"c\":\t\"y\" ")),
		BYTES(MAP("\"a\":\"\\u0078\",\"\\u0062\":\"x\",\"c\":\"y\"")),
	};

	for (size_t i = 0; i < array_size(texts); i++) {
		struct shard_index *index = take(texts[i]);

		check_int(index->entry_count, 3);
		check_int(index->shard_count, 2);
		check_int(shard_index_find(index, BYTES("a"))->shard, 0);
		check_int(shard_index_find(index, BYTES("b"))->shard, 0);
		check_int(shard_index_find(index, BYTES("c"))->shard, 1);
		shard_index_destroy(index);
	}
	refuse(WEIR_H_SCHEMA, BYTES(MAP("\"a\":1")));
	refuse(WEIR_H_SCHEMA, BYTES(MAP("\"a\": null")));
	refuse(WEIR_H_JSON, BYTES(MAP("\"a\" \"x\"")));
	refuse(WEIR_H_JSON, BYTES("{\"weight_map\":{\"a\":\""));
	refuse(WEIR_H_JSON, BYTES("{\"weight_map\":{\"a\": "));
	refuse(WEIR_H_JSON, BYTES("{\"weight_map\":{\"a\""));
}

static void an_empty_map_is_an_index(void)
{
	struct shard_index *index = take(BYTES(MAP("")));

	check_int(index->entry_count + index->shard_count, 0);
	check_int(index->total, SHARD_TOTAL_NONE);
	check(!shard_index_find(index, BYTES("a")));
	shard_index_destroy(index);
}

static void IX_01_shard_names_that_leave_the_directory(void)
{
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"../x\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"/x\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"a/../../x\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"a\\u0000b\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"https://host/x\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\".\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"..\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"a/\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\":\"a/..\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"s\":\"ok\",\"t\":\"\\u002e./x\"")));
	check_str(err.message,
		  LABEL ": tensor 't': shard '../x' is not the name of a file inside the "
			"directory (byte 29)");
	shard_index_destroy(take(BYTES(MAP("\"t\":\"a..b/...\""))));
}

static void IX_07_members_of_the_wrong_type(void)
{
	refuse(WEIR_H_SCHEMA, BYTES(MAP("\"t\":1")));
	refuse(WEIR_H_SCHEMA, BYTES(MAP("\"t\":null")));
	refuse(WEIR_H_SCHEMA, BYTES("{\"metadata\":{}}"));
	refuse(WEIR_H_SCHEMA, BYTES("{\"weight_map\":[]}"));
	refuse(WEIR_H_SCHEMA, BYTES("[]"));
}

static void IX_08_total_size_that_is_no_size(void)
{
	static const char *const odd[] = {"-1", "18446744073709551616", "1.5", "\"12\"", "null"};
	char text[100];

	for (size_t i = 0; i < array_size(odd); i++) {
		int len = snprintf(text, sizeof(text),
				   "{\"metadata\":{\"total_size\":%s},\"weight_map\":{}}", odd[i]);
		struct shard_index *index = take((struct bytes){text, (size_t)len});

		check_int(index->total, SHARD_TOTAL_ODD);
		check_int(index->total_bytes, 0);
		shard_index_destroy(index);
	}
	shard_index_destroy(take(BYTES("{\"metadata\":[1],\"weight_map\":{}}")));
}

static void IX_09_larger_than_the_cap(void)
{
	struct format_input in = {.label = LABEL, .text = NULL, .text_bytes = 0};
	struct shard_index *index = NULL;

	in.file_bytes = SHARD_INDEX_MAX_BYTES + 1;
	check_int(shard_index_parse(&in, &index, &err), WEIR_LIMIT);
	check(!index);
}

static void IX_09_a_million_entries(void)
{
	size_t room = 60000000, len;
	char *text = malloc(room);
	struct shard_index *index;
	clock_t begin;

	check(text);
	len = (size_t)sprintf(text, "{\"weight_map\":{");
	for (unsigned i = 0; i < 1000000; i++)
		len += (size_t)sprintf(text + len, "%s\"h.%u.weight\":\"model-%05u.safetensors\"",
				       i ? "," : "", i, i % 1000);
	len += (size_t)sprintf(text + len, "}}");
	check(len < room && len < SHARD_INDEX_MAX_BYTES);
	begin = clock();
	index = take((struct bytes){text, len});
	check((clock() - begin) / CLOCKS_PER_SEC < 2);
	check_int(index->entry_count, 1000000);
	check_int(index->shard_count, 1000);
	check_int(shard_index_find(index, BYTES("h.999999.weight"))->shard, 999);
	shard_index_destroy(index);
	free(text);
}

static void IX_10_repeated_keys(void)
{
	refuse(WEIR_H_DUP, BYTES(MAP("\"t\":\"a\",\"t\":\"a\"")));
	refuse(WEIR_H_DUP, BYTES(MAP("\"t\":\"a\",\"\\u0074\":\"b\"")));
	check_has(err.message, "tensor 't': stands twice");
	refuse(WEIR_H_DUP, BYTES("{\"weight_map\":{},\"weight_map\":{}}"));
	refuse(WEIR_H_DUP, BYTES("{\"metadata\":{},\"metadata\":{},\"weight_map\":{}}"));
	refuse(WEIR_H_DUP,
	       BYTES("{\"metadata\":{\"total_size\":1,\"total_size\":1},\"weight_map\":{}}"));
}

static void broken_text_is_refused(void)
{
	refuse(WEIR_H_JSON, BYTES(""));
	refuse(WEIR_H_JSON, BYTES(MAP("\"t\":\"a\",")));
	refuse(WEIR_H_JSON, BYTES(MAP("\"t\":\"a\"") "x"));
	refuse(WEIR_H_JSON, BYTES("{\"weight_map\":{},\"x\":NaN}"));
	refuse(WEIR_H_UTF8, BYTES(MAP("\"\xFF\":\"a\"")));
	refuse(WEIR_H_NAME, BYTES(MAP("\"t\\u0000\":\"a\"")));
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(names_and_shards_come_out),
		TEST(entries_are_read_alike_however_they_are_written),
		TEST(an_empty_map_is_an_index),
		TEST(IX_01_shard_names_that_leave_the_directory),
		TEST(IX_07_members_of_the_wrong_type),
		TEST(IX_08_total_size_that_is_no_size),
		TEST(IX_09_larger_than_the_cap),
		TEST(IX_09_a_million_entries),
		TEST(IX_10_repeated_keys),
		TEST(broken_text_is_refused),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
