/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data stand in elements of type application/json, where nothing ends them but "</": so every "<" of
 * theirs is written as \u003c, which JSON has for it.
 */
#include "page.h"

#include <errno.h>
#include <string.h>

#include "page_parts.h"
#include "report.h"

static void write_html(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", to);
		else if (*text == '&')
			fputs("&amp;", to);
		else
			putc(*text, to);
	}
}

static void write_head(FILE *to, const char *title)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>",
	      to);
	write_html(to, title);
	fputs("</title>\n<style>\n", to);
	fwrite(page_css, 1, page_css_len, to);
	fputs("</style>\n</head>\n<body>\n<main id=\"page\"><noscript>This page draws itself with a "
	      "script of its own, which is switched off here.</noscript></main>\n"
	      "<script type=\"application/json\" id=\"data\">",
	      to);
}

int page_open(struct page *page, const char *path, const char *title, struct weir_error *err)
{
	int ret;

	*page = (struct page){0};
	ret = whole_open(&page->whole, path, "the page", err);
	if (ret)
		return ret;
	page->file = page->whole.to;
	write_head(page->file, title);
	json_open(&page->json, page->file);
	page->json.for_html = true;
	json_object(&page->json, NULL);
	return 0;
}

static int write_trace(struct page *page, const char *path, struct weir_error *err)
{
	FILE *from = fopen(path, "re");
	int c;

	if (!from)
		return report_set(err, WEIR_IO, path, "%s: cannot read the trace: %s", path,
				  strerror(errno));
	fputs("<script type=\"application/json\" id=\"trace\">", page->file);
	while ((c = getc(from)) != EOF) {
		if (c == '<')
			fputs("\\u003c", page->file);
		else
			putc(c, page->file);
	}
	fputs("</script>\n", page->file);
	fclose(from);
	return 0;
}

int page_close(struct page *page, const char *trace, struct weir_error *err)
{
	int ret = 0, closed;

	json_end(&page->json);
	json_close(&page->json);
	fputs("</script>\n", page->file);
	if (trace)
		ret = write_trace(page, trace, err);
	fputs("<script>\n", page->file);
	fwrite(page_js, 1, page_js_len, page->file);
	fputs("</script>\n</body>\n</html>\n", page->file);
	closed = whole_close(&page->whole, !ret, ret ? &(struct weir_error)WEIR_ERROR_INIT : err);
	return ret ? ret : closed;
}
