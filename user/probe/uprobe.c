/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One uprobe on a function of a file, for every process that maps it.
 *
 * From 6.6 on by a "multi" link, though of one probe only: perf events, the older way, are closed
 * one after another with a grace period of about 100 ms each, however many threads close them.
 * libbpf 1.1 does not know these links, so the system call is made here.
 */
#include "probe/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/str.h"

/* include/uapi/linux/bpf.h of 6.6 */
#define UPROBE_MULTI_RETURN 1

struct link_create_attr {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t cnt, multi_flags, pid, pad;
};

/* Where in the file the function of that name begins, looked up in one symbol table. */
static bool offset_in(Elf *elf, Elf_Scn *table, const char *symbol, uint64_t *ret_offset)
{
	Elf_Data *data = elf_getdata(table, NULL);
	GElf_Shdr head, code;
	GElf_Sym sym;

	if (!data || !gelf_getshdr(table, &head))
		return false;
	for (int i = 0; gelf_getsym(data, i, &sym); i++) {
		const char *name = elf_strptr(elf, head.sh_link, sym.st_name);

		if (!name || GELF_ST_TYPE(sym.st_info) != STT_FUNC || sym.st_shndx == SHN_UNDEF ||
		    strcmp(name, symbol) != 0 ||
		    !gelf_getshdr(elf_getscn(elf, sym.st_shndx), &code))
			continue;
		*ret_offset = sym.st_value - code.sh_addr + code.sh_offset;
		return true;
	}
	return false;
}

static int find_offset(const char *path, const char *symbol, uint64_t *ret_offset)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = -ENOENT;
	Elf_Scn *scn = NULL;
	GElf_Shdr head;
	Elf *elf;

	if (fd < 0)
		return -errno;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	while (err && elf && (scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &head) &&
		    (head.sh_type == SHT_DYNSYM || head.sh_type == SHT_SYMTAB) &&
		    offset_in(elf, scn, symbol, ret_offset))
			err = 0;
	elf_end(elf);
	close(fd);
	return err;
}

static int attach_multi(struct bpf_program *prog, const char *path, const char *symbol,
			bool at_return, struct uprobe *ret)
{
	struct link_create_attr attr = { .attach_type = ATTACH_UPROBE_MULTI, .cnt = 1 };
	uint64_t offset;
	int err = find_offset(path, symbol, &offset);

	if (err)
		return err;
	attr.prog_fd = (uint32_t)bpf_program__fd(prog);
	attr.path = (uintptr_t)path;
	attr.offsets = (uintptr_t)&offset;
	attr.multi_flags = at_return ? UPROBE_MULTI_RETURN : 0;
	ret->fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return ret->fd < 0 ? -errno : 0;
}

int uprobe_attach(struct bpf_program *prog, const char *path, const char *symbol, bool at_return,
		  struct uprobe *ret)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = symbol, .retprobe = at_return);

	*ret = (struct uprobe){ .fd = -1 };
	if ((int)bpf_program__expected_attach_type(prog) == ATTACH_UPROBE_MULTI)
		return attach_multi(prog, path, symbol, at_return, ret);
	ret->link = bpf_program__attach_uprobe_opts(prog, -1, path, 0, &opts);
	return ret->link ? 0 : -errno;
}

void uprobe_detach(struct uprobe *u)
{
	bpf_link__destroy(u->link);
	if (u->fd >= 0)
		close(u->fd);
	*u = (struct uprobe){ .fd = -1 };
}
