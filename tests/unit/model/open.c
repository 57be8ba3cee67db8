/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening models: which files belong to one, what their index may say, what is a warning and what an
 * error.  Every model is written by hand into the case's folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/models.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define INDEX "model.safetensors.index.json"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_S 20 /* a sanitizer costs that much */
#else
#define LIMIT_S 2
#endif

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_model *model;

static int open_flags(const char *path, uint32_t flags)
{
	if (!ctx)
		check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	weir_model_close(model);
	model = NULL;
	err = (struct weir_error)WEIR_ERROR_INIT;
	return weir_model_open(ctx, path, WEIR_MODEL_OPTS(.flags = flags), &model, &err);
}

static int open_path(const char *path)
{
	int ret = open_flags(path, 0);

	check((ret == 0) == (model != NULL));
	check_int(err.code, ret);
	return ret;
}

static int open_folder(void)
{
	return open_path(folder());
}

static void must(int ret)
{
	if (ret)
		check_failed(__FILE__, __LINE__, "%s", err.message);
}

static void leave(void)
{
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	model = NULL;
	ctx = NULL;
}

static uint64_t find(const char *name)
{
	return weir_model_find(model, name, strlen(name));
}

/* The tensor's bytes, read and compared with the pattern of its file. */
static void check_data(const char *name, const char *file)
{
	const struct weir_tensor *tensor = weir_model_tensor(model, find(name));
	char *bytes;

	check(tensor);
	bytes = malloc(tensor->size_bytes + 1);
	must(weir_object_read(weir_model_object(model, tensor->shard), tensor->offset_bytes,
			      tensor->size_bytes, bytes, WEIR_FOREVER, &err));
	check_int(pattern_check(bytes, name_seed(file), tensor->offset_bytes, tensor->size_bytes),
		  tensor->size_bytes);
	free(bytes);
}

/* ---- Files ---- */

static void one_file(void)
{
	const struct weir_tensor *tensor;
	const struct weir_shard *shard;

	st_begin();
	st_tensor("b", "BF16", "[2, 3]", 12);
	st_tensor("a", "F4", "[4]", 2);
	st_save("x.safetensors");
	must(open_path(in_folder("x.safetensors")));
	check_str(weir_model_format(model), "safetensors");
	check_int(weir_model_tensor_count(model), 2);
	tensor = weir_model_tensor(model, 0);
	check_str(tensor->name, "b");
	check_int(tensor->name_len, 1);
	check_int(tensor->dtype, WEIR_DTYPE_BF16);
	check_str(tensor->dtype_name, "BF16");
	check_int(tensor->rank, 2);
	check_int(tensor->shape[1], 3);
	check_int(tensor->size_bytes, 12);
	check_int(find("a"), 1);
	check_int(find("b"), 0);
	check(find("c") == UINT64_MAX);
	check(find("") == UINT64_MAX);
	check(!weir_model_tensor(model, 2));
	check_int(weir_model_shard_count(model), 1);
	shard = weir_model_shard(model, 0);
	check_str(shard->format, "safetensors");
	check_str(shard->uri, in_folder("x.safetensors"));
	check_int(shard->tensor_count, 2);
	check_int(shard->size_bytes, shard->header_bytes + 14);
	check_int(tensor->offset_bytes, shard->header_bytes);
	check(!weir_model_shard(model, 1));
	check(!weir_model_object(model, 1));
	check(!weir_model_warning(model, 0));
	check_data("a", "x.safetensors");
	check_data("b", "x.safetensors");
	leave();
}

static void names_with_escapes_end_for_C(void)
{
	st_begin();
	st_tensor("\\u0061b\\n", "U8", "[1]", 1);
	st_tensor("", "U8", "[1]", 1);
	st_save("x.safetensors");
	must(open_path(in_folder("x.safetensors")));
	check_str(weir_model_tensor(model, 0)->name, "ab\n");
	check_str(weir_model_tensor(model, 1)->name, "");
	check_int(find("ab\n"), 0);
	check_int(find(""), 1);
	leave();
}

static void a_gguf_file_with_its_pairs(void)
{
	struct weir_metadata pair;

	gguf_begin();
	gguf_text("general.architecture", "llama");
	gguf_u32("n", 7);
	gguf_vector("t", 10);
	gguf_vector("u", 3);
	gguf_save("x.gguf");
	must(open_path(in_folder("x.gguf")));
	check_str(weir_model_format(model), "gguf");
	check_int(weir_model_tensor(model, 0)->dtype, WEIR_DTYPE_F32);
	check_int(weir_model_metadata_count(model, 0), 2);
	check_int(weir_model_metadata(model, 0, 0, &pair), 0);
	check_int(pair.key_len, 20);
	check(memcmp(pair.value, "llama", 5) == 0 && pair.value_len == 5);
	check_str(pair.type, "string");
	check_int(weir_model_metadata(model, 0, 1, &pair), 0);
	check_str(pair.type, "uint32");
	check_int(weir_model_metadata(model, 0, 2, &pair), WEIR_ARG);
	check_int(weir_model_metadata(model, 1, 0, &pair), WEIR_ARG);
	check_data("t", "x.gguf");
	check_data("u", "x.gguf");
	leave();
}

static void what_it_is_shows_in_the_first_bytes(void)
{
	gguf_begin();
	gguf_vector("t", 1);
	gguf_save("blob");
	must(open_path(in_folder("blob")));
	check_str(weir_model_format(model), "gguf");
	st_one("blob2", "t");
	must(open_path(in_folder("blob2")));
	check_str(weir_model_format(model), "safetensors");
	write_text("bad.gguf", "FUGG");
	check_int(open_path(in_folder("bad.gguf")), WEIR_G_MAGIC);
	leave();
}

/* Longer than the first read: the rest is fetched, for both formats. */
static void long_headers(void)
{
	char name[64];

	st_begin();
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "model.layers.%d.weight", i);
		st_tensor(name, "U8", "[1]", 1);
	}
	st_save("x.safetensors");
	must(open_path(in_folder("x.safetensors")));
	check_int(weir_model_tensor_count(model), 3000);
	check_data("model.layers.2999.weight", "x.safetensors");

	gguf_begin();
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "general.key.number.%d", i);
		gguf_text(name, "a value, and not the shortest");
	}
	gguf_vector("t", 1);
	gguf_save("x.gguf");
	must(open_path(in_folder("x.gguf")));
	check_int(weir_model_metadata_count(model, 0), 5000);
	check_data("t", "x.gguf");
	leave();
}

static void lenient_is_said_by_name(void)
{
	static const char text[] = "\x10\0\0\0\0\0\0\0{\"__metadata__\":null}";
	char bytes[64];
	size_t len = sizeof(text) - 1;

	memcpy(bytes, text, len);
	bytes[0] = (char)(len - 8);
	write_file("x.safetensors", bytes, len);
	check_int(open_path(in_folder("x.safetensors")), WEIR_H_SCHEMA);
	check_int(open_flags(in_folder("x.safetensors"), WEIR_MODEL_LENIENT), 0);
	leave();
}

static void what_is_not_there(void)
{
	check_int(open_path(in_folder("x.safetensors")), WEIR_NOTFOUND);
	check_int(open_path(in_folder(INDEX)), WEIR_NOTFOUND);
	check_int(open_folder(), WEIR_NOTFOUND);
	check_has(err.message, "no *.safetensors");
	check_int(open_path(""), WEIR_ARG);
	check_int(weir_model_open_list(ctx, NULL, 0, NULL, &model, &err), WEIR_ARG);
	check_int(open_flags(folder(), 1u << 31), WEIR_ARG);
	leave();
}

/* ---- Folders and lists ---- */

static void a_folder_is_all_its_files_by_name(void)
{
	st_one("b.safetensors", "two");
	st_one("a.safetensors", "one");
	st_one(".hidden.safetensors", "three");
	write_text("config.json", "{}");
	gguf_begin();
	gguf_vector("four", 1);
	gguf_save("x.gguf");
	must(open_folder());
	check_str(weir_model_format(model), "model");
	check_int(weir_model_shard_count(model), 2);
	check_int(weir_model_tensor_count(model), 2);
	check_str(weir_model_tensor(model, 0)->name, "one");
	check_int(weir_model_tensor(model, 1)->shard, 1);
	check_str(weir_model_shard(model, 1)->uri, in_folder("b.safetensors"));
	check_int(find("one"), 0);
	check_int(find("two"), 1);
	check(find("three") == UINT64_MAX);
	check_data("one", "a.safetensors");
	check_data("two", "b.safetensors");
	leave();
}

static void a_folder_by_uri_and_odd_names(void)
{
	char uri[512];

	st_one("100% odd.safetensors", "one");
	snprintf(uri, sizeof(uri), "file://%s", folder());
	must(open_path(uri));
	check_data("one", "100% odd.safetensors");
	check_has(weir_model_shard(model, 0)->uri, "100%25 odd");
	must(open_folder());
	check_data("one", "100% odd.safetensors");
	leave();
}

static void a_list_is_in_its_order(void)
{
	const char *uris[2];

	st_one("a.safetensors", "one");
	st_one("b.safetensors", "two");
	uris[0] = in_folder("b.safetensors");
	uris[1] = in_folder("a.safetensors");
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	must(weir_model_open_list(ctx, uris, 2, NULL, &model, &err));
	check_str(weir_model_tensor(model, 0)->name, "two");
	check_str(weir_model_tensor(model, 1)->name, "one");
	leave();
}

static void a_broken_shard_is_named(void)
{
	st_one("a.safetensors", "one");
	write_text("b.safetensors", "short");
	st_one("c.safetensors", "three");
	check_int(open_folder(), WEIR_H_SHORT);
	check_has(err.message, "b.safetensors");
	leave();
}

static void the_order_of_the_files(void)
{
	static const char text[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]},"
				   "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
	char bytes[256] = {(char)(sizeof(text) - 1)};

	memcpy(bytes + 8, text, sizeof(text) - 1);
	write_file("y.safetensors", bytes, 8 + sizeof(text) - 1 + 4);
	st_one("x.safetensors", "first");
	must(open_folder());
	check_str(weir_model_tensor(model, 1)->name, "b");
	check_int(weir_model_by_offset(model, 0), 0);
	check_int(weir_model_by_offset(model, 1), 2);
	check_int(weir_model_by_offset(model, 2), 1);
	check(weir_model_by_offset(model, 3) == UINT64_MAX);
	leave();
}

/* ---- The index ---- */

static void two_shards(const char *map)
{
	char text[1024];

	st_one("a.safetensors", "one");
	st_begin();
	st_tensor("two", "F32", "[4]", 16);
	st_tensor("three", "F32", "[4]", 16);
	st_save("b.safetensors");
	snprintf(text, sizeof(text), "{\"weight_map\":%s}", map);
	write_text(INDEX, text);
}

#define WHOLE_MAP                                                                                  \
	"{\"three\":\"b.safetensors\",\"one\":\"a.safetensors\",\"two\":\"b.safetensors\"}"

static void an_index_names_its_shards(void)
{
	two_shards(WHOLE_MAP);
	must(open_folder());
	check_str(weir_model_format(model), "model");
	check_int(weir_model_shard_count(model), 2);
	check_str(weir_model_shard(model, 0)->uri, in_folder("a.safetensors"));
	check_int(weir_model_tensor_count(model), 3);
	check(!weir_model_warning(model, 0));
	check_data("three", "b.safetensors");
	must(open_path(in_folder(INDEX)));
	check_int(weir_model_tensor_count(model), 3);
	check_data("one", "a.safetensors");
	check_int(open_flags(folder(), WEIR_MODEL_VERIFY), 0);
	leave();
}

static void an_index_in_the_current_folder(void)
{
	two_shards(WHOLE_MAP);
	check_int(chdir(folder()), 0);
	must(open_path(INDEX));
	check_str(weir_model_shard(model, 0)->uri, "a.safetensors");
	check_data("one", "a.safetensors");
	st_one("stray.safetensors", "x");
	must(open_path(INDEX));
	check_has(weir_model_warning(model, 0), "stray.safetensors");
	leave();
}

static void shards_in_a_folder_below(void)
{
	check_int(mkdir(in_folder("sub"), 0700), 0);
	st_one("sub/a.safetensors", "one");
	write_text(INDEX, "{\"weight_map\":{\"one\":\"sub/a.safetensors\"}}");
	must(open_folder());
	check_data("one", "sub/a.safetensors");
	check_int(open_flags(folder(), WEIR_MODEL_BENEATH), 0);
	leave();
}

static void of_several_indexes_one_is_chosen_by_name(void)
{
	st_one("a.safetensors", "one");
	write_text("x.safetensors.index.json", "{\"weight_map\":{\"one\":\"a.safetensors\"}}");
	must(open_folder());
	write_text("y.safetensors.index.json", "{\"weight_map\":{}}");
	check_int(open_folder(), WEIR_ARG);
	check_has(err.message, "x.safetensors.index.json");
	check_has(err.message, "y.safetensors.index.json");
	write_text(INDEX, "{\"weight_map\":{\"one\":\"a.safetensors\"}}");
	must(open_folder());
	check_int(weir_model_tensor_count(model), 1);
	leave();
}

static void a_model_opens_without_waiting(void)
{
	struct weir_request *request;
	struct weir_queue *queue;
	struct weir_done done;

	st_one("model.safetensors", "one");
	must(weir_ctx_create(NULL, &ctx, &err));
	must(weir_queue_create(ctx, 0, &queue, &err));
	must(weir_model_open_start(ctx, folder(), NULL, queue, 5, &request, &err));
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
	check(done.tag == 5 && done.status == 0);
	must(weir_model_open_finish(request, &model, &err));
	check_int(find("one"), 0);
	must(weir_model_open_start(ctx, "/nonexistent", NULL, queue, 6, &request, &err));
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, WEIR_NOTFOUND);
	check_int(weir_model_open_finish(request, &model, &err), WEIR_NOTFOUND);
	check_has(err.message, "/nonexistent");
	weir_queue_destroy(queue);
	leave();
}

static void IX_01_shard_names_that_leave(void)
{
	static const char *const names[] = {
		"../x.safetensors", "/etc/passwd",           "a/../../x", "a\\u0000b",
		"http://host/x",    "file:///x.safetensors", "",          ".",
	};
	char text[256];

	st_one("x.safetensors", "one");
	for (size_t i = 0; i < array_size(names); i++) {
		snprintf(text, sizeof(text), "{\"weight_map\":{\"one\":\"%s\"}}", names[i]);
		write_text(INDEX, text);
		check_int(open_folder(), WEIR_H_NAME);
	}
	leave();
}

static void IX_02_links_are_followed_but_not_beneath(void)
{
	check_int(mkdir(in_folder("model"), 0700), 0);
	check_int(mkdir(in_folder("other"), 0700), 0);
	st_one("other/a.safetensors", "one");
	st_one("model/here.safetensors", "two");
	check_int(symlink("../other/a.safetensors", in_folder("model/a.safetensors")), 0);
	check_int(open_path(in_folder("model")), 0);
	check_data("one", "other/a.safetensors");
	check_int(open_flags(in_folder("model"), WEIR_MODEL_BENEATH), WEIR_DENIED);
	check_has(err.message, "model/a.safetensors");
	write_text("model/" INDEX, "{\"weight_map\":{\"one\":\"a.safetensors\"}}");
	check_int(open_path(in_folder("model")), 0);
	check_int(open_flags(in_folder("model"), WEIR_MODEL_BENEATH), WEIR_DENIED);

	/* A link that stays inside is none of its business. */
	check_int(unlink(in_folder("model/a.safetensors")), 0);
	check_int(symlink("here.safetensors", in_folder("model/a.safetensors")), 0);
	write_text("model/" INDEX, "{\"weight_map\":{\"two\":\"a.safetensors\"}}");
	must(open_flags(in_folder("model"), WEIR_MODEL_BENEATH));
	check_data("two", "model/here.safetensors");
	leave();
}

static void IX_03_a_tensor_that_its_shard_lacks(void)
{
	two_shards("{\"one\":\"a.safetensors\",\"two\":\"a.safetensors\"}");
	check_int(open_folder(), WEIR_H_SCHEMA);
	check_has(err.message, "a.safetensors");
	check_has(err.message, "'two'");
	leave();
}

static void IX_04_strays_are_left_out(void)
{
	two_shards("{\"one\":\"a.safetensors\",\"three\":\"b.safetensors\"}");
	must(open_folder());
	check_int(weir_model_tensor_count(model), 2);
	check_int(weir_model_shard(model, 1)->tensor_count, 1);
	check(find("two") == UINT64_MAX);
	check_int(find("three"), 1);
	check_int(weir_model_by_offset(model, 1), 1);
	check_data("three", "b.safetensors");
	check_has(weir_model_warning(model, 0), "'two'");
	check(!weir_model_warning(model, 1));
	check_int(open_flags(folder(), WEIR_MODEL_VERIFY), WEIR_H_SCHEMA);
	check_has(err.message, "'two'");
	leave();
}

static void IX_04_files_that_are_not_named(void)
{
	two_shards(WHOLE_MAP);
	st_one("consolidated.safetensors", "one");
	st_one("consolidated2.safetensors", "one");
	must(open_folder());
	check_int(weir_model_shard_count(model), 2);
	check_has(weir_model_warning(model, 0), "consolidated.safetensors");
	check_has(weir_model_warning(model, 0), "2 files");
	check(!weir_model_warning(model, 1));
	must(open_path(in_folder(INDEX)));
	check_has(weir_model_warning(model, 0), "consolidated.safetensors");
	check_int(open_flags(folder(), WEIR_MODEL_VERIFY), WEIR_H_SCHEMA);
	leave();
}

static void IX_05_one_tensor_in_two_shards(void)
{
	st_begin();
	st_tensor("one", "F32", "[4]", 16);
	st_tensor("two", "F32", "[2]", 8);
	st_save("a.safetensors");
	st_begin();
	st_tensor("one", "F32", "[8]", 32);
	st_tensor("three", "F32", "[2]", 8);
	st_save("b.safetensors");
	check_int(open_folder(), WEIR_H_DUP);
	check_has(err.message, "'one'");
	check_has(err.message, "a.safetensors");
	check_has(err.message, "b.safetensors");
	write_text(INDEX, "{\"weight_map\":{\"one\":\"b.safetensors\",\"two\":\"a.safetensors\","
			  "\"three\":\"b.safetensors\"}}");
	must(open_folder());
	check_int(weir_model_tensor_count(model), 3);
	check_int(weir_model_tensor(model, find("one"))->size_bytes, 32);
	check_data("one", "b.safetensors");
	check_data("two", "a.safetensors");
	check_has(weir_model_warning(model, 0), "'one'");
	check(!weir_model_warning(model, 1));
	check_int(open_flags(folder(), WEIR_MODEL_VERIFY), WEIR_H_DUP);
	leave();
}

static void IX_06_a_shard_is_missing(void)
{
	two_shards("{\"one\":\"a.safetensors\",\"two\":\"gone.safetensors\"}");
	check_int(open_folder(), WEIR_NOTFOUND);
	check_has(err.message, "gone.safetensors");
	leave();
}

static void IX_07_an_index_that_is_none(void)
{
	static const char *const texts[] = {
		"{\"weight_map\":{\"one\":1}}",
		"{}",
		"{\"weight_map\":[]}",
	};

	st_one("a.safetensors", "one");
	for (size_t i = 0; i < array_size(texts); i++) {
		write_text(INDEX, texts[i]);
		check_int(open_folder(), WEIR_H_SCHEMA);
		check_has(err.message, INDEX);
	}
	leave();
}

static void IX_08_total_size_is_only_a_hint(void)
{
	static const char *const totals[] = {"1", "-1", "18446744073709551616", "\"many\""};
	char text[256];

	st_one("a.safetensors", "one");
	for (size_t i = 0; i < array_size(totals); i++) {
		snprintf(text, sizeof(text),
			 "{\"metadata\":{\"total_size\":%s},"
			 "\"weight_map\":{\"one\":\"a.safetensors\"}}",
			 totals[i]);
		write_text(INDEX, text);
		must(open_folder());
		check_has(weir_model_warning(model, 0), "total_size");
		check(!weir_model_warning(model, 1));
		must(open_flags(folder(), WEIR_MODEL_VERIFY));
		check_has(weir_model_warning(model, 0), "total_size");
	}
	write_text(INDEX, "{\"metadata\":{\"total_size\":16},"
			  "\"weight_map\":{\"one\":\"a.safetensors\"}}");
	must(open_folder());
	check(!weir_model_warning(model, 0));
	leave();
}

static double seconds_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Passed, for what must not block; and used by this process, for what must not cost. */
static double seconds(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

static double cpu_seconds(void)
{
	return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void IX_09_a_huge_index(void)
{
	int fd = open(in_folder(INDEX), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	check(fd >= 0);
	check_int(ftruncate(fd, (64 << 20) + 1), 0);
	close(fd);
	check_int(open_folder(), WEIR_LIMIT);
	leave();
}

static void IX_09_a_million_entries(void)
{
	const int count = 1000 * 1000;
	FILE *index = fopen(in_folder(INDEX), "w");
	FILE *shard = fopen(in_folder("a.safetensors"), "w");
	uint64_t len = 0;
	double start;

	check(index && shard);
	fwrite(&len, 8, 1, shard);
	fputs("{\"weight_map\":{", index);
	fputs("{", shard);
	for (int i = 0; i < count; i++) {
		fprintf(index, "%s\"t%d\":\"a.safetensors\"", i ? "," : "", i);
		fprintf(shard, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
			i ? "," : "", i);
	}
	fputs("}}", index);
	fputs("}", shard);
	len = (uint64_t)ftell(shard) - 8;
	rewind(shard);
	fwrite(&len, 8, 1, shard);
	fclose(index);
	fclose(shard);
	start = cpu_seconds();
	must(open_folder());
	check(cpu_seconds() - start < LIMIT_S);
	check_int(weir_model_tensor_count(model), count);
	check_int(find("t999999"), 999999);
	leave();
}

static void IX_10_a_repeated_key(void)
{
	two_shards("{\"one\":\"a.safetensors\",\"one\":\"b.safetensors\"}");
	check_int(open_folder(), WEIR_H_DUP);
	two_shards("{\"one\":\"a.safetensors\",\"\\u006fne\":\"a.safetensors\"}");
	check_int(open_folder(), WEIR_H_DUP);
	leave();
}

static void IX_11_shards_that_are_no_files(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	double start;

	check_int(mkfifo(in_folder("fifo"), 0600), 0);
	check_int(mkdir(in_folder("folder"), 0700), 0);
	check_int(symlink("/dev/zero", in_folder("device")), 0);
	check_int(chdir(folder()), 0);
	strcpy(address.sun_path, "socket");
	check_int(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	for (int i = 0; i < 4; i++) {
		static const char *const names[] = {"fifo", "folder", "device", "socket"};
		char text[256];

		snprintf(text, sizeof(text), "{\"weight_map\":{\"one\":\"%s\"}}", names[i]);
		write_text(INDEX, text);
		start = seconds();
		check_int(open_folder(), WEIR_ARG);
		check_has(err.message, names[i]);
		check_int(open_flags(folder(), WEIR_MODEL_BENEATH),
			  i == 2 ? WEIR_DENIED : WEIR_ARG);
		check(seconds() - start < 1);
	}
	close(fd);
	leave();
}

static void IX_12_a_shard_is_written_to_after_its_header(void)
{
	char bytes[16];
	int fd;

	st_one("a.safetensors", "one");
	must(open_path(in_folder("a.safetensors")));
	usleep(20000); /* a tick of the file system's clock */
	fd = open(in_folder("a.safetensors"), O_WRONLY | O_CLOEXEC);
	check_int(pwrite(fd, "x", 1, 8), 1);
	close(fd);
	check_int(weir_object_read(weir_model_object(model, 0),
				   weir_model_shard(model, 0)->header_bytes, 16, bytes,
				   WEIR_FOREVER, &err),
		  WEIR_CHANGED);
	leave();
}

/* Another file under the name: the one that was opened is read on. */
static void IX_12_a_shard_is_replaced_after_its_header(void)
{
	st_one("a.safetensors", "one");
	must(open_path(in_folder("a.safetensors")));
	st_one("b.safetensors", "one");
	check_int(rename(in_folder("b.safetensors"), in_folder("a.safetensors")), 0);
	check_data("one", "a.safetensors");
	leave();
}

/* ---- GGUF in parts ---- */

static void part(const char *name, uint16_t number, uint32_t count, const char *tensor)
{
	gguf_begin();
	gguf_u16("split.no", number);
	gguf_u32("split.count", count);
	gguf_vector(tensor, 4);
	gguf_save(name);
}

#define PART_1 "m-00001-of-00002.gguf"
#define PART_2 "m-00002-of-00002.gguf"

static void a_split_model_by_any_of_its_parts(void)
{
	part(PART_1, 0, 2, "one");
	part(PART_2, 1, 2, "two");
	must(open_path(in_folder(PART_1)));
	check_int(weir_model_shard_count(model), 2);
	check_str(weir_model_format(model), "model");
	check_data("two", PART_2);
	must(open_path(in_folder(PART_2)));
	check_int(find("one"), 0);
	check_int(find("two"), 1);
	check_data("one", PART_1);
	must(open_folder());
	check_int(weir_model_tensor_count(model), 2);
	leave();
}

static void GG_39_part_numbers_that_cannot_be(void)
{
	part(PART_1, 0, 0, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part(PART_1, 2, 2, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part(PART_1, 0, 65536, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_text("split.count", "2");
	gguf_save(PART_1);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_u16("split.count", 2);
	gguf_save(PART_1);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part("other.gguf", 0, 2, "one");
	check_int(open_path(in_folder("other.gguf")), WEIR_H_SCHEMA);
	leave();
}

static void GG_39_parts_that_disagree(void)
{
	part(PART_1, 0, 2, "one");
	part(PART_2, 0, 2, "two");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part(PART_2, 1, 3, "two");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_vector("two", 4);
	gguf_save(PART_2);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_u16("split.no", 1);
	gguf_u16("split.count", 2);
	gguf_u32("split.tensors.count", 3);
	gguf_vector("two", 4);
	gguf_save(PART_2);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	check_has(err.message, "split.tensors.count");
	part(PART_2, 1, 2, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_G_DUP);
	leave();
}

static void a_missing_part_is_named(void)
{
	part(PART_1, 0, 2, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_NOTFOUND);
	check_has(err.message, PART_2);
	check_int(open_folder(), WEIR_NOTFOUND);
	check_has(err.message, "number 2 of them");
	leave();
}

/* ---- Many files, and what may go wrong on the way ---- */

static void many_shards(int count)
{
	char file[64], tensor[64];

	for (int i = 0; i < count; i++) {
		snprintf(file, sizeof(file), "m-%05d.safetensors", i);
		snprintf(tensor, sizeof(tensor), "t.%d", i);
		st_one(file, tensor);
	}
}

static void a_hundred_shards(void)
{
	char tensor[64];

	many_shards(100);
	must(open_folder());
	check_int(weir_model_tensor_count(model), 100);
	for (int i = 0; i < 100; i++) {
		snprintf(tensor, sizeof(tensor), "t.%d", i);
		check_int(find(tensor), i);
		check_int(weir_model_tensor(model, (uint64_t)i)->shard, i);
	}
	check_data("t.77", "m-00077.safetensors");
	leave();
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void ST_21_more_shards_than_descriptors(void)
{
	struct rlimit limit = {64, 64};
	unsigned before;

	many_shards(200);
	must(open_path(in_folder("m-00000.safetensors")));
	weir_model_close(model);
	model = NULL;
	before = open_descriptors();
	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	must(open_folder());
	check_int(weir_model_tensor_count(model), 200);
	weir_model_close(model);
	model = NULL;
	check_int(open_descriptors(), before);

	while (dup(STDERR_FILENO) >= 0)
		;
	before = open_descriptors();
	check_int(open_folder(), WEIR_IO);
	check_int(err.os_errno, EMFILE);
	check_int(open_descriptors(), before);
	close((int)limit.rlim_cur - 1);
	must(open_path(in_folder("m-00000.safetensors")));
	leave();
}

static void tables_are_charged_to_the_budget(void)
{
	char name[64];

	st_begin();
	for (int i = 0; i < 8000; i++) {
		snprintf(name, sizeof(name), "a.tensor.with.a.name.of.some.length.%d", i);
		st_tensor(name, "U8", "[1]", 1);
	}
	st_save("x.safetensors");
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "%d.safetensors", i);
		check_int(link(in_folder("x.safetensors"), in_folder(name)), 0);
	}
	check_int(weir_ctx_create(WEIR_CTX_OPTS(.budget_bytes = 4 * MIB), &ctx, &err), 0);
	must(open_path(in_folder("x.safetensors")));
	weir_model_close(model);
	model = NULL;
	check_int(open_folder(), WEIR_LIMIT);
	check_has(err.message, "budget");
	must(open_path(in_folder("x.safetensors")));
	leave();
}

static void a_fired_cancel_ends_an_open(void)
{
	struct weir_cancel *cancel;

	many_shards(3);
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_cancel_create(ctx, &cancel, &err), 0);
	weir_cancel_fire(cancel);
	check_int(weir_model_open(ctx, folder(), WEIR_MODEL_OPTS(.cancel = cancel), &model, &err),
		  WEIR_CANCELLED);
	check(!model);
	weir_cancel_destroy(cancel);
	leave();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(one_file),
		TEST(names_with_escapes_end_for_C),
		TEST(a_gguf_file_with_its_pairs),
		TEST(what_it_is_shows_in_the_first_bytes),
		TEST(long_headers),
		TEST(lenient_is_said_by_name),
		TEST(what_is_not_there),
		TEST(a_folder_is_all_its_files_by_name),
		TEST(a_folder_by_uri_and_odd_names),
		TEST(a_list_is_in_its_order),
		TEST(a_broken_shard_is_named),
		TEST(the_order_of_the_files),
		TEST(an_index_names_its_shards),
		TEST(an_index_in_the_current_folder),
		TEST(shards_in_a_folder_below),
		TEST(of_several_indexes_one_is_chosen_by_name),
		TEST(a_model_opens_without_waiting),
		TEST(IX_01_shard_names_that_leave),
		TEST(IX_02_links_are_followed_but_not_beneath),
		TEST(IX_03_a_tensor_that_its_shard_lacks),
		TEST(IX_04_strays_are_left_out),
		TEST(IX_04_files_that_are_not_named),
		TEST(IX_05_one_tensor_in_two_shards),
		TEST(IX_06_a_shard_is_missing),
		TEST(IX_07_an_index_that_is_none),
		TEST(IX_08_total_size_is_only_a_hint),
		TEST(IX_09_a_huge_index),
		TEST(IX_09_a_million_entries),
		TEST(IX_10_a_repeated_key),
		TEST(IX_11_shards_that_are_no_files),
		TEST(IX_12_a_shard_is_written_to_after_its_header),
		TEST(IX_12_a_shard_is_replaced_after_its_header),
		TEST(a_split_model_by_any_of_its_parts),
		TEST(GG_39_part_numbers_that_cannot_be),
		TEST(GG_39_parts_that_disagree),
		TEST(a_missing_part_is_named),
		TEST(a_hundred_shards),
		TEST(ST_21_more_shards_than_descriptors),
		TEST(tables_are_charged_to_the_budget),
		TEST(a_fired_cancel_ends_an_open),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
