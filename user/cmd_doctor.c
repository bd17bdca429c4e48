/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: what this kernel and our privileges allow, found by trying; works without root too. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "command.h"
#include "probe/probe.h"
#include "setup.h"

#define CHECKS_MAX 32

struct backend {
	enum capture capture;
	bool ok;
	char reason[512];
};

struct report {
	struct probe_check checks[CHECKS_MAX];
	size_t check_cnt;
	struct backend backends[CAPTURE_SYSCALL]; /* all but auto */
	struct probe *probe;			  /* as `run` would have it; NULL: impossible */
	char why[512];
};

static void set_config(const struct config *c, enum capture capture, struct probe_cfg *ret_cfg)
{
	static uint32_t own;

	/* only ourselves, so that trying costs nobody anything */
	setup_probe(c, NULL, &own, ret_cfg);
	own = (uint32_t)getpid();
	ret_cfg->filter = (struct probe_filter){ .pids = &own, .pid_cnt = 1 };
	ret_cfg->capture = capture;
}

static void examine(const struct config *c, struct report *r)
{
	struct probe_cfg cfg;
	const char *why = "";

	r->check_cnt = probe_check_all(r->checks, CHECKS_MAX);
	for (int i = 0; i < CAPTURE_SYSCALL; i++) {
		struct backend *b = &r->backends[i];
		struct probe *p = NULL;

		b->capture = (enum capture)(i + 1);
		set_config(c, b->capture, &cfg);
		cfg.tls = false;
		b->ok = probe_new(&cfg, &p, &why) == 0;
		snprintf(b->reason, sizeof(b->reason), "%s", b->ok ? "" : why);
		probe_free(p);
	}
	set_config(c, CAPTURE_AUTO, &cfg);
	if (probe_new(&cfg, &r->probe, &why)) {
		r->probe = NULL;
		snprintf(r->why, sizeof(r->why), "%s", why);
	}
}

/* ---- as JSON: a shape that scripts rely on ---- */

static json_t *or_null(const char *text)
{
	return text && *text ? json_string(text) : json_null();
}

static json_t *programs_json(const struct report *r)
{
	json_t *list = json_array();
	size_t cnt = 0;
	const struct probe_row *row = r->probe ? probe_rows(r->probe, &cnt) : NULL;

	for (size_t i = 0; i < cnt; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:b, s:b, s:o}", "name", row[i].program,
					"group", row[i].group, "loaded", row[i].loaded, "attached",
					row[i].attached, "reason", or_null(row[i].reason)));
	return list;
}

static json_t *report_json(const struct report *r)
{
	json_t *checks = json_array(), *backends = json_array();
	struct utsname u;

	uname(&u);
	for (size_t i = 0; i < r->check_cnt; i++)
		json_array_append_new(checks,
				      json_pack("{s:s, s:b, s:s}", "name", r->checks[i].name, "ok",
						r->checks[i].ok, "detail", r->checks[i].detail));
	for (size_t i = 0; i < CAPTURE_SYSCALL; i++)
		json_array_append_new(backends, json_pack("{s:s, s:b, s:o}", "name",
							  capture_names[r->backends[i].capture],
							  "ok", r->backends[i].ok, "reason",
							  or_null(r->backends[i].reason)));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "kernel", u.release, "backend",
			 r->probe ? json_string(capture_names[probe_capture(r->probe)])
				  : json_null(),
			 "reason", or_null(r->why), "backends", backends, "checks", checks,
			 "programs", programs_json(r));
}

static void print_json(const struct report *r)
{
	json_t *all = report_json(r);

	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

/* ---- as text ---- */

static void print_row(const struct term *t, bool ok, const char *name, const char *detail)
{
	const char *on = !t->color ? "" : ok ? "\033[32m" : "\033[31m";

	printf("  %s%-4s%s %-28s %s\n", on, ok ? "ok" : "no", *on ? "\033[0m" : "", name, detail);
}

static void print_text(const struct report *r, const struct term *t)
{
	const struct probe_row *row;
	size_t cnt = 0, attached = 0;
	char line[640];

	printf("This machine\n");
	for (size_t i = 0; i < r->check_cnt; i++)
		print_row(t, r->checks[i].ok, r->checks[i].name, r->checks[i].detail);
	printf("Ways to capture\n");
	for (size_t i = 0; i < CAPTURE_SYSCALL; i++) {
		const struct backend *b = &r->backends[i];
		bool chosen = r->probe && probe_capture(r->probe) == b->capture;

		snprintf(line, sizeof(line), "%s%s", b->reason, chosen ? "chosen" : "");
		print_row(t, b->ok, capture_names[b->capture], line);
	}
	if (!r->probe) {
		printf("Result: nothing can be traced here: %s\n", r->why);
		return;
	}
	row = probe_rows(r->probe, &cnt);
	printf("Programs\n");
	for (size_t i = 0; i < cnt; i++) {
		attached += row[i].attached;
		/* of another way to capture, or for older kernels */
		if (!row[i].attached && !row[i].loaded && row[i].reason &&
		    strstr(row[i].reason, "not needed"))
			continue;
		snprintf(line, sizeof(line), "%s%s%s", row[i].group, row[i].reason ? ": " : "",
			 row[i].reason ? row[i].reason : "");
		print_row(t, row[i].attached, row[i].program, line);
	}
	printf("Result: ready, by %s, with %zu programs attached\n",
	       capture_names[probe_capture(r->probe)], attached);
}

int command_doctor(const struct config *c)
{
	static const char *const color_modes[] = { "auto", "always", "never" };
	struct report *r = calloc(1, sizeof(*r));
	struct term term = term_of(STDOUT_FILENO, color_modes[c->color]);
	int status;

	if (!r)
		return EXIT_FAILED;
	examine(c, r);
	if (c->json)
		print_json(r);
	else
		print_text(r, &term);
	status = r->probe ? 0 : EXIT_FAILED;
	probe_free(r->probe);
	free(r);
	return status;
}
