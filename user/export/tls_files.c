/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys from files, by GnuTLS, which libcurl uses as well. */
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>

#include "export/post.h"

static int told(int n, const char *file, char *why, size_t why_size)
{
	if (n >= 0)
		return 0;
	snprintf(why, why_size, "%s: %s", file, gnutls_strerror(n));
	return -EINVAL;
}

int tls_load(gnutls_certificate_credentials_t to, const struct tls_files *f, char *why,
	     size_t why_size)
{
	int n = f->ca ? gnutls_certificate_set_x509_trust_file(to, f->ca, GNUTLS_X509_FMT_PEM) : 1;
	int err = told(n ? n : GNUTLS_E_NO_CERTIFICATE_FOUND, f->ca, why, why_size);

	if (err || !f->cert)
		return err;
	n = gnutls_certificate_set_x509_key_file(to, f->cert, f->key, GNUTLS_X509_FMT_PEM);
	return told(n, f->cert, why, why_size);
}

int tls_check(const struct tls_files *f, char *why, size_t why_size)
{
	gnutls_certificate_credentials_t c;
	int err;

	if (gnutls_certificate_allocate_credentials(&c))
		return -ENOMEM;
	err = tls_load(c, f, why, why_size);
	gnutls_certificate_free_credentials(c);
	return err;
}
