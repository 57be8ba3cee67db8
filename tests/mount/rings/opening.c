/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that take long to open, or to close: what goes on beside them, and how their requests end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "mount/rings/errand.h"
#include "setting.h"
#include "slow.h"

#define SLOW_FILE UINT64_C(20) /* and those behind it: the same file, opened by itself */
#define NEW_FILE  UINT64_C(12) /* that no ring has asked for yet */

#define STUCK (ERRANDS_MOST / 2) /* of one user, at most */

static struct slow slow;
static struct setting at;

static const struct usrbio_key read_key = {.for_read = true};

static void begin(const struct virt_opts *opts)
{
	slow_make(&slow);
	setting_make(&at, opts, 4);
	files_adopt(&at.rig, SLOW_FILE, dup(slow.fd));
	files_open(&at.rig, SLOW_FILE, at.iov.uid, O_RDONLY);
	files_add(&at.rig, NEW_FILE, 4096);
	files_open(&at.rig, NEW_FILE, at.iov.uid, O_RDONLY);
	atomic_store(&slow.shared->what, SLOW_OPENS);
	atomic_store(&slow.shared->hold, true);
}

static void end(void)
{
	setting_end(&at);
	slow_end(&slow);
}

static struct ask ask_of(uint64_t file, uint64_t userdata)
{
	return (struct ask){.iov = &at.iov,
			    .iov_offset = userdata * 4096,
			    .file = file,
			    .length = 4096,
			    .userdata = userdata};
}

static void send(struct ring_client *ring, uint64_t file, uint64_t userdata)
{
	struct ask ask = ask_of(file, userdata);

	check(ring_ask(ring, &ask) >= 0);
	ring_bell(ring);
}

static void expect(struct ring_client *ring, uint64_t userdata, int64_t result)
{
	struct usrbio_cqe cqe;

	check_int(ring_reap(ring, &cqe, 1, 5000), 1);
	check_int(cqe.userdata, userdata);
	check_int(cqe.result, result);
	if (result > 0)
		check_int(pattern_check((char *)at.iov.memory + userdata * 4096, SLOW_SEED, 0,
					(size_t)result),
			  result);
}

static void let_go(void)
{
	atomic_store(&slow.shared->hold, false);
}

static bool idle(void *arg)
{
	(void)arg;
	return files_opening(&at.rig) == 0;
}

static void a_file_that_is_being_opened_holds_no_other_up(void)
{
	struct ask old = ask_of(FILE_1, 0), new = ask_of(NEW_FILE, 0);
	struct ring_client ring;

	begin(NULL);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	check_int(ring_result(&at.reads, &old), 4096);
	send(&at.reads, SLOW_FILE, 1);
	check(slow_holds(&slow, 1));
	send(&at.reads, SLOW_FILE, 2);
	for (int i = 0; i < 50; i++) {
		check_int(ring_result(&at.reads, &old), 4096);
		check_int(ring_result(&ring, &old), 4096);
	}
	check_int(ring_result(&ring, &new), 4096);
	check_int(atomic_load(&slow.shared->held), 1); /* one errand for both requests */
	let_go();
	expect(&at.reads, 1, 4096);
	expect(&at.reads, 2, 4096);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ring_close(&at.rig, &ring);
	end();
}

/* Those that wait for too long end, and the file can be used when it has been opened. */
static void a_request_waits_no_longer_than_the_limit(void)
{
	struct ask old = ask_of(FILE_1, 0);

	begin(&(struct virt_opts){.open_limit_ns = 100 * NS_PER_MS});
	send(&at.reads, SLOW_FILE, 1);
	expect(&at.reads, 1, -ETIMEDOUT);
	send(&at.reads, SLOW_FILE, 2);
	expect(&at.reads, 2, -ETIMEDOUT);
	check_int(atomic_load(&at.rig.warnings), 1);
	check_int(files_opening(&at.rig), 1);
	check_int(ring_result(&at.reads, &old), 4096);
	let_go();
	check(rig_wait(idle, NULL));
	send(&at.reads, SLOW_FILE, 3);
	expect(&at.reads, 3, 4096);
	end();
}

/* A right that ends meanwhile elsewhere changes nothing; one that ends here is heard of. */
static void RG_12_rights_that_end_while_a_file_is_being_opened(void)
{
	begin(NULL);
	send(&at.reads, SLOW_FILE, 1);
	check(slow_holds(&slow, 1));
	files_release(&at.rig, NEW_FILE, at.iov.uid);
	send(&at.reads, SLOW_FILE, 2);
	send(&at.reads, NEW_FILE, 3);
	expect(&at.reads, 3, -EBADF);
	check_int(atomic_load(&slow.shared->held), 1);
	files_release(&at.rig, SLOW_FILE, at.iov.uid);
	send(&at.reads, SLOW_FILE, 3);
	expect(&at.reads, 3, -EBADF);
	let_go();
	expect(&at.reads, 1, -EBADF);
	expect(&at.reads, 2, -EBADF);
	end();
}

static void get_stuck(struct ring_client *ring, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (i) {
			files_adopt(&at.rig, SLOW_FILE + i, dup(slow.fd));
			files_open(&at.rig, SLOW_FILE + i, at.iov.uid, O_RDONLY);
		}
		send(ring, SLOW_FILE + i, i);
	}
	check(slow_holds(&slow, STUCK));
}

/* He himself has to wait, where the file is new. */
static void a_user_whose_files_are_stuck_keeps_no_other_user_up(void)
{
	struct ask old = ask_of(FILE_1, 0), new;
	struct ring_client other, many;
	struct usrbio_cqe cqes[STUCK + 2];
	struct shared iov;

	RIG_NEEDS_ROOT();
	begin(NULL);
	ring_make(&at.rig, &many, at.iov.uid, 64, &read_key);
	ring_make(&at.rig, &other, USER_B, 4, &read_key);
	iov_make(&at.rig, &iov, USER_B, MIB, 0);
	files_open(&at.rig, NEW_FILE, USER_B, O_RDONLY);
	check_int(ring_result(&at.reads, &old), 4096);
	get_stuck(&many, STUCK + 1);
	send(&many, NEW_FILE, STUCK + 1);
	new = ask_of(NEW_FILE, 0);
	new.iov = &iov;
	check_int(ring_result(&other, &new), 4096);
	check_int(ring_result(&at.reads, &old), 4096);
	check_int(files_opening(&at.rig), STUCK);
	let_go();
	check_int(ring_reap(&many, cqes, STUCK + 2, 5000), STUCK + 2);
	for (int i = 0; i < STUCK + 2; i++)
		check_int(cqes[i].result, 4096);
	check_int(rig_unlink(&at.rig, at.iov.uid, many.shared.name), 0);
	check_int(rig_unlink(&at.rig, USER_B, other.shared.name), 0);
	check_int(rig_unlink(&at.rig, USER_B, iov.name), 0);
	ring_close(&at.rig, &many);
	ring_close(&at.rig, &other);
	shared_close(&at.rig, &iov);
	end();
}

/* Nothing has been asked for its requests, so nothing keeps them. */
static void RG_23_a_client_killed_while_its_file_is_being_opened(void)
{
	struct ring_client ring;
	struct shared iov;
	struct ask ask;
	pid_t child = fork();
	int64_t from;

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	begin(NULL);
	at.rig.as = child;
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	iov_make(&at.rig, &iov, at.iov.uid, MIB, 0);
	at.rig.as = 0;
	ask = ask_of(SLOW_FILE, 0);
	ask.iov = &iov;
	check(ring_ask(&ring, &ask) >= 0);
	ring_bell(&ring);
	check(slow_holds(&slow, 1));
	from = sys_real()->now_ns();
	kill(child, SIGKILL);
	check_int(waitpid(child, NULL, 0), child);
	rig_settle(&at.rig, 1, 2); /* and its memory is not mapped any more */
	check(sys_real()->now_ns() - from < NS_PER_SEC);
	check_int(files_opening(&at.rig), 1);
	let_go();
	ring_close(&at.rig, &ring);
	shared_close(&at.rig, &iov);
	end();
}

/* What was claimed ends as it would have. */
static void UB_51_a_ring_unlinked_while_its_file_is_being_opened(void)
{
	struct ring_client ring;

	begin(NULL);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	send(&ring, SLOW_FILE, 1);
	check(slow_holds(&slow, 1));
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	rig_rest(20000);
	let_go();
	expect(&ring, 1, 4096);
	rig_settle(&at.rig, 1, 2);
	ring_close(&at.rig, &ring);
	end();
}

static void UB_51_an_iov_unlinked_while_a_file_is_being_opened(void)
{
	struct usrbio_cqe cqe;
	struct shared iov;
	struct ask ask;

	begin(NULL);
	iov_make(&at.rig, &iov, at.iov.uid, MIB, 0);
	ask = ask_of(SLOW_FILE, 1);
	ask.iov = &iov;
	check(ring_ask(&at.reads, &ask) >= 0);
	ring_bell(&at.reads);
	check(slow_holds(&slow, 1));
	check_int(rig_unlink(&at.rig, at.iov.uid, iov.name), 0);
	rig_rest(20000);
	let_go();
	check_int(ring_reap(&at.reads, &cqe, 1, 5000), 1);
	check_int(cqe.result, 4096);
	check_int(pattern_check((char *)iov.memory + 4096, SLOW_SEED, 0, 4096), 4096);
	check_int(ring_result(&at.reads, &ask), -EINVAL);
	shared_close(&at.rig, &iov);
	end();
}

static void a_file_that_is_being_closed_holds_nobody_up(void)
{
	struct ask old = ask_of(FILE_1, 0);

	begin(NULL);
	let_go();
	send(&at.reads, SLOW_FILE, 1);
	expect(&at.reads, 1, 4096);
	atomic_store(&slow.shared->what, SLOW_CLOSES);
	atomic_store(&slow.shared->hold, true);
	files_shut(&at.rig, SLOW_FILE);
	files_release(&at.rig, SLOW_FILE, at.iov.uid);
	for (int i = 0; i < 50 || !slow_holds(&slow, 1); i++)
		check_int(ring_result(&at.reads, &old), 4096);
	check_int(atomic_load(&slow.shared->held), 1);
	for (int i = 0; i < 50; i++)
		check_int(ring_result(&at.reads, &old), 4096);
	let_go();
	end();
}

static void a_file_whose_holes_are_not_told_holds_no_other_up(void)
{
	static const struct usrbio_key key = {.for_read = true, .flags = USRBIO_FLAG_NO_HOLES};
	struct ask old = ask_of(FILE_1, 0);
	struct ring_client ring;

	begin(NULL);
	atomic_store(&slow.shared->what, SLOW_HOLES);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &key);
	send(&ring, SLOW_FILE, 1);
	check(slow_holds(&slow, 1));
	for (int i = 0; i < 50; i++) {
		check_int(ring_result(&at.reads, &old), 4096);
		check_int(ring_result(&ring, &old), 4096);
	}
	let_go();
	expect(&ring, 1, 4096);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ring_close(&at.rig, &ring);
	end();
}

static void an_end_while_holes_are_looked_for(void)
{
	static const struct usrbio_key key = {.for_read = true, .flags = USRBIO_FLAG_NO_HOLES};
	struct ring_client ring;
	int64_t from;

	begin(NULL);
	atomic_store(&slow.shared->what, SLOW_HOLES);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &key);
	send(&ring, SLOW_FILE, 1);
	check(slow_holds(&slow, 1));
	from = sys_real()->now_ns();
	check(!rings_destroy(at.rig.rings, from + 30 * NS_PER_SEC));
	check(sys_real()->now_ns() - from < 8 * NS_PER_SEC);
	let_go();
	rig_rest(20000);
	ring_close(&at.rig, &ring);
	rig_remove(&at.rig);
	slow_end(&slow);
}

static void an_end_while_a_file_is_being_opened(void)
{
	int64_t from;

	begin(NULL);
	send(&at.reads, SLOW_FILE, 1);
	check(slow_holds(&slow, 1));
	from = sys_real()->now_ns();
	check(!rings_destroy(at.rig.rings, from + 30 * NS_PER_SEC));
	check(sys_real()->now_ns() - from < 5 * NS_PER_SEC);
	expect(&at.reads, 1, -EIO);
	let_go();
	check(rig_wait(idle, NULL));
	rig_rest(20000);
	check_int(files_held(&at.rig), 0);
	rig_remove(&at.rig);
	slow_end(&slow);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_file_that_is_being_opened_holds_no_other_up),
		TEST(a_request_waits_no_longer_than_the_limit),
		TEST(RG_12_rights_that_end_while_a_file_is_being_opened),
		TEST(a_user_whose_files_are_stuck_keeps_no_other_user_up),
		TEST(RG_23_a_client_killed_while_its_file_is_being_opened),
		TEST(UB_51_a_ring_unlinked_while_its_file_is_being_opened),
		TEST(UB_51_an_iov_unlinked_while_a_file_is_being_opened),
		TEST(a_file_that_is_being_closed_holds_nobody_up),
		TEST(a_file_whose_holes_are_not_told_holds_no_other_up),
		TEST(an_end_while_holes_are_looked_for),
		TEST(an_end_while_a_file_is_being_opened),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
