/* SPDX-License-Identifier: Apache-2.0 */
/* Which language runtime a process is, by the names of its files and by its executable's ELF. */
#include "discover/internal.h"

#include <ctype.h>
#include <stdio.h>

#define RELEASE_MAX   (16u << 10)
#define VIRTUAL_SINCE 21 /* JEP 444: virtual threads for everyone */

/* "python3.11" begins with "python"; what follows may be a version only. */
static bool is_versioned(struct str base, const char *name)
{
	struct str rest = str_from(base, strlen(name));

	if (!str_starts(base, str_of(name)))
		return false;
	while (rest.len && (isdigit((unsigned char)rest.p[0]) || strchr(".-", rest.p[0])))
		rest = str_from(rest, 1);
	return rest.len == 0 || str_eq(rest, STR("dm")) || str_eq(rest, STR("m")) ||
	       str_eq(rest, STR("d")) || str_eq(rest, STR("t"));
}

enum runtime runtime_of_exe(struct str base)
{
	static const struct {
		const char *name;
		enum runtime runtime;
	} exes[] = {
		{ "python", RUNTIME_PYTHON }, { "pypy", RUNTIME_PYTHON },
		{ "node", RUNTIME_NODE },     { "nodejs", RUNTIME_NODE },
		{ "ruby", RUNTIME_RUBY },     { "jruby", RUNTIME_JAVA },
		{ "php", RUNTIME_PHP },	      { "php-fpm", RUNTIME_PHP },
		{ "php-cgi", RUNTIME_PHP },   { "perl", RUNTIME_PERL },
		{ "java", RUNTIME_JAVA },     { "beam.smp", RUNTIME_BEAM },
		{ "beam", RUNTIME_BEAM },     { "dotnet", RUNTIME_DOTNET },
	};

	for (size_t i = 0; i < ARRAY_LEN(exes); i++) {
		if (is_versioned(base, exes[i].name))
			return exes[i].runtime;
	}
	return RUNTIME_UNKNOWN;
}

enum runtime runtime_of_library(struct str base)
{
	static const struct {
		const char *name;
		enum runtime runtime;
	} libraries[] = {
		{ "libjvm.so", RUNTIME_JAVA },	    { "libcoreclr.so", RUNTIME_DOTNET },
		{ "libclrjit.so", RUNTIME_DOTNET }, { "libnode.so", RUNTIME_NODE },
		{ "libpython", RUNTIME_PYTHON },    { "libpypy", RUNTIME_PYTHON },
		{ "libruby", RUNTIME_RUBY },	    { "libphp", RUNTIME_PHP },
		{ "libperl.so", RUNTIME_PERL },
	};

	if (base.len < 7 || memcmp(base.p, "lib", 3) != 0)
		return RUNTIME_UNKNOWN;
	for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
		if (str_starts(base, str_of(libraries[i].name)))
			return libraries[i].runtime;
	}
	return RUNTIME_UNKNOWN;
}

/* JAVA_VERSION="21.0.2", or "1.8.0_392" of old. 0: not found. */
static unsigned int java_release(struct str text)
{
	struct str mark = STR("JAVA_VERSION=\"");
	const char *at = memmem(text.p, text.len, mark.p, mark.len);
	unsigned int n[2] = { 0, 0 };
	struct str rest;

	if (!at)
		return 0;
	rest = str_from(text, (size_t)(at - text.p) + mark.len);
	for (int i = 0; i < 2; i++) {
		while (rest.len && isdigit((unsigned char)rest.p[0]) && n[i] < 1000) {
			n[i] = n[i] * 10 + (unsigned int)(rest.p[0] - '0');
			rest = str_from(rest, 1);
		}
		rest = str_from(rest, 1);
	}
	return n[0] == 1 ? n[1] : n[0];
}

/* What cannot be told may run virtual threads: its threads prove nothing then. */
enum runtime runtime_of_java(int proc_fd, struct str path)
{
	static const char *const homes[] = { "/bin/java", "/jre/bin/java", "/lib/server/libjvm.so",
					     "/lib/client/libjvm.so" };
	struct str home = path_dir(path_dir(path_dir(path)));
	char release[RELEASE_MAX], name[PATH_LEN];
	unsigned int version;
	ssize_t n;

	path = strip_deleted(path);
	for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
		size_t len = strlen(homes[i]);
		if (path.len > len && memcmp(path.p + path.len - len, homes[i], len) == 0)
			home = (struct str){ path.p, path.len - len };
	}
	snprintf(name, sizeof(name), STR_FMT "/release", STR_ARG(home));
	n = read_in_root(proc_fd, name, release, sizeof(release));
	version = n > 0 ? java_release((struct str){ release, (size_t)n }) : 0;
	return version && version < VIRTUAL_SINCE ? RUNTIME_JAVA : RUNTIME_JAVA_VIRTUAL;
}

enum runtime runtime_decide(unsigned int elf, enum runtime exe, enum runtime library,
			    bool libc_mapped)
{
	if (elf & ELF_F_GO)
		return RUNTIME_GO;
	if (exe != RUNTIME_UNKNOWN)
		return exe;
	if (library != RUNTIME_UNKNOWN)
		return library;
	if (elf & ELF_F_RUST)
		return RUNTIME_RUST;
	if (elf & ELF_F_DYNAMIC && (elf & ELF_F_LIBC || libc_mapped))
		return RUNTIME_NATIVE;
	return RUNTIME_UNKNOWN;
}

const char *runtime_name(enum runtime r, struct str exe_base)
{
	static const char *const names[RUNTIME_MAX] = {
		[RUNTIME_PYTHON] = "cpython",	 [RUNTIME_NODE] = "nodejs",
		[RUNTIME_RUBY] = "ruby",	 [RUNTIME_PHP] = "php",
		[RUNTIME_PERL] = "perl",	 [RUNTIME_JAVA] = "java",
		[RUNTIME_JAVA_VIRTUAL] = "java", [RUNTIME_GO] = "go",
		[RUNTIME_RUST] = "rust",	 [RUNTIME_BEAM] = "beam",
		[RUNTIME_DOTNET] = "dotnet",
	};

	if (r == RUNTIME_PYTHON && str_starts(exe_base, STR("pypy")))
		return "pypy";
	return r < RUNTIME_MAX ? names[r] : NULL;
}
