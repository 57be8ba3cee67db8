/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grid of settings, what was measured at each, and how that is told.
 */
#ifndef CLI_GRID_H
#define CLI_GRID_H

#include "json.h"
#include "option.h"
#include "weir/weir.h"

#define GRID_CELLS_MAX   1000u
#define GRID_SAMPLES_MAX 100u

struct samples {
	double value[GRID_SAMPLES_MAX]; /* sorted */
	unsigned count;
};

struct cell {
	uint64_t lanes, depth, request_bytes; /* lanes 0: weir chooses */
	int direct;                           /* enum weir_direct */
	struct samples rate, cpu;             /* bytes a second; processor seconds for each GiB */
	char *command; /* that repeats the figure; the grid's, NULL where memory ended */
};

struct grid {
	struct cell *cells; /* owned */
	size_t count;
	struct cell again; /* the first one, measured once more at the end */
	uint64_t bytes;    /* of one load */
};

/* Texts that the parser of options has checked; an axis without any has its default. */
struct grid_axes {
	const struct texts *lanes, *depth, *request, *direct;
};

int grid_make(struct grid *grid, const struct grid_axes *axes, struct weir_error *err);
void grid_fini(struct grid *grid);

int grid_add(struct cell *cell, double rate, double cpu, struct weir_error *err);

/* The first setting at the end against itself at the start. */
double grid_again(const struct grid *grid);

/* The rate of one cell against that of another: medians. */
double grid_ratio(const struct cell *cell, const struct cell *other);

const char *grid_direct(int direct);

/* What the columns of lanes, requests and direct reads are called. */
void grid_text_head(const char *lanes, const char *request, const char *direct);
void grid_text(const struct cell *cell);
void grid_json(struct json *json, const char *key, const struct cell *cells, size_t count);
void grid_csv_head(FILE *to);
void grid_csv(FILE *to, const struct cell *cell);

#endif
