/* SPDX-License-Identifier: Apache-2.0 */
#include "self.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/books.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"

static double read_cpu(void *ctx)
{
	return (double)clock_read(CLOCK_PROCESS_CPUTIME_ID) / (double)NS_PER_S;
}

static double read_memory(void *ctx)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size, resident = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static struct gauge gauges[] = {
	{ "process_cpu_seconds_total", "Processor time of the agent, user and system.", "counter",
	  read_cpu, NULL },
	{ "process_resident_memory_bytes", "Memory of the agent that is resident.", "gauge",
	  read_memory, NULL },
};

void self_register(void)
{
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
		gauges_register(&gauges[i]);
}

void self_unregister(void)
{
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
		gauges_unregister(&gauges[i]);
}

void self_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_warn("telling the service manager at %s: %m", path);
	close(fd);
}
