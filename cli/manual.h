/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Man pages and completions, made from the tables of the verbs while weir is built.
 */
#ifndef CLI_MANUAL_H
#define CLI_MANUAL_H

#include <stdio.h>

#include "command.h"

void manual_verb(FILE *to, const struct verb *verb); /* weir-load(1) */
void manual_weir(FILE *to);                          /* weir(1) */
void manual_miscellany(FILE *to);                    /* weir(7) */

void completion_bash(FILE *to);
void completion_zsh(FILE *to);

#endif
