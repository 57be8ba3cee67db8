/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "values.h"

#define BAR_EVERY_NS   INT64_C(100000000)
#define PLAIN_EVERY_NS INT64_C(1000000000)
#define RATE_WINDOW_NS INT64_C(3000000000) /* the rate shown is that of the last seconds */

static struct {
	int mode;
	const char *what;
	uint64_t total;
	int64_t start_ns, drawn_ns;
	int64_t mark_ns; /* where the window of the rate begins */
	uint64_t mark_bytes;
	double rate;
	atomic_bool on_line; /* a bar stands on the current line */
} now;

void progress_init(int mode, bool quiet)
{
	now.mode = quiet ? PROGRESS_NONE : mode;
	if (now.mode == PROGRESS_AUTO)
		now.mode = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_NONE;
}

void progress_start(const char *what, uint64_t total_bytes)
{
	now.what = what;
	now.total = total_bytes;
	now.start_ns = now.drawn_ns = now.mark_ns = value_now_ns();
	now.mark_bytes = 0;
	now.rate = 0;
}

void progress_clear(void)
{
	if (atomic_exchange(&now.on_line, false))
		fputs("\r\033[K", stderr);
}

static unsigned columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return 80;
}

/* "  412 MiB of 1.00 GiB   2.31 GB/s   0.27 s left" */
static void describe(char *to, size_t size, uint64_t done, bool last, int64_t at_ns)
{
	char done_text[VALUE_MAX], total_text[VALUE_MAX], rate[VALUE_MAX], time[VALUE_MAX];
	double seconds = (double)(at_ns - now.start_ns) / 1e9;
	double left = now.rate > 0 && done < now.total ? (double)(now.total - done) / now.rate : 0;

	value_print_seconds(time, last ? seconds : left);
	snprintf(to, size, "%s of %s  %s  %s%s", value_print_size(done_text, done),
		 value_print_size(total_text, now.total), value_print_rate(rate, now.rate), time,
		 last ? "" : " left");
}

/* Cells of the bar itself, where the rest of the line takes so many columns. */
static unsigned bar_cells(size_t used)
{
	unsigned width = columns();

	if (width < used + 10)
		return 0;
	return width - used > 40 ? 40 : (unsigned)(width - used);
}

static void draw_cells(unsigned cells, double share)
{
	static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
	unsigned filled = (unsigned)(share * cells * 8);

	if (!cells)
		return;
	fputs("▕", stderr);
	for (unsigned n = 0; n < filled / 8; n++)
		fputs("█", stderr);
	fputs(eighths[filled % 8], stderr);
	for (unsigned n = (filled + 7) / 8; n < cells; n++)
		putc(' ', stderr);
	fputs("▏ ", stderr);
}

static void draw_bar(uint64_t done, const char *text)
{
	double share = now.total ? (double)done / (double)now.total : 1;

	share = share > 1 ? 1 : share;
	fprintf(stderr, "\r\033[K%s %3u%% ", now.what, (unsigned)(share * 100));
	draw_cells(bar_cells(strlen(now.what) + strlen(text) + 12), share);
	fputs(text, stderr);
	fflush(stderr);
	atomic_store(&now.on_line, true);
}

static void draw(uint64_t done, bool last, int64_t at_ns)
{
	char text[160];

	describe(text, sizeof(text), done, last, at_ns);
	if (now.mode == PROGRESS_BAR)
		draw_bar(done, text);
	else
		fprintf(stderr, "%s %s\n", now.what, text);
	now.drawn_ns = at_ns;
}

static void measure(uint64_t done, int64_t at_ns)
{
	int64_t span = at_ns - now.mark_ns;

	if (span > 0 && done >= now.mark_bytes)
		now.rate = (double)(done - now.mark_bytes) / ((double)span / 1e9);
	if (span > RATE_WINDOW_NS) {
		now.mark_ns = at_ns;
		now.mark_bytes = done;
	}
}

void progress_show(uint64_t done_bytes)
{
	int64_t every = now.mode == PROGRESS_PLAIN ? PLAIN_EVERY_NS : BAR_EVERY_NS, at_ns;

	if (now.mode == PROGRESS_NONE)
		return;
	at_ns = value_now_ns();
	if (at_ns - now.drawn_ns < every)
		return;
	measure(done_bytes, at_ns);
	draw(done_bytes, false, at_ns);
}

void progress_finish(uint64_t done_bytes)
{
	int64_t at_ns = value_now_ns();

	if (now.mode == PROGRESS_NONE)
		return;
	now.mark_ns = now.start_ns; /* the last word is the mean of all of it */
	now.mark_bytes = 0;
	measure(done_bytes, at_ns);
	draw(done_bytes, true, at_ns);
	if (atomic_exchange(&now.on_line, false))
		putc('\n', stderr);
}
