/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/process.h"
#include "base/size.h"
#include "base/state.h"
#include "base/text.h"
#include "base/thread.h"
#include "lib/check.h"

static void error_sys_keeps_number_and_class(void)
{
	struct weir_error err = WEIR_ERROR_INIT;

	check_int(error_sys(&err, EDQUOT, "/x", "%s: cannot write", "/x"), WEIR_NOSPACE);
	check_int(err.code, WEIR_NOSPACE);
	check_int(err.os_errno, EDQUOT);
	check_str(err.object, "/x");
	check_str(err.message, "/x: cannot write: Disk quota exceeded");
	check(err.offset_bytes == WEIR_NO_OFFSET);
	check_int(error_sys(NULL, ENOENT, "/x", "x"), WEIR_NOTFOUND);
}

static void error_object_keeps_the_end_of_a_long_path(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	char path[1000];

	memset(path, 'a', sizeof(path) - 1);
	memcpy(path + sizeof(path) - 5, ".end", 5);
	error_set(&err, WEIR_ARG, path, "%s", path);
	check_int(strlen(err.object), sizeof(err.object) - 1);
	check_str(err.object + sizeof(err.object) - 5, ".end");
	check(memcmp(err.object, "...a", 4) == 0);
}

static void error_names_are_the_documented_ones(void)
{
	check_str(weir_code_name(WEIR_H_DUP), "H_DUP");
	check_str(weir_code_name(WEIR_G_SHORT), "G_SHORT");
	check_str(weir_code_name(-9999), "UNKNOWN");
}

static void quote_escapes_and_cuts(void)
{
	struct quoted q;
	char many[1000];

	check_str(quote(&q, BYTES("a\n\x7F\xC3\xA9\xED\xA0\x80")),
		  "a\\x0a\\x7f\xC3\xA9\\xed\\xa0\\x80");
	/* C1, an override of the direction, an isolate, a tag; and what is only wide. */
	check_str(
		quote(&q,
		      /* NOLINTNEXTLINE(misc-misleading-bidirectional): that is what it is about */
		      BYTES("\xC2\x85\xE2\x80\xAE\xE2\x81\xA6\xF3\xA0\x81\x81\xF0\x9F\x98\x80")),
		"\\xc2\\x85\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xf3\\xa0\\x81\\x81\xF0\x9F\x98\x80");
	memset(many, 1, sizeof(many));
	quote(&q, (struct bytes){many, sizeof(many)});
	check_int(strlen(q.text), QUOTE_MAX * 4 + 3);
	/* A sequence cut by the limit is bytes, not half a character. */
	memset(many, 'x', sizeof(many));
	memcpy(many + QUOTE_MAX - 1, "\xC3\xA9", 2);
	quote(&q, (struct bytes){many, sizeof(many)});
	check_str(q.text + QUOTE_MAX - 1, "\\xc3...");
}

static void utf8_refuses_what_the_standard_refuses(void)
{
	check_int(utf8_valid_prefix("a\xF0\x9F\x98\x80", 5), 5);
	check_int(utf8_valid_prefix("\xC0\xAF", 2), 0);
	check_int(utf8_valid_prefix("\xED\xA0\x80", 3), 0);
	check_int(utf8_valid_prefix("\xF4\x90\x80\x80", 4), 0);
	check_int(utf8_valid_prefix("ab\xE2\x82", 4), 2);
}

static void size_arithmetic_refuses_to_wrap(void)
{
	uint64_t out = 7;

	check(!size_add(UINT64_MAX, 1, &out) && out == 7);
	check(!size_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out) && out == 7);
	check(size_mul(UINT64_C(1) << 31, UINT64_C(1) << 32, &out) && out == UINT64_C(1) << 63);
	check(size_inside(5, 0, 5));
	check(!size_inside(6, 0, 5));
	check(!size_inside(1, UINT64_MAX, 5));
}

static void arena_stops_at_its_cap(void)
{
	struct arena arena;
	char *a, *b;

	arena_init(&arena, 40000);
	a = arena_alloc(&arena, 100, 100);
	b = arena_alloc(&arena, 100, 100);
	check(a && b && a != b);
	check(a[9999] == 0 && (uintptr_t)b % 16 == 0);
	check(!arena_alloc(&arena, SIZE_MAX / 2, 3));
	check(!arena_alloc(&arena, 30000, 1));
	check_str(arena_strdup(&arena, BYTES("name")), "name");
	arena_fini(&arena);
	check_int(arena.used_bytes, 0);
}

struct item {
	int value;
	struct list link;
};

static void list_keeps_order_and_survives_removal(void)
{
	struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
	struct list list;
	int sum = 0;

	list_init(&list);
	for (int i = 0; i < 3; i++)
		list_push(&list, &items[i].link);
	list_for_each_safe(link, &list) {
		if (list_entry(link, struct item, link)->value == 2)
			list_remove(link);
	}
	list_for_each(link, &list)
		sum = sum * 10 + list_entry(link, struct item, link)->value;
	check_int(sum, 13);
	check(list_entry(list_pop(&list), struct item, link)->value == 1);
	list_pop(&list);
	check(list_empty(&list) && !list_pop(&list));
}

static void state_forbidden_move_ends_the_program(void)
{
	static const struct state_rule rules[] = {{"new", 1u << 1}, {"done", 0}};
	uint8_t state = 0;
	int status;
	pid_t pid;

	state_move(&state, 1, rules, "test");
	check_int(state, 1);
	pid = fork();
	if (pid == 0) {
		close(2);
		state_move(&state, 0, rules, "test");
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Twice: the second time the answer is remembered. */
static bool knows_itself(void)
{
	pid_t first = process_id();

	return first == getpid() && process_id() == first;
}

static void PR_13_a_child_is_another_process(void)
{
	int status = 0;
	pid_t pid;

	check(knows_itself());
	pid = fork();
	if (pid == 0)
		_exit(!knows_itself());
	check(waitpid(pid, &status, 0) == pid);
	check_int(status, 0);
	check(knows_itself());
}

static int lines;
static char last_line[200];

static void count_line(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	lines++;
	strncpy(last_line, line, sizeof(last_line) - 1);
}

static int64_t fake_now = 1;

static int64_t fake_now_ns(void)
{
	return fake_now;
}

static void log_cuts_a_cause_that_repeats(void)
{
	struct sys sys = *sys_real();
	struct log log = {.fn = count_line, .level = WEIR_LOG_WARN, .sys = &sys};

	sys.now_ns = fake_now_ns;
	for (int i = 0; i < 101; i++) {
		if (i == 100)
			fake_now += 61 * NS_PER_SEC;
		log_warn(&log, "line %d", i);
	}
	check_int(lines, 11);
	check_str(last_line, "line 100 (90 more like it)");
	log_info(&log, "above the level");
	check_int(lines, 11);
}

static int refuse_thread(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			 void *arg)
{
	(void)out;
	(void)attr;
	(void)run;
	(void)arg;
	return EAGAIN;
}

static void *see_signals(void *arg)
{
	sigset_t *set = arg;

	pthread_sigmask(SIG_SETMASK, NULL, set);
	return NULL;
}

static void thread_blocks_signals_and_says_when_it_cannot_start(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct sys sys = *sys_real();
	sigset_t set;
	pthread_t thread;

	check_int(thread_start(&sys, &thread, "weir-test", see_signals, &set, &err), 0);
	thread_join(thread);
	check(sigismember(&set, SIGINT) && sigismember(&set, SIGUSR1));
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	check(!sigismember(&set, SIGINT));
	sys.thread_create = refuse_thread;
	check_int(thread_start(&sys, &thread, "weir-test", see_signals, &set, &err), WEIR_NOMEM);
	check_has(err.message, "weir-test");
}

static void cond_wait_ends_at_its_deadline(void)
{
	int64_t start = sys_real()->now_ns();
	struct lock lock;
	struct cond cond;

	lock_init(&lock);
	cond_init(&cond);
	lock_take(&lock);
	while (cond_wait(&cond, &lock, start + 20 * NS_PER_MS))
		;
	lock_drop(&lock);
	check(sys_real()->now_ns() - start >= 20 * NS_PER_MS);
	check(deadline_after(sys_real(), -1) == NEVER);
	check(deadline_after(sys_real(), INT64_MAX) == NEVER);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(error_sys_keeps_number_and_class),
		TEST(error_object_keeps_the_end_of_a_long_path),
		TEST(error_names_are_the_documented_ones),
		TEST(quote_escapes_and_cuts),
		TEST(utf8_refuses_what_the_standard_refuses),
		TEST(size_arithmetic_refuses_to_wrap),
		TEST(arena_stops_at_its_cap),
		TEST(list_keeps_order_and_survives_removal),
		TEST(state_forbidden_move_ends_the_program),
		TEST(PR_13_a_child_is_another_process),
		TEST(log_cuts_a_cause_that_repeats),
		TEST(thread_blocks_signals_and_says_when_it_cannot_start),
		TEST(cond_wait_ends_at_its_deadline),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
