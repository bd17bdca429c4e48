/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection below HTTP/2. libcurl resolves, connects and waits, since all of that can be
 * ended from another thread; GnuTLS speaks TLS on the socket, so that ALPN is ours to ask for.
 * Certificates are read for each connection: they may have been renewed.
 */
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "export/grpc.h"
#include "export/post.h"

struct wire {
	char *host, *authority;
	char *ca_file, *cert_file, *key_file;
	bool secure;
	CURLM *multi;
	CURL *easy;
	bool added; /* easy is in multi, where it keeps the socket open */
	curl_socket_t fd;
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t tls;
	char error[ANSWER_TEXT]; /* why the wire is of no more use */
};

/* ---- TLS ---- */

static int load_credentials(struct wire *w, char *why, size_t why_size)
{
	const struct tls_files files = { w->ca_file, w->cert_file, w->key_file };
	int n = gnutls_certificate_allocate_credentials(&w->credentials);

	if (n >= 0 && !w->ca_file) {
		n = gnutls_certificate_set_x509_system_trust(w->credentials);
		if (!n)
			n = GNUTLS_E_NO_CERTIFICATE_FOUND;
	}
	if (n >= 0)
		return tls_load(w->credentials, &files, why, why_size);
	snprintf(why, why_size, "the system's certificates: %s", gnutls_strerror(n));
	return -EINVAL;
}

static void free_tls(struct wire *w)
{
	if (w->tls)
		gnutls_deinit(w->tls);
	if (w->credentials)
		gnutls_certificate_free_credentials(w->credentials);
	w->tls = NULL;
	w->credentials = NULL;
}

static bool is_address(const char *host)
{
	return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
}

static int start_tls(struct wire *w, char why[ANSWER_TEXT])
{
	static const gnutls_datum_t alpn = { (unsigned char *)"h2", 2 };
	int err = load_credentials(w, why, ANSWER_TEXT);

	if (err)
		return err;
	err = gnutls_init(&w->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	if (!err)
		err = gnutls_set_default_priority(w->tls);
	if (!err)
		err = gnutls_credentials_set(w->tls, GNUTLS_CRD_CERTIFICATE, w->credentials);
	if (!err)
		err = gnutls_alpn_set_protocols(w->tls, &alpn, 1, GNUTLS_ALPN_MANDATORY);
	if (!err && !is_address(w->host))
		err = gnutls_server_name_set(w->tls, GNUTLS_NAME_DNS, w->host, strlen(w->host));
	if (err) {
		snprintf(why, ANSWER_TEXT, "TLS: %s", gnutls_strerror(err));
		return -EINVAL;
	}
	gnutls_session_set_verify_cert(w->tls, w->host, 0);
	gnutls_transport_set_int(w->tls, w->fd);
	return 0;
}

/* Why the certificate was not trusted, or what else went wrong. */
static void explain(struct wire *w, int n, char why[ANSWER_TEXT])
{
	unsigned int status = gnutls_session_get_verify_cert_status(w->tls);
	gnutls_datum_t text = { 0 };
	char plain[ANSWER_TEXT];

	if (n == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
	    !gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0)) {
		answer_text(str_trim(str_of((char *)text.data)), plain);
		snprintf(why, ANSWER_TEXT, "TLS: %.190s", plain);
		gnutls_free(text.data);
	} else if (n == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		snprintf(why, ANSWER_TEXT, "TLS: alert of the peer: %s",
			 gnutls_alert_get_name(gnutls_alert_get(w->tls)));
	} else {
		snprintf(why, ANSWER_TEXT, "TLS: %s", gnutls_strerror(n));
	}
}

static int handshake(struct wire *w, uint64_t deadline_ns, const uint64_t *stop_ns,
		     char why[ANSWER_TEXT])
{
	gnutls_datum_t chosen;
	int n, err = start_tls(w, why);

	if (err)
		return err;
	while ((n = gnutls_handshake(w->tls)) < 0 && !gnutls_error_is_fatal(n)) {
		err = wire_wait(w, gnutls_record_get_direction(w->tls), deadline_ns, stop_ns);
		if (err) {
			snprintf(why, ANSWER_TEXT, "TLS: no end of the handshake");
			return err;
		}
	}
	if (n < 0) {
		explain(w, n, why);
		return -EPROTO;
	}
	if (gnutls_alpn_get_selected_protocol(w->tls, &chosen)) {
		snprintf(why, ANSWER_TEXT, "TLS: the server does not offer HTTP/2");
		return -EPROTO;
	}
	return 0;
}

/* ---- connecting ---- */

/* libcurl would look for the proxy of http, which is what it believes to speak. */
static const char *proxy_of(const struct wire *w)
{
	const char *proxy = w->secure ? getenv("https_proxy") : NULL;

	return w->secure && !proxy ? getenv("HTTPS_PROXY") : proxy;
}

static int connect_socket(struct wire *w, uint64_t deadline_ns, const uint64_t *stop_ns,
			  char why[ANSWER_TEXT])
{
	uint64_t now = clock_mono_ns();
	CURLcode result;

	curl_easy_setopt(w->easy, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)((deadline_ns - MIN(now, deadline_ns)) / NS_PER_MS + 1));
	if (curl_multi_add_handle(w->multi, w->easy))
		return -ENOMEM;
	w->added = true;
	result = curl_run(w->multi, stop_ns);
	if (!result)
		result = curl_easy_getinfo(w->easy, CURLINFO_ACTIVESOCKET, &w->fd);
	if (!result && w->fd == CURL_SOCKET_BAD)
		result = CURLE_COULDNT_CONNECT;
	if (!result)
		return 0;
	snprintf(why, ANSWER_TEXT, "%s", curl_easy_strerror(result));
	return -ECONNREFUSED;
}

int wire_open(struct wire *w, uint64_t deadline_ns, const uint64_t *stop_ns, char why[ANSWER_TEXT])
{
	int err = connect_socket(w, deadline_ns, stop_ns, why);

	w->error[0] = 0;
	if (!err && w->secure)
		err = handshake(w, deadline_ns, stop_ns, why);
	if (err)
		wire_close(w);
	return err;
}

void wire_close(struct wire *w)
{
	if (w->tls && w->fd != CURL_SOCKET_BAD)
		gnutls_bye(w->tls, GNUTLS_SHUT_WR);
	free_tls(w);
	if (w->added)
		curl_multi_remove_handle(w->multi, w->easy);
	w->added = false;
	w->fd = CURL_SOCKET_BAD;
}

bool wire_is_up(const struct wire *w)
{
	return w->fd != CURL_SOCKET_BAD;
}

/* ---- bytes ---- */

static ssize_t tls_result(struct wire *w, ssize_t n)
{
	if (n >= 0)
		return n;
	if (!gnutls_error_is_fatal((int)n))
		return -EAGAIN;
	explain(w, (int)n, w->error);
	return -EIO;
}

static ssize_t tcp_result(struct wire *w, ssize_t n)
{
	if (n >= 0)
		return n;
	if (errno == EINTR || errno == EAGAIN)
		return -EAGAIN;
	snprintf(w->error, sizeof(w->error), "%s", strerror(errno));
	return -EIO;
}

ssize_t wire_send(struct wire *w, const void *p, size_t len)
{
	if (w->tls)
		return tls_result(w, gnutls_record_send(w->tls, p, len));
	return tcp_result(w, send(w->fd, p, len, MSG_NOSIGNAL));
}

ssize_t wire_recv(struct wire *w, void *p, size_t len)
{
	if (w->tls)
		return tls_result(w, gnutls_record_recv(w->tls, p, len));
	return tcp_result(w, recv(w->fd, p, len, 0));
}

int wire_wait(struct wire *w, bool writing, uint64_t deadline_ns, const uint64_t *stop_ns)
{
	uint64_t now = clock_mono_ns();
	int ms = curl_wait_ms(stop_ns);
	struct curl_waitfd fd = { .fd = w->fd, .events = CURL_WAIT_POLLIN };

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	if (!ms)
		return -ECANCELED;
	if (writing)
		fd.events |= CURL_WAIT_POLLOUT;
	ms = (int)MIN((uint64_t)ms, (deadline_ns - now) / NS_PER_MS + 1);
	return curl_multi_poll(w->multi, &fd, 1, ms, NULL) ? -EIO : 0;
}

void wire_wake(struct wire *w)
{
	curl_multi_wakeup(w->multi);
}

const char *wire_error(const struct wire *w)
{
	return w->error[0] ? w->error : "the connection ended";
}

const char *wire_scheme(const struct wire *w)
{
	return w->secure ? "https" : "http";
}

const char *wire_authority(const struct wire *w)
{
	return w->authority;
}

/* ---- life ---- */

/* Fills host, port, authority and secure. 0, -EINVAL or -ENOMEM. */
static int read_endpoint(struct wire *w, const char *endpoint, bool insecure)
{
	CURLU *u = curl_url();
	char *text = NULL, *scheme = NULL, *host = NULL, *port = NULL;
	int err = -ENOMEM;

	if (!u || asprintf(&text, "%s%s", strstr(endpoint, "://") ? "" : "any://", endpoint) < 0)
		goto out;
	err = -EINVAL;
	if (curl_url_set(u, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) || !host[0])
		goto out;
	w->secure = !strcmp(scheme, "https") || (!strcmp(scheme, "any") && !insecure);
	if (!w->secure && strcmp(scheme, "http") != 0 && strcmp(scheme, "any") != 0)
		goto out;
	if (curl_url_get(u, CURLUPART_PORT, &port, 0))
		port = NULL;
	err = -ENOMEM;
	if (asprintf(&w->authority, "%s:%s", host, port ? port : w->secure ? "443" : "80") < 0)
		goto out;
	/* certificates name addresses without brackets */
	w->host = host[0] == '[' ? strndup(host + 1, strlen(host) - 2) : strdup(host);
	err = w->host ? 0 : -ENOMEM;
out:
	free(text);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return err;
}

static int set_options(struct wire *w)
{
	char *url;
	CURLcode bad = 0;

	if (asprintf(&url, "http://%s/", w->authority) < 0)
		return -ENOMEM;
	bad |= curl_easy_setopt(w->easy, CURLOPT_URL, url);
	bad |= curl_easy_setopt(w->easy, CURLOPT_CONNECT_ONLY, 1L);
	bad |= curl_easy_setopt(w->easy, CURLOPT_NOSIGNAL, 1L);
	bad |= curl_easy_setopt(w->easy, CURLOPT_QUICK_EXIT, 1L);
	bad |= curl_easy_setopt(w->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	if (proxy_of(w))
		bad |= curl_easy_setopt(w->easy, CURLOPT_PROXY, proxy_of(w));
	free(url);
	return bad ? -ENOMEM : 0;
}

static int copy(const char *from, char **ret_to)
{
	*ret_to = from ? strdup(from) : NULL;
	return from && !*ret_to ? -ENOMEM : 0;
}

int wire_new(const struct exporter_cfg *cfg, const char *endpoint, struct wire **ret_wire,
	     char why[EXPORTER_WHY_MAX])
{
	struct wire *w = calloc(1, sizeof(*w));
	int err = w ? curl_ready() : -ENOMEM;

	if (!w)
		return refuse(why, -ENOMEM, "no memory");
	w->fd = CURL_SOCKET_BAD;
	if (!err)
		err = read_endpoint(w, endpoint, cfg->insecure);
	if (err == -EINVAL)
		refuse(why, err, "expected an address such as http://localhost:4317");
	else if (err || copy(cfg->ca_file, &w->ca_file) || copy(cfg->cert_file, &w->cert_file) ||
		 copy(cfg->key_file, &w->key_file) || !(w->multi = curl_multi_init()) ||
		 !(w->easy = curl_easy_init()) || set_options(w))
		err = refuse(why, -ENOMEM, "no memory");
	else if (w->secure)
		err = load_credentials(w, why, EXPORTER_WHY_MAX);
	if (err) {
		wire_free(w);
		return err;
	}
	free_tls(w);
	*ret_wire = w;
	return 0;
}

void wire_free(struct wire *w)
{
	if (!w)
		return;
	wire_close(w);
	curl_easy_cleanup(w->easy);
	curl_multi_cleanup(w->multi);
	free(w->host);
	free(w->authority);
	free(w->ca_file);
	free(w->cert_file);
	free(w->key_file);
	free(w);
}
