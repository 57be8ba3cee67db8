/* SPDX-License-Identifier: Apache-2.0 */
#include "grid_tell.h"

#include <string.h>

#include "page.h"
#include "whole.h"

const struct option tell_options[] = {
	{.name = "csv",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "write a line for each figure",
	 .at = offsetof(struct tell_options, csv)},
	{.name = "html",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "write a page with charts",
	 .at = offsetof(struct tell_options, html)},
	{0},
};

static int tell_csv(const struct grid_told *told, const char *path, struct weir_error *err)
{
	struct whole whole;
	int ret = whole_open(&whole, path, "the table", err);

	if (ret)
		return ret;
	told->csv(told->bench, whole.to);
	return whole_close(&whole, true, err);
}

static int tell_html(const struct grid_told *told, const char *path, struct weir_error *err)
{
	struct page page;
	int ret = page_open(&page, path, told->title, err);

	if (ret)
		return ret;
	json_text(&page.json, "page", "bench");
	told->json(told->bench, &page.json);
	return page_close(&page, NULL, err);
}

static void tell_json(const struct grid_told *told)
{
	struct json json;

	json_open(&json, stdout);
	json_object(&json, NULL);
	told->json(told->bench, &json);
	json_end(&json);
	json_close(&json);
}

int grid_tell(const struct grid_told *told, const struct tell_options *options, bool json,
	      struct weir_error *err)
{
	int ret = options->csv ? tell_csv(told, options->csv, err) : 0;

	if (!ret && options->html)
		ret = tell_html(told, options->html, err);
	if (ret)
		return ret;
	if (json)
		tell_json(told);
	else
		told->text(told->bench);
	return 0;
}

void grid_argument(FILE *to, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-./:=@%+,";

	if (*text && text[strspn(text, plain)] == '\0') {
		fputs(text, to);
		return;
	}
	putc('\'', to);
	for (; *text; text++)
		fputs(*text == '\'' ? "'\\''" : (const char[]){*text, '\0'}, to);
	putc('\'', to);
}
