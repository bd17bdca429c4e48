/* SPDX-License-Identifier: Apache-2.0 */
/* Walks: connections that were open before the start, and turns that have gone quiet. */
#include "probe/internal.h"

#include "core/clock.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

/* A count of pending tails that never changes belongs to sockets that have gone: walk rarely. */
#define WALKS_PATIENT 40
#define WALKS_SKIP    20

int iter_run(struct bpf_link *link)
{
	char byte[64];
	ssize_t n;
	int fd = bpf_iter_create(bpf_link__fd(link));

	if (fd < 0)
		return fd;
	do {
		n = read(fd, byte, sizeof(byte));
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	close(fd);
	return n < 0 ? -errno : 0;
}

static void run_once(struct probe *p, const char *program)
{
	int row = row_find(program);
	struct bpf_link *link;

	if (row < 0 || !p->state[row].loaded)
		return;
	link = bpf_program__attach_iter(row_program(p, (size_t)row), NULL);
	if (!link)
		return;
	iter_run(link);
	bpf_link__destroy(link);
}

void scan_open(struct probe *p)
{
	/* listeners first: they tell which side dialled */
	run_once(p, "scan_listeners");
	run_once(p, "scan_files");
}

static struct bpf_link *flush_link_new(struct probe *p)
{
	bool storage = p->features.sk_storage;
	int row = row_find(storage ? "flush_storage" : "flush_hash");
	union bpf_iter_link_info info = { 0 };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));

	if (row < 0 || !p->state[row].loaded)
		return NULL;
	info.map.map_fd =
		(uint32_t)bpf_map__fd(storage ? p->skel->maps.conns : p->skel->maps.conns_by_sock);
	return bpf_program__attach_iter(row_program(p, (size_t)row), &opts);
}

/* A walk of the hash passes every slot, used or not: 0.8 ms of 65,536. */
uint64_t probe_flush_every_ns(const struct probe *p)
{
	return (p->features.sk_storage ? 50 : 500) * NS_PER_MS;
}

int probe_flush_idle(struct probe *p)
{
	struct event_books books;

	probe_counts(p, &books);
	if (!books.counts[COUNT_tails_pending])
		return 0;
	if (books.counts[COUNT_tails_pending] == p->pending_seen)
		p->walks_idle++;
	else
		p->walks_idle = 0;
	p->pending_seen = books.counts[COUNT_tails_pending];
	if (p->walks_idle > WALKS_PATIENT && p->walks_idle % WALKS_SKIP)
		return 0;
	if (!p->flush_link)
		p->flush_link = flush_link_new(p);
	return p->flush_link ? iter_run(p->flush_link) : -ENOTSUP;
}
