/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Man pages, in the macros of man(7).  Text of the tables is plain; `what stands in backquotes` is set
 * bold, an empty line starts a paragraph, and nothing else means anything.
 */
#include "manual.h"

#include <ctype.h>
#include <string.h>

#include "help.h"
#include "weir/weir.h"

/* Text as roff takes it: no byte of it is a command. */
static void write_text(FILE *to, const char *text)
{
	bool bold = false, line_start = true;

	for (; *text; text++) {
		if (line_start && (*text == '.' || *text == '\''))
			fputs("\\&", to);
		line_start = false;
		switch (*text) {
		case '\\':
			fputs("\\e", to);
			break;
		case '-':
			fputs("\\-", to);
			break;
		case '`':
			bold = !bold;
			fputs(bold ? "\\fB" : "\\fR", to);
			break;
		case '\n':
			fputs(text[1] == '\n' ? "\n.PP\n" : "\n", to);
			text += text[1] == '\n';
			line_start = true;
			break;
		default:
			putc(*text, to);
		}
	}
}

static void write_line(FILE *to, const char *before, const char *text, const char *after)
{
	fputs(before, to);
	write_text(to, text);
	fputs(after, to);
}

static void title(FILE *to, const char *name, const char *section, const char *summary)
{
	fprintf(to, ".\\\" made from the tables in cli/\n.TH ");
	for (const char *at = name; *at; at++)
		putc(toupper((unsigned char)*at), to);
	fprintf(to, " %s \"\" \"weir %d.%d.%d\" \"weir\"\n.SH NAME\n", section, WEIR_VERSION_MAJOR,
		WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
	write_text(to, name);
	write_line(to, " \\- ", summary, "\n");
}

static void write_option(FILE *to, const struct option *option)
{
	char text[96];

	help_option_text(text, sizeof(text), option);
	write_line(to, ".TP\n.B ", text, "\n");
	/* The first letter of the line of help becomes that of a sentence. */
	putc(toupper((unsigned char)option->help[0]), to);
	write_line(to, "", option->help + 1, ".\n");
	if (option->choices) {
		fputs("One of ", to);
		for (const char *at = option->choices; *at;) {
			size_t span = strcspn(at, "|");

			fprintf(to, "\\fB%.*s\\fR%s", (int)span, at, at[span] ? ", " : ".\n");
			at += span + (at[span] != '\0');
		}
	}
	if (option->initial)
		write_line(to, "Default: ", option->initial, ".\n");
}

static void write_options(FILE *to, const struct verb *verb)
{
	fputs(".SH OPTIONS\n", to);
	for (size_t set = 0; verb->sets[set].options; set++) {
		/* What every verb has comes last. */
		const struct option_set *next = &verb->sets[set + 1];
		const struct option *option = next->options ? next->options : verb->sets[0].options;

		for (; option->name; option++)
			write_option(to, option);
	}
}

static void write_fields(FILE *to, const struct field *field)
{
	for (; field->name; field++) {
		write_line(to, ".TP\n.B ", field->name, "\n");
		write_line(to, "", field->text, "\n");
	}
}

static void write_json(FILE *to, const struct verb *verb)
{
	if (!verb->json)
		return;
	fprintf(to, ".SH JSON\nWith \\fB\\-\\-json\\fR, %s\n",
		verb->each ? "one object a line for each argument, in the order given. Its members:"
			   : "one document. Its members:");
	write_fields(to, verb->json);
	fputs(".PP\nIntegers are exact. A member that has no value is left out. The member "
	      "\\fBerror\\fR, on failure, is described in \\fBweir\\fR(7).\n",
	      to);
}

static void write_examples(FILE *to, const struct verb *verb)
{
	fputs(".SH EXAMPLES\n", to);
	for (size_t n = 0; n < 2; n++) {
		write_line(to, ".TP\n.B ", verb->examples[n].command, "\n");
		write_line(to, "", verb->examples[n].text, ".\n");
	}
}

static void write_see_also(FILE *to, const struct verb *but)
{
	fputs(".SH SEE ALSO\n", to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		char name[64];

		if (*verb == but)
			continue;
		help_page_name(name, sizeof(name), *verb);
		write_line(to, "\\fB", name, "\\fR(1),\n");
	}
	fputs(but ? "\\fBweir\\fR(1),\n" : "", to);
	fputs("\\fBweir\\fR(3),\n\\fBweir\\fR(7)\n", to);
}

void manual_verb(FILE *to, const struct verb *verb)
{
	char name[64];

	help_page_name(name, sizeof(name), verb);
	title(to, name, "1", verb->summary);
	write_line(to, ".SH SYNOPSIS\n.B weir ", verb->name, "\n[\\fIOPTIONS\\fR] \\fI");
	write_text(to, verb->arguments);
	write_line(to, "\\fR\n.SH DESCRIPTION\n", verb->story, "\n");
	write_options(to, verb);
	write_json(to, verb);
	write_examples(to, verb);
	fputs(".SH EXIT STATUS\n", to);
	write_fields(to, help_statuses);
	write_see_also(to, verb);
}

void manual_weir(FILE *to)
{
	title(to, "weir", "1", "moves tensors from where they are kept to where they are needed");
	fputs(".SH SYNOPSIS\n.B weir\n\\fIVERB\\fR [\\fIOPTIONS\\fR] \\fIARGUMENTS\\fR\n.br\n"
	      ".B weir help\n[\\fIVERB\\fR]\n.br\n.B weir \\-\\-version\n.SH DESCRIPTION\n"
	      "Weir loads the tensors of safetensors and GGUF files at the speed of the storage, "
	      "says what is in such files, and whether they are whole.\n"
	      "Results go to standard output, progress and errors to standard error.\n"
	      "With \\fB\\-\\-json\\fR every verb writes JSON for programs to read; those names "
	      "stay as they are, the text for people may change.\n.SH VERBS\n",
	      to);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		write_line(to, ".TP\n.B ", (*verb)->name, "\n");
		putc(toupper((unsigned char)(*verb)->summary[0]), to);
		write_line(to, "", (*verb)->summary + 1, ".\n");
	}
	fputs(".SH OPTIONS\n.TP\n.B \\-\\-help\nPrint the verbs; behind a verb, its options and two "
	      "examples.\n.TP\n.B \\-\\-version\nPrint the version, and which optional parts were "
	      "found.\n.SH EXIT STATUS\n",
	      to);
	write_fields(to, help_statuses);
	write_see_also(to, NULL);
}

static void write_classes(FILE *to)
{
	fputs(".SH ERROR CLASSES\nEvery failure has one class. In JSON it is the member "
	      "\\fBclass\\fR of \\fBerror\\fR, beside \\fBmessage\\fR and, where they are known, "
	      "\\fBobject\\fR, \\fBoffset_bytes\\fR, \\fBrequest_id\\fR and \\fBerrno\\fR.\n",
	      to);
	for (int code = -1; code > -128; code--) {
		if (strcmp(weir_code_name(code), "UNKNOWN") == 0)
			continue;
		write_line(to, ".TP\n.B ", weir_code_name(code), "\n");
		write_line(to, "", weir_code_text(code), "\n");
	}
}

void manual_miscellany(FILE *to)
{
	title(to, "weir", "7", "values, URIs, environment, exit statuses and error classes");
	fputs(".SH DESCRIPTION\nWhat the verbs of \\fBweir\\fR(1) and the functions of "
	      "\\fBweir\\fR(3) have in common.\n.SH VALUES\n",
	      to);
	write_fields(to, help_values);
	fputs(".SH URIS\n", to);
	write_fields(to, help_uris);
	fputs(".SH ENVIRONMENT\nVariables are read when a context is made. A value that makes no "
	      "sense is an error that names the variable.\n",
	      to);
	write_fields(to, help_environment);
	fputs(".SH EXIT STATUS\n", to);
	write_fields(to, help_statuses);
	write_classes(to);
	write_see_also(to, NULL);
}
