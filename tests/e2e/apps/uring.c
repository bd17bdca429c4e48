/* SPDX-License-Identifier: Apache-2.0 */
/* A web server that moves every byte by io_uring: uring PORT. One connection at a time, keep-alive.
 */
#include <arpa/inet.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct io_uring ring;

/* The result of one operation, waited for. */
static int complete(void)
{
	struct io_uring_cqe *cqe;
	int res;

	if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_peek_cqe(&ring, &cqe))
		exit(1);
	res = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return res;
}

static void serve(int fd)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nuring\n";
	char request[4096];

	for (;;) {
		io_uring_prep_recv(io_uring_get_sqe(&ring), fd, request, sizeof(request), 0);
		if (complete() <= 0)
			return;
		io_uring_prep_send(io_uring_get_sqe(&ring), fd, answer, sizeof(answer) - 1, 0);
		if (complete() < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;

	addr.sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&addr, sizeof(addr)) || listen(listener, 16)) {
		perror("listen");
		return 1;
	}
	if (io_uring_queue_init(8, &ring, 0)) {
		fputs("io_uring is not allowed here\n", stderr);
		return 77;
	}
	for (;;) {
		io_uring_prep_accept(io_uring_get_sqe(&ring), listener, NULL, NULL, 0);
		fd = complete();
		if (fd < 0)
			return 1;
		serve(fd);
		close(fd);
	}
}
