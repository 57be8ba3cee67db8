/* SPDX-License-Identifier: Apache-2.0 */
#include "grid.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "report.h"
#include "values.h"

#define AXIS_MAX 64u

static const char *const direct_names[] = {"auto", "on", "off"};

const char *grid_direct(int direct)
{
	return direct_names[direct];
}

/* The numbers of an axis, or its defaults; how many. */
static size_t read_axis(const struct texts *texts, const uint64_t *defaults, size_t default_count,
			uint64_t out[AXIS_MAX])
{
	size_t count = 0;
	int choice;

	for (; count < texts->count && count < AXIS_MAX; count++) {
		if (option_choice("auto|on|off", texts->items[count], &choice))
			out[count] = (uint64_t)choice;
		else
			value_size(texts->items[count], &out[count]);
	}
	if (count)
		return count;
	memcpy(out, defaults, default_count * sizeof(*out));
	return default_count;
}

struct axis {
	uint64_t value[AXIS_MAX];
	size_t count;
};

static void fill_cell(struct cell *cell, const struct axis axes[4], size_t number)
{
	uint64_t value[4] = {0};

	for (size_t n = 4; n-- > 0; number /= axes[n].count)
		value[n] = axes[n].value[number % axes[n].count];
	*cell = (struct cell){.lanes = value[0],
			      .depth = value[1],
			      .request_bytes = value[2],
			      .direct = (int)value[3]};
}

int grid_make(struct grid *grid, const struct grid_axes *axes, struct weir_error *err)
{
	static const uint64_t none[] = {0}, depths[] = {8, 32};
	static const uint64_t requests[] = {256 * WEIR_KIB, 512 * WEIR_KIB, WEIR_MIB};
	struct axis all[4];
	size_t count;

	all[0].count = read_axis(axes->lanes, none, 1, all[0].value);
	all[1].count = read_axis(axes->depth, depths, 2, all[1].value);
	all[2].count = read_axis(axes->request, requests, 3, all[2].value);
	all[3].count = read_axis(axes->direct, none, 1, all[3].value);
	count = all[0].count * all[1].count * all[2].count * all[3].count;
	if (count > GRID_CELLS_MAX)
		return report_set(err, WEIR_LIMIT, NULL, "%zu settings: at most %u", count,
				  GRID_CELLS_MAX);
	grid->cells = calloc(count, sizeof(*grid->cells));
	if (!grid->cells)
		return report_set(err, WEIR_NOMEM, NULL, "%zu settings: out of memory", count);
	grid->count = count;
	for (size_t n = 0; n < count; n++)
		fill_cell(&grid->cells[n], all, n);
	grid->again = grid->cells[0];
	return 0;
}

void grid_fini(struct grid *grid)
{
	for (size_t n = 0; n < grid->count; n++)
		free(grid->cells[n].command);
	free(grid->cells);
	*grid = (struct grid){0};
}

static void insert(struct samples *samples, double value)
{
	unsigned n = samples->count++;

	for (; n > 0 && samples->value[n - 1] > value; n--)
		samples->value[n] = samples->value[n - 1];
	samples->value[n] = value;
}

int grid_add(struct cell *cell, double rate, double cpu, struct weir_error *err)
{
	if (cell->rate.count == GRID_SAMPLES_MAX)
		return report_set(err, WEIR_LIMIT, NULL, "--repeat: at most %u", GRID_SAMPLES_MAX);
	insert(&cell->rate, rate);
	insert(&cell->cpu, cpu);
	return 0;
}

static double median(const struct samples *samples)
{
	unsigned count = samples->count;

	if (!count)
		return 0;
	return (samples->value[(count - 1) / 2] + samples->value[count / 2]) / 2;
}

static double least(const struct samples *samples)
{
	return samples->count ? samples->value[0] : 0;
}

static double most(const struct samples *samples)
{
	return samples->count ? samples->value[samples->count - 1] : 0;
}

double grid_again(const struct grid *grid)
{
	double first = grid->count ? median(&grid->cells[0].rate) : 0;

	return first > 0 ? median(&grid->again.rate) / first : 0;
}

double grid_ratio(const struct cell *cell, const struct cell *other)
{
	double first = median(&other->rate);

	return first > 0 ? median(&cell->rate) / first : 0;
}

void grid_text_head(const char *lanes, const char *request, const char *direct)
{
	out_text("%5s  %5s  %8s  %6s  %12s  %25s  %10s\n", lanes, "DEPTH", request, direct,
		 "MEDIAN", "SPREAD", "CPU s/GiB");
}

void grid_text(const struct cell *cell)
{
	char request[VALUE_MAX], middle[VALUE_MAX], low[VALUE_MAX], high[VALUE_MAX],
		lanes[VALUE_MAX];

	snprintf(lanes, sizeof(lanes), "%" PRIu64, cell->lanes);
	out_text("%5s  %5" PRIu64 "  %8s  %6s  %12s  %11s .. %10s  %10.4f\n",
		 cell->lanes ? lanes : "-", cell->depth,
		 value_print_exact(request, cell->request_bytes), grid_direct(cell->direct),
		 value_print_rate(middle, median(&cell->rate)),
		 value_print_rate(low, least(&cell->rate)),
		 value_print_rate(high, most(&cell->rate)), median(&cell->cpu));
}

static void json_samples(struct json *json, const char *key, const struct samples *samples)
{
	json_object(json, key);
	json_real(json, "median", median(samples));
	json_real(json, "min", least(samples));
	json_real(json, "max", most(samples));
	json_end(json);
}

static void json_cell(struct json *json, const struct cell *cell)
{
	json_object(json, NULL);
	if (cell->lanes)
		json_uint(json, "lanes", cell->lanes);
	json_uint(json, "depth", cell->depth);
	json_uint(json, "request_bytes", cell->request_bytes);
	json_text(json, "direct", grid_direct(cell->direct));
	json_samples(json, "bytes_per_second", &cell->rate);
	json_samples(json, "cpu_seconds_per_gib", &cell->cpu);
	json_text(json, "command", cell->command ? cell->command : "");
	json_end(json);
}

void grid_json(struct json *json, const char *key, const struct cell *cells, size_t count)
{
	json_array(json, key);
	for (size_t n = 0; n < count; n++)
		json_cell(json, &cells[n]);
	json_end(json);
}

void grid_csv_head(FILE *to)
{
	fputs("lanes,depth,request_bytes,direct,bytes_per_second_median,bytes_per_second_min,"
	      "bytes_per_second_max,cpu_seconds_per_gib_median,cpu_seconds_per_gib_min,"
	      "cpu_seconds_per_gib_max,command\n",
	      to);
}

void grid_csv(FILE *to, const struct cell *cell)
{
	if (cell->lanes)
		fprintf(to, "%" PRIu64, cell->lanes);
	fprintf(to, ",%" PRIu64 ",%" PRIu64 ",%s,%.0f,%.0f,%.0f,%.6f,%.6f,%.6f,\"", cell->depth,
		cell->request_bytes, grid_direct(cell->direct), median(&cell->rate),
		least(&cell->rate), most(&cell->rate), median(&cell->cpu), least(&cell->cpu),
		most(&cell->cpu));
	for (const char *at = cell->command ? cell->command : ""; *at; at++)
		fputs(*at == '"' ? "\"\"" : (const char[]){*at, '\0'}, to);
	fputs("\"\n", to);
}
