/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/environment.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "engine/group.h"

static const struct {
	const char *name;
	uint64_t factor;
} units[] = {
	{"", 1},
	{"B", 1},
	{"KiB", KIB},
	{"MiB", MIB},
	{"GiB", GIB},
	{"TiB", GIB << 10},
	{"KB", 1000},
	{"MB", 1000000},
	{"GB", 1000000000},
	{"TB", 1000000000000},
};

static int parse_digits(const char **at, uint64_t *out)
{
	const char *start = *at;

	*out = 0;
	for (; **at >= '0' && **at <= '9'; (*at)++)
		if (!size_mul(*out, 10, out) || !size_add(*out, (uint64_t)(**at - '0'), out))
			return -1;
	return *at > start ? 0 : -1;
}

int size_parse(const char *text, uint64_t *out)
{
	uint64_t whole, factor = 0, fraction = 0, scale = 1;

	if (parse_digits(&text, &whole) < 0)
		return -1;
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++)
			if (scale < 1000000) {
				fraction = fraction * 10 + (uint64_t)(*text - '0');
				scale *= 10;
			}
	for (size_t i = 0; i < array_size(units); i++)
		if (strcasecmp(text, units[i].name) == 0)
			factor = units[i].factor;
	if (factor == 0 || !size_mul(whole, factor, out) ||
	    !size_add(*out, fraction * (factor / scale) + fraction * (factor % scale) / scale, out))
		return -1;
	return 0;
}

/* As the vendor's library has it: exactly "yes". */
bool environment_any_mount(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *value = getenv("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP");

	return value && strcmp(value, "yes") == 0;
}

int environment_library(int *out, struct weir_error *err)
{
	static const char *const names[] = {"auto", "native", "vendor"};
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *value = getenv("WEIR_3FS_LIBRARY");
	struct quoted q;

	*out = LIBRARY_AUTO;
	if (!value || !*value)
		return 0;
	for (size_t i = 0; i < array_size(names); i++) {
		*out = (int)i;
		if (strcmp(value, names[i]) == 0)
			return 0;
	}
	return error_set(err, WEIR_ARG, NULL,
			 "WEIR_3FS_LIBRARY is '%s': it is native, vendor or auto",
			 quote(&q, (struct bytes){value, strnlen(value, 64)}));
}

int environment_node(struct node_wish *out, struct weir_error *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *value = getenv("WEIR_3FS_NODE");
	struct quoted q;
	char *end;

	*out = (struct node_wish){NODE_WISH_HERE, NODE_ANY};
	if (!value || !*value || strcmp(value, "auto") == 0)
		return 0;
	*out = (struct node_wish){NODE_WISH_NONE, NODE_ANY};
	if (strcmp(value, "none") == 0)
		return 0;
	if (*value >= '0' && *value <= '9') {
		unsigned long node = strtoul(value, &end, 10);

		*out = (struct node_wish){NODE_WISH_ONE, (int)node};
		if (*end == '\0' && node < NODES_MAX)
			return 0;
	}
	return error_set(err, WEIR_ARG, NULL,
			 "WEIR_3FS_NODE is '%s': it is auto, none or the number of a node",
			 quote(&q, (struct bytes){value, strnlen(value, 64)}));
}

static int copy(const char *name, char **out, struct weir_error *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *value = getenv(name);

	*out = value && *value ? strdup(value) : NULL;
	return value && *value && !*out ? error_nomem(err, NULL, name) : 0;
}

int environment_places(struct environment_places *out, struct weir_error *err)
{
	int ret = copy("HF3FS_LIB_DIR", &out->directory, err);

	return ret ? ret : copy("LD_LIBRARY_PATH", &out->directories, err);
}

void environment_places_fini(struct environment_places *places)
{
	free(places->directory);
	free(places->directories);
}

static int read_cufile(struct weir_ctx_opts *opts, struct weir_error *err)
{
	static const char *const names[] = {
		[WEIR_CUFILE_AUTO] = "auto", [WEIR_CUFILE_OFF] = "off", [WEIR_CUFILE_ON] = "on"};
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *value = getenv("WEIR_CUFILE");
	struct quoted q;

	if (!value || !*value || opts->cufile)
		return 0;
	for (size_t i = 0; i < array_size(names); i++)
		if (strcmp(value, names[i]) == 0) {
			opts->cufile = (int)i;
			return 0;
		}
	return error_set(err, WEIR_ARG, NULL, "WEIR_CUFILE is '%s': it is auto, off or on",
			 quote(&q, (struct bytes){value, strnlen(value, 64)}));
}

int environment_read(struct weir_ctx_opts *opts, struct log *log, struct weir_error *err)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): that they are read here, and only here, is said in context.h */
	const char *budget = getenv("WEIR_BUDGET");
	const char *debug = getenv("WEIR_DEBUG");
	/* NOLINTEND(concurrency-mt-unsafe) */
	struct quoted q;

	if (debug && *debug)
		log->level = WEIR_LOG_DEBUG;
	if (read_cufile(opts, err) < 0)
		return WEIR_ARG;
	if (!budget || opts->budget_bytes)
		return 0;
	if (size_parse(budget, &opts->budget_bytes) < 0)
		return error_set(err, WEIR_ARG, NULL,
				 "WEIR_BUDGET is '%s': not a size (such as 512MiB)",
				 quote(&q, (struct bytes){budget, strnlen(budget, 64)}));
	if (opts->budget_bytes < BUDGET_MIN)
		return error_set(err, WEIR_ARG, NULL,
				 "WEIR_BUDGET is %llu bytes: at least %llu MiB, for staging alone",
				 (unsigned long long)opts->budget_bytes,
				 (unsigned long long)(BUDGET_MIN / MIB));
	return 0;
}
