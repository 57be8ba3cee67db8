/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files, on io_uring and with io_uring forbidden: cold and warm, odd offsets, holes,
 * simulated lanes.
 */
#include "file_rig.h"

BOTH(reads_cold_and_warm)
{
	uint64_t bytes = (5u << 20) + 12345;
	unsigned char *memory = memory_made(bytes + 65536);
	char *path = cold_file_made(bytes);
	struct source_object *object;

	source_made();
	lane_made(8);
	object = opened(path);
	check_int(object->size_bytes, bytes);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	source->ops->close(object);

	write_pattern(path, bytes); /* cached now */
	memset(memory, 0, bytes);
	object = opened(path);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check(source->ops->system_calls(lane) > 0);
	all_done(object);
}

/* As many copies as are asked for at once, again and again: what the disk reads comes back all the same. */
BOTH(copies_without_end_keep_nobody_up)
{
	enum {
		COPIES = 8,
		EACH = 65536
	};
	unsigned char *memory = memory_made(COPIES * EACH + EACH);
	struct source_object *cached, *cold;
	struct request requests[COPIES], slow, *out[COPIES];
	bool back = false;

	source_made();
	lane_made(COPIES + 1);
	cached = opened(file_made(COPIES * EACH));
	cold = opened(cold_file_made(EACH));
	slow = request_of(cold, memory + COPIES * EACH, 0, EACH, WAY_DIRECT);
	check_int(source->ops->submit(lane, &slow), 0);
	for (unsigned round = 0; round < 1000 && !back; round++) {
		unsigned due = COPIES;

		for (unsigned i = 0; i < COPIES; i++) {
			requests[i] = request_of(cached, memory + i * EACH, i * EACH, EACH,
						 WAY_BUFFERED);
			check_int(source->ops->submit(lane, &requests[i]), 0);
		}
		while (due > 0 && !back) {
			unsigned got = source->ops->reap(lane, out, due, 0);

			for (unsigned i = 0; i < got; i++)
				back |= out[i] == &slow;
			due -= got;
		}
		usleep(1000);
	}
	check(back);
	while (source->ops->reap(lane, out, COPIES, 0))
		;
	source->ops->close(cold);
	all_done(cached);
}

BOTH(many_in_flight)
{
	enum {
		COUNT = 24,
		EACH = 65536
	};
	unsigned char *memory = memory_made(COUNT * EACH);
	struct request requests[COUNT], extra, *out[5];
	struct source_object *object;
	unsigned ended = 0;

	source_made();
	lane_made(COUNT);
	object = opened(cold_file_made(COUNT * EACH));
	for (unsigned i = 0; i < COUNT; i++) {
		requests[i] = request_of(object, memory + i * EACH, i * EACH, EACH,
					 i % 3 ? WAY_DIRECT : WAY_BUFFERED);
		check_int(source->ops->submit(lane, &requests[i]), 0);
	}
	extra = requests[0];
	check_int(source->ops->submit(lane, &extra), WEIR_LIMIT);
	while (ended < COUNT) {
		unsigned got = source->ops->reap(lane, out, 5, soon());

		check(got > 0 && got <= 5);
		for (unsigned i = 0; i < got; i++)
			check_int(out[i]->result, EACH);
		ended += got;
	}
	check_bytes(memory, 0, COUNT * EACH);
	all_done(object);
}

BOTH(ST_08_odd_offset_tail_and_address)
{
	uint64_t bytes = (1u << 20) + 777;
	unsigned char *memory = memory_made(4u << 20);
	struct source_object *object;

	source_made();
	lane_made(8);
	object = opened(cold_file_made(bytes));
	check_int(read_range(object, memory, 1, 100001, WAY_DIRECT), 100001);
	check_bytes(memory, 1, 100001);
	check_int(read_range(object, memory + 3, 8192, 8192, WAY_DIRECT), 8192);
	check_bytes(memory + 3, 8192, 8192);
	check_int(read_range(object, memory, 1u << 20, 4096, WAY_DIRECT), 777);
	check_bytes(memory, 1u << 20, 777);
	check_int(read_range(object, memory, bytes, 4096, WAY_BUFFERED), 0);
	check_int(read_range(object, memory, 2u << 20, 4096, WAY_DIRECT), 0);
	all_done(object);
}

BOTH(ST_17_sparse_file_reads_as_zeros)
{
	unsigned char *memory = memory_made(1u << 20);
	const char *path = path_of("sparse");
	struct source_object *object;
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	check_int(ftruncate(fd, (off_t)5 << 30), 0);
	check_int(pwrite(fd, "end", 3, ((off_t)5 << 30) - 3), 3);
	close(fd);
	source_made();
	lane_made(4);
	object = opened(path);
	memset(memory, 1, 1u << 20);
	check_int(read_range(object, memory, UINT64_C(4) << 30, 1u << 20, WAY_DIRECT), 1u << 20);
	for (unsigned i = 0; i < 1u << 20; i++)
		check(memory[i] == 0);
	check_int(read_range(object, memory, (UINT64_C(5) << 30) - 3, 16, WAY_BUFFERED), 3);
	check(memcmp(memory, "end", 3) == 0);
	all_done(object);
}

BOTH(ST_19_no_file_has_bytes_there)
{
	unsigned char *memory = memory_made(4096);
	struct source_object *object;
	struct weir_error err = WEIR_ERROR_INIT;

	source_made();
	lane_made(2);
	object = opened(file_made(4096));
	check_int(read_range(object, memory, INT64_MAX - 10, 4096, WAY_BUFFERED), WEIR_ARG);
	check_int(read_range(object, memory, UINT64_MAX, 4096, WAY_DIRECT), WEIR_ARG);
	check_int(read_range(object, memory, 0, REQUEST_MAX + 1, WAY_BUFFERED), WEIR_ARG);
	check_int(source->ops->read(object, memory, INT64_MAX, 4096, &err), WEIR_ARG);
	check_int(err.offset_bytes, INT64_MAX);
	all_done(object);
}

static void blocking_read_for_headers(void)
{
	unsigned char *memory = memory_made(1u << 20);
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;

	source_made();
	object = opened(file_made(100000));
	check_int(source->ops->read(object, memory, 7, 50000, &err), 50000);
	check_bytes(memory, 7, 50000);
	check_int(source->ops->read(object, memory, 90000, 50000, &err), 10000);
	check_bytes(memory, 90000, 10000);
	all_done(object);
}

static int no_thread(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	(void)out;
	(void)attr;
	(void)run;
	(void)arg;
	check_failed(__FILE__, __LINE__, "a thread is started");
}

static void simulated_lane_reads_without_a_thread(void)
{
	const struct lane_how how = {.depth = 2, .simulated = true};
	unsigned char *memory = memory_made(1u << 20);
	struct request request, *out;
	struct source_object *object;

	test_sys.thread_create = no_thread;
	source_made();
	forbid_ring();
	check_int(source->ops->lane_create(source, &how, &lane, NULL), 0);
	object = opened(file_made(100000));
	check(source->ops->next_ns(lane) == NEVER);
	request = request_of(object, memory, 10, 5000, WAY_BUFFERED);
	check_int(source->ops->submit(lane, &request), 0);
	check(source->ops->next_ns(lane) <= sys_real()->now_ns());
	check_int(source->ops->reap(lane, &out, 1, NEVER), 1);
	check_int(request.result, 5000);
	check_bytes(memory, 10, 5000);
	check_int(source->ops->reap(lane, &out, 1, NEVER), 0);
	all_done(object);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST_BOTH(reads_cold_and_warm),
		TEST_BOTH(copies_without_end_keep_nobody_up),
		TEST_BOTH(many_in_flight),
		TEST_BOTH(ST_08_odd_offset_tail_and_address),
		TEST_BOTH(ST_17_sparse_file_reads_as_zeros),
		TEST_BOTH(ST_19_no_file_has_bytes_there),
		TEST(blocking_read_for_headers),
		TEST(simulated_lane_reads_without_a_thread),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
