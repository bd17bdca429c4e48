/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols, those with the surest signature first. */
#include "proto/proto.h"

extern const struct proto proto_http2;
extern const struct proto proto_http;

const struct proto *const proto_registry[] = {
	&proto_http2,
	&proto_http,
	NULL,
};
