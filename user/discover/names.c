/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is called, from what its runtime leaves on the host's disk: no API, no socket.
 * Containers are few and live long, so what was found is kept; what was not found is looked for
 * again some time later (a pod's logs appear after its first process).
 */
#include "discover/internal.h"
#include "core/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

#define ID_LEN	    64
#define KEPT_MAX    512
#define AGAIN_NS    (10 * NS_PER_S)
#define FILE_MAX    (1u << 20)
#define ENTRIES_MAX 16384 /* of one directory */

#define STORAGE "/containers/storage/overlay-containers/"
#define TASKS	"containerd/io.containerd.runtime.v2.task"

struct kept {
	char id[ID_LEN];
	bool told;
	uint64_t again_ns; /* when it may be looked for again */
	struct names names;
	UT_hash_handle hh;
};

struct namer {
	int root;	   /* of the host's files; -1: none */
	struct kept *kept; /* oldest first */
};

/* One search; also the context of a walk through a directory. */
struct search {
	int root;
	struct str id, pod;
	const char *dir; /* that is walked through */
	struct names *out;
	size_t cnt;	      /* of directories in it */
	char only[SHORT_MAX]; /* the last one's name */
};

typedef bool (*reader)(struct str text, struct str id, struct names *out);

/* "%s" is the id. Podman's and CRI-O's containers lie together, the latter's with a file each;
 * those that end with their process (--rm) have a list of their own. */
static const struct {
	const char *path;
	reader read;
} places[] = {
	{ "/var/lib/docker/containers/%s/config.v2.json", names_from_docker },
	{ "/run" STORAGE "%s/userdata/config.json", names_from_oci },
	{ "/var/lib" STORAGE "%s/userdata/config.json", names_from_oci },
	{ "/var/lib" STORAGE "containers.json", names_from_storage },
	{ "/var/lib" STORAGE "volatile-containers.json", names_from_storage },
	{ "/run" STORAGE "volatile-containers.json", names_from_storage },
};

static const char *const task_dirs[] = { "/run/" TASKS, "/run/k3s/" TASKS };

static bool try_file(struct search *s, const char *path, reader read)
{
	char *text = NULL;
	ssize_t len = read_below(s->root, path, FILE_MAX, &text);
	bool told = len > 0 && read((struct str){ text, (size_t)len }, s->id, s->out);

	free(text);
	return told;
}

/* Calls visit for each entry; true ends the walk and is returned. */
static bool walk(struct search *s, const char *dir,
		 bool (*visit)(struct search *s, const struct dirent *e))
{
	DIR *d = opendir_below(s->root, dir);
	struct dirent *e;
	bool told = false;

	s->dir = dir;
	for (size_t i = 0; d && i < ENTRIES_MAX && !told && (e = readdir(d)); i++)
		told = e->d_name[0] != '.' && visit(s, e);
	if (d)
		closedir(d);
	return told;
}

/* A namespace of containerd's: k8s.io, default, ... */
static bool visit_tasks(struct search *s, const struct dirent *e)
{
	char path[PATH_LEN];

	snprintf(path, sizeof(path), "%s/%s/" STR_FMT "/config.json", s->dir, e->d_name,
		 STR_ARG(s->id));
	return try_file(s, path, names_from_oci);
}

static bool visit_log(struct search *s, const struct dirent *e)
{
	return names_from_log(str_of(e->d_name), s->id, s->out);
}

static bool visit_container_dir(struct search *s, const struct dirent *e)
{
	if (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) {
		snprintf(s->only, sizeof(s->only), "%s", e->d_name);
		s->cnt++;
	}
	return false;
}

/* The directory has no ids: it names the container only where the pod has just one. */
static bool visit_pod(struct search *s, const struct dirent *e)
{
	char path[PATH_LEN];

	if (!names_from_pod_dir(str_of(e->d_name), s->pod, s->out))
		return false;
	snprintf(path, sizeof(path), "%s/%s", s->dir, e->d_name);
	walk(s, path, visit_container_dir);
	if (s->cnt == 1) {
		snprintf(s->out->k8s_container, SHORT_MAX, "%s", s->only);
		snprintf(s->out->container, SHORT_MAX, "%s", s->only);
		snprintf(s->out->service, SHORT_MAX, "%s", s->only);
	}
	return true;
}

static bool search(struct search *s)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char path[PATH_LEN], id[ID_LEN + 1];

		snprintf(id, sizeof(id), STR_FMT, STR_ARG(s->id));
		snprintf(path, sizeof(path), places[i].path, id);
		if (try_file(s, path, places[i].read))
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(task_dirs); i++) {
		if (walk(s, task_dirs[i], visit_tasks))
			return true;
	}
	if (!s->pod.len)
		return false;
	if (walk(s, "/var/log/containers", visit_log))
		return true;
	return walk(s, "/var/log/pods", visit_pod) && s->out->k8s_container[0];
}

static void drop(struct namer *n, struct kept *k)
{
	HASH_DEL(n->kept, k);
	free(k);
}

const struct names *namer_find(struct namer *n, const struct cgroup *g)
{
	struct search s = { .root = n->root, .id = g->container, .pod = str_of(g->pod) };
	uint64_t now = clock_mono_ns();
	struct kept *k;

	if (n->root < 0 || g->lxc || g->container.len != ID_LEN)
		return NULL;
	HASH_FIND(hh, n->kept, g->container.p, ID_LEN, k);
	if (k && (k->told || now < k->again_ns))
		return &k->names;
	if (!k) {
		if (HASH_COUNT(n->kept) >= KEPT_MAX)
			drop(n, n->kept);
		k = calloc(1, sizeof(*k));
		if (!k)
			return NULL;
		memcpy(k->id, g->container.p, ID_LEN);
		HASH_ADD(hh, n->kept, id, ID_LEN, k);
	}
	s.out = &k->names;
	k->told = search(&s);
	k->again_ns = now + AGAIN_NS;
	return &k->names;
}

/* In a container of our own the host's files are those of its first process, where we may see them;
 * else what we have ourselves, which may have been mounted for us. */
static int open_host(void)
{
	const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
	struct stat ours, first;
	int fd = -1;

	if (stat("/proc/self/ns/mnt", &ours) == 0 && stat("/proc/1/ns/mnt", &first) == 0 &&
	    ours.st_ino != first.st_ino)
		fd = open("/proc/1/root", flags);
	return fd < 0 ? open("/", flags) : fd;
}

struct namer *namer_new(const char *host_root)
{
	struct namer *n = calloc(1, sizeof(*n));

	if (n)
		n->root =
			host_root ? open(host_root, O_PATH | O_DIRECTORY | O_CLOEXEC) : open_host();
	return n;
}

void namer_free(struct namer *n)
{
	struct kept *k, *tmp;

	if (!n)
		return;
	HASH_ITER (hh, n->kept, k, tmp)
		drop(n, k);
	if (n->root >= 0)
		close(n->root);
	free(n);
}
