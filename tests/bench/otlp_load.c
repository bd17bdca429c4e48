/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends the shop's traffic over OTLP/HTTP and waits for each answer:
 *
 *	otlp_load HOST PORT SPANS [CONNECTIONS [SEED [TRACES_PER_S]]]
 *
 * With a rate, traces come as from services that send by themselves: the spans of each over two
 * connections, one in ten of those below its root up to 4.5 s later on a third.
 * Prints the seconds it took and, on lines of their own, every 1000th trace's id. Works against
 * any receiver of OTLP/HTTP in protobuf.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/spans.h"
#include "core/clock.h"
#include "export/export.h"

#define BATCH_TRACES   50
#define SAMPLE_EVERY   1000
#define CONNECTION_MAX 256
#define WAYS	       3 /* connections that a trace is spread over; the last is the late one's */
#define LATE_SLOTS     64
#define SLOT_NS	       (100 * NS_PER_MS)
#define LATE_MAX_SLOTS 45

struct sender {
	pthread_t thread;
	struct sockaddr_in to;
	uint64_t spans;
	uint64_t seed;
	uint64_t refused;
	double traces_per_s; /* 0: as fast as it goes, whole */
	int fd[WAYS];
	/* Bodies of which each is one request when its time has come: they add up by appending. */
	struct buf late[LATE_SLOTS];
	uint64_t late_from; /* the first slot not sent yet */
	uint64_t ended_ns;  /* all but the late ones had been sent */
	int err;
};

static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;

static int send_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The status; the body is short and comes with the head, or is skipped by its length. */
static int read_status(int fd)
{
	char text[4097];
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		char *end, *length;

		if (n <= 0)
			return -1;
		len += (size_t)n;
		text[len] = '\0';
		end = strstr(text, "\r\n\r\n");
		if (!end)
			continue;
		length = strcasestr(text, "content-length:");
		if (!length || len >= (size_t)(end + 4 - text) + strtoul(length + 15, NULL, 10))
			return atoi(text + 9);
	}
	return -1;
}

static int post(int fd, struct str body)
{
	char head[256];
	int len = snprintf(head, sizeof(head),
			   "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
			   "Content-Type: application/x-protobuf\r\nContent-Length: %zu\r\n\r\n",
			   body.len);

	if (send_all(fd, head, (size_t)len) || send_all(fd, body.p, body.len))
		return -1;
	return read_status(fd);
}

static int dial(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		return fd;
	close(fd);
	return -1;
}

/* Until it is taken. */
static void deliver(struct sender *s, int way, const struct buf *body)
{
	int status;

	while ((status = post(s->fd[way], buf_str(body))) == 503 || status == 429) {
		s->refused++;
		usleep(20000);
	}
	if (status != 200)
		s->err = status;
}

static void make(struct shop *shop, struct arena *mem, uint64_t *traces,
		 struct span spans[BATCH_TRACES * TRACE_SPANS])
{
	char id[33];

	arena_reset(mem);
	for (int i = 0; i < BATCH_TRACES; i++) {
		shop_trace(shop, mem, &spans[i * TRACE_SPANS]);
		if ((*traces)++ % SAMPLE_EVERY)
			continue;
		trace_id_hex(&spans[i * TRACE_SPANS].trace_id, id);
		pthread_mutex_lock(&out_lock);
		printf("%s\n", id);
		pthread_mutex_unlock(&out_lock);
	}
}

static void send_whole(struct sender *s, const struct span *spans, struct buf *body)
{
	const struct span *list[BATCH_TRACES * TRACE_SPANS];

	for (int i = 0; i < BATCH_TRACES * TRACE_SPANS; i++)
		list[i] = &spans[i];
	buf_clear(body);
	otlp_encode(list, ARRAY_LEN(list), body);
	deliver(s, 0, body);
}

/* Up to a moment; UINT64_MAX: all, in their time. */
static void send_late(struct sender *s, uint64_t until_ns)
{
	uint64_t last = until_ns == UINT64_MAX ? s->late_from + LATE_SLOTS : until_ns / SLOT_NS;

	for (; s->late_from < last && !s->err; s->late_from++) {
		struct buf *body = &s->late[s->late_from % LATE_SLOTS];

		while (body->len && clock_mono_ns() < s->late_from * SLOT_NS)
			usleep(10000);
		if (body->len)
			deliver(s, WAYS - 1, body);
		buf_clear(body);
	}
}

static void send_spread(struct sender *s, struct shop *shop, const struct span *spans,
			struct buf *body)
{
	const struct span *list[WAYS - 1][BATCH_TRACES * TRACE_SPANS], *one;
	size_t cnt[WAYS - 1] = { 0 };

	send_late(s, clock_mono_ns());
	for (uint32_t i = 0; i < BATCH_TRACES * TRACE_SPANS; i++) {
		uint32_t way = shop_below(shop, WAYS - 1);
		uint64_t slot = clock_mono_ns() / SLOT_NS + 1 + shop_below(shop, LATE_MAX_SLOTS);

		one = &spans[i];
		if (i % TRACE_SPANS && shop_below(shop, 10) == 0)
			otlp_encode(&one, 1, &s->late[slot % LATE_SLOTS]);
		else
			list[way][cnt[way]++] = one;
	}
	for (int way = 0; way < WAYS - 1; way++) {
		buf_clear(body);
		otlp_encode(list[way], cnt[way], body);
		deliver(s, way, body);
	}
}

static void run_batches(struct sender *s, struct shop *shop, struct buf *body)
{
	static __thread struct span spans[BATCH_TRACES * TRACE_SPANS];
	struct arena *mem = arena_new(0);
	uint64_t traces = 0, next = clock_mono_ns();

	s->late_from = next / SLOT_NS;
	for (uint64_t sent = 0; sent < s->spans && !s->err; sent += BATCH_TRACES * TRACE_SPANS) {
		make(shop, mem, &traces, spans);
		if (s->traces_per_s <= 0) {
			send_whole(s, spans, body);
			continue;
		}
		send_spread(s, shop, spans, body);
		next += (uint64_t)(BATCH_TRACES * NS_PER_S / s->traces_per_s);
		while (clock_mono_ns() < next)
			usleep(1000);
	}
	s->ended_ns = clock_mono_ns();
	if (s->traces_per_s > 0)
		send_late(s, UINT64_MAX);
	arena_free(mem);
}

static void *run(void *arg)
{
	struct sender *s = arg;
	struct buf body = { 0 };
	struct shop shop;

	shop_init(&shop, s->seed);
	for (int i = 0; i < WAYS; i++)
		if ((s->fd[i] = dial(&s->to)) < 0)
			s->err = 1;
	if (!s->err)
		run_batches(s, &shop, &body);
	for (int i = 0; i < WAYS; i++)
		if (s->fd[i] >= 0)
			close(s->fd[i]);
	for (int i = 0; i < LATE_SLOTS; i++)
		buf_fini(&s->late[i]);
	shop_fini(&shop);
	buf_fini(&body);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct sender senders[CONNECTION_MAX];
	struct sockaddr_in to = { .sin_family = AF_INET };
	uint64_t spans, begin, refused = 0, ended = 0;
	double rate = argc > 6 ? atof(argv[6]) : 0;
	unsigned int cnt = argc > 4 ? (unsigned int)atoi(argv[4]) : 16;
	int err = 0;

	if (argc < 4 || cnt < 1 || cnt > CONNECTION_MAX ||
	    inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "otlp_load HOST PORT SPANS [CONNECTIONS [SEED [TRACES_PER_S]]]\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	spans = strtoull(argv[3], NULL, 10);
	begin = clock_mono_ns();
	for (unsigned int i = 0; i < cnt; i++) {
		senders[i] = (struct sender){
			.to = to,
			.spans = spans / cnt,
			.traces_per_s = rate / cnt,
			.seed = (argc > 5 ? strtoull(argv[5], NULL, 10) : 1) * CONNECTION_MAX + i
		};
		pthread_create(&senders[i].thread, NULL, run, &senders[i]);
	}
	for (unsigned int i = 0; i < cnt; i++) {
		pthread_join(senders[i].thread, NULL);
		err |= senders[i].err;
		refused += senders[i].refused;
		ended = MAX(ended, senders[i].ended_ns);
	}
	printf("seconds %.3f refused %llu\n", (double)(ended - begin) / 1e9,
	       (unsigned long long)refused);
	if (err)
		fprintf(stderr, "a sender ended: %d\n", err);
	return err != 0;
}
