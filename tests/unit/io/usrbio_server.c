/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of a ring against clients that write what they like, and truncate what they gave.
 *
 * A ring lies in a mapped object, as close to an inaccessible page as the layout allows, on both sides.
 */
#include "io/usrbio/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/usrbio/guard.h"
#include "io/usrbio/signal.h"
#include "lib/check.h"

#define ENTRIES 4u
#define PLACES  5
#define PAGE    4096u

struct rig {
	int fd;
	char *memory; /* of the ring */
	uint64_t bytes;
	struct usrbio_view view; /* the client's */
	struct usrbio_server server;
};

/* Whole pages between two that nobody may touch. */
static char *map_between_guards(int fd, size_t bytes)
{
	char *at = mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(at != MAP_FAILED);
	check(mmap(at + PAGE, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	      at + PAGE);
	return at + PAGE;
}

static struct rig rig_of(uint32_t entries)
{
	struct rig rig = {.fd = memfd_create("ring", MFD_CLOEXEC),
			  .bytes = usrbio_ring_bytes(entries)};
	size_t mapped = (rig.bytes + PAGE - 1) / PAGE * PAGE;

	check(rig.fd >= 0);
	check_int(ftruncate(rig.fd, (off_t)mapped), 0);
	rig.memory = map_between_guards(rig.fd, mapped);
	rig.view = usrbio_view_of(rig.memory, entries);
	check_int(usrbio_server_init(&rig.server, sys_real(), rig.memory, rig.bytes), 0);
	return rig;
}

static void rig_fini(struct rig *rig)
{
	munmap(rig->memory - PAGE, (rig->bytes + PAGE - 1) / PAGE * PAGE + 2 * PAGE);
	close(rig->fd);
}

static int32_t load(_Atomic int32_t *word)
{
	return atomic_load(word);
}

/* Queues one, by hand. */
static void queue(struct rig *rig, int32_t index, uint64_t userdata)
{
	int32_t head = load(rig->view.sq_head);

	rig->view.sqe[head] = (struct usrbio_sqe){index, 0, userdata};
	atomic_store(rig->view.sq_head, usrbio_next(head, rig->view.places));
}

static int claim(struct rig *rig, struct usrbio_claim *out)
{
	return usrbio_server_claim(&rig->server, out, 64);
}

static void check_dead(struct rig *rig, int why)
{
	struct usrbio_claim claims[64];

	check_int(claim(rig, claims), why);
	check_int(usrbio_server_available(&rig->server), why);
	check_int(rig->server.dead, why);
	check(rig->server.why);
	usrbio_server_post(&rig->server);
	check_int(usrbio_server_waiters(&rig->server), 0);
	rig_fini(rig);
}

/* ---- The rules ---- */

static void UB_12_a_fresh_ring(void)
{
	struct rig rig = rig_of(ENTRIES);
	unsigned char *sem = (unsigned char *)rig.memory + 496;

	check_int(load(rig.view.sq_head) | load(rig.view.sq_tail) | load(rig.view.cq_head) |
			  load(rig.view.cq_tail),
		  0);
	for (int i = 0; i < 32; i++)
		check_int(sem[i], i == 8 ? 0x80 : 0);
	rig_fini(&rig);
}

static void claims_in_order_and_release_at_once(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	rig.view.args[2] = (struct usrbio_args){.file = 7, .length = 8, .file_offset = 9};
	queue(&rig, 2, 20);
	queue(&rig, 0, 21);
	queue(&rig, 3, 22);
	check_int(usrbio_server_available(&rig.server), 3);
	check_int(usrbio_server_claim(&rig.server, claims, 2), 2);
	check(claims[0].index == 2 && claims[0].userdata == 20 && !claims[0].error);
	check(claims[0].args.file == 7 && claims[0].args.length == 8);
	check(claims[1].index == 0 && claims[1].userdata == 21);
	check_int(load(rig.view.sq_tail), 2);
	check_int(usrbio_server_available(&rig.server), 1);
	check_int(claim(&rig, claims), 1);
	check_int(claims[0].index, 3);
	check_int(load(rig.view.sq_tail), 3);
	check_int(usrbio_server_complete(&rig.server, 3, 22, -5), 0);
	check_int(load(rig.view.cq_head), 1);
	check(rig.view.cqe[0].index == 3 && rig.view.cqe[0].userdata == 22 &&
	      rig.view.cqe[0].result == -5);
	rig_fini(&rig);
}

static void RG_17_sizes_that_are_no_ring(void)
{
	static const uint64_t sizes[] = {0,         1, 4144, 4239, 4335, 96u * 65537 + 4144 + 96,
					 UINT64_MAX};
	_Alignas(16) char memory[8192] = {0};
	struct usrbio_server server;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		check_int(usrbio_server_init(&server, sys_real(), memory, sizes[i]), -EINVAL);
	check_int(usrbio_server_init(&server, sys_real(), memory, 4336), 0);
	check_int(server.entries, 1);
}

static void RG_01_submission_head_out_of_bounds(void)
{
	static const int32_t heads[] = {-1, INT32_MIN, PLACES, PLACES + 1, INT32_MAX};

	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		struct rig rig = rig_of(ENTRIES);

		atomic_store(rig.view.sq_head, heads[i]);
		check_dead(&rig, -EPROTO);
	}
}

static void RG_01_submission_head_jumps_past_free_space(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	queue(&rig, 0, 0);
	queue(&rig, 1, 0);
	check_int(claim(&rig, claims), 2);
	atomic_store(rig.view.sq_head, 0); /* three more, where two slots are left */
	check_dead(&rig, -EPROTO);
}

static void RG_02_words_of_the_server_overwritten(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	for (int round = 0; round < 20; round++) {
		queue(&rig, round % 4, (uint64_t)round);
		atomic_store(rig.view.sq_tail, -7 * round);
		atomic_store(rig.view.cq_head, INT32_MAX - round);
		check_int(claim(&rig, claims), 1);
		check_int(claims[0].userdata, round);
		check_int(load(rig.view.sq_tail), (round + 1) % PLACES);
		check_int(
			usrbio_server_complete(&rig.server, claims[0].index, claims[0].userdata, 1),
			0);
		check_int(load(rig.view.cq_head), (round + 1) % PLACES);
		check_int(rig.view.cqe[round % PLACES].userdata, round);
		atomic_store(rig.view.cq_tail, (round + 1) % PLACES);
	}
	rig_fini(&rig);
}

static void RG_03_completion_tail_out_of_bounds(void)
{
	static const int32_t tails[] = {-1, INT32_MIN, PLACES, INT32_MAX, 1 /* ahead */, 4};

	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		struct rig rig = rig_of(ENTRIES);

		queue(&rig, 0, 0);
		atomic_store(rig.view.cq_tail, tails[i]);
		check_dead(&rig, -EPROTO);
	}
}

static void RG_03_completion_tail_goes_back(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	for (int i = 0; i < 3; i++) {
		queue(&rig, i, 0);
		check_int(claim(&rig, claims), 1);
		check_int(usrbio_server_complete(&rig.server, i, 0, 1), 0);
	}
	atomic_store(rig.view.cq_tail, 2);
	check_int(claim(&rig, claims), 0);
	atomic_store(rig.view.cq_tail, 1);
	check_dead(&rig, -EPROTO);
}

static void RG_04_index_out_of_range(void)
{
	static const int32_t indices[] = {-1, PLACES, INT32_MAX, INT32_MIN};

	for (size_t i = 0; i < sizeof(indices) / sizeof(*indices); i++) {
		struct rig rig = rig_of(ENTRIES);
		struct usrbio_claim claims[64];

		queue(&rig, indices[i], 5);
		queue(&rig, 0, 6);
		check_int(claim(&rig, claims), 2);
		check(claims[0].error == -EINVAL && claims[0].index == indices[i] &&
		      claims[0].userdata == 5 && claims[0].args.length == 0);
		check(!claims[1].error);
		check_int(usrbio_server_complete(&rig.server, claims[0].index, 5, -EINVAL), 0);
		check_int(rig.view.cqe[0].index, indices[i]);
		rig_fini(&rig);
	}
}

static void RG_05_one_index_in_two_entries(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	rig.view.args[1].length = 111;
	queue(&rig, 1, 5);
	check_int(claim(&rig, claims), 1);
	rig.view.args[1].length = 222;
	queue(&rig, 1, 6);
	check_int(claim(&rig, claims + 1), 1);
	check(claims[0].args.length == 111 && claims[1].args.length == 222);
	rig_fini(&rig);
}

static void RG_24_completions_that_nobody_collects(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	for (int i = 0; i < 4; i++)
		queue(&rig, i, (uint64_t)i);
	check_int(claim(&rig, claims), 4);
	for (int i = 0; i < 4; i++)
		check_int(usrbio_server_complete(&rig.server, i, (uint64_t)i, 1), 0);
	for (int i = 0; i < 4; i++)
		queue(&rig, i, (uint64_t)i + 4);
	check_int(usrbio_server_available(&rig.server), 4);
	check_int(claim(&rig, claims), 0); /* no place for what would become of it */
	atomic_store(rig.view.cq_tail, 3);
	check_int(claim(&rig, claims), 3); /* and nothing was dropped */
	check_int(claims[0].userdata, 4);
	rig_fini(&rig);
}

/* ---- A client that changes everything all the time ---- */

/* What a campaign does for longer: so often, times $RIG_TIMES where that is set. */
static unsigned times(unsigned often)
{
	const char *factor = getenv("RIG_TIMES");

	return often * (factor ? (unsigned)strtoul(factor, NULL, 10) : 1);
}

struct flipper {
	struct usrbio_view view;
	_Atomic bool stop;
};

/* All eight words of the args are the same number, which changes; so are index and user data. */
static void *flip(void *arg)
{
	struct flipper *flipper = arg;
	uint64_t value = 1;

	while (!atomic_load(&flipper->stop)) {
		for (int i = 0; i < PLACES; i++) {
			uint64_t args[7], sqe[2] = {value, value};

			for (int word = 0; word < 7; word++)
				args[word] = value;
			usrbio_store_words(&flipper->view.args[i], args, sizeof(args));
			usrbio_store_words(&flipper->view.sqe[i], sqe, sizeof(sqe));
		}
		value = value * 6364136223846793005u + 1442695040888963407u;
	}
	return NULL;
}

static void RG_06_requests_that_change_under_way(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct flipper flipper = {.view = rig.view};
	struct usrbio_claim claims[64];
	pthread_t thread;
	int32_t tail = 0;

	check_int(pthread_create(&thread, NULL, flip, &flipper), 0);
	for (unsigned i = times(100000); i; i--) {
		struct usrbio_claim copy;

		atomic_store(rig.view.sq_head, usrbio_next(tail, PLACES));
		check_int(claim(&rig, claims), 1);
		copy = claims[0];
		if (!copy.error)
			check(copy.index >= 0 && copy.index < PLACES);
		check_int(usrbio_server_complete(&rig.server, copy.index, copy.userdata, 1), 0);
		check(memcmp(&copy, &claims[0], sizeof(copy)) == 0);
		tail = usrbio_next(tail, PLACES);
		atomic_store(rig.view.cq_tail, tail);
	}
	atomic_store(&flipper.stop, true);
	pthread_join(thread, NULL);
	rig_fini(&rig);
}

static void RG_26_semaphores_full_of_garbage(void)
{
	static const uint64_t words[] = {INT32_MAX, UINT32_MAX, UINT64_MAX, (uint64_t)9 << 32,
					 ((uint64_t)1 << 63) | 5};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct rig rig = rig_of(ENTRIES);

		atomic_store(&rig.view.done->data, words[i]);
		rig.view.done->flag = 0xffffffff;
		usrbio_server_post(&rig.server);
		check_int(usrbio_server_waiters(&rig.server), words[i] >> 32);
		check_int(rig.server.dead, 0);
		usrbio_sem_drain(rig.view.done);
		check_int(atomic_load(&rig.view.done->data) & UINT32_MAX, 0);
		rig_fini(&rig);
	}
}

/* ---- A client that truncates ---- */

/* Before a case in which an atomic access faults. */
static void can_fault(void)
{
#ifdef __SANITIZE_THREAD__
	/* Its runtime makes the access itself, with a lock held that a jump out of it leaves so. */
	skip("the thread sanitizer holds a lock where the fault happens");
#endif
	check_int(usrbio_guard_install(), 0);
}

static void RG_15_PR_05_ring_cut_to_nothing(void)
{
	struct usrbio_claim claims[64];
	struct rig rig = rig_of(ENTRIES);

	can_fault();
	queue(&rig, 0, 0);
	check_int(claim(&rig, claims), 1);
	check_int(ftruncate(rig.fd, 0), 0);
	check_int(usrbio_server_complete(&rig.server, 0, 0, 1), -EFAULT);
	check_int(rig.server.unfinished, 0);
	check_dead(&rig, -EFAULT);
}

static void RG_15_every_touch_survives_a_cut(void)
{
	struct usrbio_claim claims[64];
	struct usrbio_server server;
	struct rig rig = rig_of(ENTRIES);

	can_fault();
	check_int(ftruncate(rig.fd, 0), 0);
	check_int(usrbio_server_available(&rig.server), -EFAULT);
	check_dead(&rig, -EFAULT);
	rig = rig_of(ENTRIES);
	check_int(ftruncate(rig.fd, 0), 0);
	usrbio_server_post(&rig.server);
	check_int(rig.server.dead, -EFAULT);
	check_dead(&rig, -EFAULT);
	rig = rig_of(ENTRIES);
	check_int(ftruncate(rig.fd, 0), 0);
	check_int(usrbio_server_waiters(&rig.server), 0);
	check_dead(&rig, -EFAULT);
	rig = rig_of(ENTRIES);
	check_int(ftruncate(rig.fd, 0), 0);
	check_int(usrbio_server_init(&server, sys_real(), rig.memory, rig.bytes), -EFAULT);
	check_int(claim(&rig, claims), -EFAULT);
	check_dead(&rig, -EFAULT);
}

static void RG_15_ring_cut_to_half(void)
{
	struct rig rig = rig_of(1024);
	struct usrbio_claim claims[64];

	can_fault();
	queue(&rig, 0, 0);
	check_int(ftruncate(rig.fd, (off_t)(rig.bytes / 2)), 0);
	/* The markers are still there, the queue is not. */
	check_int(claim(&rig, claims), -EFAULT);
	check_int(rig.server.unfinished, 0);
	check_dead(&rig, -EFAULT);
}

/* ---- The mark ---- */

static void a_client_that_reads_no_mark_has_none_written(void)
{
	struct rig rig = rig_of(ENTRIES);

	check(!usrbio_server_attends(&rig.server));
	check_int(atomic_load(&rig.view.mark->asked), 0);
	check_int(atomic_load(&rig.view.mark->awake), 0);
	check_int(atomic_load(&rig.view.mark->wanted), 0);
	rig_fini(&rig);
}

/* As a client of ours leaves it before it registers the ring. */
static void ask_for_marks(struct rig *rig)
{
	atomic_store(&rig->view.mark->asked, USRBIO_MARK_ASKED);
	check_int(usrbio_server_init(&rig->server, sys_real(), rig->memory, rig->bytes), 0);
}

static void what_came_before_the_mark_was_taken_back_is_news(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	check((char *)(rig.view.mark + 1) <= rig.memory + rig.bytes);
	check((char *)rig.view.mark >= (char *)(rig.view.done + 1));
	ask_for_marks(&rig);
	check(usrbio_server_attends(&rig.server));
	check_int(atomic_load(&rig.view.mark->awake), USRBIO_MARK_AWAKE);
	check(!usrbio_server_news(&rig.server));
	queue(&rig, 0, 1);
	check(usrbio_server_news(&rig.server));
	check(!usrbio_server_news(&rig.server)); /* told once */
	check_int(claim(&rig, claims), 1);
	queue(&rig, 1, 2);
	check(usrbio_server_rests(&rig.server));
	check_int(atomic_load(&rig.view.mark->awake), 0);
	check_int(claim(&rig, claims), 1);
	check(usrbio_server_attends(&rig.server));
	check(!usrbio_server_rests(&rig.server)); /* it was claimed */
	rig_fini(&rig);
}

static void completions_that_were_collected_are_news_where_requests_wait(void)
{
	struct rig rig = rig_of(ENTRIES);
	struct usrbio_claim claims[64];

	ask_for_marks(&rig);
	for (int i = 0; i < 4; i++)
		queue(&rig, i, 0);
	check_int(claim(&rig, claims), 4);
	for (int i = 0; i < 4; i++)
		check_int(usrbio_server_complete(&rig.server, i, 0, 0), 0);
	atomic_store(rig.view.cq_tail, 1);
	check(!usrbio_server_rests(&rig.server)); /* nothing waits */
	queue(&rig, 0, 0);
	queue(&rig, 1, 0);
	check_int(claim(&rig, claims), 1);
	atomic_store(rig.view.cq_tail, 2);
	check(usrbio_server_rests(&rig.server));
	rig_fini(&rig);
}

static void three_under_way(struct rig *rig)
{
	struct usrbio_claim claims[64];

	for (int i = 0; i < 3; i++)
		queue(rig, i, 0);
	check_int(claim(rig, claims), 3);
}

static bool complete_and_post(struct rig *rig, int32_t index)
{
	check_int(usrbio_server_complete(&rig->server, index, 0, 0), 0);
	return usrbio_server_post(&rig->server);
}

static void a_client_that_sleeps_for_more_is_told_when_they_are_there(void)
{
	struct rig rig = rig_of(ENTRIES);

	ask_for_marks(&rig);
	atomic_store(&rig.view.mark->wanted, 2);
	three_under_way(&rig);
	check(!complete_and_post(&rig, 0));
	check_int(atomic_load(&rig.view.done->data), 0);
	check(complete_and_post(&rig, 1));
	check_int(atomic_load(&rig.view.done->data), 1);
	atomic_store(rig.view.cq_tail, 2);
	check(complete_and_post(&rig, 2)); /* nothing more is to come */
	check_int(atomic_load(&rig.view.done->data), 2);
	rig_fini(&rig);
}

static void RG_26_what_a_client_sleeps_for_may_be_anything(void)
{
	struct rig rig = rig_of(ENTRIES);

	atomic_store(&rig.view.mark->wanted,
		     UINT32_MAX); /* of one that reads no marks: some rubbish */
	three_under_way(&rig);
	check(complete_and_post(&rig, 0));
	rig_fini(&rig);
	rig = rig_of(ENTRIES);
	ask_for_marks(&rig);
	atomic_store(&rig.view.mark->wanted, UINT32_MAX);
	three_under_way(&rig);
	check(!complete_and_post(&rig, 0));
	atomic_store(rig.view.cq_tail, -7);
	check(complete_and_post(&rig, 1));
	atomic_store(rig.view.cq_tail, 0);
	check(complete_and_post(&rig, 2));
	check_int(rig.server.dead, 0);
	rig_fini(&rig);
}

static void RG_15_a_mark_that_was_cut_off(void)
{
	struct rig rig = rig_of(ENTRIES);

	can_fault();
	ask_for_marks(&rig);
	check_int(ftruncate(rig.fd, 0), 0);
	check(!usrbio_server_attends(&rig.server));
	check_dead(&rig, -EFAULT);
	check(!usrbio_server_rests(&rig.server));
	check(!usrbio_server_news(&rig.server));
	rig_fini(&rig);
}

/* ---- Two that shrink and serve at once ---- */

static void *cut(void *arg)
{
	struct rig *rig = arg;

	usleep(1000);
	check_int(ftruncate(rig->fd, 0), 0);
	return NULL;
}

static void UB_49_ring_cut_while_it_is_served(void)
{
	can_fault();
	for (int round = 0; round < 50; round++) {
		struct rig rig = rig_of(ENTRIES);
		struct usrbio_claim claims[64];
		pthread_t thread;
		int ret;

		check_int(pthread_create(&thread, NULL, cut, &rig), 0);
		do {
			ret = claim(&rig, claims);
			usrbio_server_post(&rig.server);
		} while (ret >= 0);
		check_int(ret, -EFAULT);
		pthread_join(thread, NULL);
		rig_fini(&rig);
	}
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_12_a_fresh_ring),
		TEST(claims_in_order_and_release_at_once),
		TEST(RG_17_sizes_that_are_no_ring),
		TEST(RG_01_submission_head_out_of_bounds),
		TEST(RG_01_submission_head_jumps_past_free_space),
		TEST(RG_02_words_of_the_server_overwritten),
		TEST(RG_03_completion_tail_out_of_bounds),
		TEST(RG_03_completion_tail_goes_back),
		TEST(RG_04_index_out_of_range),
		TEST(RG_05_one_index_in_two_entries),
		TEST(RG_24_completions_that_nobody_collects),
		TEST(RG_06_requests_that_change_under_way),
		TEST(RG_26_semaphores_full_of_garbage),
		TEST(RG_15_PR_05_ring_cut_to_nothing),
		TEST(RG_15_every_touch_survives_a_cut),
		TEST(RG_15_ring_cut_to_half),
		TEST(a_client_that_reads_no_mark_has_none_written),
		TEST(what_came_before_the_mark_was_taken_back_is_news),
		TEST(completions_that_were_collected_are_news_where_requests_wait),
		TEST(a_client_that_sleeps_for_more_is_told_when_they_are_there),
		TEST(RG_26_what_a_client_sleeps_for_may_be_anything),
		TEST(RG_15_a_mark_that_was_cut_off),
		TEST(UB_49_ring_cut_while_it_is_served),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
