/* SPDX-License-Identifier: Apache-2.0 */
#include "grid_tell.h"

#include <errno.h>
#include <string.h>

#include "page.h"
#include "report.h"

static int cannot_write(const char *path, struct weir_error *err)
{
	return report_set(err, WEIR_IO, path, "%s: cannot write: %s", path, strerror(errno));
}

static int tell_csv(const struct grid_told *told, const char *path, struct weir_error *err)
{
	FILE *file = fopen(path, "we");

	if (!file)
		return cannot_write(path, err);
	told->csv(told->bench, file);
	return fclose(file) == 0 ? 0 : cannot_write(path, err);
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

int grid_tell(const struct grid_told *told, const char *csv, const char *html, bool json,
	      struct weir_error *err)
{
	int ret = csv ? tell_csv(told, csv, err) : 0;

	if (!ret && html)
		ret = tell_html(told, html, err);
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
