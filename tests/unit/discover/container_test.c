/* SPDX-License-Identifier: Apache-2.0 */
/* Every form of cgroup path that container runtimes and systemd are known to make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "discover/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define HEX  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define POD  "1f0d3c2e-7b8a-4c5d-9e6f-001122334455"
#define POD_ "1f0d3c2e_7b8a_4c5d_9e6f_001122334455"
#define HASH "00112233445566778899aabbccddeeff"

static void expect(const char *path, const char *id)
{
	struct str got = discover_container_id(str_of(path));

	if (!str_eq(got, str_of(id)))
		fail_msg("%s: \"" STR_FMT "\", not \"%s\"", path, STR_ARG(got), id);
}

static void each_runtime_s_path_gives_its_id(void **state)
{
	expect("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD_
	       ".slice/cri-containerd-" HEX ".scope",
	       HEX);
	expect("/kubepods/burstable/pod" POD "/" HEX, HEX);
	expect("/system.slice/containerd.service/kubepods-besteffort-pod" POD_
	       ".slice:cri-containerd:" HEX,
	       HEX);
	expect("/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" HEX ".scope", HEX);
	expect("/docker/" HEX, HEX);
	expect("/system.slice/docker-" HEX ".scope", HEX);
	expect("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" POD_
	       ".slice/docker-" HEX ".scope",
	       HEX);
	expect("/docker/" HEX2 "/kubelet.slice/kubelet-kubepods.slice/"
	       "kubelet-kubepods-besteffort-pod" POD_ ".slice/cri-containerd-" HEX ".scope",
	       HEX);
	expect("/k8s.io/" HEX, HEX);
	expect("/../../pod" POD "/" HEX, HEX);
	expect("/../" HEX, HEX);
	expect("/machine.slice/libpod-" HEX ".scope", HEX);
	expect("/machine.slice/libpod-" HEX ".scope/container", HEX);
	expect("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" HEX ".scope",
	       HEX);
	expect("/docker/" HEX "/init.scope", HEX);
	expect("/ecs/0011223344/" HEX, HEX);
	expect("/lxc/web", "web");
	expect("/lxc.payload.web", "web");
	expect("/lxc.payload.web/system.slice/nginx.service", "web");
	expect("/lxc.payload/web/init.scope", "web");
}

static void plain_processes_have_no_container(void **state)
{
	expect("", "");
	expect("/", "");
	expect("/init.scope", "");
	expect("/system.slice/nginx.service", "");
	expect("/user.slice/user-1000.slice/session-3.scope", "");
	expect("/podruntime/kubelet", "");
	expect("/kubepods.slice", "");
	expect("/docker/" HEX "0", "");
	expect("/docker/0123456789abcdef", "");
	expect("////", "");
}

static void helpers_beside_a_container_are_outside(void **state)
{
	expect("/machine.slice/libpod-conmon-" HEX ".scope", "");
	expect("/kubepods.slice/kubepods-pod" POD_ ".slice/crio-conmon-" HEX ".scope", "");
	expect("/lxc.monitor.web", "");
}

static void parsed(const char *content, const char *id, const char *pod, const char *unit)
{
	struct cgroup g;

	cgroup_parse(str_of(content), &g);
	if (!str_eq(g.container, str_of(id)) || strcmp(g.pod, pod) != 0 ||
	    !str_eq(g.unit, str_of(unit)))
		fail_msg("%s: id \"" STR_FMT "\" pod \"%s\" unit \"" STR_FMT "\"", content,
			 STR_ARG(g.container), g.pod, STR_ARG(g.unit));
}

static void pods_are_found_in_either_spelling(void **state)
{
	parsed("0::/kubepods.slice/kubepods-pod" POD_ ".slice/cri-containerd-" HEX ".scope\n", HEX,
	       POD, "");
	parsed("0::/kubepods/burstable/pod" POD "/" HEX "\n", HEX, POD, "");
	parsed("0::/kubepods/pod" HASH "/" HEX "\n", HEX, HASH, "");
	parsed("0::/../../pod" POD "/" HEX "\n", HEX, POD, "");
	parsed("0::/docker/" HEX2 "/kubelet.slice/kubelet-kubepods.slice/"
	       "kubelet-kubepods-besteffort-pod" POD_ ".slice/cri-containerd-" HEX ".scope\n",
	       HEX, POD, "");
	parsed("0::/kubepods/podnothing/" HEX "\n", HEX, "", "");
}

static void the_line_that_knows_most_is_asked_first(void **state)
{
	parsed("12:cpuset:/docker/" HEX2 "\n1:name=systemd:/docker/" HEX "\n0::/\n", HEX, "", "");
	parsed("4:memory:/kubepods/pod" POD "/" HEX "\n1:name=systemd:/docker/" HEX2
	       "\n0::/system.slice/containerd.service\n",
	       HEX, POD, "");
	parsed("11:cpu,cpuacct:/system.slice/containerd.service/kubepods-besteffort-pod" POD_
	       ".slice:cri-containerd:" HEX "\n",
	       HEX, POD, "");
}

static void units_name_services_and_not_sessions(void **state)
{
	parsed("0::/system.slice/nginx.service\n", "", "", "nginx");
	parsed("0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n", "", "",
	       "postgresql");
	parsed("0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n", "", "",
	       "shop");
	parsed("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "", "", "");
	parsed("0::/user.slice/user-1000.slice/session-3.scope\n", "", "", "");
	parsed("0::/system.slice/docker-" HEX ".scope/system.slice/nginx.service\n", HEX, "",
	       "nginx");
	parsed("0::/system.slice/.service\n", "", "", "");
	parsed("0::/a.service\n1:name=systemd:/b.service\n", "", "", "a");
}

static void what_is_no_cgroup_file_gives_nothing(void **state)
{
	char *big = malloc(1 << 20);

	parsed("", "", "", "");
	parsed("\n\n::\n:::\nx\n0::relative/" HEX "\n", "", "", "");
	assert_non_null(big);
	memset(big, '/', 1 << 20);
	memcpy(big, "0::/", 4);
	big[(1 << 20) - 1] = '\0';
	parsed(big, "", "", "");
	memset(big + 4, 'a', (1 << 20) - 5);
	parsed(big, "", "", "");
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_runtime_s_path_gives_its_id),
		cmocka_unit_test(plain_processes_have_no_container),
		cmocka_unit_test(helpers_beside_a_container_are_outside),
		cmocka_unit_test(pods_are_found_in_either_spelling),
		cmocka_unit_test(the_line_that_knows_most_is_asked_first),
		cmocka_unit_test(units_name_services_and_not_sessions),
		cmocka_unit_test(what_is_no_cgroup_file_gives_nothing),
	};
	return cmocka_run_group_tests_name("discover/container", tests, NULL, NULL);
}
