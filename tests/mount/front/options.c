/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of weir-mount. */
#include "mount/options.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "lib/check.h"

static struct weir_error err;

/* One argument a word, in a copy: getopt sorts them. */
static int parse(struct options *out, const char *line)
{
	static char words[512];
	char *argv[32] = {words}, *rest = NULL;
	enum options_answer answer;
	int argc = 0, ret;

	check(strlen(line) < sizeof(words));
	strcpy(words, line);
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	optind = 0;
	err = (struct weir_error)WEIR_ERROR_INIT;
	ret = options_parse(out, argc, argv, &answer, &err);
	check(ret || answer == OPTIONS_RUN);
	return ret;
}

static void defaults(void)
{
	struct options options;

	check_int(parse(&options, "weir-mount file:///data /mnt/w"), 0);
	check_str(options.source, "/data");
	check_str(options.dir, "/mnt/w");
	check_int(parse(&options, "weir-mount file://localhost/a%20b%2Fc /mnt/w"), 0);
	check_str(options.source, "/a b/c");
	check_int(parse(&options, "weir-mount /a%20b /mnt/w"), 0);
	check_str(options.source, "/a%20b");
	check(!options.read_write && !options.direct_io && !options.strict && !options.nonempty &&
	      !options.each_alone);
	check(!options.foreground && !options.json && options.passthrough);
	check_int(options.allow_other, geteuid() == 0);
	check_int(options.ring_spin_ns, 0);
	check_int(options.watchdog_ns, 120000000000);
	check_int(options.shutdown_ns, 30000000000);
	check(!options.log && !options.ready_file);
}

static void each_option(void)
{
	struct options options;

	check_int(
		parse(&options,
		      "weir-mount --read-write --ring-batch=strict --ring-gather off --ring-spin 50us "
		      "--watchdog 2s "
		      "--shutdown-timeout=250ms --budget 64MiB --threads 3 --direct-io "
		      "--allow-other --passthrough off --foreground --ready-file /r --log /l "
		      "--json --nonempty data /dev/fd/5"),
		0);
	check(options.read_write && options.strict && options.each_alone && options.direct_io &&
	      options.allow_other);
	check(!options.passthrough && options.foreground && options.json && options.nonempty);
	check_int(options.ring_spin_ns, 50000);
	check_int(options.watchdog_ns, 2000000000);
	check_int(options.shutdown_ns, 250000000);
	check_int(options.budget_bytes, 64 << 20);
	check_int(options.threads, 3);
	check_str(options.ready_file, "/r");
	check_str(options.log, "/l");
	check_str(options.source, "data");
	check_int(parse(&options, "weir-mount --read-write --read-only a b"), 0);
	check(!options.read_write);
	check_int(parse(&options, "weir-mount --watchdog 0 --budget 1.5GB a b"), 0);
	check_int(options.watchdog_ns, 0);
	check_int(options.budget_bytes, 1500000000);
}

static void what_is_wrong_is_said(void)
{
	static const struct {
		const char *line, *says;
	} lines[] = {
		{"weir-mount", "SOURCE"},
		{"weir-mount a", "SOURCE"},
		{"weir-mount a b c", "SOURCE"},
		{"weir-mount --nothing a b", "--nothing"},
		{"weir-mount --ring-batch=loose a b", "relaxed or strict"},
		{"weir-mount --passthrough=on a b", "off or auto"},
		{"weir-mount --ring-spin 11ms a b", "at most 10ms"},
		{"weir-mount --ring-spin soon a b", "--ring-spin"},
		{"weir-mount --watchdog -1s a b", "--watchdog"},
		{"weir-mount --watchdog 10parsecs a b", "--watchdog"},
		{"weir-mount --watchdog 99999999999999s a b", "--watchdog"},
		{"weir-mount --budget 0 a b", "--budget"},
		{"weir-mount --budget nan a b", "--budget"},
		{"weir-mount --threads 0 a b", "--threads"},
		{"weir-mount --threads 257 a b", "--threads"},
		{"weir-mount --threads 3x a b", "--threads"},
		{"weir-mount file:// b", "not empty"},
		{"weir-mount file:///a%2 b", "two digits"},
		{"weir-mount file:///a%00 b", "two digits"},
	};
	struct options options;

	for (size_t n = 0; n < array_size(lines); n++) {
		check_int(parse(&options, lines[n].line), WEIR_ARG);
		check_has(err.message, lines[n].says);
	}
	check_int(parse(&options, "weir-mount s3://bucket/x b"), WEIR_UNSUPPORTED);
	check_has(err.message, "only directories");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(defaults),
		TEST(each_option),
		TEST(what_is_wrong_is_said),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
