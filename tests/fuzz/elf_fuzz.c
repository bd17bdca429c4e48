/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile executables, and lines of hostile /proc files. */
#include "discover/internal.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_text(struct str text)
{
	char out[512], pairs[512];
	struct text t = { pairs, 0, sizeof(pairs) };
	struct facts f = { .proc_fd = -1, .args = text, .env = text };
	struct mapping m;

	for (int r = 0; r < RUNTIME_MAX; r++) {
		f.runtime = (enum runtime)r;
		text_add(&t, "name", service_name(&f, (char[SHORT_MAX]){ 0 }), SHORT_MAX);
	}
	service_attributes(&f, &t);
	mask_command_line(text, out, sizeof(out));
	cgroup_parse(text, &f.cgroup);
	maps_line(text, &m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (size >= 4 && memcmp(data, "\177ELF", 4) != 0) {
		look_at_text((struct str){ (const char *)data, size });
		return 0;
	}
	if (fd < 0)
		fd = memfd_create("elf", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		return 0;
	elf_look(fd);
	return 0;
}
