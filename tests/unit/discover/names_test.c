/* SPDX-License-Identifier: Apache-2.0 */
/* What runtimes leave on a host's disk names a container and its pod; what is hostile or absent
 * names nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "discover/internal.h"
#include "unit/discover/tree.h"

#define ID    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "ff23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID   "95cf6d7d-b7e2-11e8-a43b-08002779ae1f"
#define POD   "/kubepods.slice/kubepods-pod95cf6d7d_b7e2_11e8_a43b_08002779ae1f.slice/"

#define DOCKER	"/var/lib/docker/containers/" ID "/config.v2.json"
#define TASK	"/run/containerd/io.containerd.runtime.v2.task/"
#define STORAGE "/containers/storage/overlay-containers/"

static struct tree tree;
static char host[PATH_LEN];
static struct event_proc *proc;

static int setup(void **state)
{
	tree_make(&tree);
	tree_mkdir(&tree, "host");
	tree_path(&tree, "host", host);
	proc = calloc(1, sizeof(*proc) + PROC_TEXT_MAX);
	return proc ? 0 : -1;
}

static int teardown(void **state)
{
	free(proc);
	tree_remove(&tree);
	return 0;
}

/* Makes the directories above it too. */
static void host_dir(const char *path)
{
	char name[PATH_LEN], *end = name + strlen(host);

	snprintf(name, sizeof(name), "%s%s", host, path);
	while (*end) {
		char *next = strchrnul(end + 1, '/'), after = *next;

		*next = '\0';
		mkdir(name, 0755);
		*next = after;
		end = next;
	}
}

static void host_file(const char *path, const char *text)
{
	char name[512];

	snprintf(name, sizeof(name), STR_FMT, STR_ARG(path_dir(str_of(path))));
	host_dir(name);
	snprintf(name, sizeof(name), "host%s", path);
	tree_file(&tree, name, text);
}

static struct look *look_begin(void)
{
	struct look *l = look_new(tree.dir, namer_new(host), NULL, NULL);

	assert_non_null(l);
	return l;
}

static void look_on(struct look *l, const char *cgroup)
{
	char line[PATH_LEN];

	snprintf(line, sizeof(line), "0::%s\n", cgroup);
	tree_file(&tree, "cgroup", line);
	assert_int_equal(look_process(l, TREE_PID, NULL, proc, sizeof(*proc) + PROC_TEXT_MAX), 0);
	assert_int_equal(event_check(proc, proc->h.size), 0);
}

static void look(const char *cgroup)
{
	struct look *l = look_begin();

	look_on(l, cgroup);
	look_free(l);
}

static void expect(const char *key, const char *value)
{
	if (strcmp(proc_value(proc, key), value) != 0)
		fail_msg("%s is \"%s\", not \"%s\"", key, proc_value(proc, key), value);
}

static void expect_pod(const char *container)
{
	expect("k8s.namespace.name", "shop");
	expect("k8s.pod.name", "web-6d4b-x2x");
	expect("k8s.pod.uid", UID);
	expect("k8s.container.name", container);
}

/* What is told without any file. */
static void expect_nothing(void)
{
	expect("service.name", "a) b");
	expect("container.id", ID);
	expect("container.name", "");
	expect("container.image.name", "");
	expect("k8s.pod.name", "");
}

static void docker_s_name_is_without_its_slash(void **state)
{
	host_file(DOCKER, "{\"Name\":\"/brave_bell\",\"Config\":{\"Image\":"
			  "\"registry:5000/shop/web:1.2@sha256:0a\",\"Labels\":{\"x\":\"y\"}}}");
	look("/system.slice/docker-" ID ".scope");
	expect("service.name", "brave_bell");
	expect("container.id", ID);
	expect("container.name", "brave_bell");
	expect("container.image.name", "registry:5000/shop/web");
	expect("k8s.pod.name", "");
	host_file(DOCKER, "{\"Name\":\"/brave_bell\",\"Config\":{\"Image\":\"sha256:0a\"}}");
	look("/docker/" ID);
	expect("container.image.name", "");
}

static void docker_s_orchestrators_know_a_better_name(void **state)
{
	host_file(DOCKER, "{\"Name\":\"/shop-web-1\",\"Config\":{\"Image\":\"nginx\",\"Labels\":"
			  "{\"com.docker.compose.service\":\"web\"}}}");
	look("/docker/" ID);
	expect("service.name", "web");
	expect("container.name", "shop-web-1");
	expect("container.image.name", "nginx");
	host_file(DOCKER, "{\"Name\":\"/shop_api.1.k2j\",\"Config\":{\"Labels\":"
			  "{\"com.docker.swarm.service.name\":\"shop_api\"}}}");
	look("/docker/" ID);
	expect("service.name", "shop_api");
	host_file(DOCKER, "{\"Name\":\"/k8s_web\",\"Config\":{\"Labels\":{"
			  "\"io.kubernetes.container.name\":\"web\","
			  "\"io.kubernetes.pod.name\":\"web-6d4b-x2x\","
			  "\"io.kubernetes.pod.namespace\":\"shop\","
			  "\"io.kubernetes.pod.uid\":\"" UID "\"}}}");
	look("/docker/" ID);
	expect("service.name", "web");
	expect("container.name", "k8s_web");
	expect_pod("web");
}

static void containerd_s_annotations_name_pod_and_container(void **state)
{
	host_file(TASK "k8s.io/" ID "/config.json",
		  "{\"ociVersion\":\"1.1.0\",\"annotations\":{"
		  "\"io.kubernetes.cri.container-name\":\"web\","
		  "\"io.kubernetes.cri.image-name\":\"docker.io/library/nginx:1.25\","
		  "\"io.kubernetes.cri.sandbox-name\":\"web-6d4b-x2x\","
		  "\"io.kubernetes.cri.sandbox-namespace\":\"shop\","
		  "\"io.kubernetes.cri.sandbox-uid\":\"" UID "\"}}");
	host_dir(TASK "default");
	look(POD "cri-containerd-" ID ".scope");
	expect("service.name", "web");
	expect("container.name", "web");
	expect("container.image.name", "docker.io/library/nginx");
	expect_pod("web");
}

static void a_pod_s_sandbox_is_no_container_of_its(void **state)
{
	host_file(TASK "k8s.io/" ID "/config.json",
		  "{\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
		  "\"io.kubernetes.cri.sandbox-name\":\"web-6d4b-x2x\","
		  "\"io.kubernetes.cri.sandbox-namespace\":\"shop\"}}");
	host_dir("/var/log/pods/shop_web-6d4b-x2x_" UID "/web");
	look(POD "cri-containerd-" ID ".scope");
	expect("service.name", "a) b");
	expect_pod("");
	host_file("/run" STORAGE ID "/userdata/config.json",
		  "{\"annotations\":{\"io.kubernetes.container.name\":\"POD\","
		  "\"io.kubernetes.pod.name\":\"web-6d4b-x2x\","
		  "\"io.kubernetes.pod.namespace\":\"shop\"}}");
	look(POD "crio-" ID ".scope");
	expect("service.name", "a) b");
	expect_pod("");
}

static void other_clients_of_containerd_are_found_too(void **state)
{
	host_file(TASK "default/" ID "/config.json", "{\"annotations\":{\"nerdctl/name\":\"db\"}}");
	look("/default/" ID);
	expect("service.name", "db");
	expect("container.name", "db");
	host_file("/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" OTHER "/config.json",
		  "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"dns\"}}");
	look("/kubepods/besteffort/pod" UID "/" OTHER);
	expect("service.name", "dns");
}

static void cri_o_has_a_file_for_each(void **state)
{
	static const char *const above[] = { "/run", "/var/lib" };
	static const char *const ids[] = { ID, OTHER };

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		char path[PATH_LEN];

		snprintf(path, sizeof(path), "%s" STORAGE "%s/userdata/config.json", above[i],
			 ids[i]);
		host_file(path, "{\"annotations\":{\"io.kubernetes.container.name\":\"web\","
				"\"io.kubernetes.cri-o.ImageName\":\"quay.io/shop/web:2\","
				"\"io.kubernetes.pod.name\":\"web-6d4b-x2x\","
				"\"io.kubernetes.pod.namespace\":\"shop\","
				"\"io.kubernetes.pod.uid\":\"" UID "\"}}");
		snprintf(path, sizeof(path), POD "crio-%s.scope", ids[i]);
		look(path);
		expect("service.name", "web");
		expect("container.image.name", "quay.io/shop/web");
		expect_pod("web");
	}
}

static void podman_s_lists_hold_all_containers(void **state)
{
	host_file("/var/lib" STORAGE "containers.json",
		  "[{\"id\":\"" OTHER "\",\"names\":[\"cache\"]},{\"id\":\"" ID
		  "\",\"names\":[\"web\"],\"image\":\"0a\",\"metadata\":"
		  "\"{\\\"image-name\\\":\\\"docker.io/library/nginx:latest\\\"}\"}]");
	host_file("/var/lib" STORAGE ID "/userdata/config.json",
		  "{\"annotations\":{\"io.container.manager\":\"libpod\"}}");
	look("/machine.slice/libpod-" ID ".scope");
	expect("service.name", "web");
	expect("container.name", "web");
	expect("container.image.name", "docker.io/library/nginx");
	look("/machine.slice/libpod-" OTHER ".scope");
	expect("service.name", "cache");
	host_file("/var/lib" STORAGE "containers.json", "[]");
	host_file("/var/lib" STORAGE "volatile-containers.json",
		  "[{\"id\":\"" ID "\",\"names\":[\"brief\"]}]");
	look("/machine.slice/libpod-" ID ".scope");
	expect("service.name", "brief");
	host_file("/var/lib" STORAGE "volatile-containers.json",
		  "[{\"id\":\"" ID "\",\"names\":[\"k8s_web_web-6d4b_shop_uid_0\"]}]");
	look("/machine.slice/libpod-" ID ".scope");
	expect_nothing();
}

static void a_pod_s_logs_name_it_without_its_runtime(void **state)
{
	host_dir("/var/log/pods/other_x_" UID "0/y");
	host_dir("/var/log/pods/shop_web-6d4b-x2x_" UID "/web");
	look(POD "cri-containerd-" ID ".scope");
	expect("service.name", "web");
	expect("container.name", "web");
	expect_pod("web");
	/* of two directories neither is known to be this one's, its log is */
	host_dir("/var/log/pods/shop_web-6d4b-x2x_" UID "/proxy");
	look(POD "cri-containerd-" ID ".scope");
	expect("service.name", "a) b");
	expect_pod("");
	host_file("/var/log/containers/web-6d4b-x2x_shop_web-" OTHER ".log", "");
	host_file("/var/log/containers/web-6d4b-x2x_shop_proxy-" ID ".log", "");
	look(POD "cri-containerd-" ID ".scope");
	expect("service.name", "proxy");
	expect_pod("proxy");
}

static void the_process_s_own_word_and_an_inner_unit_come_first(void **state)
{
	static const char env[] = "OTEL_SERVICE_NAME=mine";

	host_file(DOCKER, "{\"Name\":\"/machine\"}");
	look("/docker/" ID "/system.slice/nginx.service");
	expect("service.name", "nginx");
	expect("container.name", "machine");
	look("/system.slice/docker.service/docker/" ID);
	expect("service.name", "machine");
	tree_bytes(&tree, "environ", env, sizeof(env));
	look("/docker/" ID);
	expect("service.name", "mine");
	expect("container.name", "machine");
}

static void hostile_files_name_nothing(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"null",
		"[1]",
		"{\"Name\":7}",
		"{\"Name\":\"\"}",
		"{\"Name\":\"/\"}",
		"{\"Name\":\"/\\u0000x\"}",
		"{\"Name\":{\"a\":\"b\"},\"Config\":[\"Labels\"]}",
		"{\"Name\":\"/x\xff\"}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		host_file(DOCKER, texts[i]);
		look("/docker/" ID);
		expect_nothing();
	}
}

/* Too long a name, too deep, too many values, too big a file. */
static void excessive_files_name_nothing(void **state)
{
	size_t len = (1u << 20) + 1;
	char *big = malloc(len + 1);

	assert_non_null(big);
	snprintf(big, len, "{\"Name\":\"/%0*d\"}", 300, 1);
	host_file(DOCKER, big);
	look("/docker/" ID);
	expect_nothing();
	snprintf(big, len, "{\"Name\":\"/x\",\"a\":%.*s%.*s}", 40,
		 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 40,
		 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
	host_file(DOCKER, big);
	look("/docker/" ID);
	expect_nothing();
	memset(big, '1', len);
	for (size_t i = 1; i < 200000; i += 2)
		big[i] = ',';
	big[0] = '[';
	big[200000] = ']';
	big[200001] = 0;
	host_file("/var/lib" STORAGE "containers.json", big);
	look("/docker/" ID);
	expect_nothing();
	snprintf(big, len, "{\"Name\":\"/x\"}");
	memset(big + strlen(big), ' ', len - strlen(big));
	big[len] = 0;
	host_file(DOCKER, big);
	look("/docker/" ID);
	expect_nothing();
	free(big);
}

/* A link that leads out of the host's root or nowhere, a directory; an escape sequence. */
static void links_do_not_lead_out_of_the_host_s_root(void **state)
{
	char secret[PATH_LEN];

	host_dir("/var/lib/docker/containers/" ID);
	tree_file(&tree, "outside.json", "{\"Name\":\"/outside\"}");
	tree_path(&tree, "outside.json", secret);
	tree_link(&tree, "host" DOCKER, secret);
	look("/docker/" ID);
	expect_nothing();
	host_dir("/run" STORAGE ID "/userdata/config.json");
	look("/docker/" ID);
	expect_nothing();
	tree_link(&tree, "host" DOCKER, "gone");
	host_file("/var/lib" STORAGE "containers.json",
		  "[{\"id\":\"" ID "\",\"names\":[\"a\\u001b[2J\"]}]");
	look("/docker/" ID);
	expect("service.name", "a?[2J");
}

static void links_within_the_host_are_followed(void **state)
{
	host_file("/data/docker/containers/" ID "/config.v2.json", "{\"Name\":\"/web\"}");
	host_dir("/var/lib");
	tree_link(&tree, "host/var/lib/docker", "/data/docker");
	look("/docker/" ID);
	expect("container.name", "web");
}

static void what_was_found_is_kept(void **state)
{
	struct look *l = look_begin();

	host_file(DOCKER, "{\"Name\":\"/first\"}");
	look_on(l, "/docker/" ID);
	host_file(DOCKER, "{\"Name\":\"/second\"}");
	look_on(l, "/docker/" ID);
	expect("container.name", "first");
	/* until too many others have come by; they have no files */
	for (int i = 0; i < 512; i++) {
		char path[PATH_LEN];

		snprintf(path, sizeof(path), "/docker/%064x", i);
		look_on(l, path);
		expect("container.name", "");
	}
	look_on(l, "/docker/" ID);
	expect("container.name", "second");
	look_free(l);
}

static void without_a_host_s_root_containers_have_ids(void **state)
{
	snprintf(host, sizeof(host), "/nonexistent/host");
	look("/docker/" ID);
	expect_nothing();
	look("/lxc/web");
	expect("container.name", "web");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(docker_s_name_is_without_its_slash),
		TEST(docker_s_orchestrators_know_a_better_name),
		TEST(containerd_s_annotations_name_pod_and_container),
		TEST(a_pod_s_sandbox_is_no_container_of_its),
		TEST(other_clients_of_containerd_are_found_too),
		TEST(cri_o_has_a_file_for_each),
		TEST(podman_s_lists_hold_all_containers),
		TEST(a_pod_s_logs_name_it_without_its_runtime),
		TEST(the_process_s_own_word_and_an_inner_unit_come_first),
		TEST(hostile_files_name_nothing),
		TEST(excessive_files_name_nothing),
		TEST(links_do_not_lead_out_of_the_host_s_root),
		TEST(links_within_the_host_are_followed),
		TEST(what_was_found_is_kept),
		TEST(without_a_host_s_root_containers_have_ids),
	};
	return cmocka_run_group_tests_name("discover/names", tests, NULL, NULL);
}
