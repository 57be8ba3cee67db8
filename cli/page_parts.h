/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every page has inside: page/page.css and page/page.js, made into arrays while weir is built.
 */
#ifndef CLI_PAGE_PARTS_H
#define CLI_PAGE_PARTS_H

#include <stddef.h>

extern const char page_css[], page_js[];
extern const size_t page_css_len, page_js_len;

#endif
