/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one file or directory entry of a container runtime tells of a container. People choose
 * labels and images, so the text is hostile: its nesting and its number of values are bounded
 * before a tree is built of it, and what is too long to be a name is left out.
 */
#include "discover/internal.h"

#include <jansson.h>
#include <stdio.h>

#define JSON_DEPTH_MAX	32
#define JSON_VALUES_MAX (32u << 10) /* a tree of so many takes a few MB */
#define ID_LEN		64

/* The same facts under each family's keys. */
struct pod_keys {
	const char *container, *pod, *namespace, *uid;
};

static const struct pod_keys kubelet_keys = { "io.kubernetes.container.name",
					      "io.kubernetes.pod.name",
					      "io.kubernetes.pod.namespace",
					      "io.kubernetes.pod.uid" };
static const struct pod_keys cri_keys = { "io.kubernetes.cri.container-name",
					  "io.kubernetes.cri.sandbox-name",
					  "io.kubernetes.cri.sandbox-namespace",
					  "io.kubernetes.cri.sandbox-uid" };

/* Counts what would make the tree deep or large; whether it is JSON is for the parser to say. */
static bool is_modest(struct str text)
{
	size_t depth = 0, values = 0;
	bool quoted = false;

	for (size_t i = 0; i < text.len; i++) {
		switch (text.p[i]) {
		case '"': quoted = !quoted; break;
		case '\\': i += quoted; break;
		case '[':
		case '{':
			if (!quoted && (++depth > JSON_DEPTH_MAX || ++values > JSON_VALUES_MAX))
				return false;
			break;
		case ']':
		case '}': depth -= !quoted && depth; break;
		case ',':
			if (!quoted && ++values > JSON_VALUES_MAX)
				return false;
			break;
		}
	}
	return true;
}

static json_t *load(struct str text)
{
	return text.len && is_modest(text) ? json_loadb(text.p, text.len, 0, NULL) : NULL;
}

static struct str text_at(const json_t *object, const char *key)
{
	return str_of(json_string_value(json_object_get(object, key)));
}

static void set(char out[SHORT_MAX], struct str s)
{
	if (s.len && s.len < SHORT_MAX)
		snprintf(out, SHORT_MAX, STR_FMT, STR_ARG(s));
}

/* "registry:5000/shop/web:1.2@sha256:..." is registry:5000/shop/web; a bare digest is no name. */
static void set_image(struct names *n, struct str image)
{
	ptrdiff_t at = str_find(image, '@'), colon;
	struct str base;

	if (str_starts(image, STR("sha256:")))
		return;
	if (at >= 0)
		image.len = (size_t)at;
	base = path_base(image);
	colon = str_find(base, ':');
	if (colon >= 0)
		image.len -= base.len - (size_t)colon;
	set(n->image, image);
}

/* A pod's first container only holds its namespaces: it has no name, or "POD". */
static bool set_pod(struct names *n, const json_t *labels, const struct pod_keys *k)
{
	struct str container = text_at(labels, k->container);

	set(n->k8s_pod, text_at(labels, k->pod));
	set(n->k8s_namespace, text_at(labels, k->namespace));
	set(n->k8s_pod_uid, text_at(labels, k->uid));
	if (!str_eq(container, STR("POD")))
		set(n->k8s_container, container);
	return n->k8s_pod[0] || n->k8s_container[0];
}

static void set_service(struct names *n, const json_t *labels)
{
	static const char *const keys[] = { "com.docker.compose.service",
					    "com.docker.swarm.service.name" };

	if (n->k8s_pod[0] || n->k8s_container[0]) {
		set(n->service, str_of(n->k8s_container));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(keys) && !n->service[0]; i++)
		set(n->service, text_at(labels, keys[i]));
	if (!n->service[0])
		set(n->service, str_of(n->container));
}

bool names_from_docker(struct str text, struct str id, struct names *out)
{
	json_t *root = load(text);
	const json_t *config = json_object_get(root, "Config");
	const json_t *labels = json_object_get(config, "Labels");
	struct str name = text_at(root, "Name");
	struct names n = { 0 };

	set(n.container, str_starts(name, STR("/")) ? str_from(name, 1) : name);
	set_image(&n, text_at(config, "Image"));
	set_pod(&n, labels, &kubelet_keys);
	set_service(&n, labels);
	json_decref(root);
	if (!n.container[0])
		return false;
	*out = n;
	return true;
}

bool names_from_oci(struct str text, struct str id, struct names *out)
{
	json_t *root = load(text);
	const json_t *notes = json_object_get(root, "annotations");
	struct names n = { 0 };
	bool told;

	if (set_pod(&n, notes, &cri_keys)) {
		set_image(&n, text_at(notes, "io.kubernetes.cri.image-name"));
	} else if (set_pod(&n, notes, &kubelet_keys)) {
		set_image(&n, text_at(notes, "io.kubernetes.cri-o.ImageName"));
	}
	set(n.container, str_of(n.k8s_container));
	if (!n.k8s_pod[0])
		set(n.container, text_at(notes, "nerdctl/name"));
	set_service(&n, notes);
	told = n.container[0] || n.k8s_pod[0];
	json_decref(root);
	if (told)
		*out = n;
	return told;
}

bool names_from_storage(struct str text, struct str id, struct names *out)
{
	json_t *root = load(text), *meta = NULL;
	const json_t *item = NULL;
	struct names n = { 0 };
	struct str name;

	for (size_t i = 0; i < json_array_size(root); i++) {
		item = json_array_get(root, i);
		if (str_eq(text_at(item, "id"), id))
			break;
		item = NULL;
	}
	name = str_of(json_string_value(json_array_get(json_object_get(item, "names"), 0)));
	/* the kubelet's numbered name: what it is made of is found elsewhere, or better not used */
	if (!str_starts(name, STR("k8s_")))
		set(n.container, name);
	if (n.container[0]) {
		meta = load(text_at(item, "metadata"));
		set_image(&n, text_at(meta, "image-name"));
		set_service(&n, NULL);
		*out = n;
	}
	json_decref(meta);
	json_decref(root);
	return n.container[0];
}

/* Takes what stands before the first '_'. */
static struct str piece_take(struct str *s)
{
	ptrdiff_t at = str_find(*s, '_');
	struct str piece = { s->p, at < 0 ? 0 : (size_t)at };

	*s = str_from(*s, at < 0 ? s->len : (size_t)at + 1);
	return piece;
}

bool names_from_log(struct str file, struct str id, struct names *out)
{
	struct str end = STR(".log");
	struct names n = { 0 };

	if (id.len != ID_LEN || file.len <= 1 + ID_LEN + end.len ||
	    !str_eq(str_from(file, file.len - end.len), end))
		return false;
	file.len -= end.len + ID_LEN;
	if (memcmp(file.p + file.len, id.p, ID_LEN) != 0 || file.p[--file.len] != '-')
		return false;
	set(n.k8s_pod, piece_take(&file));
	set(n.k8s_namespace, piece_take(&file));
	set(n.k8s_container, file);
	set(n.container, file);
	set_service(&n, NULL);
	if (!n.k8s_pod[0] || !n.k8s_namespace[0] || !n.k8s_container[0])
		return false;
	*out = n;
	return true;
}

bool names_from_pod_dir(struct str dir, struct str uid, struct names *out)
{
	struct names n = { 0 };

	set(n.k8s_namespace, piece_take(&dir));
	set(n.k8s_pod, piece_take(&dir));
	if (!uid.len || !str_eq(dir, uid) || !n.k8s_namespace[0] || !n.k8s_pod[0])
		return false;
	*out = n;
	return true;
}
