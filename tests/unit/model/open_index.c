/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models with an index: what it may say, what is a warning and what an error.
 */
#include "open_rig.h"

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
	check_has(err.message, INDEX);
	two_shards("{\"one\":\"a.safetensors\",\"\\u006fne\":\"a.safetensors\"}");
	check_int(open_folder(), WEIR_H_DUP);
	check_has(err.message, INDEX);
	/* Both shards have it, as the next of theirs. */
	two_shards("{\"one\":\"a.safetensors\",\"one\":\"c.safetensors\"}");
	st_one("c.safetensors", "one");
	check_int(open_folder(), WEIR_H_DUP);
	check_has(err.message, INDEX);
	check_has(err.message, "twice");
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

int main(int argc, char **argv)
{
	static const struct test tests[] = {
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
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
