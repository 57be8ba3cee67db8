/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages: self-contained HTML files that show what was measured.  Style, script and data are inside; no
 * page ever asks a network for anything.
 *
 *	page_open()     everything up to the data; page.json is an object that is open
 *	json_...()      the data: the script in page/page.js draws what "page" says
 *	page_close()    the rest, with a trace if there is one; then the page gets its name
 */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include "json.h"
#include "weir/error.h"
#include "whole.h"

struct page {
	struct whole whole;
	FILE *file; /* of `whole` */
	struct json json;
};

int page_open(struct page *page, const char *path, const char *title, struct weir_error *err);

/* trace: the path of a file in Chrome's trace-event format, or NULL.  Also after a failure. */
int page_close(struct page *page, const char *trace, struct weir_error *err);

#endif
