/* SPDX-License-Identifier: Apache-2.0 */
/* Executables at hand, and files that only claim to be ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "discover/internal.h"
#include "unit/discover/tree.h"

#include <elf.h>
#include <sys/mman.h>

static struct tree tree;

static int setup(void **state)
{
	tree_make(&tree);
	return 0;
}

static int teardown(void **state)
{
	tree_remove(&tree);
	return 0;
}

static void is_runtime(const char *path, enum runtime want)
{
	struct event_proc *p;
	char *real = realpath(path, NULL);

	if (!real || access(real, R_OK) < 0) {
		free(real);
		print_message("SKIP %s: not on this machine\n", path);
		return;
	}
	tree_link(&tree, "exe", real);
	p = tree_look(&tree, NULL);
	if (p->runtime != want)
		fail_msg("%s: runtime %u, not %u", real, p->runtime, want);
	free(real);
	free(p);
}

static void programs_at_hand_are_told_apart(void **state)
{
	char cargo[PATH_LEN];

	is_runtime("/usr/bin/python3", RUNTIME_PYTHON);
	is_runtime("/usr/bin/perl", RUNTIME_PERL);
	is_runtime("/usr/bin/node", RUNTIME_NODE);
	is_runtime("/usr/bin/ruby", RUNTIME_RUBY);
	is_runtime("/usr/bin/bash", RUNTIME_NATIVE);
	is_runtime("/usr/sbin/nginx", RUNTIME_NATIVE);
	is_runtime("/usr/bin/redis-server", RUNTIME_NATIVE);
	is_runtime("/usr/sbin/mariadbd", RUNTIME_NATIVE);
	snprintf(cargo, sizeof(cargo), "%s/.cargo/bin/cargo", getenv("HOME") ? getenv("HOME") : "");
	is_runtime(cargo, RUNTIME_RUST);
}

static unsigned int look_at(const void *p, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	unsigned int flags;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	flags = elf_look(fd);
	close(fd);
	return flags;
}

static char *own_image(size_t *ret_len)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat st;
	char *p;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	p = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return p;
}

/* A file of sections with the given names and one content. */
static size_t make_image(char *out, const char *section, const char *content)
{
	Elf64_Ehdr h = { .e_ident = ELFMAG,
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_ehsize = sizeof(h),
			 .e_shentsize = sizeof(Elf64_Shdr),
			 .e_shnum = 3,
			 .e_shstrndx = 1,
			 .e_shoff = 64 };
	Elf64_Shdr sh[3] = { 0 };
	char names[64] = "\0.shstrtab";
	size_t at = sizeof(h) + sizeof(sh);

	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	h.e_ident[EI_VERSION] = EV_CURRENT;
	snprintf(names + 11, sizeof(names) - 11, "%s", section);
	sh[1] = (Elf64_Shdr){
		.sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = at, .sh_size = sizeof(names)
	};
	sh[2] = (Elf64_Shdr){ .sh_name = 11,
			      .sh_type = SHT_PROGBITS,
			      .sh_offset = at + sizeof(names),
			      .sh_size = strlen(content) };
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), sh, sizeof(sh));
	memcpy(out + at, names, sizeof(names));
	memcpy(out + at + sizeof(names), content, strlen(content));
	return at + sizeof(names) + strlen(content);
}

static void sections_betray_go_and_rust(void **state)
{
	char image[1024];

	assert_int_equal(look_at(image, make_image(image, ".go.buildinfo", "x")),
			 ELF_F_VALID | ELF_F_GO);
	assert_int_equal(look_at(image, make_image(image, ".comment", "rustc version 1.75.0")),
			 ELF_F_VALID | ELF_F_RUST);
	assert_int_equal(look_at(image, make_image(image, ".rodata", "a/rustc/9fc6b431/library/")),
			 ELF_F_VALID | ELF_F_RUST);
	assert_int_equal(look_at(image, make_image(image, ".rodata",
						   "/usr/src/rustc-1.63.0/library/std/src/x.rs")),
			 ELF_F_VALID | ELF_F_RUST);
	assert_int_equal(look_at(image, make_image(image, ".comment", "GCC: (Debian) 12.2.0")),
			 ELF_F_VALID);
}

static void a_program_linked_to_libc_is_dynamic(void **state)
{
	size_t len;
	char *p = own_image(&len);

	assert_int_equal(look_at(p, len) & (ELF_F_VALID | ELF_F_DYNAMIC | ELF_F_LIBC),
			 ELF_F_VALID | ELF_F_DYNAMIC | ELF_F_LIBC);
	assert_int_equal(look_at(p, len) & ELF_F_GO, 0);
	free(p);
}

static void what_decides_a_runtime_has_an_order(void **state)
{
	unsigned int dynamic = ELF_F_VALID | ELF_F_DYNAMIC;

	assert_int_equal(runtime_decide(dynamic | ELF_F_GO, RUNTIME_UNKNOWN, RUNTIME_PYTHON, true),
			 RUNTIME_GO);
	assert_int_equal(
		runtime_decide(dynamic | ELF_F_RUST, RUNTIME_UNKNOWN, RUNTIME_UNKNOWN, true),
		RUNTIME_RUST);
	assert_int_equal(runtime_decide(dynamic, RUNTIME_UNKNOWN, RUNTIME_UNKNOWN, true),
			 RUNTIME_NATIVE);
	assert_int_equal(
		runtime_decide(dynamic | ELF_F_LIBC, RUNTIME_UNKNOWN, RUNTIME_UNKNOWN, false),
		RUNTIME_NATIVE);
	assert_int_equal(runtime_decide(ELF_F_VALID, RUNTIME_UNKNOWN, RUNTIME_UNKNOWN, false),
			 RUNTIME_UNKNOWN);
	assert_int_equal(runtime_decide(0, RUNTIME_UNKNOWN, RUNTIME_UNKNOWN, true),
			 RUNTIME_UNKNOWN);
	assert_int_equal(runtime_of_exe(STR("python3.11")), RUNTIME_PYTHON);
	assert_int_equal(runtime_of_exe(STR("pythonista")), RUNTIME_UNKNOWN);
	assert_int_equal(runtime_of_exe(STR("nodetool")), RUNTIME_UNKNOWN);
	assert_int_equal(runtime_of_exe(STR("php-fpm8.2")), RUNTIME_PHP);
}

static void truncated_and_garbled_files_do_no_harm(void **state)
{
	size_t len;
	char *p = own_image(&len);
	unsigned int seed = 1;

	for (size_t cut = 0; cut < 256; cut++)
		look_at(p, cut);
	for (size_t cut = 256; cut < len; cut += len / 64)
		look_at(p, cut);
	for (int round = 0; round < 200; round++) {
		char head[4096];

		memcpy(head, p, sizeof(head));
		for (int i = 0; i < 8; i++)
			head[rand_r(&seed) % 0x240] = (char)rand_r(&seed);
		look_at(head, sizeof(head));
	}
	assert_int_equal(look_at("\177ELF", 4), 0);
	free(p);
}

/* Past 16 bits counts are elsewhere; libelf would make tables of that size. */
static void enormous_counts_are_refused(void **state)
{
	char image[1024];
	size_t len = make_image(image, ".go.buildinfo", "x");
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)image;
	Elf64_Shdr *sh = (Elf64_Shdr *)(void *)(image + 64);

	sh[1].sh_size = UINT64_MAX / 2;
	look_at(image, len);
	h->e_shnum = 0;
	sh[0].sh_size = UINT32_MAX;
	assert_int_equal(look_at(image, len), 0);
	len = make_image(image, ".go.buildinfo", "x");
	h->e_phnum = PN_XNUM;
	assert_int_equal(look_at(image, len), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(programs_at_hand_are_told_apart, setup, teardown),
		cmocka_unit_test(sections_betray_go_and_rust),
		cmocka_unit_test(a_program_linked_to_libc_is_dynamic),
		cmocka_unit_test(what_decides_a_runtime_has_an_order),
		cmocka_unit_test(truncated_and_garbled_files_do_no_harm),
		cmocka_unit_test(enormous_counts_are_refused),
	};
	return cmocka_run_group_tests_name("discover/elf", tests, NULL, NULL);
}
