/* SPDX-License-Identifier: Apache-2.0 */
/* An authority, a server's certificate for 127.0.0.1 and localhost, and a client's, by openssl. */
#ifndef TESTS_EXPORT_CERTS_H
#define TESTS_EXPORT_CERTS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* ca.pem, server.pem, server.key, client.pem, client.key and, of another authority, other.pem, in
 * dir. False: there is no openssl. */
static inline bool certs_make(const char *dir)
{
	static const char script[] =
		"cd '%s' && exec >/dev/null 2>&1\n"
		"key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n"
		"authority() { openssl req -x509 $key -keyout $1.key -out $1.pem -days 2 "
		"-subj /CN=$1; }\n"
		"signed() {\n"
		"openssl req $key -keyout $1.key -out $1.csr -subj /CN=$1 &&\n"
		"printf '%%s' \"$2\" >$1.ext &&\n"
		"openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
		"-out $1.pem -days 2 -extfile $1.ext; }\n"
		"authority ca && authority other &&\n"
		"signed server 'subjectAltName=IP:127.0.0.1,DNS:localhost' &&\n"
		"signed client 'extendedKeyUsage=clientAuth'\n";
	char command[2048];

	snprintf(command, sizeof(command), script, dir);
	return system(command) == 0;
}

#endif
