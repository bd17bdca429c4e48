/* SPDX-License-Identifier: Apache-2.0 */
/* Open, choose, load, attach, drain, take down. */
#include "probe/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"

/* Programs that may be switched off one after another; signals that disturb, five for each. */
#define LOAD_TRIES     8
#define DRAIN_MAX      65536 /* records handed on in one go, so that timers get their turn */
#define THREADS_BY_TID 16384
#define STOPPED	       (-ECANCELED)

struct load_log {
	char failed[64]; /* program that the kernel refused */
	char reason[REASON_LEN];
};

/* libbpf tells which program failed only by its log; one load at a time, so one place will do. */
static struct load_log load_log;

static int on_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[1024];
	char name[64];

	if (level > LIBBPF_WARN && log_level() < LOG_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	log_debug("%.900s", line);
	if (sscanf(line, "libbpf: prog '%63[^']'", name) == 1 ||
	    sscanf(line, "prog '%63[^']'", name) == 1) {
		snprintf(load_log.failed, sizeof(load_log.failed), "%s", name);
		if (strstr(line, "load failed:"))
			snprintf(load_log.reason, sizeof(load_log.reason), "%.150s",
				 strstr(line, "load failed:") + strlen("load failed: "));
		load_log.reason[strcspn(load_log.reason, "\n")] = 0;
	}
	return 0;
}

static void set_knobs(struct probe *p, const struct probe_cfg *cfg)
{
	struct telltale_bpf *s = p->skel;
	const struct features *f = &p->features;
	bool sk_storage = f->sk_storage && p->capture != CAPTURE_SYSCALL;

	p->features.sk_storage = sk_storage;
	s->rodata->self_tgid = (uint32_t)getpid();
	s->rodata->capture_bytes = MIN(cfg->capture_bytes, (uint32_t)CAPTURE_MAX);
	s->rodata->wake_bytes = cfg->ring_bytes / 4;
	s->rodata->have_sk_storage = sk_storage;
	s->rodata->have_task_storage = f->task_storage;
	s->rodata->have_task_pt_regs = f->task_pt_regs;
	s->rodata->have_sock_from_file = f->sock_from_file && sk_storage;
	s->rodata->tcp_recvmsg_args = f->tcp_recvmsg_args;
	s->rodata->udp_recvmsg_args = f->udp_recvmsg_args;
	bpf_map__set_max_entries(s->maps.events, cfg->ring_bytes);
	bpf_map__set_autocreate(s->maps.conns, sk_storage);
	bpf_map__set_autocreate(s->maps.threads, f->task_storage);
	bpf_map__set_max_entries(s->maps.conns_by_sock, sk_storage ? 1 : cfg->max_conns);
	bpf_map__set_max_entries(s->maps.threads_by_tid, f->task_storage ? 1 : THREADS_BY_TID);
}

static void choose_rows(struct probe *p, const struct btf *btf, const struct probe_cfg *cfg)
{
	for (size_t i = 0; i < row_cnt; i++) {
		struct bpf_program *prog = row_program(p, i);
		struct row_state *st = &p->state[i];
		bool wanted = row_wanted(&rows[i], p->capture, &p->features, cfg->tls);

		if (wanted && !st->off &&
		    !target_exists(btf, bpf_program__section_name(prog), st->reason, REASON_LEN))
			st->off = true;
		bpf_program__set_autoload(prog, wanted && !st->off);
		if ((rows[i].flags & ROW_LIBRARY) && p->features.uprobe_multi)
			bpf_program__set_expected_attach_type(
				prog, (enum bpf_attach_type)ATTACH_UPROBE_MULTI);
		st->loaded = wanted && !st->off;
	}
}

static bool core_missing(const struct probe *p, const struct probe_cfg *cfg)
{
	for (size_t i = 0; i < row_cnt; i++)
		if ((rows[i].flags & ROW_CORE) && p->state[i].off &&
		    row_wanted(&rows[i], p->capture, &p->features, cfg->tls))
			return true;
	return false;
}

/* One try at opening and loading; -EAGAIN when a row was switched off, or signals kept the kernel
 * from looking at a program, and another try may do. */
static int load_once(struct probe *p, const struct btf *btf, const struct probe_cfg *cfg)
{
	int err, row;

	p->skel = telltale_bpf__open();
	if (!p->skel)
		return -errno;
	set_knobs(p, cfg);
	choose_rows(p, btf, cfg);
	if (core_missing(p, cfg))
		return -ENOTSUP;
	memset(&load_log, 0, sizeof(load_log));
	err = telltale_bpf__load(p->skel);
	if (!err)
		return 0;
	row = row_find(load_log.failed);
	if (err == -EAGAIN || (err == -EPERM && row < 0))
		return err;
	if (row < 0 || p->state[row].off)
		return err;
	p->state[row].off = true;
	snprintf(p->state[row].reason, REASON_LEN, "refused: %.100s",
		 load_log.reason[0] ? load_log.reason : strerror(-err));
	return rows[row].flags & ROW_CORE ? err : -EAGAIN;
}

static void unload(struct probe *p)
{
	bpf_link__destroy(p->flush_link);
	p->flush_link = NULL;
	for (size_t i = 0; i < row_cnt; i++) {
		bpf_link__destroy(p->state[i].link);
		p->state[i].link = NULL;
		p->state[i].loaded = false;
	}
	telltale_bpf__destroy(p->skel);
	p->skel = NULL;
	/* another skeleton's tables know none of them */
	free(p->rules.v);
	p->rules = (struct filter_rules){ 0 };
}

static int attach_rows(struct probe *p)
{
	for (size_t i = 0; i < row_cnt; i++) {
		struct row_state *st = &p->state[i];

		if (!st->loaded || (rows[i].flags & (ROW_ITER | ROW_LIBRARY)))
			continue;
		st->link = bpf_program__attach(row_program(p, i));
		if (st->link)
			continue;
		snprintf(st->reason, REASON_LEN, "attach: %s", strerror(errno));
		st->off = true;
		if (rows[i].flags & ROW_CORE)
			return -errno;
	}
	return 0;
}

static int try_capture(struct probe *p, enum capture capture, const struct btf *btf,
		       const struct probe_cfg *cfg)
{
	struct features f = p->features;
	int err = -EAGAIN;

	p->capture = capture;
	for (int i = 0; i < LOAD_TRIES && err == -EAGAIN; i++) {
		p->features = f;
		err = load_once(p, btf, cfg);
		if (err)
			unload(p);
	}
	if (!err) {
		err = filter_set(p, &cfg->filter, p->why);
		if (!err)
			err = attach_rows(p);
		if (err)
			unload(p);
	}
	if (err)
		p->features = f;
	return err;
}

static bool core_has_reason(const struct probe *p)
{
	for (size_t i = 0; i < row_cnt; i++)
		if ((rows[i].flags & ROW_CORE) && p->state[i].reason[0])
			return true;
	return false;
}

/* Why the capture backends failed, in one line, from the rows that could not do without. */
static void explain(struct probe *p, int err, enum capture asked)
{
	struct utsname u;
	size_t at;

	if (p->why[0])
		return;
	uname(&u);
	if ((err == -EPERM || err == -EACCES) && !core_has_reason(p)) {
		snprintf(p->why, sizeof(p->why),
			 "loading BPF programs: %s; needs root, or CAP_BPF, CAP_PERFMON and "
			 "CAP_SYS_PTRACE, and a kernel that is not locked down",
			 strerror(-err));
		return;
	}
	at = (size_t)snprintf(p->why, sizeof(p->why), "%s%s does not work on kernel %.60s:",
			      asked == CAPTURE_AUTO ? "capture" : "capture backend ",
			      asked == CAPTURE_AUTO ? "" : capture_names[asked], u.release);
	for (size_t i = 0; i < row_cnt && at < sizeof(p->why) - 100; i++)
		if ((rows[i].flags & ROW_CORE) && p->state[i].reason[0])
			at += (size_t)snprintf(p->why + at, sizeof(p->why) - at, " %s: %.60s;",
					       rows[i].program, p->state[i].reason);
	snprintf(p->why + at, sizeof(p->why) - at, "%s",
		 asked == CAPTURE_AUTO ? " needs 5.8 or newer with BTF"
				       : " another --capture may work");
}

static int choose_capture(struct probe *p, const struct btf *btf, const struct probe_cfg *cfg)
{
	/* best first, as the instruction counts of `make bench-vm` order them */
	static const enum capture order[] = { CAPTURE_SOCKTP, CAPTURE_TRAMPOLINE, CAPTURE_SYSCALL };
	int err = -ENOTSUP;

	if (cfg->capture != CAPTURE_AUTO)
		return try_capture(p, cfg->capture, btf, cfg);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		err = try_capture(p, order[i], btf, cfg);
		if (!err || p->why[0])
			break;
	}
	return err;
}

static int on_record(void *ctx, void *data, size_t len)
{
	struct probe *p = ctx;

	p->record(p->record_ctx, data, len);
	return ++p->drained < DRAIN_MAX ? 0 : STOPPED;
}

int probe_new(const struct probe_cfg *cfg, struct probe **ret_probe, const char **ret_why)
{
	static char why[PROBE_WHY_MAX];
	struct probe *p = calloc(1, sizeof(*p));
	struct btf *btf = NULL;
	int err;

	if (!p)
		return -ENOMEM;
	libbpf_set_print(on_libbpf);
	p->cpus = libbpf_num_possible_cpus();
	p->stats =
		calloc(p->cpus > 0 ? (size_t)p->cpus : 1, (sizeof(struct stats) + 7) & ~(size_t)7);
	if (!p->stats) {
		err = -ENOMEM;
		goto out;
	}
	err = features_read(&p->features, &btf);
	if (err) {
		snprintf(p->why, sizeof(p->why),
			 "kernel type information (/sys/kernel/btf/vmlinux): not found; needs a "
			 "kernel built with CONFIG_DEBUG_INFO_BTF");
		goto out;
	}
	err = choose_capture(p, btf, cfg);
	if (err)
		goto out;
	p->ring = ring_buffer__new(bpf_map__fd(p->skel->maps.events), on_record, p, NULL);
	if (!p->ring) {
		err = -errno;
		goto out;
	}
	if (cfg->tls)
		libraries_attach_common(p);
	if (p->rules.cnt)
		filter_settle(p);
	p->skel->data->attached_ns = clock_mono_ns();
	scan_open(p);
out:
	btf__free(btf);
	if (err) {
		explain(p, err, cfg->capture);
		memcpy(why, p->why, sizeof(why));
		*ret_why = why;
		probe_free(p);
		return err;
	}
	*ret_probe = p;
	return 0;
}

int probe_fd(const struct probe *p)
{
	return ring_buffer__epoll_fd(p->ring);
}

int probe_drain(struct probe *p, void (*record)(void *ctx, const void *rec, size_t len), void *ctx)
{
	int err;

	p->record = record;
	p->record_ctx = ctx;
	p->drained = 0;
	err = ring_buffer__consume(p->ring);
	return err < 0 && err != STOPPED ? err : p->drained;
}

/* Runs of our programs that the kernel skipped because one was running already; 5.12 tells. */
static uint64_t missed_runs(struct probe *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < row_cnt; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		if (!p->state[i].link)
			continue;
		if (bpf_obj_get_info_by_fd(bpf_program__fd(row_program(p, i)), &info, &len) ||
		    len < offsetof(struct bpf_prog_info, recursion_misses) + 8)
			return UINT64_MAX;
		sum += info.recursion_misses;
	}
	return sum;
}

void probe_counts(struct probe *p, struct event_books *out)
{
	size_t size = (sizeof(struct stats) + 7) & ~(size_t)7;
	uint32_t zero = 0;

	memset(out, 0, sizeof(*out));
	out->h = (struct event_hdr){ .kind = EVENT_BOOKS, .size = sizeof(*out) };
	if (bpf_map_lookup_elem(bpf_map__fd(p->skel->maps.stats), &zero, p->stats))
		return;
	for (int cpu = 0; cpu < p->cpus; cpu++) {
		const struct stats *s = (const void *)(p->stats + (size_t)cpu * size);

		for (int i = 0; i < DROP_MAX; i++)
			out->drops[i] += s->drops[i];
		for (int i = 0; i < COUNT_MAX; i++)
			out->counts[i] += s->counts[i];
	}
}

void probe_books(struct probe *p, struct event_books *out)
{
	probe_counts(p, out);
	out->missed = missed_runs(p);
}

enum capture probe_capture(const struct probe *p)
{
	return p->capture;
}

const struct probe_row *probe_rows(const struct probe *probe, size_t *ret_cnt)
{
	struct probe *p = (struct probe *)probe; /* the list is made on demand */

	for (size_t i = 0; i < row_cnt; i++) {
		const struct row_state *st = &p->state[i];
		bool library = rows[i].flags & ROW_LIBRARY;

		p->shown[i] = (struct probe_row){
			.program = rows[i].program,
			.group = rows[i].group,
			.loaded = st->loaded,
			.attached = st->link || (library && st->loaded && p->library_cnt) ||
				    ((rows[i].flags & ROW_ITER) && st->loaded),
			.reason = st->reason[0] ? st->reason
				  : st->loaded	? NULL
						: "not needed by this choice",
		};
	}
	*ret_cnt = row_cnt;
	return p->shown;
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	libraries_detach(p);
	ring_buffer__free(p->ring);
	unload(p);
	free(p->stats);
	free(p);
}
