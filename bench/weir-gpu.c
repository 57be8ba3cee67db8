/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-gpu - how fast models reach a GPU, as shares of what its bus and the disk can do
 *
 *	weir-gpu [-g DEVICE] [-s MIB] [-m MEMORY_DIR] [-d DISK_DIR]
 *
 * In one process, one after the other, each line printed as soon as it is known:
 *
 *	bus    copies from pinned memory to the device, by a loop of ours: the best of five; twice (A/A)
 *	G1     a file in the memory of MEMORY_DIR (/dev/shm) to the device, as a share of bus
 *	G2     a file of DISK_DIR (.), cold, to the device, as a share of the same load into host memory, or
 *	       of bus, whichever is less; in pairs
 *	       and the same with cuFile off, on and chosen: how fast, and which share of it went that way
 *	G4     pinned memory of the process, and from open to the first MiB on the device
 *	G5     processor time a GiB: cold from disk; from memory, as a multiple of what copying costs
 *
 * Sees the public headers alone; the driver's own calls are looked up as a program would have them.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "weir/weir.h"

#define MIB    ((uint64_t)1 << 20)
#define GIB    ((uint64_t)1 << 30)
#define PIECE  (64 * MIB) /* as large tensors are */
#define READ   (MIB / 2)
#define ROUNDS 5
#define PAIRS  3

static struct weir_error err = WEIR_ERROR_INIT;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("weir-gpu: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void must(int ret)
{
	if (ret < 0)
		fail("%s", err.message);
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double processor(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	fflush(stdout);
}

/* ---- The driver, as a program has it ---- */

static struct {
	int (*init)(unsigned flags);
	int (*device_get)(int *out, int ordinal);
	int (*retain)(void **out, int device);
	int (*set_current)(void *context);
	int (*alloc)(unsigned long long *out, size_t bytes);
	int (*free)(unsigned long long at);
	int (*host_alloc)(void **out, size_t bytes, unsigned flags);
	int (*host_free)(void *at);
	int (*copy)(unsigned long long to, const void *from, size_t bytes, void *stream);
	int (*stream_create)(void **out, unsigned flags);
	int (*stream_wait)(void *stream);
} driver;

static const struct {
	const char *name;
	void *to;
} functions[] = {
	{"cuInit", &driver.init},
	{"cuDeviceGet", &driver.device_get},
	{"cuDevicePrimaryCtxRetain", &driver.retain},
	{"cuCtxSetCurrent", &driver.set_current},
	{"cuMemAlloc_v2", &driver.alloc},
	{"cuMemFree_v2", &driver.free},
	{"cuMemHostAlloc", &driver.host_alloc},
	{"cuMemFreeHost", &driver.host_free},
	{"cuMemcpyHtoDAsync_v2", &driver.copy},
	{"cuStreamCreate", &driver.stream_create},
	{"cuStreamSynchronize", &driver.stream_wait},
};

static void call(int result, const char *what)
{
	if (result != 0)
		fail("CUDA: %s: error %d", what, result);
}

/* False: there is no GPU. */
static int open_driver(int ordinal)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW), *context;
	int device;

	if (!library)
		return 0;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *function = dlsym(library, functions[i].name);

		if (!function)
			fail("CUDA: no %s", functions[i].name);
		memcpy(functions[i].to, &function, sizeof(function));
	}
	if (driver.init(0) != 0 || driver.device_get(&device, ordinal) != 0)
		return 0;
	call(driver.retain(&context, device), "its context");
	call(driver.set_current(context), "its context");
	return 1;
}

static char *device_memory(uint64_t bytes)
{
	unsigned long long at;

	call(driver.alloc(&at, bytes), "memory");
	return (char *)(uintptr_t)at;
}

/* Bytes a second, the best of some rounds. */
static double bus(void)
{
	uint64_t bytes = 4 * PIECE;
	char *to = device_memory(bytes);
	double best = 0;
	void *from, *stream;

	call(driver.host_alloc(&from, bytes, 0), "pinned memory");
	call(driver.stream_create(&stream, 1), "a stream");
	memset(from, 1, bytes);
	for (int round = 0; round < ROUNDS; round++) {
		double start = now(), took;

		for (int i = 0; i < 8; i++)
			call(driver.copy((unsigned long long)(uintptr_t)to, from, bytes, stream),
			     "a copy");
		call(driver.stream_wait(stream), "a copy");
		took = now() - start;
		if (8 * (double)bytes / took > best)
			best = 8 * (double)bytes / took;
	}
	call(driver.host_free(from), "pinned memory");
	call(driver.free((unsigned long long)(uintptr_t)to), "memory");
	return best;
}

/* ---- Loads ---- */

struct figures {
	double rate, processor; /* bytes a second; seconds of the processor a GiB */
};

static void make_file(const char *path, uint64_t bytes)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	char *piece = malloc(MIB);

	if (fd < 0 || !piece)
		fail("%s cannot be written", path);
	for (uint64_t i = 0; i < MIB; i++)
		piece[i] = (char)(i * 2654435761u >> 13);
	for (uint64_t at = 0; at < bytes; at += MIB)
		if (write(fd, piece, MIB) != (ssize_t)MIB)
			fail("%s: %llu MiB have no room there", path,
			     (unsigned long long)(bytes / MIB));
	fsync(fd);
	close(fd);
	free(piece);
}

static void make_cold(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

/* to: memory of the device, or of the host (device -1). */
static struct figures load(struct weir_ctx *ctx, const char *path, char *to, int device,
			   uint64_t bytes)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done[16];
	double used = processor(), start = now(), took;

	must(weir_object_open(ctx, path, NULL, &object, &err));
	must(weir_plan_create(ctx, &plan, &err));
	for (uint64_t at = 0; at < bytes; at += PIECE) {
		struct weir_dest dest = device < 0 ? weir_dest_host(to + at, PIECE)
						   : weir_dest_cuda(device, to + at, PIECE, NULL);

		must(weir_plan_range(plan, object, at, PIECE, dest, at, &err));
	}
	must(weir_transfer_start(plan, NULL, NULL, &transfer, &err));
	while (weir_transfer_wait(transfer, done, 16, WEIR_FOREVER, &err) > 0)
		;
	must(weir_transfer_finish(transfer, WEIR_FOREVER, &err));
	took = now() - start;
	used = processor() - used;
	weir_object_unref(object);
	return (struct figures){(double)bytes / took, used / ((double)bytes / (double)GIB)};
}

static int by_rate(const void *a, const void *b)
{
	double x = ((const struct figures *)a)->rate, y = ((const struct figures *)b)->rate;

	return x < y ? -1 : x > y;
}

static void verdict(const char *name, double value, double goal, double floor, const char *what)
{
	say("%-4s %.3f  %s  (goal %.2f, floor %.2f: %s)", name, value, what, goal, floor,
	    value >= goal    ? "reached"
	    : value >= floor ? "between"
			     : "below");
}

/* What copying a GiB out of the page cache costs here. */
static double copying(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *to = aligned_alloc(2 * MIB, 8 * MIB);
	double used;

	if (!to || fd < 0)
		fail("%s cannot be read", path);
	memset(to, 0, 8 * MIB);
	used = processor();
	for (uint64_t at = 0; at < bytes; at += READ)
		if (pread(fd, to + at % (8 * MIB), READ, (off_t)at) < 0)
			fail("%s cannot be read", path);
	used = processor() - used;
	close(fd);
	free(to);
	return used / ((double)bytes / (double)GIB);
}

static void from_memory(struct weir_ctx *ctx, const char *path, char *to, int device,
			uint64_t bytes, double bus_rate)
{
	struct figures figures[ROUNDS];
	double copy;

	make_file(path, bytes);
	load(ctx, path, to, device, bytes); /* pins, makes streams: that is G4's */
	for (int i = 0; i < ROUNDS; i++)
		figures[i] = load(ctx, path, to, device, bytes);
	qsort(figures, ROUNDS, sizeof(figures[0]), by_rate);
	copy = copying(path, bytes);
	say("     memory to device: %.2f GB/s [%.2f .. %.2f], %.3f s/GiB of the processor; "
	    "copying alone: %.3f",
	    figures[ROUNDS / 2].rate / 1e9, figures[0].rate / 1e9, figures[ROUNDS - 1].rate / 1e9,
	    figures[ROUNDS / 2].processor, copy);
	verdict("G1", figures[ROUNDS / 2].rate / bus_rate, 0.95, 0.85, "of bus, from memory");
	say("G5   %.2f  times the processor time of copying, from memory  (goal at most 1.15)",
	    figures[ROUNDS / 2].processor / copy);
	unlink(path);
}

static void from_disk(struct weir_ctx *ctx, const char *path, char *to, int device, uint64_t bytes,
		      double bus_rate)
{
	char *host = aligned_alloc(2 * MIB, bytes);
	double shares[PAIRS], used[PAIRS];

	if (!host)
		fail("%llu MiB of memory cannot be had", (unsigned long long)(bytes / MIB));
	memset(host, 0, bytes);
	make_file(path, bytes);
	for (int i = 0; i < PAIRS; i++) {
		struct figures disk, gpu;

		make_cold(path);
		disk = load(ctx, path, host, -1, bytes);
		make_cold(path);
		gpu = load(ctx, path, to, device, bytes);
		say("     cold: host %.2f GB/s, device %.2f GB/s, %.3f s/GiB of the processor",
		    disk.rate / 1e9, gpu.rate / 1e9, gpu.processor);
		shares[i] = gpu.rate / (disk.rate < bus_rate ? disk.rate : bus_rate);
		used[i] = gpu.processor;
	}
	verdict("G2", shares[PAIRS / 2], 0.98, 0.93,
		"of the disk (or of bus, where that is less), cold");
	say("G5   %.3f s/GiB of the processor, cold from disk  (goal at most 0.02, floor 0.04)",
	    used[PAIRS / 2]);
	unlink(path);
	free(host);
}

/* The same loads with cuFile, where there is one: faster, or not? */
static void by_cufile(const char *path, char *to, int device, uint64_t bytes)
{
	static const struct {
		int wish;
		const char *name;
	} ways[] = {{WEIR_CUFILE_OFF, "off"}, {WEIR_CUFILE_ON, "on"}, {WEIR_CUFILE_AUTO, "auto"}};

	make_file(path, bytes);
	for (int i = 0; i < 3; i++) {
		struct weir_counters before, after;
		struct figures best = {0};
		struct weir_ctx *ctx;

		must(weir_ctx_create(WEIR_CTX_OPTS(.cufile = ways[i].wish), &ctx, &err));
		for (int round = 0; round < PAIRS; round++) { /* the first opens and decides */
			struct figures figures;

			weir_ctx_counters(ctx, &before);
			make_cold(path);
			figures = load(ctx, path, to, device, bytes);
			best = figures.rate > best.rate ? figures : best;
			weir_ctx_counters(ctx, &after);
		}
		say("     cold, cuFile %-4s  %.2f GB/s, %.3f s/GiB of the processor; %3.0f %% of the "
		    "last by cuFile, %llu reads made again",
		    ways[i].name, best.rate / 1e9, best.processor,
		    100.0 * (double)(after.bytes_cufile - before.bytes_cufile) / (double)bytes,
		    (unsigned long long)after.cufile_redone);
		weir_ctx_destroy(ctx);
	}
	unlink(path);
}

/* ---- What it takes ---- */

static double pinned_mib(struct weir_ctx *ctx)
{
	struct weir_counters counters;

	weir_ctx_counters(ctx, &counters);
	return (double)counters.pinned_bytes / (double)MIB;
}

/* In a context of its own: nothing is pinned or made yet. */
static void first_tensor(const char *path, char *to, int device)
{
	struct weir_ctx *ctx;
	double start;

	make_file(path, PIECE);
	must(weir_ctx_create(NULL, &ctx, &err));
	start = now();
	load(ctx, path, to, device, PIECE);
	say("G4   %.1f ms from open to the first %llu MiB on the device  (goal at most 150)",
	    (now() - start) * 1e3, (unsigned long long)(PIECE / MIB));
	weir_ctx_destroy(ctx);
	unlink(path);
}

int main(int argc, char **argv)
{
	const char *memory = "/dev/shm", *disk = ".";
	char memory_path[4096], disk_path[4096], *to;
	uint64_t bytes = 4 * GIB;
	struct weir_ctx *ctx;
	int device = 0, option;
	double rate;

	while ((option = getopt(argc, argv, "g:s:m:d:")) != -1)
		switch (option) {
		case 'g':
			device = atoi(optarg);
			break;
		case 's':
			bytes = strtoull(optarg, NULL, 10) * MIB / PIECE * PIECE;
			break;
		case 'm':
			memory = optarg;
			break;
		case 'd':
			disk = optarg;
			break;
		default:
			return 2;
		}
	if (!open_driver(device)) {
		say("no GPU here: nothing is measured");
		return 77;
	}
	snprintf(memory_path, sizeof(memory_path), "%s/weir-gpu-%d", memory, (int)getpid());
	snprintf(disk_path, sizeof(disk_path), "%s/weir-gpu-%d", disk, (int)getpid());
	rate = bus();
	say("bus  %.2f GB/s", rate / 1e9);
	say("bus  %.2f GB/s again (A/A)", bus() / 1e9);
	to = device_memory(bytes);
	first_tensor(memory_path, to, device);
	must(weir_ctx_create(NULL, &ctx, &err));
	from_memory(ctx, memory_path, to, device, bytes, rate);
	say("G4   %.1f MiB are pinned  (goal at most 256)", pinned_mib(ctx));
	from_disk(ctx, disk_path, to, device, bytes, rate);
	by_cufile(disk_path, to, device, bytes);
	weir_ctx_destroy(ctx);
	return 0;
}
