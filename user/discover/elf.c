/* SPDX-License-Identifier: Apache-2.0 */
/* What an executable's file tells of the language it was written in. */
#include "discover/internal.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <unistd.h>

#define SECTIONS_MAX 4096
#define SEGMENTS_MAX 256
#define COMMENT_MAX  (64u << 10)
#define RODATA_MAX   (1u << 20)
#define DYNAMIC_MAX  512 /* entries */
#define NEEDED_MAX   64	 /* bytes of a library's name */
#define FILE_MAX     (4ull << 30)
#define NAMES_MAX    (1u << 20) /* of the section names' table */

struct image {
	Elf *elf;
	int fd;
	uint64_t size; /* of the file */
};

/* Reads at most max bytes of a file range into a new buffer; NULL when there is nothing. */
static char *read_range(const struct image *im, uint64_t at, uint64_t len, size_t max,
			size_t *ret_len)
{
	char *p;
	ssize_t n;

	if (at >= im->size)
		return NULL;
	len = MIN(MIN(len, im->size - at), (uint64_t)max);
	p = len ? malloc(len) : NULL;
	if (!p)
		return NULL;
	n = pread(im->fd, p, len, (off_t)at);
	if (n <= 0) {
		free(p);
		return NULL;
	}
	*ret_len = (size_t)n;
	return p;
}

/* Whether one of two marks is there; other may be NULL. */
static bool range_has(const struct image *im, const GElf_Shdr *sh, size_t max, const char *mark,
		      const char *other)
{
	size_t len;
	char *p = sh->sh_type == SHT_NOBITS ? NULL
					    : read_range(im, sh->sh_offset, sh->sh_size, max, &len);
	bool found = p && (memmem(p, len, mark, strlen(mark)) ||
			   (other && memmem(p, len, other, strlen(other))));

	free(p);
	return found;
}

/*
 * rustc names itself in .comment since 1.74; older ones leave the paths of the standard library's
 * panic messages in .rodata: "/rustc/COMMIT/library/...", or ".../library/std/src/..." as
 * distributions build it.
 */
static unsigned int look_section(const struct image *im, const char *name, const GElf_Shdr *sh)
{
	if (strcmp(name, ".go.buildinfo") == 0 || strcmp(name, ".gopclntab") == 0)
		return ELF_F_GO;
	if (strcmp(name, ".comment") == 0)
		return range_has(im, sh, COMMENT_MAX, "rustc version", NULL) ? ELF_F_RUST : 0;
	if (strcmp(name, ".rodata") == 0)
		return range_has(im, sh, RODATA_MAX, "/rustc/", "library/std/src/") ? ELF_F_RUST
										    : 0;
	return 0;
}

/* libelf reads the table of names whole. */
static bool names_bounded(const struct image *im, size_t names)
{
	Elf_Scn *scn = elf_getscn(im->elf, names);
	GElf_Shdr sh;

	return scn && gelf_getshdr(scn, &sh) && sh.sh_size <= NAMES_MAX &&
	       !(sh.sh_flags & SHF_COMPRESSED);
}

static unsigned int look_sections(const struct image *im)
{
	size_t names, cnt = 0;
	unsigned int flags = 0;
	Elf_Scn *scn = NULL;

	if (elf_getshdrstrndx(im->elf, &names) || !names_bounded(im, names))
		return 0;
	while (cnt++ < SECTIONS_MAX && (scn = elf_nextscn(im->elf, scn))) {
		GElf_Shdr sh;
		const char *name;

		if (!gelf_getshdr(scn, &sh))
			continue;
		name = elf_strptr(im->elf, names, sh.sh_name);
		if (name)
			flags |= look_section(im, name, &sh);
	}
	return flags;
}

/* A virtual address as a place in the file; UINT64_MAX: in none. */
static uint64_t file_offset(const struct image *im, uint64_t addr)
{
	size_t cnt;

	if (elf_getphdrnum(im->elf, &cnt))
		return UINT64_MAX;
	for (size_t i = 0; i < MIN(cnt, (size_t)SEGMENTS_MAX); i++) {
		GElf_Phdr ph;

		if (gelf_getphdr(im->elf, (int)i, &ph) && ph.p_type == PT_LOAD &&
		    addr >= ph.p_vaddr && addr - ph.p_vaddr < ph.p_filesz)
			return ph.p_offset + (addr - ph.p_vaddr);
	}
	return UINT64_MAX;
}

static bool is_libc(const char *name)
{
	return strncmp(name, "libc.so", 7) == 0 || strncmp(name, "libc.musl", 9) == 0;
}

/* DT_NEEDED through program headers: a stripped program may have no sections. */
static bool needs_libc(const struct image *im, const GElf_Phdr *dynamic)
{
	size_t width = gelf_getclass(im->elf) == ELFCLASS64 ? 16 : 8, len = 0;
	char *raw = read_range(im, dynamic->p_offset, dynamic->p_filesz, DYNAMIC_MAX * width, &len);
	uint64_t strings = UINT64_MAX;
	bool found = false;

	for (int pass = 0; raw && pass < 2 && !found; pass++) {
		for (size_t at = 0; at + width <= len && !found; at += width) {
			uint64_t tag = 0, value = 0;
			char name[NEEDED_MAX] = "";

			memcpy(&tag, raw + at, width / 2);
			memcpy(&value, raw + at + width / 2, width / 2);
			if (pass == 0 && tag == DT_STRTAB)
				strings = file_offset(im, value);
			if (pass == 0 || tag != DT_NEEDED || strings > im->size || value > im->size)
				continue;
			if (pread(im->fd, name, sizeof(name) - 1, (off_t)(strings + value)) > 0)
				found = is_libc(name);
		}
	}
	free(raw);
	return found;
}

static unsigned int look_segments(const struct image *im)
{
	unsigned int flags = 0;
	size_t cnt;

	if (elf_getphdrnum(im->elf, &cnt))
		return 0;
	for (size_t i = 0; i < MIN(cnt, (size_t)SEGMENTS_MAX); i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(im->elf, (int)i, &ph))
			break;
		if (ph.p_type == PT_INTERP)
			flags |= ELF_F_DYNAMIC;
		else if (ph.p_type == PT_DYNAMIC && needs_libc(im, &ph))
			flags |= ELF_F_LIBC;
	}
	return flags;
}

/*
 * Counts past 16 bits are kept elsewhere in the file (gABI, "ELF Header") and libelf makes tables
 * of that many entries: no program needs them, a hostile file could ask for gigabytes.
 */
static bool counts_bounded(int fd)
{
	union {
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} h;

	if (pread(fd, &h, sizeof(h), 0) < (ssize_t)sizeof(h.narrow) ||
	    memcmp(h.wide.e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	if (h.wide.e_ident[EI_CLASS] == ELFCLASS64)
		return h.wide.e_phnum != PN_XNUM && (h.wide.e_shnum || !h.wide.e_shoff);
	return h.narrow.e_phnum != PN_XNUM && (h.narrow.e_shnum || !h.narrow.e_shoff);
}

unsigned int elf_look(int fd)
{
	struct image im = { .fd = fd };
	unsigned int flags = 0;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_MAX)
		return 0;
	im.size = (uint64_t)st.st_size;
	if (!counts_bounded(fd) || elf_version(EV_CURRENT) == EV_NONE)
		return 0;
	im.elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!im.elf)
		return 0;
	if (elf_kind(im.elf) == ELF_K_ELF)
		flags = ELF_F_VALID | look_segments(&im) | look_sections(&im);
	elf_end(im.elf);
	return flags;
}
