/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a ring: against our server's end, and against words written by hand.
 */
#include "io/usrbio/client.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "io/usrbio/server.h"
#include "lib/check.h"

struct rig {
	void *memory;
	uint32_t entries;
	struct usrbio_client client;
	struct usrbio_server server;
};

static struct rig rig_of(uint32_t entries)
{
	uint64_t bytes = usrbio_ring_bytes(entries);
	struct rig rig = {.memory = aligned_alloc(16, (bytes + 15) / 16 * 16), .entries = entries};

	memset(rig.memory, 0, bytes);
	check_int(usrbio_client_init(&rig.client, rig.memory, entries), 0);
	check_int(usrbio_server_init(&rig.server, sys_real(), rig.memory, bytes), 0);
	return rig;
}

static void rig_fini(struct rig *rig)
{
	usrbio_client_fini(&rig->client);
	free(rig->memory);
}

static int prepare(struct rig *rig, uint64_t userdata)
{
	struct usrbio_args args = {.length = 4096, .userdata = userdata, .file_offset = ~userdata};

	return usrbio_client_prepare(&rig->client, &args, 8192);
}

/* Claims all there is and completes it with these results. */
static int serve(struct rig *rig, int64_t result)
{
	struct usrbio_claim claims[64];
	int count = usrbio_server_claim(&rig->server, claims, 64);

	for (int i = 0; i < count; i++)
		check_int(usrbio_server_complete(&rig->server, claims[i].index, claims[i].userdata,
						 result),
			  0);
	return count;
}

/* A completion as a server of any kind may write it. */
static void forge(struct rig *rig, int32_t index, uint64_t userdata, int64_t result)
{
	const struct usrbio_view *view = &rig->client.view;
	int32_t head = atomic_load(view->cq_head);

	view->cqe[head] = (struct usrbio_cqe){index, 0, result, userdata};
	atomic_store(view->cq_head, usrbio_next(head, view->places));
}

static int reap(struct rig *rig, struct usrbio_cqe *out)
{
	return usrbio_client_reap(&rig->client, out, 64);
}

/* ---- What an honest server sees ---- */

static void UB_22_slots_in_order_and_then_full(void)
{
	struct rig rig = rig_of(4);
	struct usrbio_cqe cqe[64];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			check_int(prepare(&rig, (uint64_t)i), i);
		check_int(prepare(&rig, 9), -EAGAIN);
		check_int(usrbio_client_flying(&rig.client), 4);
		check_int(serve(&rig, 4096), 4);
		check_int(prepare(&rig, 9), -EAGAIN); /* completed is not collected */
		check_int(reap(&rig, cqe), 4);
		check_int(usrbio_client_flying(&rig.client), 0);
	}
	rig_fini(&rig);
}

static void RG_34_user_data_comes_back(void)
{
	struct rig rig = rig_of(4);
	struct usrbio_cqe cqe[64];

	check_int(prepare(&rig, UINT64_MAX), 0);
	check_int(prepare(&rig, 1), 1);
	check_int(serve(&rig, -5), 2);
	check(usrbio_client_ready(&rig.client));
	check_int(reap(&rig, cqe), 2);
	check(cqe[0].userdata == UINT64_MAX && cqe[1].userdata == 1);
	check_int(cqe[0].result, -5);
	check_int(cqe[1].index, 1);
	check(!usrbio_client_ready(&rig.client));
	check_int(reap(&rig, cqe), 0);
	rig_fini(&rig);
}

static void the_lowest_free_slot_comes_first(void)
{
	struct rig rig = rig_of(200);
	struct usrbio_claim claims[200];
	struct usrbio_cqe cqe[2];

	for (int i = 0; i < 200; i++)
		check_int(prepare(&rig, (uint64_t)i), i);
	check_int(usrbio_server_claim(&rig.server, claims, 200), 200);
	check_int(usrbio_server_complete(&rig.server, 150, 150, 1), 0);
	check_int(usrbio_server_complete(&rig.server, 70, 70, 1), 0);
	check_int(usrbio_client_reap(&rig.client, cqe, 2), 2);
	check_int(prepare(&rig, 0), 70);
	check_int(prepare(&rig, 0), 150);
	check_int(prepare(&rig, 0), -EAGAIN);
	rig_fini(&rig);
}

static void full_is_a_free_slot_without_a_place(void)
{
	struct rig rig = rig_of(2);
	struct usrbio_cqe cqe[64];

	/* A server that completes but holds the tail back, as the vendor's may. */
	check_int(prepare(&rig, 0), 0);
	check_int(prepare(&rig, 1), 1);
	forge(&rig, 0, 0, 1);
	check_int(reap(&rig, cqe), 1);
	check_int(prepare(&rig, 2), -EAGAIN);
	atomic_store(rig.client.view.sq_tail, 1);
	check_int(prepare(&rig, 2), 0);
	rig_fini(&rig);
}

static void arguments_and_sizes_that_are_refused(void)
{
	struct usrbio_client client;
	uint64_t memory[1024] = {0};

	check_int(usrbio_client_init(&client, memory, 0), -EINVAL);
	check_int(usrbio_client_init(&client, memory, USRBIO_ENTRIES_MAX + 1), -EINVAL);
}

/* What a campaign does for longer: so often, times $RIG_TIMES where that is set. */
static unsigned times(unsigned often)
{
	const char *factor = getenv("RIG_TIMES");

	return often * (factor ? (unsigned)strtoul(factor, NULL, 10) : 1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* So many requests, claimed and completed in random portions and order: each comes back once. */
static void run_random(uint32_t entries, unsigned requests, uint64_t seed)
{
	struct rig rig = rig_of(entries);
	struct usrbio_claim *claims = calloc(entries, sizeof(*claims));
	struct usrbio_cqe *cqe = calloc(entries, sizeof(*cqe));
	unsigned char *seen = calloc(requests, 1);
	unsigned made = 0, done = 0, held = 0;

	while (done < requests) {
		unsigned some = (unsigned)(next_random(&seed) % (entries + 2));
		int got;

		while (some-- && made < requests && prepare(&rig, made) >= 0)
			made++;
		got = usrbio_server_claim(&rig.server, claims + held,
					  (unsigned)(next_random(&seed) % (entries - held + 1)));
		check(got >= 0);
		held += (unsigned)got;
		some = (unsigned)(next_random(&seed) % (held + 1));
		while (some--) {
			unsigned pick = (unsigned)(next_random(&seed) % held);
			struct usrbio_claim claim = claims[pick];

			check(claim.args.file_offset == ~claim.userdata && !claim.error);
			check_int(usrbio_server_complete(&rig.server, claim.index, claim.userdata,
							 (int64_t)(claim.userdata % 4096)),
				  0);
			claims[pick] = claims[--held];
		}
		got = usrbio_client_reap(&rig.client, cqe,
					 (unsigned)(next_random(&seed) % entries + 1));
		check(got >= 0);
		for (int i = 0; i < got; i++) {
			check(cqe[i].userdata < made && !seen[cqe[i].userdata]++);
			check_int(cqe[i].result, cqe[i].userdata % 4096);
		}
		done += (unsigned)got;
	}
	free(seen);
	free(cqe);
	free(claims);
	rig_fini(&rig);
}

static void UB_23_one_entry_ten_thousand_times(void)
{
	run_random(1, 10000, 7);
}

static void UB_24_random_depths_and_orders(void)
{
	uint64_t seed = 11;

	for (int i = 0; i < 20; i++)
		run_random((uint32_t)(next_random(&seed) % 300 + 1), 50000, seed);
}

static void RG_33_wrap_at_every_kind_of_size(void)
{
	static const uint32_t sizes[] = {1,  2,  3,  4,  5,  7,   8,   9,  15,
					 16, 17, 63, 64, 65, 127, 128, 129};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		run_random(sizes[i], times(60000), sizes[i] + 3);
}

/* ---- Hostile servers ---- */

/* A rig with two requests in flight, of user data 100 and 101, lengths 4096, room 8192. */
static struct rig rig_flying(void)
{
	struct rig rig = rig_of(4);

	check_int(prepare(&rig, 100), 0);
	check_int(prepare(&rig, 101), 1);
	return rig;
}

static void check_dead(struct rig *rig)
{
	struct usrbio_cqe cqe[64];

	check_int(reap(rig, cqe), -EPROTO);
	check_int(reap(rig, cqe), -EPROTO);
	check_int(prepare(rig, 0), -EPROTO);
	check_int(usrbio_client_flying(&rig->client), 2); /* nothing was freed */
	rig_fini(rig);
}

static void RG_40_completion_of_an_index_that_is_none(void)
{
	static const int32_t indices[] = {-1, 4, 5, INT32_MAX, INT32_MIN};

	for (size_t i = 0; i < sizeof(indices) / sizeof(*indices); i++) {
		struct rig rig = rig_flying();

		forge(&rig, indices[i], 100, 1);
		check_dead(&rig);
	}
}

static void RG_40_completion_of_a_free_slot(void)
{
	struct rig rig = rig_flying();

	forge(&rig, 2, 0, 1);
	check_dead(&rig);
}

static void RG_40_completion_that_comes_twice(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	forge(&rig, 0, 100, 1);
	forge(&rig, 0, 100, 1);
	check_dead(&rig); /* within one look */
	rig = rig_flying();
	forge(&rig, 0, 100, 1);
	check_int(reap(&rig, cqe), 1);
	forge(&rig, 0, 100, 1);
	check_int(reap(&rig, cqe), -EPROTO);
	check_int(usrbio_client_flying(&rig.client), 1);
	rig_fini(&rig);
}

static void UB_37_RG_41_result_above_the_length(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	forge(&rig, 0, 100, 4097);
	forge(&rig, 1, 101, 8192);
	check_int(reap(&rig, cqe), 2);
	check(cqe[0].result == 4096 && cqe[1].result == 4096);
	check_int(rig.client.clamped, 2);
	rig_fini(&rig);
}

static void UB_37_RG_41_result_beyond_the_buffer(void)
{
	static const int64_t results[] = {8193, INT64_C(1) << 31, INT64_MAX, -4096, INT64_MIN};

	for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
		struct rig rig = rig_flying();

		forge(&rig, 0, 100, results[i]);
		check_dead(&rig);
	}
}

static void RG_42_completion_head_out_of_bounds(void)
{
	static const int32_t heads[] = {-1, 5, 6, INT32_MAX, INT32_MIN, 3, 4};

	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		struct rig rig = rig_flying();

		atomic_store(rig.client.view.cq_head, heads[i]);
		check_dead(&rig);
	}
}

static void RG_42_completion_head_goes_back(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	forge(&rig, 0, 100, 1);
	check_int(reap(&rig, cqe), 1);
	atomic_store(rig.client.view.cq_head, 0);
	check_int(reap(&rig, cqe), -EPROTO);
	rig_fini(&rig);
}

static void RG_44_wrong_user_data(void)
{
	struct rig rig = rig_flying();

	forge(&rig, 0, 101, 1);
	check_dead(&rig);
}

static void submission_tail_out_of_bounds(void)
{
	static const int32_t tails[] = {-1, 5, INT32_MAX, INT32_MIN};

	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		struct rig rig = rig_flying();

		atomic_store(rig.client.view.sq_tail, tails[i]);
		check_int(prepare(&rig, 0), -EPROTO);
		check_dead(&rig);
	}
}

static void words_that_are_ours_are_not_read_back(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	atomic_store(rig.client.view.sq_head, 77);
	atomic_store(rig.client.view.cq_tail, -9);
	check_int(prepare(&rig, 102), 2);
	check_int(atomic_load(rig.client.view.sq_head), 3);
	forge(&rig, 0, 100, 1);
	check_int(reap(&rig, cqe), 1);
	check_int(atomic_load(rig.client.view.cq_tail), 1);
	rig_fini(&rig);
}

static void RG_43_a_slot_stays_taken_until_its_completion(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	check_int(prepare(&rig, 102), 2);
	check_int(prepare(&rig, 103), 3);
	check_int(reap(&rig, cqe), 0); /* whoever waited has given up */
	check_int(prepare(&rig, 104), -EAGAIN);
	check_int(serve(&rig, 1), 4);
	check_int(reap(&rig, cqe), 4);
	check_int(prepare(&rig, 104), 0);
	rig_fini(&rig);
}

static void RG_47_two_threads_in_one_call(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	atomic_store(&rig.client.preparing, true); /* as while another one is in there */
	check_int(prepare(&rig, 0), -EINVAL);
	atomic_store(&rig.client.preparing, false);
	atomic_store(&rig.client.reaping, true);
	check_int(reap(&rig, cqe), -EINVAL);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), -EINVAL);
	atomic_store(&rig.client.reaping, false);
	check_int(prepare(&rig, 0), 2);
	rig_fini(&rig);
}

/* ---- A server that is gone ---- */

static void RG_37_each_request_comes_back_once(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	check_int(prepare(&rig, 102), 2);
	check_int(prepare(&rig, 103), 3);
	forge(&rig, 2, 102, 17);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 1);
	check(cqe[0].index == 2 && cqe[0].result == 17); /* it had completed */
	check_int(usrbio_client_abandon(&rig.client, cqe, 2), 2);
	check(cqe[0].index == 0 && cqe[0].userdata == 100 && cqe[0].result == -ENOTCONN);
	check(cqe[1].index == 1 && cqe[1].userdata == 101 && cqe[1].result == -ENOTCONN);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 1);
	check(cqe[0].index == 3 && cqe[0].userdata == 103);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 0);
	check_int(usrbio_client_flying(&rig.client), 0);
	check_int(prepare(&rig, 0), -ENOTCONN);
	check_int(reap(&rig, cqe), -ENOTCONN);
	rig_fini(&rig);
}

static void RG_37_a_ring_that_is_broken_gives_all_back(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	forge(&rig, 0, 100, 1);
	forge(&rig, 7, 0, 1);
	check_int(reap(&rig, cqe), -EPROTO);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 2);
	check(cqe[0].result == -ENOTCONN && cqe[1].result == -ENOTCONN);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 0);
	check_int(prepare(&rig, 0), -EPROTO);
	rig_fini(&rig);
}

static void RG_39_a_late_completion_is_not_taken(void)
{
	struct rig rig = rig_flying();
	struct usrbio_cqe cqe[64];

	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 2);
	forge(&rig, 0, 100, 1);
	check_int(usrbio_client_abandon(&rig.client, cqe, 64), 0);
	check_int(usrbio_client_flying(&rig.client), 0);
	rig_fini(&rig);
}

/* ---- Threads ---- */

#define THREAD_REQUESTS 100000u

static void *run_server(void *arg)
{
	struct rig *rig = arg;
	unsigned done = 0;

	while (done < THREAD_REQUESTS) {
		int got = serve(rig, 4096);

		check(got >= 0);
		done += (unsigned)got;
		if (!got)
			sched_yield();
	}
	return NULL;
}

static void *run_reaper(void *arg)
{
	static unsigned char seen[THREAD_REQUESTS] = {0};
	struct rig *rig = arg;
	struct usrbio_cqe cqe[64];
	unsigned done = 0;

	while (done < THREAD_REQUESTS) {
		int got = reap(rig, cqe);

		check(got >= 0);
		for (int i = 0; i < got; i++)
			check(!seen[cqe[i].userdata]++ && cqe[i].result == 4096);
		done += (unsigned)got;
		if (!got)
			sched_yield();
	}
	return NULL;
}

static void UB_26_one_thread_prepares_another_reaps(void)
{
	struct rig rig = rig_of(7);
	pthread_t server, reaper;
	unsigned made = 0;

	check_int(pthread_create(&server, NULL, run_server, &rig), 0);
	check_int(pthread_create(&reaper, NULL, run_reaper, &rig), 0);
	while (made < THREAD_REQUESTS) {
		int ret = prepare(&rig, made);

		check(ret >= 0 || ret == -EAGAIN);
		made += ret >= 0;
		if (ret < 0)
			sched_yield();
	}
	pthread_join(server, NULL);
	pthread_join(reaper, NULL);
	rig_fini(&rig);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_22_slots_in_order_and_then_full),
		TEST(RG_34_user_data_comes_back),
		TEST(the_lowest_free_slot_comes_first),
		TEST(full_is_a_free_slot_without_a_place),
		TEST(arguments_and_sizes_that_are_refused),
		TEST(UB_23_one_entry_ten_thousand_times),
		TEST(UB_24_random_depths_and_orders),
		TEST(RG_33_wrap_at_every_kind_of_size),
		TEST(RG_40_completion_of_an_index_that_is_none),
		TEST(RG_40_completion_of_a_free_slot),
		TEST(RG_40_completion_that_comes_twice),
		TEST(UB_37_RG_41_result_above_the_length),
		TEST(UB_37_RG_41_result_beyond_the_buffer),
		TEST(RG_42_completion_head_out_of_bounds),
		TEST(RG_42_completion_head_goes_back),
		TEST(RG_44_wrong_user_data),
		TEST(submission_tail_out_of_bounds),
		TEST(words_that_are_ours_are_not_read_back),
		TEST(RG_43_a_slot_stays_taken_until_its_completion),
		TEST(RG_47_two_threads_in_one_call),
		TEST(RG_37_each_request_comes_back_once),
		TEST(RG_37_a_ring_that_is_broken_gives_all_back),
		TEST(RG_39_a_late_completion_is_not_taken),
		TEST(UB_26_one_thread_prepares_another_reaps),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
