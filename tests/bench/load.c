/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load at a fixed rate (open loop) or as fast as answers come (closed loop), HTTP/1.1 or Redis,
 * with a histogram of latencies. One thread.
 *
 *	load http|redis PORT [-r RATE] [-c CONNECTIONS] [-d SECONDS] [-n REQUESTS] [-p PATH-OR-KEY]
 *
 * With a rate, a request's latency counts from the moment it was due, so that a server that stalls
 * is charged for the requests it kept from being sent (no coordinated omission). Prints one line of
 * JSON; the exit status is 1 when an answer was wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX 1024
#define SEC_NS	  1000000000ull
/* Buckets of the histogram: 128 of equal width for each power of two. */
#define SUB_BITS 7
#define BUCKETS	 ((64 - SUB_BITS) << SUB_BITS)

struct conn {
	int fd;
	bool busy;
	uint64_t due_ns;
	size_t have; /* bytes of the answer so far */
	char buf[65536];
};

struct load {
	bool redis;
	uint16_t port;
	double rate; /* requests a second; 0: closed loop */
	uint32_t conn_cnt;
	double seconds;
	uint64_t requests; /* 0: by time */
	char request[512];
	size_t request_len;
	int epoll;
	struct conn *conn;
	uint32_t *idle; /* stack of connections without a request */
	uint32_t idle_cnt;
	uint64_t sent, done, wrong;
	uint64_t max_ns, sum_ns;
	uint64_t hist[BUCKETS];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t top;

	if (ns < (1u << SUB_BITS))
		return (uint32_t)ns;
	top = 63 - (uint32_t)__builtin_clzll(ns) - SUB_BITS;
	return ((top + 1) << SUB_BITS) + (uint32_t)((ns >> top) - (1u << SUB_BITS));
}

/* The lower edge of a bucket, ns. */
static uint64_t bucket_ns(uint32_t bucket)
{
	uint32_t top = bucket >> SUB_BITS;

	if (!top)
		return bucket;
	return (uint64_t)((bucket & ((1u << SUB_BITS) - 1)) + (1u << SUB_BITS)) << (top - 1);
}

static double quantile_us(const struct load *l, double q)
{
	uint64_t want = (uint64_t)((double)l->done * q), seen = 0;

	for (uint32_t i = 0; i < BUCKETS; i++) {
		seen += l->hist[i];
		if (seen > want)
			return (double)bucket_ns(i) / 1e3;
	}
	return (double)l->max_ns / 1e3;
}

/*
 * Length of the answer at the front of the buffer, 0 when it is not whole yet, -1 when it is wrong.
 * Bodies come with Content-Length, replies are bulk strings or single lines.
 */
static ssize_t answer_len(const struct load *l, const struct conn *c)
{
	const char *end, *len;
	size_t head, body = 0;

	if (l->redis) {
		end = memchr(c->buf, '\n', c->have);
		if (!end)
			return 0;
		head = (size_t)(end + 1 - c->buf);
		if (c->buf[0] == '$' && c->buf[1] != '-')
			body = strtoul(c->buf + 1, NULL, 10) + 2;
		else if (c->buf[0] == '-')
			return -1;
		return c->have >= head + body ? (ssize_t)(head + body) : 0;
	}
	end = memmem(c->buf, c->have, "\r\n\r\n", 4);
	if (!end)
		return 0;
	head = (size_t)(end + 4 - c->buf);
	if (c->have < 12 || memcmp(c->buf + 8, " 200", 4))
		return -1;
	len = memmem(c->buf, head, "Content-Length: ", 16);
	if (len)
		body = strtoul(len + 16, NULL, 10);
	return c->have >= head + body ? (ssize_t)(head + body) : 0;
}

static int open_conn(struct load *l, struct conn *c)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(l->port) };
	struct epoll_event ev = { .events = EPOLLIN };
	int one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ev.data.u32 = (uint32_t)(c - l->conn);
	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) ? -errno : 0;
}

static int send_request(struct load *l, uint64_t due_ns)
{
	uint32_t i = l->idle[--l->idle_cnt];
	struct conn *c = &l->conn[i];

	c->busy = true;
	c->due_ns = due_ns;
	c->have = 0;
	l->sent++;
	/* a request of a few hundred bytes always fits an idle connection's buffer */
	return send(c->fd, l->request, l->request_len, MSG_NOSIGNAL) == (ssize_t)l->request_len
		       ? 0
		       : -EPIPE;
}

static int take_answer(struct load *l, struct conn *c)
{
	ssize_t n = recv(c->fd, c->buf + c->have, sizeof(c->buf) - c->have, MSG_DONTWAIT);
	ssize_t len;
	uint64_t took;

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -ECONNRESET;
	c->have += (size_t)n;
	len = answer_len(l, c);
	if (!len)
		return 0;
	if (len < 0)
		l->wrong++;
	took = now_ns() - c->due_ns;
	l->hist[bucket_of(took)]++;
	l->sum_ns += took;
	if (took > l->max_ns)
		l->max_ns = took;
	l->done++;
	c->busy = false;
	l->idle[l->idle_cnt++] = (uint32_t)(c - l->conn);
	return 0;
}

/* Sends what is due; returns when the next one will be, ns, UINT64_MAX: when an answer comes. */
static uint64_t send_due(struct load *l, uint64_t start_ns, uint64_t now, int *ret_err)
{
	uint64_t due;

	while (l->idle_cnt && (!l->requests || l->sent < l->requests)) {
		due = l->rate > 0 ? start_ns + (uint64_t)((double)l->sent * 1e9 / l->rate) : now;
		if (due > now)
			return due;
		*ret_err = send_request(l, due);
		if (*ret_err)
			break;
	}
	return UINT64_MAX;
}

static int run(struct load *l, uint64_t *ret_took_ns)
{
	uint64_t start = now_ns(), end = start + (uint64_t)(l->seconds * 1e9), now, next;
	struct epoll_event ev[64];
	struct timespec wait;
	int err = 0, n;

	for (;;) {
		now = now_ns();
		if (l->requests ? l->done >= l->requests : now >= end)
			break;
		next = send_due(l, start, now, &err);
		if (err)
			return err;
		if (!l->requests && next > end)
			next = end;
		now = now_ns();
		next = next > now ? next - now : 0;
		if (next > SEC_NS)
			next = SEC_NS;
		wait.tv_sec = (time_t)(next / SEC_NS);
		wait.tv_nsec = (long)(next % SEC_NS);
		n = epoll_pwait2(l->epoll, ev, 64, &wait, NULL);
		/* before 5.11 there is no such call */
		if (n < 0 && errno == ENOSYS)
			n = epoll_wait(l->epoll, ev, 64, (int)(next / 1000000));
		for (int i = 0; i < n; i++) {
			err = take_answer(l, &l->conn[ev[i].data.u32]);
			if (err)
				return err;
		}
	}
	*ret_took_ns = now_ns() - start;
	return 0;
}

static int parse_args(struct load *l, int argc, char **argv)
{
	const char *what = NULL;
	int opt;

	if (argc < 3)
		return -EINVAL;
	l->redis = !strcmp(argv[1], "redis");
	l->port = (uint16_t)atoi(argv[2]);
	optind = 3;
	while ((opt = getopt(argc, argv, "r:c:d:n:p:")) != -1) {
		switch (opt) {
		case 'r': l->rate = atof(optarg); break;
		case 'c': l->conn_cnt = (uint32_t)atoi(optarg); break;
		case 'd': l->seconds = atof(optarg); break;
		case 'n': l->requests = strtoull(optarg, NULL, 10); break;
		case 'p': what = optarg; break;
		default: return -EINVAL;
		}
	}
	if (!l->conn_cnt || l->conn_cnt > CONNS_MAX)
		return -EINVAL;
	if (l->redis)
		l->request_len = (size_t)snprintf(l->request, sizeof(l->request),
						  "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
						  strlen(what ? what : "key"), what ? what : "key");
	else
		l->request_len = (size_t)snprintf(l->request, sizeof(l->request),
						  "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
						  what ? what : "/");
	return l->request_len < sizeof(l->request) ? 0 : -EINVAL;
}

static void report(const struct load *l, uint64_t took_ns)
{
	printf("{\"requests\": %llu, \"wrong\": %llu, \"seconds\": %.3f, \"rate\": %.1f, "
	       "\"mean_us\": %.2f, \"p50_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f, "
	       "\"p999_us\": %.2f, \"max_us\": %.2f}\n",
	       (unsigned long long)l->done, (unsigned long long)l->wrong, (double)took_ns / 1e9,
	       (double)l->done * 1e9 / (double)took_ns,
	       l->done ? (double)l->sum_ns / (double)l->done / 1e3 : 0, quantile_us(l, 0.5),
	       quantile_us(l, 0.9), quantile_us(l, 0.99), quantile_us(l, 0.999),
	       (double)l->max_ns / 1e3);
}

int main(int argc, char **argv)
{
	static struct load l = { .conn_cnt = 32, .seconds = 5 };
	uint64_t took_ns = 0;
	int err = parse_args(&l, argc, argv);

	if (err) {
		fprintf(stderr, "usage: load http|redis PORT [-r RATE] [-c CONNECTIONS] "
				"[-d SECONDS] [-n REQUESTS] [-p PATH-OR-KEY]\n");
		return 2;
	}
	/* wake at the moment asked for, not up to 50 us later */
	prctl(PR_SET_TIMERSLACK, 1ul);
	l.epoll = epoll_create1(0);
	l.conn = calloc(l.conn_cnt, sizeof(*l.conn));
	l.idle = calloc(l.conn_cnt, sizeof(*l.idle));
	if (l.epoll < 0 || !l.conn || !l.idle)
		return 1;
	for (uint32_t i = 0; i < l.conn_cnt && !err; i++) {
		err = open_conn(&l, &l.conn[i]);
		l.idle[l.idle_cnt++] = i;
	}
	if (!err)
		err = run(&l, &took_ns);
	if (err) {
		fprintf(stderr, "load: port %u: %s\n", l.port, strerror(-err));
		return 1;
	}
	report(&l, took_ns);
	return l.wrong ? 1 : 0;
}
