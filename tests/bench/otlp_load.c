/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends the shop's traffic over OTLP/HTTP and waits for each answer:
 *
 *	otlp_load HOST PORT SPANS [CONNECTIONS [SEED]]
 *
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

struct sender {
	pthread_t thread;
	struct sockaddr_in to;
	uint64_t spans;
	uint64_t seed;
	uint64_t refused;
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

static void batch(struct shop *shop, struct arena *mem, uint64_t *traces, struct buf *body)
{
	static __thread struct span spans[BATCH_TRACES * TRACE_SPANS];
	const struct span *list[BATCH_TRACES * TRACE_SPANS];
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
	for (int i = 0; i < BATCH_TRACES * TRACE_SPANS; i++)
		list[i] = &spans[i];
	buf_clear(body);
	otlp_encode(list, ARRAY_LEN(list), body);
}

static void *run(void *arg)
{
	struct sender *s = arg;
	struct arena *mem = arena_new(0);
	struct buf body = { 0 };
	struct shop shop;
	uint64_t traces = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	shop_init(&shop, s->seed);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&s->to, sizeof(s->to)))
		s->err = 1;
	for (uint64_t sent = 0; sent < s->spans && !s->err;) {
		int status;

		batch(&shop, mem, &traces, &body);
		while ((status = post(fd, buf_str(&body))) == 503 || status == 429) {
			s->refused++;
			usleep(20000);
		}
		if (status != 200)
			s->err = status;
		sent += BATCH_TRACES * TRACE_SPANS;
	}
	close(fd);
	shop_fini(&shop);
	buf_fini(&body);
	arena_free(mem);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct sender senders[CONNECTION_MAX];
	struct sockaddr_in to = { .sin_family = AF_INET };
	uint64_t spans, begin, refused = 0;
	unsigned int cnt = argc > 4 ? (unsigned int)atoi(argv[4]) : 16;
	int err = 0;

	if (argc < 4 || cnt < 1 || cnt > CONNECTION_MAX ||
	    inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "otlp_load HOST PORT SPANS [CONNECTIONS [SEED]]\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	spans = strtoull(argv[3], NULL, 10);
	begin = clock_mono_ns();
	for (unsigned int i = 0; i < cnt; i++) {
		senders[i] = (struct sender){
			.to = to,
			.spans = spans / cnt,
			.seed = (argc > 5 ? strtoull(argv[5], NULL, 10) : 1) * CONNECTION_MAX + i
		};
		pthread_create(&senders[i].thread, NULL, run, &senders[i]);
	}
	for (unsigned int i = 0; i < cnt; i++) {
		pthread_join(senders[i].thread, NULL);
		err |= senders[i].err;
		refused += senders[i].refused;
	}
	printf("seconds %.3f refused %llu\n", (double)(clock_mono_ns() - begin) / 1e9,
	       (unsigned long long)refused);
	if (err)
		fprintf(stderr, "a sender ended: %d\n", err);
	return err != 0;
}
