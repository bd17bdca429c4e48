/* SPDX-License-Identifier: Apache-2.0 */
/* Tells what our parser says of each line of a file: "ok", or the fault and its text. */
#include "api/traceql.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	static const char *const faults[] = { "syntax", "meaning", "unsupported" };
	FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (!in)
		return 2;
	while ((len = getline(&line, &size, in)) > 0) {
		struct str text = { line, (size_t)len - (line[len - 1] == '\n') };
		struct traceql_error why;
		struct traceql *q = NULL;

		if (traceql_parse(text, &q, &why))
			printf("%s %s\n", faults[why.fault], why.text);
		else
			printf("ok\n");
		traceql_free(q);
	}
	free(line);
	fclose(in);
	return 0;
}
