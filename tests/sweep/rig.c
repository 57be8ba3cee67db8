/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/filter.h"
#include "lib/leaks.h"
#include "lib/models.h"
#include "lib/pattern.h"
#include "weir/weir.h"

/* Nothing here takes long; what does, hangs. */
#define PATIENCE_NS (20 * NS_PER_SEC)

static struct weir_error err;
static const char *bytes_path, *written_path;
static char shard[2 * MIB];
static uint64_t shard_bytes;

/* ---- What all pieces use ---- */

/* A failure is whole: a code, a message, the same code as was returned. */
static int judged(int ret)
{
	if (ret < 0) {
		check_int(err.code, ret);
		check(err.message[0]);
	}
	return ret;
}

/* Does the call, unless something failed before. */
#define then(ret, call)                                                                            \
	do {                                                                                       \
		if ((ret) == 0)                                                                    \
			(ret) = judged(call);                                                      \
	} while (0)

static int make_context(struct weir_ctx **ctx)
{
	const struct ctx_seams seams = {.sys = fail_sys()};

	err = (struct weir_error)WEIR_ERROR_INIT;
	return judged(ctx_create_with(WEIR_CTX_OPTS(.lanes = 2, .depth = 4, .trace_events = 64),
				      &seams, ctx, &err));
}

/*
 * Takes all completions and ends the transfer; the first failure of all.  `each` sees those that
 * succeeded.
 */
static int end_transfer(struct weir_transfer *transfer, void (*each)(const struct weir_done *done))
{
	struct weir_done done[4];
	int n, ret = 0, ended;

	while ((n = weir_transfer_wait(transfer, done, 4, PATIENCE_NS, &err)) > 0) {
		for (int i = 0; i < n; i++) {
			if (done[i].status == 0 && each)
				each(&done[i]);
			if (done[i].status && ret == 0)
				ret = done[i].status;
			check(!done[i].status || !done[i].buffer);
			weir_buffer_unref(done[i].buffer);
		}
	}
	if (ret == 0)
		ret = n;
	ended = judged(weir_transfer_finish(transfer, PATIENCE_NS, &err));
	return ret ? ret : ended;
}

/* ---- Loading a model ---- */

static struct weir_model *model;

static void check_tensor(const struct weir_done *done)
{
	const struct weir_tensor *tensor = weir_model_tensor(model, done->tag);
	const char *name = tensor->shard == 0 ? "one.safetensors" : "two.safetensors";

	check_int(done->bytes, tensor->size_bytes);
	check_int(pattern_check(done->data, name_seed(name), tensor->offset_bytes, done->bytes),
		  done->bytes);
}

static int load_model(void)
{
	struct weir_transfer *transfer;
	struct weir_ctx *ctx = NULL;
	int ret = make_context(&ctx);

	model = NULL;
	then(ret, weir_model_open(ctx, folder(), NULL, &model, &err));
	then(ret, weir_load_start(model, NULL, &transfer, &err));
	if (ret == 0)
		ret = end_transfer(transfer, check_tensor);
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	return ret;
}

/* ---- Reading ranges ---- */

#define FILE_BYTES (3 * MIB + 123)

static unsigned char landed[2 * MIB] __attribute__((aligned(4096)));

static uint64_t seed_of_range(void)
{
	return name_seed("bytes");
}

static void check_range(const struct weir_done *done)
{
	static const uint64_t offsets[] = {0, 777, 4096};

	if (done->tag < 3)
		check_int(
			pattern_check(done->data, seed_of_range(), offsets[done->tag], done->bytes),
			done->bytes);
}

static int plan_ranges(struct weir_plan *plan, struct weir_object *object)
{
	const struct weir_stride strides[] = {{.stride_bytes = 10000, .count = 20}};
	int ret = 0;

	then(ret, weir_plan_object(plan, object, weir_dest_alloc(), 0, &err));
	then(ret, weir_plan_range(plan, object, 777, 100000, weir_dest_host(landed + 13, 100000), 1,
				  &err));
	then(ret,
	     weir_plan_range(plan, object, 4096, MIB, weir_dest_host(landed + MIB, MIB), 2, &err));
	then(ret, weir_plan_strided(plan, object, 5, 100, strides, 1, weir_dest_alloc(), 3, &err));
	return ret;
}

static int read_ranges(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object = NULL;
	struct weir_plan *plan = NULL;
	struct weir_ctx *ctx = NULL;
	int ret = make_context(&ctx);

	then(ret, weir_object_open(ctx, bytes_path, NULL, &object, &err));
	then(ret, weir_plan_create(ctx, &plan, &err));
	if (ret == 0)
		ret = plan_ranges(plan, object);
	then(ret, weir_transfer_start(plan, NULL, NULL, &transfer, &err));
	if (ret == 0)
		ret = end_transfer(transfer, check_range);
	else
		weir_plan_destroy(plan);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	return ret;
}

/* ---- Cancelling ---- */

#define CUTS 16

static int plan_cuts(struct weir_plan *plan, struct weir_object *object)
{
	int ret = 0;

	for (unsigned i = 0; i < CUTS; i++)
		then(ret, weir_plan_range(plan, object, i * 4096u, 4096,
					  weir_dest_host(landed + i * 4096u, 4096), i, &err));
	return ret;
}

/* A cancellation is what was asked for: no failure. */
static int cancel_transfer(struct weir_transfer *transfer)
{
	struct weir_done done;
	int ret;

	if (weir_transfer_wait(transfer, &done, 1, PATIENCE_NS, &err) < 0)
		check(err.code != WEIR_TIMEOUT);
	weir_transfer_cancel(transfer);
	ret = weir_transfer_finish(transfer, PATIENCE_NS, &err);
	check(ret != WEIR_LENT);
	return ret == WEIR_CANCELLED ? 0 : judged(ret);
}

static int cancel_reads(void)
{
	struct weir_memory_opts behaviour = {
		.size = sizeof(behaviour), .latency_ns = 300000, .bytes_per_second = 50000000};
	struct weir_transfer *transfer;
	struct weir_object *object = NULL;
	struct weir_plan *plan = NULL;
	struct weir_ctx *ctx = NULL;
	int ret = make_context(&ctx);

	then(ret, weir_memory_put(ctx, "cut", landed, CUTS * 4096, &err));
	then(ret, weir_memory_behave(ctx, &behaviour, &err));
	then(ret, weir_object_open(ctx, "memory://cut", NULL, &object, &err));
	then(ret, weir_plan_create(ctx, &plan, &err));
	if (ret == 0)
		ret = plan_cuts(plan, object);
	then(ret, weir_transfer_start(plan, NULL, NULL, &transfer, &err));
	if (ret == 0)
		ret = cancel_transfer(transfer);
	else
		weir_plan_destroy(plan);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	return ret;
}

/* ---- Writing ---- */

#define WRITTEN_BYTES 300000

static unsigned char to_write[WRITTEN_BYTES];

/* There, whole, or not there; nothing beside it. */
static void check_written(int ret)
{
	static unsigned char back[WRITTEN_BYTES + 1];
	FILE *file = fopen(written_path, "rb");
	struct dirent *entry;
	unsigned names = 0;
	DIR *dir;

	check(file || ret);
	if (file) {
		check_int(fread(back, 1, sizeof(back), file), WRITTEN_BYTES);
		check(memcmp(back, to_write, WRITTEN_BYTES) == 0);
		fclose(file);
		check_int(unlink(written_path), 0);
	}
	dir = opendir(folder());
	while ((entry = readdir(dir)))
		names += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
	closedir(dir);
	check_int(names, 4);
}

/* What an unlink that was made to fail has left. */
static void tidy(void)
{
	DIR *dir = opendir(folder());
	struct dirent *entry;

	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, ".weir-", 6) == 0)
			check_int(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	closedir(dir);
}

static int write_object(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object = NULL;
	struct weir_plan *plan = NULL;
	struct weir_ctx *ctx = NULL;
	int ret = make_context(&ctx);

	then(ret, weir_object_create(ctx, written_path, WRITTEN_BYTES, NULL, &object, &err));
	then(ret, weir_plan_create(ctx, &plan, &err));
	then(ret, weir_plan_write(plan, object, 0, to_write, WRITTEN_BYTES, 0, &err));
	then(ret, weir_transfer_start(plan, NULL, NULL, &transfer, &err));
	if (ret == 0)
		ret = end_transfer(transfer, NULL);
	else
		weir_plan_destroy(plan);
	then(ret, weir_object_commit(object, WEIR_DURABLE_DATA, &err));
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	return ret;
}

/* ---- Looking ---- */

static int list_folder(struct weir_ctx *ctx)
{
	struct weir_listing *listing;
	struct weir_entry entry;
	unsigned names = 0;
	int ret = judged(weir_list_open(ctx, folder(), NULL, &listing, &err));

	if (ret)
		return ret;
	while ((ret = weir_list_next(listing, &entry, &err)) > 0)
		names++;
	weir_list_close(listing);
	check(ret || names == 4);
	return judged(ret);
}

static int look_around(void)
{
	struct weir_ctx *ctx = NULL;
	struct weir_choice choice;
	struct weir_stat stat;
	int ret = make_context(&ctx);

	then(ret, weir_stat(ctx, bytes_path, NULL, &stat, &err));
	check(ret || stat.size_bytes == FILE_BYTES);
	if (ret == 0)
		ret = list_folder(ctx);
	then(ret, weir_ctx_choice(ctx, bytes_path, &choice, &err));
	weir_ctx_destroy(ctx);
	return ret;
}

/* ---- Posted requests, and a model in RAM ---- */

/* Waits for a started request's completion; finish must follow. */
static void await(struct weir_queue *queue)
{
	struct weir_done done;

	check_int(weir_queue_wait(queue, &done, 1, PATIENCE_NS, &err), 1);
	check_int(done.tag, 7);
}

static int stat_posted(struct weir_ctx *ctx, struct weir_queue *queue)
{
	struct weir_request *request;
	struct weir_stat stat;
	int ret;

	ret = judged(weir_stat_start(ctx, bytes_path, NULL, queue, 7, &request, &err));
	if (ret)
		return ret;
	await(queue);
	ret = judged(weir_stat_finish(request, &stat, &err));
	check(ret || stat.size_bytes == FILE_BYTES);
	return ret;
}

static int open_posted(struct weir_ctx *ctx, struct weir_queue *queue)
{
	struct weir_request *request;
	struct weir_object *object;
	int ret;

	ret = judged(weir_object_open_start(ctx, bytes_path, NULL, queue, 7, &request, &err));
	if (ret)
		return ret;
	await(queue);
	ret = judged(weir_object_open_finish(request, &object, &err));
	if (ret == 0)
		weir_object_unref(object);
	return ret;
}

/* The first shard's bytes, as they are on disk. */
static int load_from_ram(struct weir_ctx *ctx)
{
	struct weir_transfer *transfer;
	int ret = 0;

	model = NULL;
	then(ret, weir_memory_put(ctx, "one.safetensors", shard, shard_bytes, &err));
	then(ret, weir_model_open(ctx, "memory://one.safetensors", NULL, &model, &err));
	then(ret, weir_load_start(model, NULL, &transfer, &err));
	if (ret == 0)
		ret = end_transfer(transfer, check_tensor);
	weir_model_close(model);
	return ret;
}

static int post_requests(void)
{
	struct weir_queue *queue = NULL;
	struct weir_ctx *ctx = NULL;
	int ret = make_context(&ctx);

	then(ret, weir_queue_create(ctx, 8, &queue, &err));
	if (ret == 0)
		ret = stat_posted(ctx, queue);
	if (ret == 0)
		ret = open_posted(ctx, queue);
	if (ret == 0)
		ret = load_from_ram(ctx);
	weir_queue_destroy(queue);
	weir_ctx_destroy(ctx);
	return ret;
}

const struct piece pieces[] = {
	{"load_model", load_model},     {"read_ranges", read_ranges},
	{"cancel_reads", cancel_reads}, {"write_object", write_object},
	{"look_around", look_around},   {"post_requests", post_requests},
};
const unsigned piece_count = array_size(pieces);

/* ---- Breaking them ---- */

static void read_shard(void)
{
	FILE *file = fopen(in_folder("one.safetensors"), "rb");

	check(file);
	shard_bytes = fread(shard, 1, sizeof(shard), file);
	check(shard_bytes > 0 && shard_bytes < sizeof(shard));
	fclose(file);
}

void rig_prepare(void)
{
	static char bytes[FILE_BYTES];

	st_begin();
	st_tensor("a", "F32", "[100, 100]", 40000);
	st_tensor("b", "BF16", "[700001]", 1400002);
	st_tensor("empty", "I8", "[0]", 0);
	st_save("one.safetensors");
	st_begin();
	st_tensor("c", "U8", "[13]", 13);
	st_tensor("d", "F64", "[3000]", 24000);
	st_save("two.safetensors");
	pattern_fill(bytes, name_seed("bytes"), 0, FILE_BYTES);
	write_file("bytes", bytes, FILE_BYTES);
	write_text("plain", "nothing much\n");
	read_shard();
	bytes_path = in_folder("bytes");
	written_path = in_folder("written");
	pattern_fill(to_write, 5, 0, WRITTEN_BYTES);
}

void rig_forbid_rings(void)
{
	filter_forbid(SYS_io_uring_setup, EPERM);
}

static bool no_memory(int ret)
{
	return ret == WEIR_NOMEM;
}

static void judge(const struct piece *piece, const char *what, unsigned n, int ret, bool fired,
		  bool (*expected)(int ret))
{
	if (ret && !(fired && expected(ret)))
		check_failed(__FILE__, __LINE__, "%s, %s %u: %s (%s)", piece->name, what, n,
			     weir_code_name(ret), err.message);
}

/* Once without faults: it succeeds, and what is made once for all is made. */
static void begin(const struct piece *piece, struct leaks *before)
{
	fail_sys();
	for (int i = 0; i < 2; i++) {
		leaks_take(before);
		judge(piece, "without a fault", 0, piece->work(), false, NULL);
		if (strcmp(piece->name, "write_object") == 0)
			check_written(0);
	}
	leaks_check(before, piece->name);
}

unsigned sweep_allocations(const struct piece *piece, enum fail_mode mode)
{
	struct leaks before;
	unsigned n = 0;
	bool fired;

	begin(piece, &before);
	do {
		int ret;

		fail_alloc(++n, mode);
		ret = piece->work();
		fired = fail_alloc_end();
		judge(piece, "allocation", n, ret, fired, no_memory);
		if (strcmp(piece->name, "write_object") == 0)
			check_written(ret);
		leaks_check(&before, piece->name);
	} while (fired);
	return n - 1;
}

unsigned sweep_calls(const struct piece *piece, enum fail_call call, enum fail_mode mode,
		     int os_errno, bool (*expected)(int ret))
{
	struct leaks before;
	unsigned n = 0;
	bool fired;

	begin(piece, &before);
	do {
		int ret;

		fail_call(call, ++n, mode, os_errno);
		ret = piece->work();
		fired = fail_call_end();
		judge(piece, fail_call_name(call), n, ret, fired, expected);
		if (call == FAIL_unlinkat)
			tidy();
		if (strcmp(piece->name, "write_object") == 0)
			check_written(ret);
		leaks_check_call(&before, call);
	} while (fired);
	return n - 1;
}
