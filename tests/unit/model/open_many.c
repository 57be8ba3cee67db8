/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models of many files, and what may go wrong on the way to them.
 */
#include "engine/context.h"
#include "open_rig.h"

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

static _Atomic int shards_by_path, looks_at_mounts, shards_found; /* since the context was made */

static int counting_openat(int dir, const char *path, int flags, mode_t mode)
{
	bool shard = strstr(path, ".safetensors") && !strstr(path, ".json");

	shards_by_path += shard && dir == AT_FDCWD;
	shards_found += shard && dir != AT_FDCWD;
	return sys_real()->openat(dir, path, flags, mode);
}

static int counting_statfs(const char *path, struct statfs *out)
{
	looks_at_mounts++;
	return sys_real()->statfs(path, out);
}

static void count_calls(void)
{
	static struct sys counting;
	struct ctx_seams seams = {.sys = &counting};

	counting = *sys_real();
	counting.openat = counting_openat;
	counting.statfs = counting_statfs;
	check_int(ctx_create_with(NULL, &seams, &ctx, &err), 0);
}

/* Where they are, and what serves them, is found out once. */
static void shards_are_found_from_their_directory(void)
{
	many_shards(50);
	count_calls();
	must(open_folder());
	check_int(shards_found, 50);
	check_int(shards_by_path, 0);
	check(looks_at_mounts < 6);
	check_data("t.33", "m-00033.safetensors");
	leave();
}

/* However the directory is spelled, and where the index is named instead. */
static void their_directory_may_be_the_current_one(void)
{
	static const char *const spelled[] = {".", "./", INDEX, NULL};

	many_shards(5);
	write_text(
		INDEX,
		"{\"weight_map\":{\"t.0\":\"m-00000.safetensors\",\"t.1\":\"m-00001.safetensors\","
		"\"t.2\":\"m-00002.safetensors\",\"t.3\":\"m-00003.safetensors\","
		"\"t.4\":\"m-00004.safetensors\"}}");
	check_int(chdir(folder()), 0);
	count_calls();
	for (int i = 0; spelled[i]; i++) {
		shards_found = shards_by_path = 0;
		must(open_path(spelled[i]));
		check_int(shards_found, 5);
		check_int(shards_by_path, 0);
		check_data("t.3", "m-00003.safetensors");
	}
	leave();
}

static int rename_across(const char *from, const char *to)
{
	char bytes[4096];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ssize_t len = read(in, bytes, sizeof(bytes));
	bool copied = len > 0 && write(out, bytes, (size_t)len) == len;

	close(in);
	close(out);
	return copied ? unlink(from) : -1;
}

/* A link to another file system, which a mount with rings might be: all are looked at by their paths. */
static void a_shard_on_another_device(void)
{
	char *far = NULL;
	struct stat here, there;

	many_shards(8);
	check(asprintf(&far, "/dev/shm/weir-test-shard-%d", (int)getpid()) > 0);
	check_int(symlink(far, in_folder("m-00003a.safetensors")), 0);
	if (stat(folder(), &here) || stat("/dev/shm", &there) || here.st_dev == there.st_dev)
		skip("needs two file systems");
	check_int(rename(in_folder("m-00007.safetensors"), in_folder("moved")), 0);
	st_begin();
	st_tensor("far", "U8", "[5]", 5);
	st_save("moved");
	check_int(rename_across(in_folder("moved"), far), 0);
	count_calls();
	must(open_folder());
	unlink(far);
	check_int(weir_model_tensor_count(model), 8);
	check(find("far") != UINT64_MAX);
	check_int(shards_found, 5);
	check_int(shards_by_path, 4);
	free(far);
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
		TEST(a_hundred_shards),
		TEST(shards_are_found_from_their_directory),
		TEST(their_directory_may_be_the_current_one),
		TEST(a_shard_on_another_device),
		TEST(ST_21_more_shards_than_descriptors),
		TEST(tables_are_charged_to_the_budget),
		TEST(a_fired_cancel_ends_an_open),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
