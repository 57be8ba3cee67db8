/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fake_cufile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "base/thread.h"
#include "lib/fake_cuda_inside.h"

#define BLOCK 512

enum function_of_cufile {
#define NAME(answer, name, symbol, arguments) CF_##name,
	CUFILE_FUNCTIONS(NAME)
#undef NAME
	CF_COUNT
};
static const char *const names[] = {
#define NAME(answer, name, symbol, arguments) #name,
	CUFILE_FUNCTIONS(NAME)
#undef NAME
};

struct registered {
	int fd; /* the program's */
};

static struct {
	bool made;
	struct lock lock;
	struct fake_cufile_how how;
	struct fake_cufile_counts counts;
	bool hang;
	struct {
		unsigned skip, times;
		int answer;
	} functions[CF_COUNT];
} state;

/* 0, or what was ordered. */
static int enter(enum function_of_cufile function)
{
	int answer = 0;

	lock_take(&state.lock);
	state.counts.calls++;
	if (state.functions[function].times) {
		if (state.functions[function].skip) {
			state.functions[function].skip--;
		} else {
			state.functions[function].times--;
			answer = state.functions[function].answer;
		}
	}
	lock_drop(&state.lock);
	return answer;
}

static struct cufile_status status(int code)
{
	return (struct cufile_status){code, code == CUFILE_CUDA ? CU_UNKNOWN : CU_OK};
}

static struct cufile_status do_open(void)
{
	int forced = enter(CF_driver_open);

	must(fake_context(), "cuFile is opened, and no context is current");
	if (forced)
		return status(forced);
	if (state.how.open_already)
		return status(CUFILE_ALREADY_OPEN);
	state.counts.opens++;
	return status(CUFILE_OK);
}

static struct cufile_status do_close(void)
{
	int forced = enter(CF_driver_close);

	must(state.counts.files == 0, "cuFile is closed, and files are registered");
	must(state.counts.opens > state.counts.closes, "cuFile is closed more often than opened");
	state.counts.closes++;
	return status(forced);
}

static struct cufile_status do_properties(struct cufile_properties *out)
{
	int forced = enter(CF_driver_properties);

	memset(out, 0, sizeof(*out));
	out->kernel_major = state.how.compat ? 0 : 2;
	out->kernel_minor = state.how.compat ? 0 : 20;
	out->control = CUFILE_CONTROL_COMPAT;
	out->status = state.how.status ? state.how.status : ~0u;
	if (state.how.compat)
		out->status = 0;
	return status(forced);
}

static struct cufile_status do_register(cufile_handle *out, struct cufile_file *file)
{
	int forced = enter(CF_file_register);
	struct registered *registered;

	must(fake_context(), "a file is registered, and no context is current");
	must(file->kind == CUFILE_DESCRIPTOR && !file->operations, "an unknown kind of file");
	if (forced)
		return status(forced);
	registered = calloc(1, sizeof(*registered));
	must(registered, "no memory for the test itself");
	registered->fd = file->of.fd;
	*out = registered;
	lock_take(&state.lock);
	state.counts.files++;
	lock_drop(&state.lock);
	return status(CUFILE_OK);
}

static void do_deregister(cufile_handle file)
{
	enter(CF_file_deregister);
	lock_take(&state.lock);
	must(state.counts.files > 0, "a file is deregistered twice");
	state.counts.files--;
	lock_drop(&state.lock);
	free(file);
}

static void pass(int64_t ns)
{
	struct timespec time = {ns / NS_PER_SEC, ns % NS_PER_SEC};

	if (state.how.pass)
		state.how.pass(ns);
	else if (ns)
		nanosleep(&time, NULL);
	while (__atomic_load_n(&state.hang, __ATOMIC_ACQUIRE))
		usleep(100);
}

/* Through memory that direct reads like, and then to where the device keeps its bytes. */
static int64_t bring(const struct registered *file, void *to, uint64_t bytes, off_t offset)
{
	void *bounce = aligned_alloc(4096, round_up(bytes, 4096));
	int64_t got;

	must(bounce, "no memory for the test itself");
	got = pread(file->fd, bounce, bytes, offset);
	lock_take(&fake.lock);
	if (fake_context()->broken)
		got = -CUFILE_CUDA;
	if (got > 0) {
		must(fake_memory_at(to, bytes), "a read into memory that was freed, or is none");
		memcpy(fake_cuda_bytes(to), bounce, (uint64_t)got);
	}
	lock_drop(&fake.lock);
	free(bounce);
	return got;
}

static ssize_t do_read(cufile_handle file, void *base, size_t bytes, off_t file_offset,
		       off_t device_offset)
{
	int forced = enter(CF_read);
	int64_t ns = state.how.latency_ns, got;

	must(fake_context(), "a read, and no context is current");
	must(file_offset % BLOCK == 0 && bytes % BLOCK == 0, "a read of less than blocks");
	if (state.how.bytes_per_second)
		ns += (int64_t)((double)bytes * 1e9 / (double)state.how.bytes_per_second);
	lock_take(&state.lock);
	state.counts.running++;
	lock_drop(&state.lock);
	pass(ns);
	if (forced > 0) /* so many bytes less */
		bytes -= min_of((size_t)forced, bytes);
	if (forced < 0) {
		errno = EIO;
		got = forced;
	} else {
		got = bring(file, (char *)base + device_offset, bytes, file_offset);
	}
	lock_take(&state.lock);
	state.counts.running--;
	state.counts.reads++;
	state.counts.bytes += got > 0 ? (uint64_t)got : 0;
	lock_drop(&state.lock);
	return got;
}

static struct cufile_status do_version(int *out)
{
	*out = 1140;
	return status(CUFILE_OK);
}

const struct cufile_driver *fake_cufile_start(const struct fake_cufile_how *how)
{
	static struct cufile_driver table;

	if (state.made)
		lock_fini(&state.lock);
	memset(&state, 0, sizeof(state));
	state.made = true;
	lock_init(&state.lock);
	if (how)
		state.how = *how;
	table = (struct cufile_driver){do_open,
				       do_close,
				       do_properties,
				       do_register,
				       do_deregister,
				       do_read,
				       state.how.old ? NULL : do_version};
	return &table;
}

void fake_cufile_fail(const char *function, unsigned nth, unsigned times, int answer)
{
	for (int i = 0; i < CF_COUNT; i++)
		if (strcmp(names[i], function) == 0) {
			lock_take(&state.lock);
			state.functions[i].skip = nth - 1;
			state.functions[i].times = times;
			state.functions[i].answer = answer;
			lock_drop(&state.lock);
			return;
		}
	fake_wrong("there is no such function to fail");
}

void fake_cufile_hang(bool hang)
{
	__atomic_store_n(&state.hang, hang, __ATOMIC_RELEASE);
}

void fake_cufile_counts(struct fake_cufile_counts *out)
{
	lock_take(&state.lock);
	*out = state.counts;
	lock_drop(&state.lock);
}
