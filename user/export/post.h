/* SPDX-License-Identifier: Apache-2.0 */
/* One POST at a time to one URL, and what libcurl does for gRPC besides. */
#ifndef EXPORT_POST_H
#define EXPORT_POST_H

#include <curl/curl.h>
#include <gnutls/gnutls.h>

#include "export/internal.h"

#define USER_AGENT "telltale/" TELLTALE_VERSION " OTel-OTLP-Exporter-C/" TELLTALE_VERSION

enum body_type { BODY_OTHER, BODY_PROTOBUF, BODY_JSON, BODY_TEXT };

struct reply {
	long status;	       /* HTTP; 0: none came, and error says why */
	int64_t retry_after_s; /* of Retry-After, seconds or HTTP-date; 0: absent or past */
	enum body_type type;   /* by its Content-Type */
	struct str body;       /* the poster's, until its next post */
	char error[ANSWER_TEXT];
};

struct poster;
/* 0, or an error and why. */
int poster_new(const struct exporter_cfg *cfg, const char *url, const char *content_type,
	       struct poster **ret_poster, char why[EXPORTER_WHY_MAX]);
void poster_free(struct poster *p);
/* As kind.send and kind.wake. */
void poster_post(struct poster *p, struct str body, const uint64_t *stop_ns, struct reply *ret);
void poster_wake(struct poster *p);

/* ---- shared with gRPC ---- */

/* libcurl is ready for use by threads; 0 or -ENOMEM. */
int curl_ready(void);
/* Runs what was added to multi until its one transfer is done, or the end has come. */
CURLcode curl_run(CURLM *multi, const uint64_t *stop_ns);
/* Milliseconds to wait at most; 0 when the end has come. */
int curl_wait_ms(const uint64_t *stop_ns);

/* PEM; NULL: none. A certificate has its key. */
struct tls_files {
	const char *ca, *cert, *key;
};
/* 0, or -EINVAL and which file is wrong, and why. */
int tls_load(gnutls_certificate_credentials_t to, const struct tls_files *f, char *why,
	     size_t why_size);
/* The same without use for them. */
int tls_check(const struct tls_files *f, char *why, size_t why_size);

/* gzip of bodies, with memory that is used again. */
struct gzip;
struct gzip *gzip_new(void);
void gzip_free(struct gzip *z);
/* The compressed body, until the next call. 0, -ENOMEM or -EIO. */
int gzip_body(struct gzip *z, struct str body, struct str *ret);

#endif
