/* SPDX-License-Identifier: Apache-2.0 */
/* Reading books that others write meanwhile, and what /proc says about this process. */
#include "api/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"

/* Stages are between two pushes most of the time: a few looks find all of them so. */
#define LOOKS	     20
#define LOOK_WAIT_US 200

struct reading {
	struct books b;
	bool settled;
};

struct reader {
	struct reading reading[STAGES_MAX];
	size_t cnt, at;
};

static void copy_book(struct books *to, const struct books *from)
{
	*to = (struct books){ .stage = from->stage, .unit = from->unit };
	to->in = book_read(&from->in);
	to->out = book_read(&from->out);
	to->held = book_read(&from->held);
	for (int i = 0; i < BOOKS_REASONS && from->reason[i]; i++) {
		to->reason[i] = from->reason[i];
		to->dropped[i] = book_read(&from->dropped[i]);
	}
}

static bool balanced(const struct books *b)
{
	uint64_t sum = b->out + b->held;

	for (int i = 0; i < BOOKS_REASONS; i++)
		sum += b->dropped[i];
	return b->in == sum;
}

/* Two equal copies are one moment's: all fields but 'held' only grow. */
static void look(void *ctx, const struct books *from)
{
	struct reader *r = ctx;
	struct reading *to;
	struct books again;

	if (r->at == STAGES_MAX)
		return;
	to = &r->reading[r->at++];
	if (r->at <= r->cnt && to->settled && to->b.stage == from->stage)
		return;
	copy_book(&to->b, from);
	copy_book(&again, from);
	to->settled = !memcmp(&to->b, &again, sizeof(again)) && balanced(&to->b);
}

static bool all_settled(const struct reader *r)
{
	for (size_t i = 0; i < r->cnt; i++)
		if (!r->reading[i].settled)
			return false;
	return true;
}

static void add_book(struct ledger *l, const struct books *b)
{
	struct books *to = l->stage;

	while (to < l->stage + l->cnt && (strcmp(to->stage, b->stage) || strcmp(to->unit, b->unit)))
		to++;
	if (to == l->stage + l->cnt) {
		l->stage[l->cnt++] = *b;
		return;
	}
	to->in += b->in;
	to->out += b->out;
	to->held += b->held;
	for (int i = 0; i < BOOKS_REASONS; i++)
		to->dropped[i] += b->dropped[i];
}

void ledger_read(struct ledger *l)
{
	struct reader r = { .cnt = 0 };

	for (int i = 0; i < LOOKS; i++) {
		r.at = 0;
		books_each(look, &r);
		r.cnt = r.at;
		if (all_settled(&r))
			break;
		usleep(LOOK_WAIT_US);
	}
	l->cnt = 0;
	for (size_t i = 0; i < r.cnt; i++)
		add_book(l, &r.reading[i].b);
}

/* ---- this process ---- */

static double read_rss(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* starttime is field 22 of proc(5)'s stat, in clock ticks since boot; the name before it may hold
 * spaces and parentheses. */
static double read_start(void)
{
	unsigned long long ticks = 0;
	FILE *f = fopen("/proc/self/stat", "re");
	char line[1024] = "";
	const char *after;

	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	after = strrchr(line, ')');
	if (!after || sscanf(after,
			     ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			     "%*d %*d %*d %llu",
			     &ticks) != 1)
		return 0;
	return ((double)clock_real_ns() - (double)clock_read(CLOCK_BOOTTIME)) / NS_PER_S +
	       (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int cnt = -1; /* the folder's own */

	if (!d)
		return 0;
	for (const struct dirent *e; (e = readdir(d));)
		cnt += e->d_name[0] != '.';
	closedir(d);
	return cnt;
}

void self_read(struct self *s)
{
	s->cpu_s = (double)clock_read(CLOCK_PROCESS_CPUTIME_ID) / NS_PER_S;
	s->rss_bytes = read_rss();
	s->start_s = read_start();
	s->open_fds = count_fds();
}
