/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "weir/weir.h"

#define THREADS_DEFAULT 16
#define THREADS_MAX     256
#define SPIN_MOST_NS    (10 * NS_PER_MS)

enum choice {
	OPTION_READ_WRITE = 256,
	OPTION_READ_ONLY,
	OPTION_RING_BATCH,
	OPTION_RING_GATHER,
	OPTION_RING_SPIN,
	OPTION_WATCHDOG,
	OPTION_SHUTDOWN,
	OPTION_BUDGET,
	OPTION_THREADS,
	OPTION_DIRECT_IO,
	OPTION_ALLOW_OTHER,
	OPTION_PASSTHROUGH,
	OPTION_FOREGROUND,
	OPTION_READY_FILE,
	OPTION_LOG,
	OPTION_JSON,
	OPTION_NONEMPTY,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option table[] = {
	{"read-write", no_argument, NULL, OPTION_READ_WRITE},
	{"read-only", no_argument, NULL, OPTION_READ_ONLY},
	{"ring-batch", required_argument, NULL, OPTION_RING_BATCH},
	{"ring-gather", required_argument, NULL, OPTION_RING_GATHER},
	{"ring-spin", required_argument, NULL, OPTION_RING_SPIN},
	{"watchdog", required_argument, NULL, OPTION_WATCHDOG},
	{"shutdown-timeout", required_argument, NULL, OPTION_SHUTDOWN},
	{"budget", required_argument, NULL, OPTION_BUDGET},
	{"threads", required_argument, NULL, OPTION_THREADS},
	{"direct-io", no_argument, NULL, OPTION_DIRECT_IO},
	{"allow-other", no_argument, NULL, OPTION_ALLOW_OTHER},
	{"passthrough", required_argument, NULL, OPTION_PASSTHROUGH},
	{"foreground", no_argument, NULL, OPTION_FOREGROUND},
	{"ready-file", required_argument, NULL, OPTION_READY_FILE},
	{"log", required_argument, NULL, OPTION_LOG},
	{"json", no_argument, NULL, OPTION_JSON},
	{"nonempty", no_argument, NULL, OPTION_NONEMPTY},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{0},
};

static const char help[] =
	"usage: weir-mount [OPTIONS] SOURCE DIR\n"
	"\n"
	"Mounts the directory SOURCE (a path, or file:///path) at DIR; DIR/3fs-virt serves rings.\n"
	"\n"
	"  --read-write             writes too; else EROFS on files (rings can be registered all the same)\n"
	"  --ring-batch relaxed|strict   a partial batch whose client waits: goes out, or waits for the\n"
	"                           rest (relaxed)\n"
	"  --ring-gather on|off     ends of large requests, where many are under way, are taken some\n"
	"                           together, for fewer wake-ups (on)\n"
	"  --ring-spin TIME         rings are looked at for so long before their server sleeps: quicker\n"
	"                           answers for a processor, at most 10ms (0)\n"
	"  --watchdog TIME          readers are freed when nothing moves for so long; 0: never (120s)\n"
	"  --shutdown-timeout TIME  an end by SIGTERM takes no longer (30s)\n"
	"  --budget SIZE            memory of the daemon's I/O engine\n"
	"  --threads N              that answer the kernel (16)\n"
	"  --direct-io              every read and write reaches the daemon, nothing is cached\n"
	"  --allow-other            other users too, under the kernel's permission checks (default for root)\n"
	"  --passthrough auto|off   the kernel reads the files itself where it can (auto)\n"
	"  --nonempty               mount over a directory that is not empty\n"
	"  --foreground             stay; else the command returns when the mount answers\n"
	"  --ready-file FILE        is made when the mount answers\n"
	"  --log FILE               what there is to say goes there\n"
	"  --json                   the answer as one JSON object\n"
	"  --help, --version\n";

/* A number and a unit out of a list; false where the text is anything else, or too large. */
struct unit {
	const char *name;
	uint64_t factor;
};

static bool parse_number(const char *text, const struct unit *units, uint64_t *out)
{
	char *end;
	double number;

	if (*text < '0' || *text > '9')
		return false;
	number = strtod(text, &end);
	for (const struct unit *unit = units; unit->name; unit++) {
		if (strcmp(unit->name, end) != 0)
			continue;
		number *= (double)unit->factor;
		if (!(number >= 0 && number < 9e18))
			return false;
		*out = (uint64_t)number;
		return true;
	}
	return false;
}

static const struct unit size_units[] = {
	{"", 1},
	{"KiB", KIB},
	{"MiB", MIB},
	{"GiB", GIB},
	{"TiB", KIB *GIB},
	{"KB", 1000},
	{"MB", UINT64_C(1000000)},
	{"GB", UINT64_C(1000000000)},
	{NULL, 0},
};
static const struct unit time_units[] = {
	{"", (uint64_t)NS_PER_SEC},  {"s", (uint64_t)NS_PER_SEC},      {"ms", (uint64_t)NS_PER_MS},
	{"us", (uint64_t)NS_PER_US}, {"m", 60 * (uint64_t)NS_PER_SEC}, {NULL, 0},
};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static int wrong(struct weir_error *err, const char *option, const char *value, const char *wanted)
{
	return error_set(err, WEIR_ARG, NULL, "--%s %s: give %s", option, value, wanted);
}

static int parse_choice(const char *option, const char *value, const char *no, const char *yes,
			bool *out, struct weir_error *err)
{
	char wanted[64];

	*out = strcmp(value, yes) == 0;
	if (*out || strcmp(value, no) == 0)
		return 0;
	snprintf(wanted, sizeof(wanted), "%s or %s", no, yes);
	return wrong(err, option, value, wanted);
}

static int parse_time(const char *option, const char *value, int64_t *out, struct weir_error *err)
{
	uint64_t ns;

	if (!parse_number(value, time_units, &ns))
		return wrong(err, option, value, "a time like 250ms, 10s or 2m");
	*out = (int64_t)ns;
	return 0;
}

static int parse_spin(struct options *to, const char *value, struct weir_error *err)
{
	int ret = parse_time("ring-spin", value, &to->ring_spin_ns, err);

	return !ret && to->ring_spin_ns > SPIN_MOST_NS
		       ? wrong(err, "ring-spin", value, "a time of at most 10ms, like 50us")
		       : ret;
}

static int parse_threads(struct options *to, const char *value, struct weir_error *err)
{
	uint64_t threads;

	if (!parse_number(value, count_units, &threads) || !threads || threads > THREADS_MAX)
		return wrong(err, "threads", value, "a number from 1 to 256");
	to->threads = (unsigned)threads;
	return 0;
}

static int take_value(struct options *to, int option, const char *value, struct weir_error *err)
{
	switch (option) {
	case OPTION_RING_BATCH:
		return parse_choice("ring-batch", value, "relaxed", "strict", &to->strict, err);
	case OPTION_RING_GATHER:
		return parse_choice("ring-gather", value, "on", "off", &to->each_alone, err);
	case OPTION_RING_SPIN:
		return parse_spin(to, value, err);
	case OPTION_PASSTHROUGH:
		return parse_choice("passthrough", value, "off", "auto", &to->passthrough, err);
	case OPTION_WATCHDOG:
		return parse_time("watchdog", value, &to->watchdog_ns, err);
	case OPTION_SHUTDOWN:
		return parse_time("shutdown-timeout", value, &to->shutdown_ns, err);
	case OPTION_THREADS:
		return parse_threads(to, value, err);
	case OPTION_BUDGET:
		if (!parse_number(value, size_units, &to->budget_bytes) || !to->budget_bytes)
			return wrong(err, "budget", value, "a size like 64MiB");
		return 0;
	case OPTION_READY_FILE:
		to->ready_file = value;
		return 0;
	default: /* OPTION_LOG */
		to->log = value;
		return 0;
	}
}

static bool *flag_of(struct options *to, int option)
{
	switch (option) {
	case OPTION_READ_WRITE:
	case OPTION_READ_ONLY:
		return &to->read_write;
	case OPTION_DIRECT_IO:
		return &to->direct_io;
	case OPTION_ALLOW_OTHER:
		return &to->allow_other;
	case OPTION_NONEMPTY:
		return &to->nonempty;
	case OPTION_FOREGROUND:
		return &to->foreground;
	case OPTION_JSON:
		return &to->json;
	default:
		return NULL;
	}
}

/* As everywhere in weir: %XX in a URI means a byte, which no path has as 0. */
static bool decode(char *text)
{
	char *to = text, digits[3] = "";

	for (; *text; text++) {
		if (*text != '%') {
			*to++ = *text;
			continue;
		}
		if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
			return false;
		memcpy(digits, text + 1, 2);
		text += 2;
		*to = (char)strtol(digits, NULL, 16);
		if (!*to++)
			return false;
	}
	*to = '\0';
	return true;
}

static int take_source(struct options *to, char *source, struct weir_error *err)
{
	to->source = source;
	if (strncmp(source, "file://", 7) == 0) {
		source += strncmp(source + 7, "localhost/", 10) == 0 ? 16 : 7;
		to->source = source;
		if (!decode(source))
			return error_set(err, WEIR_ARG, NULL,
					 "%s: a '%%' without two digits that name a byte", source);
	} else if (strstr(source, "://")) {
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "%s: only directories can be mounted; give a path or file:///path",
				 source);
	}
	return 0;
}

static int take_places(struct options *to, int argc, char **argv, struct weir_error *err)
{
	int ret;

	if (argc - optind != 2)
		return error_set(err, WEIR_ARG, NULL,
				 "give a SOURCE and a DIR; weir-mount --help says more");
	to->dir = argv[optind + 1];
	ret = take_source(to, argv[optind], err);
	if (ret)
		return ret;
	if (!*to->source || !*to->dir)
		return error_set(err, WEIR_ARG, NULL, "SOURCE and DIR are not empty");
	return 0;
}

int options_parse(struct options *out, int argc, char **argv, enum options_answer *answer,
		  struct weir_error *err)
{
	int option, ret;

	*out = (struct options){
		.passthrough = true,
		.allow_other = geteuid() == 0,
		.threads = THREADS_DEFAULT,
		.watchdog_ns = 120 * NS_PER_SEC,
		.shutdown_ns = 30 * NS_PER_SEC,
	};
	*answer = OPTIONS_RUN;
	/* First: what is wrong with the others is said as JSON, too. */
	for (int n = 1; n < argc && strcmp(argv[n], "--") != 0; n++)
		out->json |= strcmp(argv[n], "--json") == 0;
	opterr = 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there are no threads yet */
	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		bool *flag = flag_of(out, option);

		if (option == OPTION_HELP || option == OPTION_VERSION) {
			if (option == OPTION_HELP)
				fputs(help, stdout);
			else
				printf("weir-mount %s\n", weir_version());
			*answer = OPTIONS_DONE;
			return 0;
		}
		if (option == '?')
			return error_set(err, WEIR_ARG, NULL,
					 "%s: not an option, or one that wants a value; "
					 "weir-mount --help lists them",
					 argv[optind - 1]);
		if (flag)
			*flag = option != OPTION_READ_ONLY;
		else if ((ret = take_value(out, option, optarg, err)))
			return ret;
	}
	return take_places(out, argc, argv, err);
}
