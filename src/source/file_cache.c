/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a file is in the page cache, and whether to copy it from there.
 *
 * A window of 16 MiB is asked about as a whole; only a mixed one is cut, into 2 MiB, 256 KiB and at
 * last cells of 32 KiB.  Where even those are mixed the cache is holes throughout, and reading past it
 * costs less than many small requests.  cachestat(2) answers where it may be called (files of ours or
 * that we may write); elsewhere single pages are sampled with reads that do not wait.  mincore is not
 * asked: it tells only who could write the file.
 *
 * Cached bytes are copied while the lanes together copy at least as fast as the disk has been seen to
 * read.  The answer is advice: pages come and go, and either way brings the right bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "source/file.h"

#define PAGE UINT64_C(4096)

/* How long a look at a window is believed. */
#define BELIEVE_NS  (1 * NS_PER_SEC)
/* No answer reaches further: what is cached there may be another matter by then. */
#define REACH_BYTES (UINT64_C(64) << 20)

#define PART_CELLS  64 /* 2 MiB */
#define SLICE_CELLS 8  /* 256 KiB */
/* Cached runs shorter than this are read with what stands around them. */
#define RUN_CELLS   4
/* From so many mixed ones of eight on, there are holes everywhere. */
#define HOLES       5

/*
 * A sample that misses makes the kernel read ahead.  After so many windows in a row of which nothing was
 * there, about one in so many is sampled, and the others are taken to be missing too.
 */
#define COLD_ROW  4u
#define COLD_EACH 8u

/* While copies lose against the disk, one window in so many is copied all the same, to see. */
#define DOUBTS 64

enum share {
	SHARE_NONE,
	SHARE_SOME,
	SHARE_ALL,
};

/* ---- Rates ---- */

/* A quarter of the new sample: steady within a dozen requests. */
static void smooth(_Atomic uint64_t *rate, uint64_t sample)
{
	uint64_t old = atomic_load_explicit(rate, memory_order_relaxed);

	atomic_store_explicit(rate, old ? old - old / 4 + sample / 4 : sample,
			      memory_order_relaxed);
}

static uint64_t per_second(uint64_t bytes, int64_t ns)
{
	return (uint64_t)((double)bytes * (double)NS_PER_SEC / (double)max_of(ns, INT64_C(1)));
}

void file_saw_copy(struct file_source *source, uint64_t bytes, int64_t ns)
{
	if (bytes >= FILE_TELLING_BYTES)
		smooth(&source->rates.copy_bytes_s, per_second(bytes, ns));
}

/*
 * The disk's rate is what all lanes get from it while at least one read is in flight; a sample ends
 * after 10 ms and 16 MiB, whichever is later.
 */
#define DISK_SAMPLE_NS    (10 * NS_PER_MS)
#define DISK_SAMPLE_BYTES (UINT64_C(16) << 20)

static void restart_sample(struct file_source *source)
{
	atomic_store_explicit(&source->rates.disk_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&source->rates.disk_since_ns, source->source.env->sys->now_ns(),
			      memory_order_relaxed);
}

void file_disk_starts(struct file_source *source)
{
	if (atomic_fetch_add_explicit(&source->rates.disk_in_flight, 1, memory_order_relaxed) == 0)
		restart_sample(source);
}

void file_disk_ends(struct file_source *source, uint64_t bytes)
{
	struct file_rates *rates = &source->rates;
	uint64_t sum;
	int64_t ns;

	sum = atomic_fetch_add_explicit(&rates->disk_bytes, bytes, memory_order_relaxed) + bytes;
	atomic_fetch_sub_explicit(&rates->disk_in_flight, 1, memory_order_relaxed);
	if (sum < DISK_SAMPLE_BYTES)
		return;
	ns = source->source.env->sys->now_ns() -
	     atomic_load_explicit(&rates->disk_since_ns, memory_order_relaxed);
	if (ns < DISK_SAMPLE_NS)
		return;
	smooth(&rates->disk_bytes_s, per_second(sum, ns));
	restart_sample(source);
}

/* Before both were seen a copy is the better guess: there is hardly a disk as fast as memory. */
static bool copy_pays(struct file_source *source)
{
	struct file_rates *rates = &source->rates;
	uint64_t copy = atomic_load_explicit(&rates->copy_bytes_s, memory_order_relaxed);
	uint64_t disk = atomic_load_explicit(&rates->disk_bytes_s, memory_order_relaxed);
	uint64_t lanes = atomic_load_explicit(&source->lanes, memory_order_relaxed);

	if (copy == 0 || disk == 0 || copy * max_of(lanes, UINT64_C(1)) >= disk)
		return true;
	return atomic_fetch_add_explicit(&rates->doubts, 1, memory_order_relaxed) % DOUBTS ==
	       DOUBTS - 1;
}

/* ---- Looking ---- */

/* One page, without waiting for it: is it there? */
static bool page_is_there(struct file_object *file, uint64_t offset)
{
	char byte;
	struct iovec iov = {&byte, 1};
	ssize_t got = file_sys(file)->preadv2(file->fd, &iov, 1, (off_t)offset, RWF_NOWAIT);

	if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
		atomic_store_explicit(&file->nowait_off, true, memory_order_relaxed);
	return got > 0;
}

/*
 * A few pages of a range, at places that change from look to look: a page that is missing is read in by
 * the kernel as it answers, and would be found the next time.
 */
static enum share sample(struct file_object *file, uint64_t offset, uint64_t length)
{
	uint64_t pages = (length + PAGE - 1) / PAGE;
	unsigned want = length > WINDOW_BYTES / 8 ? 16 : length > CELL_BYTES ? 4 : 1;
	unsigned there = 0, missing = 0;

	if (atomic_load_explicit(&file->nowait_off, memory_order_relaxed))
		return SHARE_NONE;
	for (unsigned i = 0; i < want && missing < 2 && !(there && missing); i++) {
		uint64_t stride = max_of(pages / want, UINT64_C(1));
		uint32_t probe = atomic_fetch_add_explicit(&file->probes, 1, memory_order_relaxed);
		uint32_t spread = probe * 0x9e3779b1u; /* modulo 2^32, and meant */
		uint64_t page = i * stride + spread % stride;

		if (page_is_there(file, offset + min_of(page, pages - 1) * PAGE))
			there++;
		else
			missing++;
	}
	return missing == 0 ? SHARE_ALL : there == 0 ? SHARE_NONE : SHARE_SOME;
}

static enum share look(struct file_object *file, uint64_t offset, uint64_t length)
{
	struct sys_cache_range range = {offset, length};
	struct sys_cache_stat stat = {0};
	uint64_t pages = (length + PAGE - 1) / PAGE;

	if (atomic_load_explicit(&file->cachestat_off, memory_order_relaxed))
		return sample(file, offset, length);
	if (file_sys(file)->cachestat(file->fd, &range, &stat, 0)) {
		atomic_store_explicit(&file->cachestat_off, true, memory_order_relaxed);
		return sample(file, offset, length);
	}
	return stat.cached == 0 ? SHARE_NONE : stat.cached >= pages ? SHARE_ALL : SHARE_SOME;
}

uint64_t file_cached_bytes(const struct sys *sys, int fd, uint64_t size_bytes)
{
	struct sys_cache_range range = {0, 0}; /* to the end */
	struct sys_cache_stat stat = {0};

	if (sys->cachestat(fd, &range, &stat, 0))
		return UINT64_MAX;
	return min_of(stat.cached * PAGE, size_bytes);
}

/* Only what the kernel tells for every page: samples would map what has to be read yet. */
static bool wholly_cached(const struct file_object *file, uint64_t first, uint64_t bytes)
{
	struct sys_cache_range range = {first, bytes};
	struct sys_cache_stat stat = {0};

	return !atomic_load_explicit(&file->cachestat_off, memory_order_relaxed) &&
	       file_sys(file)->cachestat(file->fd, &range, &stat, 0) == 0 &&
	       stat.cached >= (bytes + PAGE - 1) / PAGE;
}

/* With the descriptors held; MAP_FAILED where it is not to be had. */
static void *map_held(const struct file_object *file, uint64_t first, uint64_t bytes)
{
	if (!wholly_cached(file, first, bytes))
		return MAP_FAILED;
	return file_sys(file)->mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, file->fd,
				    (off_t)first);
}

int file_map(struct source_object *object, uint64_t offset, uint64_t length,
	     struct source_view *out)
{
	struct file_object *file = file_object_of(object);
	uint64_t first = round_down(offset, PAGE), bytes;
	void *mapping;

	if (length == 0 || !size_inside(offset, length, object->size_bytes) || file_hold(file))
		return 1;
	bytes = offset - first + length;
	mapping = map_held(file, first, bytes);
	/* Compared after it was made: what changed says so when it is read the ordinary way. */
	if (mapping != MAP_FAILED && file_check(object, NULL) < 0) {
		file_sys(file)->munmap(mapping, (size_t)bytes);
		mapping = MAP_FAILED;
	}
	file_drop(file);
	if (mapping == MAP_FAILED)
		return 1;
	*out = (struct source_view){mapping, bytes, (char *)mapping + (offset - first)};
	return 0;
}

/* ---- Windows ---- */

static void set_cells(struct file_window *window, unsigned first, unsigned count, bool cached)
{
	unsigned end = first + count;

	while (first < end) {
		unsigned bits = min_of(end - first, 64 - first % 64);
		uint64_t mask = UINT64_MAX >> (64 - bits) << first % 64;

		if (cached)
			window->cached[first / 64] |= mask;
		else
			window->cached[first / 64] &= ~mask;
		first += bits;
	}
}

static bool get_cell(const struct file_window *window, unsigned cell)
{
	return window->cached[cell / 64] >> cell % 64 & 1;
}

/* Cells behind the end of the object are not asked about. */
static enum share look_cells(struct file_object *file, const struct file_window *window,
			     unsigned first, unsigned count)
{
	uint64_t offset = window->number * WINDOW_BYTES + first * CELL_BYTES;
	uint64_t size = file->object.size_bytes;

	if (offset >= size)
		return SHARE_NONE;
	return look(file, offset, min_of(count * CELL_BYTES, size - offset));
}

/*
 * Cuts a mixed range in eight and says how many of those are mixed too: a bit for each in *mixed.  The
 * others are written down.
 */
static unsigned cut(struct file_object *file, struct file_window *window, unsigned first,
		    unsigned count, unsigned *mixed)
{
	unsigned step = count / 8, some = 0;

	*mixed = 0;
	for (unsigned i = 0; i < 8; i++) {
		enum share share = look_cells(file, window, first + i * step, step);

		set_cells(window, first + i * step, step, share == SHARE_ALL);
		if (share != SHARE_SOME)
			continue;
		*mixed |= 1u << i;
		some++;
	}
	return some;
}

static void cut_slice(struct file_object *file, struct file_window *window, unsigned first)
{
	unsigned mixed;

	if (cut(file, window, first, SLICE_CELLS, &mixed) >= HOLES)
		set_cells(window, first, SLICE_CELLS, false);
}

static void cut_part(struct file_object *file, struct file_window *window, unsigned first)
{
	unsigned mixed;

	if (cut(file, window, first, PART_CELLS, &mixed) >= HOLES) {
		set_cells(window, first, PART_CELLS, false);
		return;
	}
	for (unsigned i = 0; i < 8; i++)
		if (mixed & 1u << i)
			cut_slice(file, window, first + i * SLICE_CELLS);
}

static void drop_short_runs(struct file_window *window)
{
	unsigned start = 0;

	for (unsigned cell = 0; cell <= WINDOW_CELLS; cell++) {
		if (cell < WINDOW_CELLS && get_cell(window, cell))
			continue;
		/* A run at either edge may go on in the next window. */
		if (cell - start < RUN_CELLS && start > 0 && cell < WINDOW_CELLS)
			set_cells(window, start, cell - start, false);
		start = cell + 1;
	}
}

static bool taken_for_missing(struct file_object *file)
{
	if (!atomic_load_explicit(&file->cachestat_off, memory_order_relaxed))
		return false;
	file->cold++;
	/* Not in step with a file that is read round and round. */
	return file->cold > COLD_ROW && (file->cold + file->cold / COLD_EACH) % COLD_EACH;
}

/* again: it was looked at before, and may have been filled since. */
static void look_window(struct file_object *file, struct file_window *window, bool again)
{
	enum share share = SHARE_NONE;

	if (again || !taken_for_missing(file))
		share = look_cells(file, window, 0, WINDOW_CELLS);
	if (share != SHARE_NONE)
		file->cold = 0;
	set_cells(window, 0, WINDOW_CELLS, share == SHARE_ALL);
	if (share != SHARE_SOME)
		return;
	for (unsigned first = 0; first < WINDOW_CELLS; first += PART_CELLS) {
		share = look_cells(file, window, first, PART_CELLS);
		set_cells(window, first, PART_CELLS, share == SHARE_ALL);
		if (share == SHARE_SOME)
			cut_part(file, window, first);
	}
	drop_short_runs(window);
}

int file_make_windows(struct file_object *file)
{
	if (file->windows)
		return 0;
	file->windows = calloc(WINDOWS_KEPT, sizeof(*file->windows));
	if (!file->windows)
		return ENOMEM;
	for (unsigned i = 0; i < WINDOWS_KEPT; i++)
		file->windows[i].number = UINT64_MAX;
	return 0;
}

static const struct file_window *find_window(struct file_object *file, uint64_t number,
					     int64_t now_ns)
{
	struct file_window *window = &file->windows[number % WINDOWS_KEPT];
	bool again = window->number == number;

	if (again && now_ns < window->until_ns)
		return window;
	window->number = number;
	window->until_ns = now_ns + BELIEVE_NS;
	look_window(file, window, again);
	return window;
}

/* Up to where, within its window, the answer at `offset` holds. */
static uint64_t run_end(const struct file_window *window, uint64_t offset)
{
	unsigned cell = (unsigned)(offset % WINDOW_BYTES / CELL_BYTES), word = cell / 64;
	uint64_t same = get_cell(window, cell) ? UINT64_MAX : 0;
	uint64_t others = (window->cached[word] ^ same) & UINT64_MAX << cell % 64;

	while (!others && ++word < WINDOW_CELLS / 64)
		others = window->cached[word] ^ same;
	cell = others ? word * 64 + (unsigned)__builtin_ctzll(others) : (unsigned)WINDOW_CELLS;
	return window->number * WINDOW_BYTES + cell * CELL_BYTES;
}

static bool is_cached(const struct file_window *window, uint64_t offset)
{
	return get_cell(window, (unsigned)(offset % WINDOW_BYTES / CELL_BYTES));
}

/* ---- The answer ---- */

/* Walks from window to window while the answer stays the same. */
static int way_by_cache(struct file_object *file, uint64_t offset, uint64_t end, uint64_t *until)
{
	int64_t now_ns = file_sys(file)->now_ns();
	const struct file_window *window;
	bool cached;

	lock_take(&file->lock);
	window = find_window(file, offset / WINDOW_BYTES, now_ns);
	cached = is_cached(window, offset);
	*until = run_end(window, offset);
	while (*until < end && *until % WINDOW_BYTES == 0) {
		window = find_window(file, *until / WINDOW_BYTES, now_ns);
		if (is_cached(window, *until) != cached)
			break;
		*until = run_end(window, *until);
	}
	lock_drop(&file->lock);
	*until = min_of(*until, end);
	return cached && copy_pays(file_source_of(file->object.source)) ? WAY_BUFFERED : WAY_DIRECT;
}

/*
 * A small read by itself: a window's look would cost more than the read.  What the last ones were it is
 * taken to be, too: after a row of cached ones the copy is tried at once, and says so if it fails; after
 * a row of others one in so many is looked at.
 */
#define SMALL_BYTES (UINT64_C(64) << 10)
#define HEAT_MAX    16
#define LOOK_EACH   16u

static void set_heat(struct file_object *file, int heat)
{
	/* Relaxed: a lost step does no harm. */
	atomic_store_explicit(&file->heat, (int8_t)heat, memory_order_relaxed);
}

void file_saw_miss(struct file_object *file)
{
	set_heat(file, 0);
}

static int way_of_small(struct file_object *file, uint64_t offset, uint64_t length)
{
	int heat = atomic_load_explicit(&file->heat, memory_order_relaxed);

	if (heat == HEAT_MAX)
		return WAY_BUFFERED;
	if (heat == -HEAT_MAX &&
	    atomic_fetch_add_explicit(&file->small_reads, 1, memory_order_relaxed) % LOOK_EACH)
		return WAY_DIRECT;
	if (look(file, offset, length) != SHARE_ALL) {
		set_heat(file, max_of(min_of(heat, 0) - 1, -HEAT_MAX));
		return WAY_DIRECT;
	}
	set_heat(file, max_of(heat, 0) + 1);
	return WAY_BUFFERED;
}

/* The unaligned tail of what is written goes through the cache; pages never belong to both. */
static int way_to_write(const struct file_object *file, uint64_t offset, uint64_t end,
			uint64_t *until)
{
	uint64_t align = file->object.offset_align;
	uint64_t aligned_end = round_down(end, align);

	if (!file->has_direct || offset % align || aligned_end <= offset) {
		*until = offset % align ? min_of(end, round_up(offset, align)) : end;
		return WAY_BUFFERED;
	}
	*until = aligned_end;
	return WAY_DIRECT;
}

int file_way(struct source_object *object, uint64_t offset, uint64_t length, uint64_t *until)
{
	struct file_object *file = file_object_of(object);
	uint64_t end = offset + length;
	int way;

	if (object->writing)
		return way_to_write(file, offset, end, until);
	*until = end;
	if (!file_goes_direct(file) || file->cache == WEIR_CACHE_FILL)
		return WAY_BUFFERED;
	/* Why it cannot be held is for the request to say. */
	if (file->direct == WEIR_DIRECT_ON || length == 0 || file_hold(file))
		return WAY_DIRECT;
	way = WAY_BUFFERED;
	if (file_goes_direct(file)) /* still: holding it may have taught otherwise */
		way = length <= SMALL_BYTES
			      ? way_of_small(file, offset, length)
			      : way_by_cache(file, offset, min_of(end, offset + REACH_BYTES),
					     until);
	file_drop(file);
	return way;
}
