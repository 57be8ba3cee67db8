/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion of verbs, options, choices and file names, for bash and zsh.
 *
 * A verb of two words completes its second word like an option; all else follows from the tables.
 */
#include <stdio.h>
#include <string.h>

#include "manual.h"

static void write_words(FILE *to, const struct verb *verb)
{
	for (const struct option_set *set = verb->sets; set->options; set++) {
		for (const struct option *option = set->options; option->name; option++)
			fprintf(to, " --%s", option->name);
	}
}

/* Is this the first verb with this first word?  Its length, or 0. */
static size_t first_word(const struct verb *const *verb)
{
	size_t len = strcspn((*verb)->name, " ");

	for (const struct verb *const *other = verbs; other != verb; other++) {
		if (strncmp((*other)->name, (*verb)->name, len) == 0 &&
		    ((*other)->name[len] == ' ' || (*other)->name[len] == '\0'))
			return 0;
	}
	return len;
}

/* All second words behind the same first one; of verbs of one word, and where they were told, none. */
static bool second_words(const struct verb *const *verb, char *to, size_t size)
{
	size_t len = first_word(verb), used = 0;

	to[0] = '\0';
	for (const struct verb *const *other = verb; *other && len > 0; other++) {
		if (strncmp((*other)->name, (*verb)->name, len) != 0 || (*other)->name[len] != ' ')
			continue;
		used += (size_t)snprintf(to + used, size - used, "%s%s", used ? " " : "",
					 (*other)->name + len + 1);
	}
	return used > 0;
}

static void write_choices(FILE *to, const char *choices)
{
	for (; *choices; choices++)
		putc(*choices == '|' ? ' ' : *choices, to);
}

static void bash_values(FILE *to)
{
	fputs("\tcase $previous in\n", to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		for (const struct option_set *set = (*verb)->sets; set->options; set++) {
			for (const struct option *option = set->options; option->name; option++) {
				if (!option->choices || option->bare)
					continue;
				fprintf(to, "\t\"%s:--%s\")\n\t\tCOMPREPLY=($(compgen -W \"",
					(*verb)->name, option->name);
				write_choices(to, option->choices);
				fputs("\" -- \"$word\"))\n\t\treturn\n\t\t;;\n", to);
			}
		}
	}
	fputs("\tesac\n", to);
}

static void bash_verbs(FILE *to)
{
	fputs("\tcase $verb in\n", to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		fprintf(to, "\t\"%s\") options=\"", (*verb)->name);
		write_words(to, *verb);
		fputs("\" ;;\n", to);
	}
	fputs("\tesac\n", to);
}

void completion_bash(FILE *to)
{
	fputs("# bash completion for weir: made from the tables in cli/\n_weir()\n{\n"
	      "\tlocal word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} options= previous\n"
	      "\tlocal first=\"",
	      to);
	for (const struct verb *const *verb = verbs; *verb; verb++)
		fprintf(to, "%.*s ", (int)first_word(verb), (*verb)->name);
	fputs("help --help --version\"\n\n\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$first\" -- \"$word\"))\n\t\treturn\n\tfi\n",
	      to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		char second[256];

		if (!second_words(verb, second, sizeof(second)))
			continue;
		fprintf(to,
			"\tif [ \"$verb\" = %.*s ]; then\n\t\tif [ \"$COMP_CWORD\" -eq 2 ]; then\n"
			"\t\t\tCOMPREPLY=($(compgen -W \"%s\" -- \"$word\"))\n\t\t\treturn\n\t\tfi\n"
			"\t\tverb=\"$verb ${COMP_WORDS[2]}\"\n\tfi\n",
			(int)first_word(verb), (*verb)->name, second);
	}
	fputs("\tif [ \"$verb\" = help ]; then\n\t\tCOMPREPLY=($(compgen -W \"$first\" -- "
	      "\"$word\"))\n\t\treturn\n\tfi\n\tprevious=$verb:${COMP_WORDS[COMP_CWORD-1]}\n",
	      to);
	bash_values(to);
	bash_verbs(to);
	fputs("\tif [[ $word == -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n\telse\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n\tfi\n}\n"
	      "complete -o filenames -F _weir weir\n",
	      to);
}

/* Text within 'single quotes' and _arguments' own [brackets]. */
static void write_quoted(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", to);
		else if (strchr("[]:\\", *text))
			fprintf(to, "\\%c", *text);
		else
			putc(*text, to);
	}
}

static void zsh_option(FILE *to, const struct option *option)
{
	bool many = option->kind == OPTION_LIST;

	fprintf(to, " \\\n\t\t\t'%s--%s%s[", many ? "*" : "", option->name,
		option->bare                  ? "=-"
		: option->kind == OPTION_FLAG ? ""
					      : "=");
	write_quoted(to, option->help);
	fputs("]", to);
	if (option->kind != OPTION_FLAG) {
		fprintf(to, "%s:%s:", option->bare ? ":" : "", option->value);
		if (option->choices) {
			fputs("(", to);
			write_choices(to, option->choices);
			fputs(")", to);
		} else if (strcmp(option->value, "FILE") == 0) {
			fputs("_files", to);
		}
	}
	fputs("'", to);
}

static void zsh_verb(FILE *to, const struct verb *verb)
{
	fprintf(to, "\t'%s')\n\t\t_arguments -S", verb->name);
	for (const struct option_set *set = verb->sets; set->options; set++) {
		for (const struct option *option = set->options; option->name; option++)
			zsh_option(to, option);
	}
	fputs(" \\\n\t\t\t'*:file:_files'\n\t\t;;\n", to);
}

void completion_zsh(FILE *to)
{
	fputs("#compdef weir\n# zsh completion for weir: made from the tables in cli/\n"
	      "local -a first\nfirst=(\n",
	      to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		size_t len = first_word(verb);

		if (!len)
			continue;
		fprintf(to, "\t'%.*s:", (int)len, (*verb)->name);
		write_quoted(to, (*verb)->summary);
		fputs("'\n", to);
	}
	fputs("\t'help:opens the man page of a verb'\n)\nif (( CURRENT == 2 )); then\n"
	      "\t_describe -t commands 'verb' first\n\treturn\nfi\nlocal verb=$words[2]\n"
	      "shift words; (( CURRENT-- ))\n",
	      to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		char second[256];

		if (second_words(verb, second, sizeof(second)))
			fprintf(to,
				"if [[ $verb == %.*s ]]; then\n\tif (( CURRENT == 2 )); then\n"
				"\t\tcompadd %s\n\t\treturn\n\tfi\n\tverb=\"$verb $words[2]\"\n"
				"\tshift words; (( CURRENT-- ))\nfi\n",
				(int)first_word(verb), (*verb)->name, second);
	}
	fputs("case $verb in\n", to);
	for (const struct verb *const *verb = verbs; *verb; verb++)
		zsh_verb(to, *verb);
	fputs("\thelp)\n\t\t_describe -t commands 'verb' first\n\t\t;;\nesac\n", to);
}
