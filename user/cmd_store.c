/* SPDX-License-Identifier: Apache-2.0 */
/* store: looks into a store, also while another process writes it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "core/json.h"
#include "export/export.h"
#include "store/store.h"

static void print_time(const char *label, uint64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	char text[32] = "-";
	struct tm tm;

	if (ns && gmtime_r(&s, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("%-16s %s\n", label, text);
}

static double bytes_per_span(const struct store_stats *st)
{
	return st->spans ? (double)st->bytes / (double)st->spans : 0;
}

static int print_line(struct buf *out)
{
	int err = out->failed ? -ENOMEM : 0;

	if (!err)
		printf(STR_FMT "\n", STR_ARG(buf_str(out)));
	buf_fini(out);
	return err;
}

static int print_json(const struct store_stats *st)
{
	struct buf out = { 0 };
	struct json j = { .out = &out };

	json_open(&j, '{');
#define FIGURE(name) (json_key(&j, #name), json_u64(&j, st->name))
	FIGURE(spans);
	FIGURE(traces);
	FIGURE(bytes);
	json_key(&j, "bytes_per_span");
	json_double(&j, bytes_per_span(st));
	FIGURE(partitions);
	FIGURE(blocks);
	FIGURE(bad_blocks);
	FIGURE(bad_partitions);
	FIGURE(oldest_ns);
	FIGURE(newest_ns);
#undef FIGURE
	json_close(&j, '}');
	return print_line(&out);
}

static int show_stats(struct store *s, const struct config *c)
{
	struct store_stats st;
	int err = store_stats(s, &st);

	if (err)
		return err;
	if (c->json)
		return print_json(&st);
	printf("%-16s %llu\n", "spans", (unsigned long long)st.spans);
	printf("%-16s %llu\n", "traces", (unsigned long long)st.traces);
	printf("%-16s %llu (%.1f a span)\n", "bytes", (unsigned long long)st.bytes,
	       bytes_per_span(&st));
	printf("%-16s %llu in %llu files\n", "blocks", (unsigned long long)st.blocks,
	       (unsigned long long)st.partitions);
	if (st.bad_blocks)
		printf("%-16s %llu\n", "bad blocks", (unsigned long long)st.bad_blocks);
	if (st.bad_partitions)
		printf("%-16s %llu\n", "bad files", (unsigned long long)st.bad_partitions);
	print_time("oldest", st.oldest_ns);
	print_time("newest", st.newest_ns);
	return 0;
}

static void report(void *ctx, const char *line)
{
	printf("%s\n", line);
}

static void report_json(void *ctx, const char *line)
{
	json_str(ctx, str_of(line));
}

/* Damage is a failure, so that scripts see it. */
static int check(struct store *s, const struct config *c)
{
	struct buf out = { 0 };
	struct json j = { .out = &out };
	int64_t bad;
	int err = 0;

	json_open(&j, '{');
	json_key(&j, "damage");
	json_open(&j, '[');
	bad = store_check(s, c->json ? report_json : report, &j);
	json_close(&j, ']');
	json_member_u64(&j, "bad_blocks", (uint64_t)MAX(bad, 0));
	json_close(&j, '}');
	if (bad >= 0 && c->json)
		err = print_line(&out);
	else if (bad >= 0)
		printf("%lld bad block%s\n", (long long)bad, bad == 1 ? "" : "s");
	buf_fini(&out);
	return bad < 0 ? (int)bad : bad && !err ? -EBADMSG : err;
}

/* The file keeps its first error for the end. */
static bool write_span(void *ctx, const struct span *s)
{
	otlp_file_push(ctx, s);
	return true;
}

/* What was skipped is a failure too: a copy that is not whole must not pass for one. */
static int tell_skipped(struct store *s)
{
	struct store_stats st;
	int err = store_stats(s, &st);

	if (err || !(st.bad_blocks + st.bad_partitions))
		return err;
	fprintf(stderr, "telltale: not all could be read: %llu bad block%s, %llu bad file%s\n",
		(unsigned long long)st.bad_blocks, st.bad_blocks == 1 ? "" : "s",
		(unsigned long long)st.bad_partitions, st.bad_partitions == 1 ? "" : "s");
	return -EBADMSG;
}

static int export(struct store *s, const struct config *c)
{
	const struct scan all = { .whole = true };
	const char *to = c->output ? c->output : "-";
	struct otlp_file *file = NULL;
	int end = otlp_file_open(to, &file), err = 0;

	if (!end) {
		err = store_scan(s, &all, write_span, file);
		end = otlp_file_close(file);
	}
	if (end)
		fprintf(stderr, "telltale: write %s: %s\n",
			strcmp(to, "-") ? to : "standard output", strerror(-end));
	return err ? err : end ? -EBADMSG : tell_skipped(s);
}

int command_store(const struct config *c)
{
	const char *what = c->argv[0], *where = c->argv[1];
	const struct store_cfg cfg = { .where = where,
				       .key_file = c->store_key_file,
				       .key = c->store_key,
				       .ca_file = c->store_certificate,
				       .client_cert_file = c->store_client_certificate,
				       .client_key_file = c->store_client_key,
				       .read_only = true };
	char why[STORE_WHY_MAX];
	struct store *s = NULL;
	int err;

	if (strcmp(what, "stats") && strcmp(what, "check") && strcmp(what, "export")) {
		fprintf(stderr,
			"telltale store: expected stats, check or export, found \"%.64s\"\n", what);
		return EXIT_USAGE;
	}
	err = store_open(&cfg, &s, why);
	if (err) {
		fprintf(stderr, "telltale: %s\n", why);
		return EXIT_FAILED;
	}
	err = *what == 's' ? show_stats(s, c) : *what == 'c' ? check(s, c) : export(s, c);
	store_close(s);
	if (err && err != -EBADMSG) /* of that everything was said */
		fprintf(stderr, "telltale: store %s %s: %s\n", what, where, strerror(-err));
	return err ? EXIT_FAILED : 0;
}
